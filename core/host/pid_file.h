/* The master's process id, in a file for those who want it there (host.pid_file).
 *
 * While another master serves in this one's place the file is written under a name beside it, and
 * moved over when that changes: the id in it is always that of the master that serves.
 */
#pragma once

#include <stdbool.h>

#include "tycho/error.h"

struct pid_file {
    char *path; /* NULL: none is wanted */
    bool is_hidden;
};

/* `path` may be NULL or "". 0, or -1 with `error`. */
int ty_pid_file_write(struct pid_file *file, const char *path, bool is_hidden,
                      struct ty_error *error);
void ty_pid_file_reveal(struct pid_file *file);
/* Somebody else may have taken the name: takes it back. */
void ty_pid_file_reclaim(struct pid_file *file);
/* Removes what a successor left that died before it could take the name. */
void ty_pid_file_sweep(const struct pid_file *file);
/* Removes the file, unless it is another's by now. */
void ty_pid_file_close(struct pid_file *file);
