/* The runaway guard: no script holds its worker's loop for long.
 *
 * A slice is one uninterrupted stretch of Lua: from where the loop resumes a fiber until that
 * waits or ends. Beginning and ending one writes a few words of memory, and nothing else. A
 * watchdog thread looks at them a hundred times a second; when it meets the same slice for too
 * long it signals the loop's thread, whose handler arms a count hook (the only part of Lua's
 * API that a signal handler may call). The hook then runs in Lua, also out of compiled loops
 * and out of the library's own long loops (tools/luajit-poll.patch):
 *
 *      slice_warn   notes the line, for the log, `tycho lag` and the master; disarms itself
 *      slice_max    raises, and stays armed until the slice has ended: no pcall keeps the script
 *
 * The clock is the watchdog's own: a process that was stopped, or a machine that was suspended,
 * has not been running scripts meanwhile. Every tick that meets a slice also counts against the
 * whole of what its request may run (lua.cpu_max): sampled, and therefore free. When that is used
 * up, the next slice is stopped at its first instruction.
 *
 * What no hook reaches - a C function that never returns, Lua in a finalizer - is the master's
 * business: see host.heartbeat_timeout.
 */
#pragma once

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tycho/config.h"

struct ty_vm;

enum { TY_GUARD_UNLIMITED = 0 };

/* What a fiber's scripts may use up, those of its children included. */
struct ty_budget {
    uint32_t slice_max_ms; /* TY_GUARD_UNLIMITED: no guard for this fiber */
    uint32_t cpu_max_ms;
    uint32_t cpu_ms; /* used so far */
};

/* Written by the loop's thread, read by the watchdog, but for `hits`. One in a process. */
struct ty_guard {
    _Atomic uint32_t slice; /* odd: scripts are running */
    _Atomic uint32_t max_ms;
    _Atomic(struct ty_vm *) vm;
    _Atomic uint32_t hits_ms; /* the watchdog's: time in slices since the last settlement */
};
extern struct ty_guard ty_guard;

/* Starts the watchdog of this process; again: nothing but ty_guard_configure(). All three from the
 * loop's thread. */
void ty_guard_open(const struct ty_config *config);
void ty_guard_configure(const struct ty_config *config); /* lua.slice_warn */
void ty_guard_close(void);

/* The rare part of ty_guard_enter(): nothing is left, so the slice ends where it begins. */
void ty_guard_exhaust(struct ty_vm *vm);

/* The rare part of ty_guard_leave(). */
void ty_guard_settle(struct ty_vm *vm, struct ty_budget *budget);

static inline uint32_t ty_budget_left(const struct ty_budget *budget)
{
    uint32_t left = budget->cpu_max_ms - budget->cpu_ms;

    return left < budget->slice_max_ms ? left : budget->slice_max_ms;
}

/* A slice begins. False if one is under way: what runs inside of it is part of it. */
static inline bool ty_guard_enter(struct ty_vm *vm, const struct ty_budget *budget)
{
    uint32_t slice = atomic_load_explicit(&ty_guard.slice, memory_order_relaxed);

    if (slice & 1 || budget->slice_max_ms == TY_GUARD_UNLIMITED)
        return false;
    uint32_t left = ty_budget_left(budget);

    atomic_store_explicit(&ty_guard.vm, vm, memory_order_relaxed);
    atomic_store_explicit(&ty_guard.max_ms, left, memory_order_relaxed);
    atomic_store_explicit(&ty_guard.slice, slice + 1, memory_order_release);
    if (left == 0)
        ty_guard_exhaust(vm);
    return true;
}

/* It is over; only if ty_guard_enter() said true. */
static inline void ty_guard_leave(struct ty_vm *vm, struct ty_budget *budget)
{
    uint32_t slice = atomic_load_explicit(&ty_guard.slice, memory_order_relaxed);

    atomic_store_explicit(&ty_guard.slice, slice + 1, memory_order_release);
    if (atomic_load_explicit(&ty_guard.hits_ms, memory_order_relaxed))
        ty_guard_settle(vm, budget);
}

/* What the hook does for the guard (bindings/vm.c); may raise. */
void ty_guard_hook(lua_State *L, struct ty_vm *vm);
