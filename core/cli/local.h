/* The script engine in this process, for commands that need no server. */
#pragma once

#include "cli/command.h"

struct local {
    uv_loop_t loop;
    const struct ty_engine *engine;
    struct ty_config *config;
};

/* Loads the configuration and opens the engine in that role; NULL after saying what is wrong.
 * `quiet` leaves only warnings of the log, which goes to standard error. */
struct local *local_open(struct cli *cli, const char *role, bool quiet);
void local_close(struct local *local);

/* Loads the scripts on disk, as a reload would. NULL: `faults` has them, one a line. */
struct ty_generation *local_load(struct local *local, struct ty_buf *faults, size_t *file_count);
void local_unload(struct local *local, struct ty_generation *gen);

/* Runs a script of the standard library with `count` arguments; returns the exit code. */
int local_run(struct cli *cli, const char *role, const char *name, int count, char **args);

/* Writes faults, one a line or as JSON; returns TY_EXIT_FAILED. */
int local_faults(struct cli *cli, const char *faults);
