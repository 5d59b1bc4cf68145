/* A process that the master starts: a worker or a trial.
 *
 * It is this program, executed again, with descriptors at known numbers and one environment
 * variable that says what it is for; everything else comes over its channel. It dies with
 * the master.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "tycho/channel.h"
#include "tycho/shm.h"

enum child_fd {
    CHILD_CHANNEL_FD = 3,
    CHILD_SHM_FD = 4,
    CHILD_LEDGER_FD = 5, /* tycho/sql_ledger.h */
    CHILD_LISTENER_FD = 6,
};
enum { CHILD_FDS_MAX = CHILD_LISTENER_FD + TY_SHM_SLOTS_MAX + 1 };

/* ---- the master's side */

struct child;

struct child_order {
    const char *role;  /* "web", "trial" */
    const char *title; /* what ps(1) shows */
    unsigned slot;     /* 0: none */
    int shm_fd, ledger_fd;
    const int *listeners;
    unsigned listener_count;
};

struct child_events {
    void (*message)(struct child *child, const char *json, size_t len, void *arg);
    /* It has ended and all its messages were heard. Once; the child is freed after it. */
    void (*ended)(struct child *child, int exit_code, int signal, void *arg);
    void *arg;
};

/* NULL: errno-like code in `status`; no event will come. */
struct child *ty_child_start(uv_loop_t *loop, const struct child_order *order,
                             const struct child_events *events, int *status);

/* Any program that will speak to us over its channel, such as another version of this one. */
struct child_program {
    const char *file;
    char **args, **env;
    const int *fds; /* what it gets as descriptor 0, 1, ...; negative: nothing. Its channel is
                     * CHILD_CHANNEL_FD, whatever is written there. */
    unsigned fd_count;
};

struct child *ty_child_run(uv_loop_t *loop, const struct child_program *program,
                           const struct child_events *events, int *status);

/* Our environment with `entry` ("NAME=value", taken over) in front, without what is this process's
 * own business; `with_manager`: what a service manager told us is passed on. */
char **ty_child_environment(char *entry, bool with_manager);
void ty_child_environment_free(char **list);

int ty_child_pid(const struct child *child);
struct ty_channel *ty_child_channel(struct child *child);
void ty_child_kill(struct child *child, int signal);

/* No event any more; the process is killed if it still runs. */
void ty_child_drop(struct child *child);
/* No event any more; the process lives on without us, and sees its channel end. */
void ty_child_release(struct child *child);

/* ---- the child's own side */

struct child_self {
    char role[8];
    unsigned slot;
    unsigned listener_count;
};

/* What this process was started for; false if it was started by somebody else. */
bool ty_child_self(struct child_self *self);

/* Once: dies with the master from now on, and hands nothing of this on to its own children. */
void ty_child_settle(const struct child_self *self);
