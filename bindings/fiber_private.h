/* What fiber.c (running, parking, waking) and fiber_api.c (what scripts call) share. */
#pragma once

#include "fiber.h"

struct ty_fiber {
    lua_State *co;
    int ref; /* keeps `co` from the collector */
    struct ty_fibers *set;
    struct ty_fiber *next, **prev; /* among the live; next also in the pool */

    struct ty_wait *wait;         /* NULL unless parked */
    struct ty_wait nap;           /* fiber.sleep() */
    struct ty_wait children_wait; /* until a child ends */
    uv_timer_t timer;             /* a fiber waits for one thing, so one timer is enough */
    uint64_t started_ms, parked_ms;
    uint64_t deadline_ms;  /* monotonic; 0: none */
    const char *cancelled; /* why; NULL unless it was */
    bool lasting;          /* an answer that goes on, or a child of one */
    unsigned shields;      /* nested fiber.shield() */
    unsigned refusals;     /* waits that failed at once */
    bool holding;          /* a transaction, and nobody was warned yet: see ty_fiber_warn() */
    struct ty_fiber_end *ends;

    struct ty_fiber *parent, *child, *sibling, **back;
    int context_ref; /* LUA_NOREF until somebody asks */
    int failure_ref; /* of the first child whose error nobody took */

    struct ty_budget budget;
    struct ty_budget *account; /* its own, or that of the eldest of its family */

    struct ty_tracing *tracing; /* NULL: nobody looks on */
    unsigned traced_as;         /* which of the request's fibers it is */

    const char *owner;
    void *request;
    ty_done_fn *done;
    void *arg;
};

struct ty_fibers {
    lua_State *L;
    struct ty_vm *vm;
    uv_loop_t *loop;
    struct ty_fiber *running;
    struct ty_fiber *live;
    struct ty_fiber *pool;
    size_t count, pooled, max;
    struct ty_series *refused;
    unsigned zeros;   /* waits that were over at once */
    uv_timer_t timer; /* delivers `idle` from the loop */
    void (*idle)(void *arg);
    void *idle_arg;
};

extern char ty_park_token;

struct ty_fibers *ty_fibers_of(lua_State *L);

/* Pushes nil and the error of one fiber too many, and counts it. */
int ty_fiber_refuse(lua_State *L);

/* Makes a context for a child of `parent`: a reference, or LUA_NOREF if the parent has none. */
int ty_fiber_derive_context(lua_State *L, struct ty_fiber *parent);

/* In development: a word in the log when a fiber that holds a transaction waits for something that
 * is not its database; once for each transaction. */
void ty_fiber_warn(lua_State *L, struct ty_fiber *fiber, const struct ty_wait *wait);
