#include "http.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "modules.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { POOL_MAX = 256 };

const struct ty_responder ty_server_responder = {
    .respond = ty_request_respond,
    .begin = ty_request_begin,
    .write = ty_request_write,
    .end = ty_request_end,
};

static struct ty_generation *generation_of(lua_State *L)
{
    return ty_vm_of(L)->generation;
}

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

    ty_expire_request(gen->vm->L, call);
    if (gen->pooled >= POOL_MAX) {
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
}

/* ---- what goes wrong */

/* log_failure(call, coroutine or traceback, error) */
static int log_failure(lua_State *L)
{
    struct ty_call *call = lua_touserdata(L, 1);
    lua_State *co = lua_touserdata(L, 2);
    struct ty_request *req = call->req;
    struct ty_buf fields = {0};
    struct ty_log_context context = {.request_id = req->id,
                                     .trace_id = req->trace.trace_id,
                                     .span_id = req->trace.span_id,
                                     .generation = req->site->generation};
    size_t len;

    lua_getglobal(L, "tostring");
    lua_pushvalue(L, 3);
    if (lua_pcall(L, 1, 1, 0) || lua_type(L, -1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushliteral(L, "(an error that cannot be shown)");
    }
    const char *message = lua_tolstring(L, -1, &len);
    if (co)
        luaL_traceback(L, co, NULL, 0);
    else
        lua_pushvalue(L, 2);
    if (lua_isstring(L, -1))
        ty_log_add_field(&fields, "traceback", lua_tostring(L, -1), lua_objlen(L, -1));
    if (req->match.route)
        ty_log_add_field(&fields, "route", req->match.route->pattern,
                         strlen(req->match.route->pattern));
    context.fields = fields.data;
    context.fields_len = fields.len;
    ty_log_text(TY_LOG_ERROR, "app", &context, message, len);
    ty_buf_close(&fields);
    return 0;
}

/* Logs the error on top of L, which stays; `co`, unless NULL, is where it was raised. */
static void report(struct ty_call *call, lua_State *co)
{
    lua_State *L = call->gen->vm->L;

    lua_pushcfunction(L, log_failure);
    lua_pushlightuserdata(L, call);
    lua_pushlightuserdata(L, co);
    lua_pushvalue(L, -4);
    if (lua_pcall(L, 3, 0, 0))
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

/* Is the error on top of L one that the application meant? Bugs and 5xx are logged. */
static bool is_expected(lua_State *L)
{
    if (!ty_is_error(L, -1))
        return false;
    lua_getfield(L, -1, "kind");
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
    lua_getfield(L, -1, "kind");
    const char *kind = lua_tostring(L, -1);
    for (size_t i = 0; kind && i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            req->error_kind = kinds[i];
    lua_pop(L, 1);
}

static bool answer(struct ty_call *call);

/* Answers with what the application makes of the error on top of L (popped), or the built-in
 * 500. Returns as answer(). */
static bool answer_error(struct ty_call *call, lua_State *co)
{
    struct ty_generation *gen = call->gen;
    lua_State *L = gen->vm->L;

    set_error_kind(L, call->req);
    if (call->req->aborted) {
        lua_pop(L, 1);
        ty_answer_builtin_error(call); /* nobody hears it */
        return true;
    }
    if (!is_expected(L))
        report(call, co);
    if (gen->handlers[TY_HANDLER_ERROR] != LUA_NOREF && !call->failing) {
        call->failing = true;
        lua_rawgeti(L, LUA_REGISTRYINDEX, gen->handlers[TY_HANDLER_ERROR]);
        lua_insert(L, -2);
        lua_rawgeti(L, LUA_REGISTRYINDEX, call->anchor);
        if (gen->vm->env->development && co)
            luaL_traceback(L, co, NULL, 0);
        else
            lua_pushnil(L);
        if (lua_pcall(L, 3, 1, 0) == 0)
            return answer(call);
        report(call, NULL);
    }
    lua_pop(L, 1);
    if (call->streaming)
        call->to->end(call->req, true); /* too late for another answer */
    else
        ty_answer_builtin_error(call);
    return true;
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
        options.owner = ((struct ty_route_notes *)route->data)->owner;
        if (route->timeout_ms)
            options.timeout_ms = route->timeout_ms;
    }
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

void ty_generation_handle(struct ty_request *req)
{
    struct ty_generation *gen = req->site->data;
    struct ty_call *call = call_new(gen, req);
    lua_State *L = gen->vm->L;

    req->on_abort = on_abort;
    req->on_drain = on_drain;
    lua_rawgeti(L, LUA_REGISTRYINDEX, gen->start_ref);
    lua_pushlightuserdata(L, call);
    if (lua_pcall(L, 1, 0, 0) == 0)
        return;

    /* Out of memory before the handler could start. */
    report(call, NULL);
    lua_pop(L, 1);
    ty_answer_builtin_error(call);
    ty_call_free(call);
}

/* ---- tycho.core.http */

static unsigned check_methods(lua_State *L, int index)
{
    unsigned methods = 0;

    luaL_checktype(L, index, LUA_TTABLE);
    for (int i = 1; i <= (int)lua_objlen(L, index); i++) {
        lua_rawgeti(L, index, i);
        const char *name = lua_tostring(L, -1);
        unsigned method = name ? ty_method_parse(name, strlen(name)) : 0;
        if (!method)
            luaL_error(L, "'%s' is not a method that a route can have", name ? name : "?");
        methods |= method;
        lua_pop(L, 1);
    }
    luaL_argcheck(L, methods, index, "no methods");
    return methods;
}

static double option_number(lua_State *L, int table, const char *name)
{
    double value = 0;

    if (lua_istable(L, table)) {
        lua_getfield(L, table, name);
        if (!lua_isnil(L, -1)) {
            value = lua_tonumber(L, -1);
            if (!(value > 0 && value < 1e15))
                luaL_error(L, "%s: a positive number is wanted", name);
        }
        lua_pop(L, 1);
    }
    return value;
}

static struct ty_generation *check_loading(lua_State *L)
{
    struct ty_generation *gen = generation_of(L);

    if (!gen || gen->sealed)
        luaL_error(L, "routes are declared while a script loads, not later");
    return gen;
}

/* route(methods, pattern, where, options, handler) */
static int l_route(lua_State *L)
{
    unsigned methods = check_methods(L, 1);
    const char *pattern = luaL_checkstring(L, 2);
    const char *where = luaL_checkstring(L, 3);
    luaL_checktype(L, 5, LUA_TFUNCTION);
    struct ty_generation *gen = check_loading(L);
    double body_max = option_number(L, 4, "body_max");
    double timeout = option_number(L, 4, "timeout");
    int status = (int)option_number(L, 4, "status");
    struct ty_buf names = {0};
    struct ty_error error;

    lua_settop(L, 5);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    ty_method_list(methods, &names);
    struct ty_route_notes *notes = ty_zalloc(sizeof(*notes) + names.len + strlen(pattern) + 2);
    sprintf(notes->owner, "%.*s %s", (int)names.len, names.data, pattern);
    notes->status = status;
    ty_buf_close(&names);

    struct ty_route *route = ty_zalloc(sizeof(*route));
    *route = (struct ty_route){.pattern = ty_strdup(pattern),
                               .where = ty_strdup(where),
                               .methods = methods,
                               .body_max = (size_t)body_max,
                               .timeout_ms = (uint32_t)(timeout * 1000),
                               .ref = ref,
                               .data = notes};
    if (ty_router_add(gen->site.router, route, &error) == 0)
        return 0;
    ty_route_free(route, NULL);
    lua_pushstring(L, error.message); /* it begins with the place that matters */
    return lua_error(L);
}

static int set_handler(lua_State *L, int which)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct ty_generation *gen = check_loading(L);

    lua_settop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, gen->handlers[which]);
    gen->handlers[which] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* unmatched(handler): handler(req, allow) answers 404, 405 and automatic OPTIONS */
static int l_unmatched(lua_State *L)
{
    return set_handler(L, TY_HANDLER_UNMATCHED);
}

/* on_error(fn): fn(err, req, traceback) says what to answer; outside of a fiber */
static int l_on_error(lua_State *L)
{
    return set_handler(L, TY_HANDLER_ERROR);
}

/* failed(err, traceback): a script answers the error itself; it is counted and logged all the same
 */
static int l_failed(lua_State *L)
{
    struct ty_request *req = ty_fiber_request(L);

    lua_settop(L, 2);
    if (!req)
        return 0;
    lua_insert(L, 1);
    set_error_kind(L, req);
    if (req->aborted || is_expected(L))
        return 0;
    lua_pushcfunction(L, log_failure);
    lua_pushlightuserdata(L, req->data);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 3, 0);
    return 0;
}

/* write(chunk): a piece of a streamed body; waits while the client is slow */
static int l_write(lua_State *L)
{
    struct ty_slice chunk;

    chunk.data = luaL_checklstring(L, 1, &chunk.len);
    ty_fiber_loop(L);

    struct ty_request *req = ty_fiber_request(L);
    struct ty_call *call = req ? req->data : NULL;
    if (!call || !call->streaming)
        return luaL_error(L, "write: no streamed answer here");
    int status = call->to->write(req, chunk);
    if (status == 1) {
        call->drain.what = "slow client";
        return ty_park(L, &call->drain, ty_cancel_nothing, -1);
    }
    if (status < 0)
        return ty_push_error(L, TY_ERR_CANCELLED, "CLIENT_GONE", "the client is gone");
    return 0;
}

/* check_header(name, value) -> true, or nil and what is wrong */
static int l_check_header(lua_State *L)
{
    struct ty_slice name, value;

    name.data = luaL_checklstring(L, 1, &name.len);
    value.data = luaL_checklstring(L, 2, &value.len);
    if (ty_http_is_token(name) && ty_http_is_value(value)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, ty_http_is_token(name) ? "a control character in the value"
                                             : "the name is not a token");
    return 2;
}

int luaopen_tycho_core_http(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"check_header", l_check_header},
        {"failed", l_failed},
        {"on_error", l_on_error},
        {"response_fault", ty_response_fault},
        {"route", l_route},
        {"simulate", ty_simulate},
        {"trace", ty_current_trace},
        {"unmatched", l_unmatched},
        {"write", l_write},
        {NULL, NULL},
    };
    struct ty_generation *gen = generation_of(L);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_rawgeti(L, LUA_REGISTRYINDEX, gen->responses_ref);
    lua_setfield(L, -2, "Response");
    return 1;
}
