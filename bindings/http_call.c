/* A request's way through Lua: from the server to a fiber and back, and what happens to errors. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "closed.h"
#include "error.h"
#include "http.h"
#include "trace.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { POOL_MAX = 256 };

const struct ty_responder ty_server_responder = {
    .respond = ty_request_respond,
    .begin = ty_request_begin,
    .write = ty_request_write,
    .end = ty_request_end,
};

/* ---- calls */

static struct ty_call *call_new(struct ty_generation *gen, struct ty_request *req)
{
    struct ty_call *call = gen->pool;
    int anchor = LUA_NOREF;

    if (call) {
        gen->pool = call->next;
        gen->pooled--;
        anchor = call->anchor;
    } else {
        call = ty_zalloc(sizeof(*call));
    }
    *call = (struct ty_call){.req = req,
                             .gen = gen,
                             .anchor = anchor,
                             .to = req->conn ? &ty_server_responder : &ty_simulated_responder};
    req->data = call;
    return call;
}

void ty_call_free(struct ty_call *call)
{
    struct ty_generation *gen = call->gen;

    if (call->tracing)
        ty_trace_finish(call);
    ty_expire_request(gen->vm->L, call);
    if (gen->pooled >= POOL_MAX) {
        if (call->anchor != LUA_NOREF)
            gen->calls[call->anchor] = NULL;
        luaL_unref(gen->vm->L, LUA_REGISTRYINDEX, call->anchor);
        free(call);
        return;
    }
    call->next = gen->pool;
    gen->pool = call;
    gen->pooled++;
}

void ty_generation_forget_calls(struct ty_generation *gen)
{
    while (gen->pool) {
        struct ty_call *call = gen->pool;
        gen->pool = call->next;
        free(call);
    }
    free(gen->calls);
}

/* ---- what goes wrong */

/* Calls what is above its three arguments, outside of any fiber: an error handler is a script, and
 * so is what makes text of an error. */
static int call_guarded(struct ty_vm *vm, lua_State *L, int results)
{
    struct ty_budget budget = vm->allowance;
    bool is_slice = ty_guard_enter(vm, &budget);
    int status = lua_pcall(L, 3, results, 0);

    if (is_slice)
        ty_guard_leave(vm, &budget);
    return status;
}

/* Logs the error on top of L, which stays; `co`, unless NULL, is where it was raised. */
static void report(struct ty_call *call, lua_State *co)
{
    lua_State *L = call->gen->vm->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, call->gen->log_failure_ref);
    lua_pushlightuserdata(L, call);
    lua_pushlightuserdata(L, co);
    lua_pushvalue(L, -4);
    if (call_guarded(call->gen->vm, L, 0))
        lua_pop(L, 1);
}

void ty_call_log_failure(struct ty_call *call, lua_State *co)
{
    lua_State *L = call->gen->vm->L;

    if (call->req->aborted)
        return;
    lua_xmove(co, L, 1);
    report(call, co);
    lua_pop(L, 1);
}

