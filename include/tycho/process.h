/* Child processes.
 *
 * A child belongs to who started it: giving up its struct kills it, so that a script that fails
 * half-way leaves nothing behind. Its pipes are plain descriptors here; whoever wants to wait for
 * them makes streams of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct ty_process;

enum ty_stdio_kind {
    TY_STDIO_NULL,
    TY_STDIO_INHERIT,
    TY_STDIO_PIPE,
    TY_STDIO_FILE, /* standard input reads it, the others append to it */
};

struct ty_stdio {
    enum ty_stdio_kind kind;
    const char *path; /* of TY_STDIO_FILE */
};

struct ty_process_options {
    char **args;     /* NULL-terminated; the first is looked for in PATH */
    char **env;      /* "NAME=value", NULL-terminated; NULL: ours */
    const char *cwd; /* NULL: ours */
    struct ty_stdio stdio[3];
};

/* Runs once when the child has ended, from the loop, unless it was closed before. It may close it.
 */
typedef void ty_process_exit_fn(struct ty_process *process, void *arg);

/* Starts a child. NULL and a UV_E* code in `*status` if that fails (UV_ENOENT: no such program). */
struct ty_process *ty_process_spawn(uv_loop_t *loop, const struct ty_process_options *options,
                                    ty_process_exit_fn *exited, void *arg, int *status);

int ty_process_pid(const struct ty_process *process);

/* Our end of standard input, output, error (`index` 0, 1, 2), now the caller's; -1 if it is no pipe
 * or was taken already. */
int ty_process_take_pipe(struct ty_process *process, int index);

/* Whether it has ended, and if so with which code, by which signal (0: none). */
bool ty_process_ended(const struct ty_process *process, int64_t *code, int *signum);

/* 0, UV_ESRCH when it has ended, or another UV_E* code. */
int ty_process_kill(struct ty_process *process, int signum);

/* Kills the child if it still runs, reaps it from the loop, and frees. */
void ty_process_close(struct ty_process *process);
