#include "cli/command.h"

#include <string.h>

const struct cli_option_row cli_options[] = {
#define X(id, name, value, text) {name, value, text},
    CLI_OPTIONS(X)
#undef X
};

enum {
    EVERYWHERE = 1 << OPTION_CONFIG | 1 << OPTION_ENV | 1 << OPTION_SET | 1 << OPTION_HELP,
    JSON = 1 << OPTION_JSON,
    ROLE = 1 << OPTION_ROLE,
    REQUIRE = 1 << OPTION_REQUIRE,
    FORCE = 1 << OPTION_FORCE,
    PROGRAM = 1 << OPTION_PROGRAM,
    STACK = 1 << OPTION_STACK,
    PROFILE = 1 << OPTION_OUTPUT | 1 << OPTION_WORKER | 1 << OPTION_RATE,
    TRACE = 1 << OPTION_TIMES | 1 << OPTION_TIMEOUT,
    DATABASE = 1 << OPTION_DATABASE,
    ROLLBACK = 1 << OPTION_TO | 1 << OPTION_YES,
    CHECK = 1 << OPTION_CHECK,
    SYNC = 1 << OPTION_YES | 1 << OPTION_SQL | 1 << OPTION_CHECK | 1 << OPTION_ALLOW,
};

/* In the order of `tycho help`. */
const struct cli_command cli_commands[] = {
    {
        .name = "serve",
        .arguments = "",
        .text = "Serve the application",
        .details =
            "Runs until SIGTERM or SIGINT: requests in flight are finished first; a second "
            "signal ends them. SIGHUP reloads, SIGUSR1 opens the log file again, SIGUSR2 upgrades.",
        .examples = "tycho serve\n"
                    "tycho serve --env production --set http.port=80 --require\n",
        .run = cli_serve,
        .options = ROLE | REQUIRE,
    },
    {
        .name = "dev",
        .arguments = "",
        .text = "Serve, reload on every save, show readable errors",
        .details = "Reads conf/tycho.dev.yaml unless --env or TYCHO_ENV says otherwise.",
        .examples = "tycho dev\n"
                    "tycho dev --set http.port=3000\n",
        .run = cli_dev,
        .options = ROLE | REQUIRE,
    },
    {
        .name = "check",
        .arguments = "",
        .text = "Say what a reload would refuse",
        .details = "Loads the configuration and the scripts as a reload would, in a process of "
                   "its own, and says file:line of every fault.",
        .examples = "tycho check\n"
                    "tycho check --env production --json\n",
        .run = cli_check,
        .options = JSON,
    },
    {
        .name = "reload",
        .arguments = "",
        .text = "Put the scripts on disk into force",
        .details = "All workers change over, or none: what is wrong with the scripts is said with "
                   "file and line, and the running generation goes on. No request is dropped.",
        .examples = "tycho reload\n"
                    "tycho reload --json\n",
        .run = cli_reload,
        .options = JSON | FORCE,
    },
    {
        .name = "rollback",
        .arguments = "[GENERATION]",
        .text = "Go back to the generation before, or to the one named",
        .details = "`tycho generations` lists those that are kept (reload.keep).",
        .examples = "tycho rollback\n"
                    "tycho rollback 3f9a0c1b22de\n",
        .run = cli_rollback,
        .options = JSON,
        .args_max = 1,
    },
    {
        .name = "generations",
        .arguments = "",
        .text = "List the generations that are kept",
        .examples = "tycho generations\n",
        .run = cli_generations,
        .options = JSON,
    },
    {
        .name = "upgrade",
        .arguments = "",
        .text = "Put another version of the program in the place of the one that runs",
        .details = "The new program inherits the sockets and gets ready beside the old one, which "
                   "then finishes what it runs; no request is refused or lost. If the new one is "
                   "not ready within host.upgrade_timeout, the old one goes on. SIGUSR2 does the "
                   "same.",
        .examples = "install -m 755 tycho-0.2 /usr/local/bin/tycho && tycho upgrade\n"
                    "tycho upgrade --program /opt/tycho-0.2/tycho\n",
        .run = cli_upgrade,
        .options = JSON | PROGRAM,
    },
    {
        .name = "stop",
        .arguments = "",
        .text = "End the server, and wait until it has",
        .details =
            "As SIGTERM does: what was begun is finished, for host.shutdown_timeout at most.",
        .examples = "tycho stop\n",
        .run = cli_stop,
    },
    {
        .name = "status",
        .arguments = "",
        .text = "Say how the server and its workers are",
        .examples = "tycho status\n"
                    "tycho status --json\n",
        .run = cli_status,
        .options = JSON,
    },
    {
        .name = "ps",
        .arguments = "",
        .text = "List what runs: fibers, what each waits for, and its Lua line",
        .examples = "tycho ps\n"
                    "tycho ps --stack\n",
        .run = cli_ps,
        .options = JSON | STACK,
    },
    {
        .name = "lag",
        .arguments = "",
        .text = "Say how late the workers' loops are, and which lines held them",
        .examples = "tycho lag\n",
        .run = cli_lag,
        .options = JSON,
    },
    {
        .name = "profile",
        .arguments = "SECONDS",
        .text = "Draw what the workers spend their CPU time on",
        .details = "Samples the stacks of all web workers, Lua and C, for so long, and writes a "
                   "flame graph that a browser shows, tycho-profile.svg unless --output says "
                   "otherwise. Waiting costs no CPU time and is not seen: `tycho trace` shows "
                   "that.",
        .examples = "tycho profile 10\n"
                    "tycho profile 30 --worker 1 --output busy.svg\n"
                    "tycho profile 5 --output stacks.folded\n",
        .run = cli_profile,
        .options = PROFILE,
        .args_min = 1,
        .args_max = 1,
    },
    {
        .name = "trace",
        .arguments = "ROUTE",
        .text = "Show where the next requests of a route spend their time",
        .details = "ROUTE as `tycho routes` prints it, with or without the method. Each request "
                   "is shown when it is over: what came before its handler, when its Lua ran, "
                   "what it waited for and on which line, its child fibers, and the answer.",
        .examples = "tycho trace /orders/{id}\n"
                    "tycho trace 'GET /orders/{id}' --count 1 --json\n",
        .run = cli_trace,
        .options = JSON | TRACE,
        .args_min = 1,
        .args_max = 1,
    },
    {
        .name = "log-level",
        .arguments = "[LEVEL [MODULE]]",
        .text =
            "Change how much a running server logs, all of it or one module; or list the levels",
        .details = "Levels: debug, info, warn, error, off. A module is the server's (http, access, "
                   "db) or the application's (the name given to log.module()). Holds until the "
                   "server ends, for workers that start later too, and over reloads; log.levels "
                   "in the configuration is for good.",
        .examples = "tycho log-level\n"
                    "tycho log-level debug orders\n"
                    "tycho log-level info\n",
        .run = cli_log_level,
        .options = JSON,
        .args_max = 2,
    },
    {
        .name = "routes",
        .arguments = "",
        .text = "List the routes of the scripts on disk",
        .examples = "tycho routes\n",
        .run = cli_routes,
        .options = JSON,
    },
    {
        .name = "db status",
        .arguments = "",
        .text = "Say which migrations a database has, and whether it is as the models are",
        .details = "Changes nothing. With --check it fails if there is anything to migrate or to "
                   "sync.",
        .examples = "tycho db status\n"
                    "tycho db status --database reports --json\n",
        .run = cli_db,
        .options = DATABASE | JSON | CHECK,
    },
    {
        .name = "db sync",
        .arguments = "",
        .text = "Change a database to what the models of the scripts describe",
        .details =
            "Compares the models with the live database, shows what it would do and why, and asks. "
            "What loses something (columns, indexes, constraints, values that no longer fit) is "
            "listed, and done only when named: --allow drop-column:users.nick. A renamed column is "
            "one that says renamed_from in its model.",
        .examples = "tycho db sync\n"
                    "tycho db sync --yes --allow drop-column:users.nick\n"
                    "tycho db sync --sql >change.sql\n"
                    "tycho db sync --check\n",
        .run = cli_db,
        .options = DATABASE | JSON | SYNC,
    },
    {
        .name = "db migrate",
        .arguments = "",
        .text = "Apply the migrations that are pending",
        .details =
            "Each file of scripts/migrations once, in order; see docs/guide/migrations.md. Several "
            "may do this at once: one applies, the others wait.",
        .examples = "tycho db migrate\n"
                    "tycho db migrate --env production --json\n",
        .run = cli_db,
        .options = DATABASE | JSON,
    },
    {
        .name = "db rollback",
        .arguments = "",
        .text = "Undo the last migration",
        .details = "By NNN_name.down.sql, or by `down` of a migration in Lua. Asks first.",
        .examples = "tycho db rollback\n"
                    "tycho db rollback --to 3 --yes\n",
        .run = cli_db,
        .options = DATABASE | JSON | ROLLBACK,
    },
    {
        .name = "db new",
        .arguments = "NAME[.lua]",
        .text = "Make the file of the next migration, and of what undoes it",
        .examples = "tycho db new add_nickname\n"
                    "tycho db new fill_nicknames.lua\n",
        .run = cli_db,
        .options = DATABASE,
        .args_min = 1,
        .args_max = 1,
    },
    {
        .name = "db seed",
        .arguments = "[FILE...]",
        .text = "Run scripts/seeds/*.lua in order, or the files named: data to begin with",
        .details = "Each in a transaction of its own. They run every time, so they have to mind "
                   "what is there already.",
        .examples = "tycho db seed\n"
                    "tycho db seed scripts/seeds/demo.lua\n",
        .run = cli_db,
        .options = DATABASE | JSON,
        .args_max = -1,
    },
    {
        .name = "config show",
        .arguments = "",
        .text = "Print every key of the configuration, its value, and where that came from",
        .examples = "tycho config show\n"
                    "tycho config show --env production --json\n",
        .run = cli_config_show,
        .options = JSON,
    },
    {
        .name = "config explain",
        .arguments = "KEY",
        .text = "Say all about one key, or list the keys of a section",
        .examples = "tycho config explain http.port\n"
                    "tycho config explain databases.default\n",
        .run = cli_config_explain,
        .options = JSON,
        .args_min = 1,
        .args_max = 1,
    },
    {
        .name = "config default",
        .arguments = "",
        .text = "Print a commented configuration file with every key",
        .examples = "tycho config default >conf/tycho.yaml\n",
        .run = cli_config_default,
    },
    {
        .name = "run",
        .arguments = "FILE [ARGUMENT...]",
        .text = "Run one Lua file with the standard library",
        .details = "The file runs in a fiber, so it may wait; its arguments are in `arg` and "
                   "`...`. What it returns is the exit code: nothing or true is 0. - reads the "
                   "script from standard input.",
        .examples = "tycho run tools/import.lua orders.csv\n",
        .run = cli_run,
        .args_min = 1,
        .args_max = -1,
        .passes_on = true,
    },
    {
        .name = "repl",
        .arguments = "",
        .text = "Try Lua by hand, with the standard library and the application",
        .examples = "tycho repl\n",
        .run = cli_repl,
    },
    {
        .name = "test",
        .arguments = "[PATH...] [BUSTED OPTION...]",
        .text = "Run busted specs inside the runtime",
        .details = "Specs run in a fiber: they wait as handlers do. Without PATH: spec/ or "
                   "tests/lua. Options that are not Tycho's are busted's. Reads "
                   "conf/tycho.test.yaml unless --env or TYCHO_ENV says otherwise.",
        .examples = "tycho test\n"
                    "tycho test spec/orders_spec.lua --filter=expires\n",
        .run = cli_test,
        .args_max = -1,
        .passes_on = true,
    },
    {
        .name = "completion",
        .arguments = "bash",
        .text = "Print the completion script of a shell",
        .examples = "source <(tycho completion bash)\n",
        .run = cli_completion,
        .args_min = 1,
        .args_max = 1,
    },
    {
        .name = "version",
        .arguments = "",
        .text = "Print the versions of Tycho and of what it is made of",
        .examples = "tycho version --json\n",
        .run = cli_version,
        .options = JSON,
    },
    {
        .name = "help",
        .arguments = "[COMMAND]",
        .text = "Explain a command, or list them all",
        .examples = "tycho help reload\n",
        .run = cli_show_help,
        .args_max = 2,
    },
    {
        .name = "config",
        .arguments = "",
        .text = "The same as config show",
        .examples = "tycho config\n",
        .run = cli_config_show,
        .options = JSON,
        .is_hidden = true,
    },
    {
        .name = "config reference",
        .arguments = "",
        .text = "Print the tables of docs/configuration.md",
        .examples = "tycho config reference\n",
        .run = cli_config_reference,
        .is_hidden = true,
    },
    {
        .name = "help reference",
        .arguments = "",
        .text = "Print the commands as docs/cli.md has them",
        .examples = "tycho help reference\n",
        .run = cli_show_reference,
        .is_hidden = true,
    },
};
const size_t cli_command_count = sizeof(cli_commands) / sizeof(*cli_commands);

const struct cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}

bool cli_command_takes(const struct cli_command *command, enum cli_option option)
{
    return ((EVERYWHERE | command->options) & 1U << option) != 0;
}
