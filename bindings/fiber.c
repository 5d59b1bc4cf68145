#include "fiber.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "cstack.h"
#include "error.h"
#include "fiber_private.h"
#include "profile.h"
#include "trace.h"
#include "tycho/clock.h"
#include "tycho/memory.h"
#include "tycho/metrics.h"
#include "vm.h"

enum { POOL_MAX = 256, REFUSALS_MAX = 1000, ZEROS_IN_A_ROW = 8 };

char ty_park_token; /* its address marks our yields, see tycho/coroutine.lua */

struct ty_fibers *ty_fibers_of(lua_State *L)
{
    return ty_vm_of(L)->fibers;
}

/* ---- a fiber's memory: the coroutine and the timer outlive the runs they serve */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void destroy(struct ty_fiber *fiber)
{
    luaL_unref(fiber->set->L, LUA_REGISTRYINDEX, fiber->ref);
    uv_close((uv_handle_t *)&fiber->timer, on_closed);
}

static struct ty_fiber *create(struct ty_fibers *set, lua_State *L)
{
    struct ty_fiber *fiber = set->pool;

    if (fiber) {
        set->pool = fiber->next;
        set->pooled--;
        return fiber;
    }

    lua_State *co = lua_newthread(L);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);

    fiber = ty_zalloc(sizeof(*fiber));
    fiber->co = co;
    fiber->ref = ref;
    fiber->set = set;
    uv_timer_init(set->loop, &fiber->timer);
    fiber->timer.data = fiber;
    return fiber;
}

/* A coroutine that raised cannot run again; one that returned can. */
static void release(struct ty_fiber *fiber, bool reusable)
{
    struct ty_fibers *set = fiber->set;

    if (!reusable || set->pooled >= POOL_MAX) {
        destroy(fiber);
        return;
    }
    lua_settop(fiber->co, 0);
    fiber->next = set->pool;
    set->pool = fiber;
    set->pooled++;
}

/* ---- the tree: who owns whom */

static void link_child(struct ty_fiber *parent, struct ty_fiber *child)
{
    child->parent = parent;
    child->sibling = parent->child;
    if (child->sibling)
        child->sibling->back = &child->sibling;
    child->back = &parent->child;
    parent->child = child;
}

static void unlink_child(struct ty_fiber *child)
{
    if (!child->parent)
        return;
    *child->back = child->sibling;
    if (child->sibling)
        child->sibling->back = child->back;
    child->parent = NULL;
}

/* Their owner ends: what was its is no longer theirs. */
static void stand_alone(struct ty_fiber *fiber)
{
    fiber->request = NULL;
    fiber->budget = *fiber->account;
    fiber->account = &fiber->budget;
    for (struct ty_fiber *child = fiber->child; child; child = child->sibling)
        stand_alone(child);
}

static void orphan_children(struct ty_fiber *fiber)
{
    while (fiber->child) {
        struct ty_fiber *child = fiber->child;

        unlink_child(child);
        stand_alone(child);
        ty_fiber_cancel(child, "its owner has ended");
    }
}

/* ---- running */

static void on_idle(uv_timer_t *timer)
{
    struct ty_fibers *set = timer->data;

    if (set->count == 0 && set->idle) {
        void (*idle)(void *) = set->idle;
        set->idle = NULL;
        idle(set->idle_arg);
    }
}

/* Ends the fiber; its results, or one error value, are on its stack. */
static void finish(struct ty_fiber *fiber, int status)
{
    struct ty_fibers *set = fiber->set;
    lua_State *co = fiber->co;

    orphan_children(fiber);
    while (fiber->ends) {
        struct ty_fiber_end *end = fiber->ends;
        ty_fiber_forget_end(end);
        end->run(end);
    }
    luaL_unref(co, LUA_REGISTRYINDEX, fiber->context_ref);
    if (status == 0 && fiber->failure_ref != LUA_NOREF) {
        lua_rawgeti(co, LUA_REGISTRYINDEX, fiber->failure_ref);
        status = LUA_ERRRUN;
    }
    luaL_unref(co, LUA_REGISTRYINDEX, fiber->failure_ref);
    uv_timer_stop(&fiber->timer);
    if (fiber->tracing)
        ty_trace_leave(fiber);

    *fiber->prev = fiber->next;
    if (fiber->next)
        fiber->next->prev = fiber->prev;
    set->count--;

    fiber->done(fiber, co, status, status ? 1 : lua_gettop(co), fiber->arg);
    unlink_child(fiber);
    release(fiber, status == 0);
    if (set->count == 0 && set->idle)
        uv_timer_start(&set->timer, on_idle, 0, 0);
}

