/* Crash evidence: what a process that dies of a fatal signal leaves in the log.
 *
 * One record, written by the signal's handler on a stack of its own with one write(2): which
 * signal, at which address, what was running, where in C and where in Lua. No memory is
 * allocated and no lock is taken on the way. Gathering may itself fault (the process is broken,
 * after all) or hang (in a lock that the dead code held): what has been gathered until then is
 * written, the rest left out. Then the signal does what it does by default, so that the parent
 * sees the process die of it.
 *
 * In programs built with a sanitizer nothing is installed: those report for themselves.
 *
 * A crash is a process-wide matter, and so is this module.
 */
#pragma once

#include <stdbool.h>

#include "tycho/shm.h"

enum {
    TY_CRASH_STACK_MAX = 1024,
    TY_CRASH_REQUEST_MAX = 65,
};

/* What the script engine knows. Strings must be terminated after each step of filling them: what is
 * there when it goes wrong is used. */
struct ty_crash_scripts {
    char request_id[TY_CRASH_REQUEST_MAX];
    char stack[TY_CRASH_STACK_MAX]; /* lines, innermost first; each with a newline */
};

/* Runs in the handler, if that interrupted the thread which called ty_crash_open(). May fault. */
typedef void ty_crash_scripts_fn(struct ty_crash_scripts *out);

struct ty_crash_options {
    const char *who;              /* "web worker 2"; copied */
    const char *role;             /* "web", as in the log's other records; copied */
    const struct ty_slot *slot;   /* for generation and route; NULL: none */
    ty_crash_scripts_fn *scripts; /* NULL: no scripts */
};

/* From the loop's thread, once the process knows who it is. A second call replaces the options. */
void ty_crash_open(const struct ty_crash_options *options);

/* Whether this process may leave a core file, and its user may look into it (/proc/PID/environ,
 * a debugger): a core holds every secret that the process has. `false` also binds what it
 * starts later. */
void ty_crash_allow_cores(bool allowed);
