/* Where a thread's CPU time goes, by sampling it.
 *
 * A timer on the thread's CPU clock sends it a signal; the handler takes the C backtrace into a
 * ring and asks its caller whether scripts are running. Whoever started the sampling empties the
 * ring when it can say which Lua lines belong to what is in it: see bindings/profile.c. Time spent
 * waiting is no CPU time and is not seen. While nobody samples there is no timer and no cost.
 *
 * The kernel looks at such timers when its own clock ticks, mostly 250 times a second: what was
 * asked for beyond that arrives as samples that weigh more.
 *
 * LuaJIT's own profiler is not used: there can be one in a process, for one state, it recompiles
 * everything when it starts and again when it ends, and it sees no C.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TY_PROFILE_DEPTH = 48 };

struct ty_sample {
    uint32_t weight; /* periods it stands for */
    bool in_script;
    unsigned depth;
    uintptr_t stack[TY_PROFILE_DEPTH]; /* innermost first */
};

/* In the signal handler: do scripts run? Must be safe there. */
typedef bool ty_profile_ask_fn(void);

/* Samples the calling thread `hz` times a second of its CPU time. One at a time in a process. 0, or
 * a negative errno: -EBUSY. */
int ty_profile_start(unsigned hz, ty_profile_ask_fn *in_script);

/* The oldest sample that has not been taken; false: none. */
bool ty_profile_take(struct ty_sample *out);

/* How many periods were lost because nobody took samples. */
uint64_t ty_profile_lost(void);

/* No sample comes any more; those in the ring are dropped. */
void ty_profile_stop(void);
