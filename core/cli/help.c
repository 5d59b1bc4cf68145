#include "cli/command.h"

#include <string.h>

#include "config/value.h"

enum { WIDTH = 78, COLUMN = 20, OPTION_COLUMN = 22 };

/* Adds text in lines of at most WIDTH, all but the first `indent` in. */
static void add_wrapped(const char *text, size_t indent, struct ty_buf *out)
{
    size_t column = indent;

    for (size_t len; *text; text += len + strspn(text + len, " ")) {
        len = strcspn(text, " ");
        if (column > indent && column + 1 + len > WIDTH) {
            ty_buf_addf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            ty_buf_addc(out, ' ');
            column++;
        }
        ty_buf_add(out, text, len);
        column += len;
    }
    ty_buf_addc(out, '\n');
}

static void add_option(enum cli_option i, struct ty_buf *out)
{
    const struct cli_option_row *row = &cli_options[i];
    size_t start = out->len;

    ty_buf_addf(out, "  --%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
    size_t len = out->len - start;
    ty_buf_addf(out, "%*s", len < OPTION_COLUMN ? (int)(OPTION_COLUMN - len) : 1, "");
    add_wrapped(row->text, OPTION_COLUMN, out);
}

static void add_overview(struct ty_buf *out)
{
    ty_buf_adds(out, "Tycho serves web applications written in Lua.\n\n"
                     "Usage: tycho COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        if (cli_commands[i].is_hidden)
            continue;
        ty_buf_addf(out, "  %-*s", COLUMN - 2, cli_commands[i].name);
        add_wrapped(cli_commands[i].text, COLUMN, out);
    }
    ty_buf_adds(out, "\nOptions of every command:\n");
    for (enum cli_option i = 0; i < OPTION_COUNT; i++)
        if (i == OPTION_CONFIG || i == OPTION_ENV || i == OPTION_SET || i == OPTION_HELP)
            add_option(i, out);
    ty_buf_adds(out, "\nExamples:\n  tycho dev\n  tycho check && tycho reload\n"
                     "  tycho help reload\n\n"
                     "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 server not reached.\n");
}

static void add_examples(const char *examples, const char *indent, struct ty_buf *out)
{
    for (size_t len; *examples; examples += len + 1) {
        len = strcspn(examples, "\n");
        ty_buf_addf(out, "%s%.*s\n", indent, (int)len, examples);
    }
}

void cli_help(const struct cli_command *command, struct ty_buf *out)
{
    if (!command) {
        add_overview(out);
        return;
    }
    ty_buf_addf(out, "%s.\n\nUsage: tycho %s [OPTION...]%s%s\n\n", command->text, command->name,
                *command->arguments ? " " : "", command->arguments);
    if (command->details) {
        add_wrapped(command->details, 0, out);
        ty_buf_addc(out, '\n');
    }
    ty_buf_adds(out, "Options:\n");
    for (enum cli_option i = OPTION_COUNT; i-- > 0;)
        if (cli_command_takes(command, i))
            add_option(i, out);
    ty_buf_adds(out, "\nExamples:\n");
    add_examples(command->examples, "  ", out);
}

/* For `tycho help config show` too. */
int cli_show_help(struct cli *cli)
{
    struct ty_buf name = {0}, text = {0};
    const struct cli_command *command = NULL;
    int code = TY_EXIT_DONE;

    for (int i = 0; i < cli->arg_count; i++)
        ty_buf_addf(&name, "%s%s", i ? " " : "", cli->args[i]);
    if (cli->arg_count)
        command = cli_command_find(ty_buf_cstr(&name));
    if (cli->arg_count && !command) {
        code = cli_misuse(NULL, "%s: no such command", name.data);
    } else {
        cli_help(command, &text);
        fputs(ty_buf_cstr(&text), stdout);
    }
    ty_buf_close(&name);
    ty_buf_close(&text);
    return code;
}

void ty_cli_reference(struct ty_buf *out)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];

        if (command->is_hidden)
            continue;
        ty_buf_addf(out, "%s## tycho %s%s%s\n\n%s.", i ? "\n" : "", command->name,
                    *command->arguments ? " " : "", command->arguments, command->text);
        ty_buf_addf(out, "%s%s\n\n", command->details ? " " : "",
                    command->details ? command->details : "");
        for (enum cli_option o = 0; o < OPTION_COUNT; o++) {
            const struct cli_option_row *row = &cli_options[o];
            if (command->options & 1U << o)
                ty_buf_addf(out, "- `--%s%s%s`: %s.\n", row->name, row->value ? " " : "",
                            row->value ? row->value : "", row->text);
        }
        ty_buf_adds(out, command->options ? "\n```sh\n" : "```sh\n");
        add_examples(command->examples, "", out);
        ty_buf_adds(out, "```\n");
    }
}