/* Tells the master, in shared memory, what this worker is running (NULL: nothing) and holds. */
static void show(struct ty_fibers *set, const char *owner)
{
    struct ty_slot *slot = set->vm->env->slot;

    ty_crash_vm = owner ? set->vm : NULL;
    if (!slot)
        return;
    if (owner) {
        memccpy(slot->running, owner, '\0', sizeof(slot->running) - 1);
        return;
    }
    slot->running[0] = '\0';
    atomic_store_explicit(&slot->fibers, (uint32_t)set->count, memory_order_relaxed);
    atomic_store_explicit(&slot->script_bytes, set->vm->bytes, memory_order_relaxed);
}

static const char *doom(const struct ty_fiber *fiber, enum ty_error_kind *kind);

/* It yielded, and not to wait for something. */
static void push_misuse(struct ty_fiber *fiber)
{
    enum ty_error_kind kind;
    const char *why = doom(fiber, &kind);

    if (why)
        ty_push_error(fiber->co, kind, NULL, "%s, and the fiber went on trying to wait", why);
    else
        lua_pushliteral(fiber->co, "coroutine.yield() outside a coroutine");
}

/* Runs the fiber until it parks (true) or ends. Its stack holds `nargs` values to pass in. */
static bool run(struct ty_fiber *fiber, int nargs)
{
    struct ty_fibers *set = fiber->set;
    struct ty_fiber *outer = set->running;

    if (!outer)
        show(set, fiber->owner);
    set->running = fiber;
    if (fiber->tracing)
        ty_trace_run(fiber);
    bool is_slice = ty_guard_enter(set->vm, fiber->account);
    int status = lua_resume(fiber->co, nargs);
    if (is_slice)
        ty_guard_leave(set->vm, fiber->account);
    if (ty_vm_is_armed(set->vm, TY_HOOK_SAMPLE))
        ty_profile_settle(fiber->co, set->vm, fiber->owner);
    if (fiber->tracing)
        ty_trace_ran(fiber);
    set->running = outer;
    if (!outer)
        show(set, NULL);

    bool parked = status == LUA_YIELD && fiber->wait;
    if (parked) {
        lua_pop(fiber->co, 1); /* the park token */
    } else if (status == LUA_YIELD) {
        push_misuse(fiber);
        finish(fiber, LUA_ERRRUN);
    } else {
        finish(fiber, status);
    }
    if (!outer)
        ty_vm_relieve(set->vm); /* last: the fiber's stack may have held what is too much */
    return parked;
}

static void prepare(struct ty_fiber *fiber, const struct ty_fiber_options *options,
                    struct ty_fiber *parent)
{
    struct ty_fibers *set = fiber->set;
    uint64_t now = uv_now(set->loop); /* of this turn of the loop: exact enough, and free */

    fiber->owner = options->owner;
    fiber->request = options->request;
    fiber->done = options->done;
    fiber->arg = options->arg;
    fiber->started_ms = now;
    fiber->deadline_ms = options->timeout_ms ? now + options->timeout_ms : 0;
    fiber->cancelled = NULL;
    fiber->lasting = options->lasting || (parent && parent->lasting);
    fiber->shields = 0;
    fiber->refusals = 0;
    fiber->holding = false;
    fiber->ends = NULL;
    fiber->wait = NULL;
    fiber->child = NULL;
    fiber->parent = NULL;
    fiber->failure_ref = LUA_NOREF;
    fiber->budget = set->vm->allowance;
    if (fiber->budget.slice_max_ms && options->slice_max_ms)
        fiber->budget.slice_max_ms = options->slice_max_ms;
    if (options->cpu_max_ms)
        fiber->budget.cpu_max_ms = options->cpu_max_ms;
    fiber->account = parent ? parent->account : &fiber->budget;

    fiber->tracing = parent ? parent->tracing : options->tracing;
    if (fiber->tracing)
        ty_trace_join(fiber, parent);

    if (parent) {
        link_child(parent, fiber);
        if (!fiber->request)
            fiber->request = parent->request;
        if (parent->deadline_ms &&
            (!fiber->deadline_ms || parent->deadline_ms < fiber->deadline_ms))
            fiber->deadline_ms = parent->deadline_ms;
    }

    fiber->next = set->live;
    if (fiber->next)
        fiber->next->prev = &fiber->next;
    fiber->prev = &set->live;
    set->live = fiber;
    set->count++;
}

int ty_fiber_refuse(lua_State *L)
{
    ty_counter_add(ty_fibers_of(L)->refused, 1);
    if (!ty_cstack_has_room())
        return ty_push_error(L, TY_ERR_UNAVAILABLE, "NESTED",
                             "stack overflow: fibers that start each other without a wait");
    return ty_push_error(L, TY_ERR_UNAVAILABLE, "FIBERS", "too many fibers (lua.fibers_max)");
}

