/* Fibers: the only place where a coroutine is suspended or resumed.
 *
 * A fiber is a Lua coroutine that the loop may resume. Handlers, tasks and tests each run in
 * one. A binding that has to wait starts its operation and returns ty_park(); the operation's
 * callback calls ty_wake(). Deadlines and cancellation live here, so bindings have neither.
 *
 *      running --ty_park()--> parked --ty_wake()----> running
 *                                \----deadline------> running, with nil, timeout error
 *                                 \---cancel--------> running, with nil, cancelled error
 *
 * In the last two cases the operation is cancelled and loses its fiber; its callback still
 * runs, calls ty_wake() as usual (now a no-op) and frees its memory. A fiber whose deadline has
 * passed or that was cancelled cannot wait again (except under fiber.shield): each further
 * ty_park() fails at once with the same error, so that a script which swallows it still ends. One
 * that goes on trying for ever is ended where it stands.
 *
 * Finished coroutines are pooled: starting a fiber allocates nothing in the steady state.
 */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "guard.h"
#include "tycho/buffer.h"

struct ty_fiber;
struct ty_span;
struct ty_tracing;
struct ty_wait;

/* Asks the operation to end early. Its callback must still run, later. */
typedef void ty_cancel_fn(struct ty_wait *wait);

/* Pushes what the parked call returns and says how many values that is. May throw. */
typedef int ty_push_fn(lua_State *L, void *arg);

/* Runs when the fiber ends, from the loop. `status` is 0 and its `count` results, or not 0 and one
 * error value, are on top of `co`; after an error the stack of `co` is still there for
 * luaL_traceback(). Must not throw. */
typedef void ty_done_fn(struct ty_fiber *fiber, lua_State *co, int status, int count, void *arg);

/* For waits with nothing to cancel, and nothing to return. */
void ty_cancel_nothing(struct ty_wait *wait);
int ty_push_nothing(lua_State *L, void *arg);

/* What a fiber waits for. First member of a binding's request struct. */
struct ty_wait {
    struct ty_fiber *fiber; /* NULL once nobody waits any more */
    ty_cancel_fn *cancel;
    const char *what;     /* for `tycho ps`: "sleep", "db default"; static or NULL */
    struct ty_span *span; /* for `tycho trace` (trace.h): it lasts as long as that; mostly NULL */
};

struct ty_fiber_options {
    const char *owner;   /* for whom, in `tycho ps`: "GET /orders"; must outlive the fiber */
    void *request;       /* for ty_fiber_request(); NULL: the running fiber's */
    uint64_t timeout_ms; /* the fiber's deadline; 0: none but the running fiber's */
    /* What it may use up, its children included: see guard.h. 0: as lua.slice_max and lua.cpu_max
     * say. A child uses its owner's. */
    uint32_t slice_max_ms, cpu_max_ms;
    struct ty_tracing *tracing; /* trace.h; NULL: the running fiber's, if this is its child */
    bool detached; /* not a child of the running fiber: outlives it, inherits nothing */
    bool lasting;  /* it, and its children: see ty_fibers_cancel() */
    ty_done_fn *done;
    void *arg;
};

/* Pops `nargs` arguments and the function below them from L and runs it in a new fiber of L's
 * state until it first waits. Returns NULL if it has ended already (then `done` has run), also when
 * there are too many fibers: then `done` has run with an error. A fiber started by a fiber is its
 * child: it gets its request, context and deadline, and is cancelled when its owner ends. */
struct ty_fiber *ty_fiber_start(lua_State *L, int nargs, const struct ty_fiber_options *options);

/* The owner has lost interest: the current wait is cancelled and raises, kind "cancelled". Safe at
 * any time until `done` has run; not from inside the fiber itself. `why` is a static string. */
void ty_fiber_cancel(struct ty_fiber *fiber, const char *why);

/* Something that must be over when the running fiber is: `run` is called then, whatever the end.
 * Memory of the caller, who forgets it first when it goes away earlier. */
struct ty_fiber_end {
    void (*run)(struct ty_fiber_end *end);
    struct ty_fiber_end *next, **prev;
};
void ty_fiber_at_end(lua_State *L, struct ty_fiber_end *end);
void ty_fiber_forget_end(struct ty_fiber_end *end);

/* Raises a message that begins with the innermost line of the application in L, if there is one. */
int ty_fiber_blame(lua_State *L, const char *message);

/* The fiber that is running, NULL outside of any. */
struct ty_fiber *ty_fiber_running(lua_State *L);

const char *ty_fiber_owner(const struct ty_fiber *fiber);
/* What it and its family may use up, and have. */
struct ty_budget *ty_fiber_budget(const struct ty_fiber *fiber);

/* "scripts/app/orders.lua:12": the innermost line of the application in `co`, else any Lua line. */
void ty_fiber_line(lua_State *co, char *out, size_t size);

/* Which request is this? The pointer given at the start, also in children; NULL once the fiber that
 * it was given to has ended. */
void *ty_fiber_request(lua_State *L);

/* The loop of the calling fiber. Throws unless L may park: call it before starting anything. */
uv_loop_t *ty_fiber_loop(lua_State *L);

/* Suspends the calling fiber until ty_wake(), at most `timeout` seconds (no limit of its own if
 * negative). Always the last thing a binding does: `return ty_park(...)`. */
int ty_park(lua_State *L, struct ty_wait *wait, ty_cancel_fn *cancel, double timeout);

/* Resumes the fiber parked on `wait` with what `push(L, arg)` leaves. Call exactly once per
 * ty_park(), from the loop, never from inside the start call; `wait` and `arg` stay the caller's.
 */
void ty_wake(struct ty_wait *wait, ty_push_fn *push, void *arg);

/* ------------------------------------------------------------- for bindings/vm.c and engine.c */

struct ty_fibers; /* all fibers of one Lua state */

struct ty_fibers *ty_fibers_new(lua_State *L, uv_loop_t *loop, size_t max);
void ty_fibers_free(struct ty_fibers *set); /* none may be left */
size_t ty_fibers_count(const struct ty_fibers *set);
/* Cancels those that were started as lasting, or those that were not. */
void ty_fibers_cancel(struct ty_fibers *set, bool lasting, const char *why);
/* Calls `idle(arg)` from the loop, once, when the last fiber has ended (soon, if there is none). */
void ty_fibers_on_idle(struct ty_fibers *set, void (*idle)(void *arg), void *arg);
/* Adds a JSON array: owner, request, age, what each waits for and how long, seconds to the
 * deadline, Lua line; with `stacks` all Lua lines, innermost first. Only so many fit: the last
 * element is {"omitted":n} when there are more. */
void ty_fibers_describe(struct ty_fibers *set, bool stacks, struct ty_buf *out);
