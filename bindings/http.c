#include "http.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "modules.h"
#include "tycho/config.h"
#include "tycho/memory.h"

static struct ty_generation *generation_of(lua_State *L)
{
    return ty_vm_of(L)->generation;
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

static bool option_flag(lua_State *L, int table, const char *name)
{
    if (!lua_istable(L, table))
        return false;
    lua_getfield(L, table, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static struct ty_generation *check_loading(lua_State *L)
{
    struct ty_generation *gen = generation_of(L);

    if (!gen || gen->sealed)
        luaL_error(L, "routes are declared while a script loads, not later");
    return gen;
}

/* Above that the master kills the worker, with all its requests, before the guard ends the one. */
static double check_slice(lua_State *L, int index, const struct ty_config *config)
{
    double slice = option_number(L, index, "slice_max");
    uint64_t silence = ty_config_ms(config, "host.heartbeat_timeout");

    if (slice * 1000 + TY_CONFIG_GUARD_MARGIN_MS > (double)silence)
        luaL_error(L, "slice_max: must be at least %dms less than host.heartbeat_timeout",
                   TY_CONFIG_GUARD_MARGIN_MS);
    return slice;
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
    bool strict = option_flag(L, 4, "strict");
    double concurrency = option_number(L, 4, "concurrency");
    double slice_max = check_slice(L, 4, gen->vm->config);
    double cpu_max = option_number(L, 4, "cpu_max");
    struct ty_buf names = {0};
    struct ty_error error;

    lua_settop(L, 5);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    ty_method_list(methods, &names);
    size_t owner_len = names.len + 1 + strlen(pattern);
    struct ty_route_notes *notes = ty_zalloc(sizeof(*notes) + owner_len + 1);
    snprintf(notes->owner, owner_len + 1, "%.*s %s", (int)names.len, names.data, pattern);
    notes->status = status;
    notes->strict = strict;
    notes->slice_max_ms = (uint32_t)(slice_max * 1000 + 0.5);
    notes->cpu_max_ms = (uint32_t)(cpu_max * 1000 + 0.5);
    ty_buf_close(&names);

    struct ty_route *route = ty_zalloc(sizeof(*route));
    *route = (struct ty_route){.pattern = ty_strdup(pattern),
                               .where = ty_strdup(where),
                               .methods = methods,
                               .body_max = (size_t)body_max,
                               .timeout_ms = (uint32_t)(timeout * 1000),
                               .ref = ref,
                               .data = notes,
                               .lane = {.max = (uint32_t)concurrency}};
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
        {"failed", ty_call_failed},
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