struct ty_fiber *ty_fiber_start(lua_State *L, int nargs, const struct ty_fiber_options *options)
{
    struct ty_fibers *set = ty_fibers_of(L);
    struct ty_fiber *parent = options->detached ? NULL : set->running;
    bool full = set->count >= set->max || !ty_cstack_has_room();
    int context = LUA_NOREF;

    /* What may throw comes first. */
    if (full) {
        lua_pop(L, nargs + 1);
        nargs = ty_fiber_refuse(L) - 1;
    } else if (parent) {
        context = ty_fiber_derive_context(L, parent);
    }
    struct ty_fiber *fiber = create(set, L);

    prepare(fiber, options, parent);
    fiber->context_ref = context;
    lua_xmove(L, fiber->co, nargs + 1);
    if (full) {
        finish(fiber, LUA_ERRRUN);
        return NULL;
    }
    return run(fiber, nargs) ? fiber : NULL;
}

/* ---- parking and waking */

/* Must the fiber stop waiting, and why? */
static const char *doom(const struct ty_fiber *fiber, enum ty_error_kind *kind)
{
    if (fiber->shields)
        return NULL;
    if (fiber->cancelled) {
        *kind = TY_ERR_CANCELLED;
        return fiber->cancelled;
    }
    if (fiber->deadline_ms && ty_now_ms() >= fiber->deadline_ms) {
        *kind = TY_ERR_TIMEOUT;
        return "deadline exceeded";
    }
    return NULL;
}

/* Parts the fiber from what it waits for. */
static struct ty_wait *unpark(struct ty_fiber *fiber)
{
    struct ty_wait *wait = fiber->wait;

    assert(wait);
    fiber->wait = NULL;
    wait->fiber = NULL;
    uv_timer_stop(&fiber->timer);
    return wait;
}

struct resumption {
    struct ty_fiber *fiber;
    ty_push_fn *push;
    void *arg;
    int count;
};

static int push_results(lua_State *L)
{
    struct resumption *r = lua_touserdata(L, 1);

    r->count = r->push(L, r->arg);
    assert(r->count < LUA_MINSTACK);
    lua_xmove(L, r->fiber->co, r->count);
    return 0;
}

/* Results are built on the main state under a protected call, and only then moved over: an
 * error while building them must not unwind through libuv. It goes to the fiber, which unwinds:
 * what it has open ends as it would for any other error. */
static void resume(struct ty_fiber *fiber, ty_push_fn *push, void *arg)
{
    lua_State *L = fiber->set->L;
    struct resumption r = {.fiber = fiber, .push = push, .arg = arg};
    int status = lua_cpcall(L, push_results, &r);

    if (status) {
        lua_pushnil(L);
        lua_insert(L, -2);
        lua_xmove(L, fiber->co, 2);
        r.count = 2;
    }
    run(fiber, r.count);
}

void ty_wake(struct ty_wait *wait, ty_push_fn *push, void *arg)
{
    struct ty_fiber *fiber = wait->fiber;

    if (!fiber)
        return; /* it gave up */
    unpark(fiber);
    resume(fiber, push, arg);
}

struct refusal {
    enum ty_error_kind kind;
    const char *message;
};

static int push_refusal(lua_State *L, void *arg)
{
    struct refusal *refusal = arg;
    return ty_push_error(L, refusal->kind, NULL, "%s", refusal->message);
}

int ty_push_nothing(lua_State *L, void *arg)
{
    (void)L, (void)arg;
    return 0;
}

void ty_cancel_nothing(struct ty_wait *wait)
{
    (void)wait;
}

static void on_timer(uv_timer_t *timer)
{
    struct ty_fiber *fiber = timer->data;

    if (!fiber->wait)
        return;

    struct refusal refusal = {TY_ERR_TIMEOUT, "timed out"};
    const char *why = doom(fiber, &refusal.kind);
    bool slept = !why && fiber->wait == &fiber->nap;
    struct ty_wait *wait = unpark(fiber);

    if (why)
        refusal.message = why;
    wait->cancel(wait);
    resume(fiber, slept ? ty_push_nothing : push_refusal, &refusal);
}

void ty_fiber_cancel(struct ty_fiber *fiber, const char *why)
{
    if (!fiber->cancelled)
        fiber->cancelled = why;
    /* From the loop, not from here: the caller may be in the middle of something. */
    if (fiber->wait && !fiber->shields)
        uv_timer_start(&fiber->timer, on_timer, 0, 0);
}