int cli_show_reference(struct cli *cli)
{
    struct ty_buf text = {0};

    (void)cli;
    ty_cli_reference(&text);
    fputs(ty_buf_cstr(&text), stdout);
    ty_buf_close(&text);
    return TY_EXIT_DONE;
}

/* --------------------------------------------------------------------------- completion */

/* The words that may follow `first` ("" for the first word of all). */
static void print_next_words(const char *first)
{
    const char *last = "";
    size_t len = strlen(first);

    for (size_t i = 0; i < cli_command_count; i++) {
        const char *name = cli_commands[i].name;

        if (cli_commands[i].is_hidden ||
            (len && (strncmp(name, first, len) != 0 || name[len] != ' ')))
            continue;
        name += len ? len + 1 : 0;
        size_t word = strcspn(name, " ");
        if (strlen(last) < word || strncmp(last, name, word) != 0)
            printf("%.*s ", (int)word, name);
        last = name;
    }
}

static void print_options(unsigned options)
{
    for (enum cli_option i = 0; i < OPTION_COUNT; i++)
        if (options & 1U << i)
            printf("--%s ", cli_options[i].name);
}

static void print_cases(void)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];
        unsigned options = 0;

        if (command->is_hidden)
            continue;
        for (enum cli_option o = 0; o < OPTION_COUNT; o++)
            options |= cli_command_takes(command, o) ? 1U << o : 0;
        printf("    \"%s\") options=\"", command->name);
        print_options(options);
        printf("\"");
        if (strcmp(command->name, "config explain") == 0) {
            printf("; words=\"");
            for (size_t k = 0; k < ty_key_count; k++)
                if (!strchr(ty_keys[k].path, '*'))
                    printf("%s ", ty_keys[k].path);
            printf("\"");
        }
        puts(" ;;");
    }
}

int cli_completion(struct cli *cli)
{
    if (strcmp(cli->args[0], "bash") != 0)
        return cli_misuse(cli->command, "%s: no such shell; there is: bash", cli->args[0]);
    puts("# Completion for bash: source <(tycho completion bash)\n"
         "_tycho() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} first=\"\" second=\"\" i options=\"\" words=\"\"\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case ${COMP_WORDS[i]} in\n"
         "      -*) ;;\n"
         "      *) if [[ -z $first ]]; then first=${COMP_WORDS[i]};"
         " elif [[ -z $second ]]; then second=${COMP_WORDS[i]}; fi ;;\n"
         "    esac\n"
         "  done\n"
         "  case $first in");
    printf("    \"\"|help) words=\"");
    print_next_words("");
    puts("\" ;;");
    printf("    config) [[ -n $second ]] || words=\"");
    print_next_words("config");
    puts("\" ;;\n"
         "    completion) words=bash ;;\n"
         "  esac\n"
         "  [[ $first == config ]] && first=\"config $second\"\n"
         "  case $first in");
    print_cases();
    puts("  esac\n"
         "  if [[ $word == -* ]]; then words=$options; fi\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\n"
         "complete -o default -F _tycho tycho");
    return TY_EXIT_DONE;
}
