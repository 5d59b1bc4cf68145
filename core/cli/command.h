/* Commands, and one call of one of them. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "tycho/cli.h"
#include "tycho/config.h"

/* clang-format off */
/*     name       in full      value         what it does */
#define CLI_OPTIONS(X)                                                                             \
    X(CONFIG,    "config",    "FILE",       "Read FILE instead of conf/tycho.yaml")                \
    X(ENV,       "env",       "NAME",       "Environment: also read conf/tycho.NAME.yaml")         \
    X(SET,       "set",       "KEY=VALUE",  "Set one key of the configuration; may be repeated")   \
    X(HELP,      "help",      NULL,         "Explain the command")                                 \
    X(JSON,      "json",      NULL,         "Print JSON")                                          \
    X(ROLE,      "role",      "ROLES",      "What this process does: web, or all (default)")       \
    X(REQUIRE,   "require",   NULL,         "Fail unless all dependencies are there at the start") \
    X(STACK,     "stack",     NULL,         "Show the whole Lua stack of each fiber")              \
    X(OUTPUT,    "output",    "FILE",       "Where to write: FILE.svg, or FILE.folded for stacks") \
    X(WORKER,    "worker",    "N",          "Only that worker")                                    \
    X(RATE,      "rate",      "HZ",         "So many samples a second of CPU time (199)")          \
    X(TIMES,     "count",     "N",          "So many requests (5)")                                \
    X(TIMEOUT,   "timeout",   "SECONDS",    "Wait no longer (60)")                                 \
    X(FORCE,     "force",     NULL,         "Reload even if no file has changed")                  \
    X(PROGRAM,   "program",   "FILE",       "Execute FILE instead of what the server was started as") \
    X(DATABASE,  "database",  "NAME",       "That database of the configuration (default)")        \
    X(TO,        "to",        "VERSION",    "Undo all that come after that one; 0: all")           \
    X(YES,       "yes",       NULL,         "Do it without asking")                                \
    X(SQL,       "sql",       NULL,         "Print the statements, and do nothing")                \
    X(CHECK,     "check",     NULL,         "Do nothing, and fail if there is any difference")     \
    X(ALLOW,     "allow",     "STEP",       "Also take that destructive step; may be repeated")
/* clang-format on */

enum cli_option {
#define X(id, name, value, text) OPTION_##id,
    CLI_OPTIONS(X)
#undef X
        OPTION_COUNT
};

struct cli_option_row {
    const char *name;
    const char *value; /* NULL: takes none */
    const char *text;
};

extern const struct cli_option_row cli_options[];

enum { CLI_SETS_MAX = 256, CLI_ALLOWED_MAX = 256 };

/* One call: what was written, sorted. */
struct cli {
    const struct ty_engine *engine;
    const struct cli_command *command; /* NULL: none was named */
    char **argv;                       /* as main() got them */
    const char *values[OPTION_COUNT];  /* NULL: not given; "": given, and takes no value */
    const char *sets[CLI_SETS_MAX + 1];
    size_t set_count;
    const char *allowed[CLI_ALLOWED_MAX];
    size_t allowed_count;
    char **args; /* of the command, without options */
    int arg_count;
    struct ty_config_source source;
};

struct cli_command {
    const char *name;      /* one word, or two: "config show" */
    const char *arguments; /* "FILE [ARGUMENT...]", or "" */
    const char *text;      /* one line */
    const char *details;   /* more, or NULL */
    const char *examples;  /* lines */
    int (*run)(struct cli *cli);
    unsigned options; /* besides those that every command has: 1 << OPTION_... */
    int args_min;
    int args_max; /* -1: any number */
    bool is_hidden;
    bool passes_on; /* from the first argument on, all is the script's; unknown options too */
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;

/* The command of that name; NULL: none. */
const struct cli_command *cli_command_find(const char *name);
bool cli_command_takes(const struct cli_command *command, enum cli_option option);

/* Sorts the arguments into `cli`. Returns 0, or TY_EXIT_USAGE with the fault said. */
int cli_parse(struct cli *cli, int argc, char **argv);

/* Says what is wrong with the call, and how to learn more. Returns TY_EXIT_USAGE. */
int cli_misuse(const struct cli_command *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads the argument `name`, a number above 0; false after saying that it is none. */
bool cli_take_number(struct cli *cli, const char *name, const char *text, double *out);

/* Loads the configuration that the options ask for; NULL after saying what is wrong with it. */
struct ty_config *cli_config(struct cli *cli);

/* help.c */
void cli_help(const struct cli_command *command, struct ty_buf *out); /* NULL: the overview */

/* Each command, in the file of its group. */
int cli_serve(struct cli *cli);
int cli_dev(struct cli *cli);
int cli_check(struct cli *cli);
int cli_routes(struct cli *cli);
int cli_run(struct cli *cli);
int cli_repl(struct cli *cli);
int cli_test(struct cli *cli);
int cli_reload(struct cli *cli);
int cli_rollback(struct cli *cli);
int cli_upgrade(struct cli *cli);
int cli_generations(struct cli *cli);
int cli_status(struct cli *cli);
int cli_ps(struct cli *cli);
int cli_lag(struct cli *cli);
int cli_profile(struct cli *cli);
int cli_trace(struct cli *cli);
int cli_log_level(struct cli *cli);
int cli_stop(struct cli *cli);
int cli_db(struct cli *cli);
int cli_config_show(struct cli *cli);
int cli_config_explain(struct cli *cli);
int cli_config_default(struct cli *cli);
int cli_config_reference(struct cli *cli);
int cli_version(struct cli *cli);
int cli_show_help(struct cli *cli);
int cli_show_reference(struct cli *cli);
int cli_completion(struct cli *cli);
