#include "cli/command.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/suggest.h"

enum { NAME_MAX_ = 64 };

int cli_misuse(const struct cli_command *command, const char *fmt, ...)
{
    va_list args;

    fputs("tycho: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    if (command)
        fprintf(stderr, "\nTry: tycho %s --help\n", command->name);
    else
        fputs("\nTry: tycho help\n", stderr);
    return TY_EXIT_USAGE;
}

static int unknown_command(const char *name)
{
    struct ty_suggest suggest;

    ty_suggest_init(&suggest, name);
    for (size_t i = 0; i < cli_command_count; i++)
        if (!cli_commands[i].is_hidden)
            ty_suggest_offer(&suggest, cli_commands[i].name);
    if (*suggest.best)
        return cli_misuse(NULL, "%s: no such command; did you mean %s?", name, suggest.best);
    return cli_misuse(NULL, "%s: no such command", name);
}

/* `written` is "--name", "--name=value" or "-n". */
static int unknown_option(const struct cli_command *command, const char *written)
{
    struct ty_suggest suggest;
    char name[NAME_MAX_];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(written, "="), written);
    ty_suggest_init(&suggest, name + strspn(name, "-"));
    for (enum cli_option i = 0; i < OPTION_COUNT; i++)
        if (!command || cli_command_takes(command, i))
            ty_suggest_offer(&suggest, cli_options[i].name);
    if (*suggest.best)
        return cli_misuse(command, "%s: no such option; did you mean --%s?", name, suggest.best);
    return cli_misuse(command, "%s: no such option", name);
}

/* The option that `text` ("--set=a") names; OPTION_COUNT: none. */
static enum cli_option find_option(const char *text)
{
    enum cli_option i = 0;
    size_t len = strcspn(text, "=");

    if (strcmp(text, "-h") == 0)
        return OPTION_HELP;
    for (; i < OPTION_COUNT; i++)
        if (strncmp(text, "--", 2) == 0 && strlen(cli_options[i].name) == len - 2 &&
            strncmp(text + 2, cli_options[i].name, len - 2) == 0)
            break;
    return i;
}

/* Takes one option and, if it has one, its value; *at moves to the last argument used. */
static int take_option(struct cli *cli, enum cli_option option, int *at, int argc)
{
    const char *text = cli->argv[*at], *equals = strchr(text, '=');
    const struct cli_option_row *row = &cli_options[option];
    const char *value = "";

    if (equals && !row->value)
        return cli_misuse(cli->command, "--%s takes no value", row->name);
    if (row->value) {
        if (!equals && *at + 1 == argc)
            return cli_misuse(cli->command, "--%s wants %s", row->name, row->value);
        value = equals ? equals + 1 : cli->argv[++*at];
    }
    if (option == OPTION_SET) {
        if (cli->set_count == CLI_SETS_MAX)
            return cli_misuse(cli->command, "--set: more than %d times", CLI_SETS_MAX);
        cli->sets[cli->set_count++] = value;
    }
    if (option == OPTION_ALLOW) {
        if (cli->allowed_count == CLI_ALLOWED_MAX)
            return cli_misuse(cli->command, "--allow: more than %d times", CLI_ALLOWED_MAX);
        cli->allowed[cli->allowed_count++] = value;
    }
    cli->values[option] = value;
    return 0;
}

/* "config", "show" is one command if there is one of two words; *at moves to its last word. */
static int take_command(struct cli *cli, int *at, int argc)
{
    const char *word = cli->argv[*at];
    char both[NAME_MAX_];

    if (*at + 1 < argc) {
        int len = snprintf(both, sizeof(both), "%s %s", word, cli->argv[*at + 1]);
        if (len < NAME_MAX_ && (cli->command = cli_command_find(both))) {
            ++*at;
            return 0;
        }
    }
    cli->command = cli_command_find(word);
    return cli->command ? 0 : unknown_command(word);
}

static int take(struct cli *cli, int *at, int argc, bool *is_raw)
{
    char *text = cli->argv[*at];
    bool passes_on = cli->command && cli->command->passes_on;
    bool is_option = !*is_raw && text[0] == '-' && text[1];
    enum cli_option option = is_option ? find_option(text) : OPTION_COUNT;

    if (is_option && strcmp(text, "--") == 0) {
        *is_raw = true;
    } else if (is_option && !cli->command && strcmp(text, "--version") == 0) {
        cli->command = cli_command_find("version");
    } else if (is_option && option < OPTION_COUNT &&
               (!passes_on || cli_command_takes(cli->command, option))) {
        return take_option(cli, option, at, argc);
    } else if (is_option && !passes_on) {
        return unknown_option(cli->command, text);
    } else if (!cli->command) {
        return take_command(cli, at, argc);
    } else {
        /* What stands behind the name of a script is the script's. */
        *is_raw = *is_raw || (passes_on && !is_option && cli->command->args_min > 0);
        cli->args[cli->arg_count++] = text;
    }
    return 0;
}

/* An argument too many is perhaps the second word of a command. */
static int too_many(const struct cli *cli)
{
    char both[NAME_MAX_];
    struct ty_suggest suggest;
    const char *extra = cli->args[cli->command->args_max];

    snprintf(both, sizeof(both), "%s %s", cli->command->name, extra);
    ty_suggest_init(&suggest, both);
    for (size_t i = 0; i < cli_command_count; i++)
        if (strchr(cli_commands[i].name, ' ') && !cli_commands[i].is_hidden)
            ty_suggest_offer(&suggest, cli_commands[i].name);
    if (*suggest.best && cli->command->args_max == 0)
        return cli_misuse(NULL, "%s: no such command; did you mean %s?", both, suggest.best);
    return cli_misuse(cli->command, "%s: one argument too many", extra);
}

static int check_call(const struct cli *cli)
{
    const struct cli_command *command = cli->command;

    for (enum cli_option i = 0; i < OPTION_COUNT; i++)
        if (cli->values[i] && !cli_command_takes(command, i))
            return cli_misuse(command, "--%s: not an option of tycho %s", cli_options[i].name,
                              command->name);
    if (cli->values[OPTION_HELP])
        return 0;
    if (cli->arg_count < command->args_min)
        return cli_misuse(command, "%s wants %s", command->name, command->arguments);
    if (command->args_max >= 0 && cli->arg_count > command->args_max)
        return too_many(cli);
    return 0;
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    bool is_raw = false;

    cli->argv = argv;
    for (int at = 1; at < argc; at++) {
        int code = take(cli, &at, argc, &is_raw);
        if (code)
            return code;
    }
    cli->source.path = cli->values[OPTION_CONFIG];
    cli->source.env = cli->values[OPTION_ENV];
    cli->source.overrides = cli->sets;
    return cli->command ? check_call(cli) : 0;
}

bool cli_take_number(struct cli *cli, const char *name, const char *text, double *out)
{
    char *end;

    *out = strtod(text, &end);
    if (end == text || *end || !isfinite(*out) || *out <= 0) {
        cli_misuse(cli->command, "%s: %s is no number above 0", name, text);
        return false;
    }
    return true;
}
