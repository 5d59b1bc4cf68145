#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/local.h"
#include "cli/terminal.h"
#include "tycho/memory.h"

/* db: what is done to databases is Lua, which is handed the options as words. */

static const char SCRIPT[] = "lib/tycho/_private/db_command.lua";

/* "--database=reports", "--yes" */
static char *written(const char *name, const char *value)
{
    return ty_asprintf("--%s%s%s", name, *value ? "=" : "", value);
}

static int add_options(const struct cli *cli, char **words)
{
    int count = 0;

    for (enum cli_option i = 0; i < OPTION_COUNT; i++)
        if (i != OPTION_ALLOW && cli->values[i] && cli->command->options & 1U << i)
            words[count++] = written(cli_options[i].name, cli->values[i]);
    for (size_t i = 0; i < cli->allowed_count; i++)
        words[count++] = written("allow", cli->allowed[i]);
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        words[count++] = written("terminal", "");
    if (term_has_colour(stdout))
        words[count++] = written("colour", "");
    return count;
}

/* What goes wrong is said once, by the command; only seeds may have something to log. */
static void quieten(struct cli *cli)
{
    bool has_level = strcmp(cli->command->name, "db seed") == 0;

    for (size_t i = 0; i < cli->set_count; i++)
        has_level = has_level || strncmp(cli->sets[i], "log.level=", 10) == 0;
    if (!has_level && cli->set_count < CLI_SETS_MAX)
        cli->sets[cli->set_count++] = "log.level=off";
}

/* The words: what to do, options, then "--" and the arguments as they were given. */
int cli_db(struct cli *cli)
{
    size_t room = OPTION_COUNT + cli->allowed_count + (size_t)cli->arg_count + 4;
    char **words = ty_zalloc(room * sizeof(*words));
    int count = 0;

    quieten(cli);
    words[count++] = ty_strdup(strchr(cli->command->name, ' ') + 1);
    count += add_options(cli, words + count);
    words[count++] = ty_strdup("--");
    for (int i = 0; i < cli->arg_count; i++)
        words[count++] = ty_strdup(cli->args[i]);

    int code = local_run(cli, "run", SCRIPT, count, words);
    for (int i = 0; i < count; i++)
        free(words[i]);
    free(words);
    return code;
}