/* Pushes the kind of the error object on top of L: text, or nil. */
static void push_kind(lua_State *L)
{
    lua_pushliteral(L, "kind");
    lua_rawget(L, -2);
    if (lua_type(L, -1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

bool ty_call_was_cancelled(lua_State *co)
{
    if (!ty_is_error(co, -1))
        return false;
    push_kind(co);
    const char *kind = lua_tostring(co, -1);
    bool was = kind && strcmp(kind, "cancelled") == 0;
    lua_pop(co, 1);
    return was;
}

/* Is the error on top of L one that the application meant? Bugs and 5xx are logged. */
static bool is_expected(lua_State *L)
{
    if (!ty_is_error(L, -1))
        return false;
    push_kind(L);
    const char *kind = lua_tostring(L, -1);
    bool internal = !kind || strcmp(kind, "internal") == 0 || strcmp(kind, "unknown_outcome") == 0;
    lua_pop(L, 1);
    return !internal;
}

static void set_error_kind(lua_State *L, struct ty_request *req)
{
    static const char *const kinds[] = {
#define X(name, kind, http) kind,
        TY_ERRORS(X)
#undef X
    };

    req->error_kind = "internal";
    if (!ty_is_error(L, -1))
        return;
    push_kind(L);
    const char *kind = lua_tostring(L, -1);
    for (size_t i = 0; kind && i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            req->error_kind = kinds[i];
    lua_pop(L, 1);
}

static bool answer(struct ty_call *call);

struct failure {
    struct ty_call *call;
    lua_State *co; /* where it was raised, or NULL */
    bool finished;
};

static void push_error_handler(lua_State *L, struct failure *failure, int error)
{
    struct ty_generation *gen = failure->call->gen;

    lua_rawgeti(L, LUA_REGISTRYINDEX, gen->handlers[TY_HANDLER_ERROR]);
    lua_pushvalue(L, error);
    lua_rawgeti(L, LUA_REGISTRYINDEX, failure->call->anchor);
    if (gen->vm->env->development && failure->co)
        luaL_traceback(L, failure->co, NULL, 0);
    else
        lua_pushnil(L);
}

static void give_up(struct ty_call *call)
{
    if (call->streaming) {
        call->gen->streams--;           /* its fiber did not start */
        call->to->end(call->req, true); /* too late for another answer */
    } else {
        ty_answer_builtin_error(call);
    }
}

int ty_call_answer_error(lua_State *L)
{
    struct failure *failure = lua_touserdata(L, 1);
    struct ty_call *call = failure->call;

    set_error_kind(L, call->req);
    if (!call->req->aborted) { /* else nobody hears it */
        if (!is_expected(L))
            report(call, failure->co);
        if (call->gen->handlers[TY_HANDLER_ERROR] != LUA_NOREF && !call->failing &&
            !call->streaming) {
            call->failing = true;
            push_error_handler(L, failure, 2);
            if (call_guarded(call->gen->vm, L, 1) == 0) {
                failure->finished = answer(call);
                return 0;
            }
            report(call, NULL);
        }
    }
    give_up(call);
    return 0;
}

/* Answers with what the application makes of the error on top of L (popped), or the built-in
 * 500. Protected, because memory may be what is missing. Returns as answer(). */
static bool answer_error(struct ty_call *call, lua_State *co)
{
    lua_State *L = call->gen->vm->L;
    struct failure failure = {call, co, true};

    lua_rawgeti(L, LUA_REGISTRYINDEX, call->gen->answer_error_ref);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, &failure);
    lua_insert(L, -2);
    if (lua_pcall(L, 2, 0, 0)) {
        lua_pop(L, 1);
        give_up(call);
    }
    return failure.finished;
}

/* Sends the result on top of L (popped). False if the answer goes on in a fiber of its own, which
 * frees the call. */
static bool answer(struct ty_call *call)
{
    struct ty_generation *gen = call->gen;
    lua_State *L = gen->vm->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, gen->answer_ref);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, call);
    lua_insert(L, -2);
    if (lua_pcall(L, 2, 1, 0) == 0) {
        bool streaming = lua_toboolean(L, -1);
        lua_pop(L, 1);
        return !streaming;
    }
    return answer_error(call, NULL);
}

/* ---- from request to fiber and back */

static void on_handled(struct ty_fiber *fiber, lua_State *co, int status, int count, void *arg)
{
    struct ty_call *call = arg;
    lua_State *L = call->gen->vm->L;
    bool finished;

    (void)fiber;
    call->fiber = NULL;
    if (status == 0 && count == 1 && ty_answer_text(call, co)) {
        ty_call_free(call);
        return;
    }
    if (count == 0) {
        lua_pushnil(L);
    } else {
        if (count > 1)
            lua_pop(co, count - 1);
        lua_xmove(co, L, 1);
    }
    finished = status ? answer_error(call, co) : answer(call);
    if (finished)
        ty_call_free(call);
}

static void on_abort(struct ty_request *req)
{
    struct ty_call *call = req->data;

    if (call->fiber)
        ty_fiber_cancel(call->fiber, "the client is gone");
}

static void on_drain(struct ty_request *req)
{
    struct ty_call *call = req->data;
    ty_wake(&call->drain, ty_push_nothing, NULL);
}

/* start(call): runs the handler in a fiber. Protected, because building the request allocates. */
int ty_call_start(lua_State *L)
{
    struct ty_call *call = lua_touserdata(L, 1);
    struct ty_request *req = call->req;
    struct ty_route *route = req->match.route;
    struct ty_fiber_options options = {.owner = "unmatched",
                                       .request = req,
                                       .detached = true,
                                       .timeout_ms = call->gen->request_timeout_ms,
                                       .done = on_handled,
                                       .arg = call};

    if (route) {
        const struct ty_route_notes *notes = route->data;

        options.owner = notes->owner;
        options.slice_max_ms = notes->slice_max_ms;
        options.cpu_max_ms = notes->cpu_max_ms;
        if (route->timeout_ms)
            options.timeout_ms = route->timeout_ms;
    }
    if (ty_trace_is_on)
        ty_trace_begin(call);
    options.tracing = call->tracing;
    int handler = route ? route->ref : call->gen->handlers[TY_HANDLER_UNMATCHED];
    if (ty_engine_fault())
        handler = call->gen->fault_ref; /* development: the files on disk do not run */
    lua_rawgeti(L, LUA_REGISTRYINDEX, handler);
    ty_push_request(L, call);
    if (!route && req->match.allow) {
        struct ty_buf allow = {0};
        ty_method_list(req->match.allow, &allow);
        lua_pushlstring(L, allow.data, allow.len);
        ty_buf_close(&allow);
    }
    struct ty_fiber *fiber = ty_fiber_start(L, lua_gettop(L) - 2, &options);
    if (fiber)
        call->fiber = fiber;
    return 0;
}

/* refuse(call): the route is closed for a while. */
static int refuse_closed(lua_State *L)
{
    struct ty_call *call = lua_touserdata(L, 1);
    const struct ty_route_notes *notes = call->req->match.route->data;

    ty_push_error(L, TY_ERR_UNAVAILABLE, "QUARANTINED", "%s is closed for a while", notes->owner);
    lua_pushinteger(L, (lua_Integer)ty_route_closed_for(notes->owner) + 1);
    lua_setfield(L, -2, "retry_after");
    ty_push_request(L, call); /* error handlers want to see it */
    lua_pop(L, 1);
    if (answer_error(call, NULL))
        ty_call_free(call);
    return 0;
}

static bool is_closed(const struct ty_route *route)
{
    return route && ty_route_closed_for(((const struct ty_route_notes *)route->data)->owner);
}

void ty_generation_handle(struct ty_request *req)
{
    struct ty_generation *gen = req->site->data;
    struct ty_call *call = call_new(gen, req);
    lua_State *L = gen->vm->L;

    req->on_abort = on_abort;
    req->on_drain = on_drain;
    if (is_closed(req->match.route)) {
        ty_request_count_quarantined(req);
        lua_pushcfunction(L, refuse_closed);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, gen->start_ref);
    }
    lua_pushlightuserdata(L, call);
    if (lua_pcall(L, 1, 0, 0) == 0)
        return;

    /* Out of memory before the handler could start. */
    report(call, NULL);
    lua_pop(L, 1);
    ty_answer_builtin_error(call);
    ty_call_free(call);
}

/* failed(err, traceback): a script answers the error itself; it is counted and logged all the same
 */
int ty_call_failed(lua_State *L)
{
    struct ty_request *req = ty_fiber_request(L);

    lua_settop(L, 2);
    if (!req)
        return 0;
    lua_insert(L, 1);
    set_error_kind(L, req);
    if (req->aborted || is_expected(L))
        return 0;
    lua_pushcfunction(L, ty_call_log);
    lua_pushlightuserdata(L, req->data);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 3, 0);
    return 0;
}
