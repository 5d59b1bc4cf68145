/* What a crash record looks like, and where in C it happened. Everything here is for the signal's
 * handler: no allocation, no locks of ours.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "tycho/clock.h"
#include "tycho/crash.h"

enum {
    CRASH_FRAMES_MAX = 32,
    CRASH_FRAME_MAX = 112,
    CRASH_RECORD_MAX = 4096, /* PIPE_BUF: also in a pipe it does not mix with others' lines */
};

/* What has been gathered. Zeroed before; strings are terminated at any time. */
struct crash_facts {
    int signal;
    bool is_fault;       /* `address` says where; else it was sent, by `sender` */
    bool is_stuck;       /* the master asks a silent worker where it is, and ends it */
    const void *address; /* that could not be used */
    int sender;
    char who[32], role[16], thread[16];
    char time[TY_RFC3339_MAX];
    char generation[TY_GENERATION_ID_LEN + 1];
    char route[128];
    char frames[CRASH_FRAMES_MAX][CRASH_FRAME_MAX]; /* innermost first */
    unsigned depth;                                 /* of the stack that `frames` shows */
    struct ty_crash_scripts scripts;
};

const char *crash_signal_name(int signal);

/* One record with its newline; returns its length, less than `size`. */
size_t crash_format_json(const struct crash_facts *facts, char *out, size_t size);
size_t crash_format_pretty(const struct crash_facts *facts, char *out, size_t size);

/* ---- backtrace.c */

/* Loads what is needed in the handler; from the loop's thread. */
void crash_backtrace_prepare(void);

/* Fills `frames` from where the signal struck, in the loop's thread. Names come from the dynamic
 * linker, which may wait for a lock. */
void crash_backtrace(struct crash_facts *facts, const void *context);

/* The same in any thread, and through modules that were loaded later, if that says more; but by the
 * compiler's unwinder, which takes locks and gives up on broken stacks by aborting. */
void crash_backtrace_again(struct crash_facts *facts, const void *context);