/* Ends the wait when the first limit is reached. */
static void start_timer(struct ty_fiber *fiber, double timeout)
{
    uint64_t now = ty_now_ms();
    uint64_t limit = UINT64_MAX;

    if (timeout >= 0)
        limit = timeout > 1e9 ? (uint64_t)1e12 : (uint64_t)(timeout * 1000 + 0.5);
    if (fiber->deadline_ms && !fiber->shields) {
        uint64_t left = fiber->deadline_ms > now ? fiber->deadline_ms - now : 0;
        if (left < limit)
            limit = left;
    }
    /* The loop runs timers that are due at once until there are no more of them; one that is due a
     * little later lets it look at the network in between. */
    if (limit == 0 && ++fiber->set->zeros % ZEROS_IN_A_ROW == 0)
        limit = 1;
    if (limit != UINT64_MAX) {
        uv_update_time(fiber->set->loop);
        uv_timer_start(&fiber->timer, on_timer, limit, 0);
    }
}

int ty_park(lua_State *L, struct ty_wait *wait, ty_cancel_fn *cancel, double timeout)
{
    struct ty_fiber *fiber = ty_fibers_of(L)->running;
    enum ty_error_kind kind;
    const char *why = doom(fiber, &kind);

    wait->cancel = cancel;
    if (why) {
        wait->fiber = NULL;
        cancel(wait);
        if (++fiber->refusals <= REFUSALS_MAX)
            return ty_push_error(L, kind, NULL, "%s", why);
        lua_pushlightuserdata(L, &ty_park_token); /* for good */
        return lua_yield(L, 1);
    }

    if (fiber->holding)
        ty_fiber_warn(L, fiber, wait);
    fiber->wait = wait;
    wait->fiber = fiber;
    fiber->parked_ms = ty_now_ms();
    start_timer(fiber, timeout);

    lua_pushlightuserdata(L, &ty_park_token);
    return lua_yield(L, 1);
}

/* ---- what ends with a fiber */

void ty_fiber_at_end(lua_State *L, struct ty_fiber_end *end)
{
    struct ty_fiber *fiber = ty_fibers_of(L)->running;

    end->next = fiber->ends;
    if (end->next)
        end->next->prev = &end->next;
    end->prev = &fiber->ends;
    fiber->ends = end;
}

void ty_fiber_forget_end(struct ty_fiber_end *end)
{
    if (!end->prev)
        return;
    *end->prev = end->next;
    if (end->next)
        end->next->prev = end->prev;
    end->prev = NULL;
}

/* ---- asking */

struct ty_fiber *ty_fiber_running(lua_State *L)
{
    return ty_fibers_of(L)->running;
}

const char *ty_fiber_owner(const struct ty_fiber *fiber)
{
    return fiber->owner;
}

struct ty_budget *ty_fiber_budget(const struct ty_fiber *fiber)
{
    return fiber->account;
}

void *ty_fiber_request(lua_State *L)
{
    struct ty_fiber *fiber = ty_fiber_running(L);
    return fiber ? fiber->request : NULL;
}

uv_loop_t *ty_fiber_loop(lua_State *L)
{
    struct ty_fibers *set = ty_fibers_of(L);

    if (!set->running)
        ty_fiber_blame(L, "cannot wait here: not in a fiber (is this the top level of a script?)");
    if (!lua_isyieldable(L))
        ty_fiber_blame(L, "cannot wait here: called back from C (table.sort, string.gsub, "
                          "require)");
    return set->loop;
}

/* ---- all fibers of a state */

struct ty_fibers *ty_fibers_new(lua_State *L, uv_loop_t *loop, size_t max)
{
    static const struct ty_metric refused = {"tycho_fibers_refused_total",
                                             "Fibers not started because there were too many.",
                                             TY_COUNTER, NULL, 0};
    struct ty_fibers *set = ty_zalloc(sizeof(*set));

    set->L = L;
    set->vm = ty_vm_of(L);
    set->loop = loop;
    set->max = max;
    set->refused = ty_metrics_series(&refused, NULL);
    uv_timer_init(loop, &set->timer);
    set->timer.data = set;
    return set;
}

void ty_fibers_free(struct ty_fibers *set)
{
    assert(set->count == 0);
    while (set->pool) {
        struct ty_fiber *fiber = set->pool;
        set->pool = fiber->next;
        destroy(fiber);
    }
    uv_close((uv_handle_t *)&set->timer, on_closed);
}

size_t ty_fibers_count(const struct ty_fibers *set)
{
    return set->count;
}

void ty_fibers_cancel(struct ty_fibers *set, bool lasting, const char *why)
{
    for (struct ty_fiber *fiber = set->live; fiber; fiber = fiber->next)
        if (fiber->lasting == lasting)
            ty_fiber_cancel(fiber, why);
}

void ty_fibers_on_idle(struct ty_fibers *set, void (*idle)(void *arg), void *arg)
{
    set->idle = idle;
    set->idle_arg = arg;
    if (set->count == 0)
        uv_timer_start(&set->timer, on_idle, 0, 0);
}
