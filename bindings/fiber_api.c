#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cstack.h"
#include "error.h"
#include "fiber_private.h"
#include "modules.h"
#include "tycho/clock.h"
#include "tycho/http.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { SHOWN_LINE = 256, FOREVER = 1000000000 /* seconds */ };

static struct ty_fiber *check_running(lua_State *L)
{
    struct ty_fiber *fiber = ty_fiber_running(L);

    if (!fiber)
        luaL_error(L, "not in a fiber");
    return fiber;
}

/* sleep(seconds) */
static int l_sleep(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);

    luaL_argcheck(L, seconds >= 0, 1, "must not be negative");
    ty_fiber_loop(L);

    struct ty_fiber *fiber = ty_fiber_running(L);
    fiber->nap.what = "sleep";
    return ty_park(L, &fiber->nap, ty_cancel_nothing, seconds);
}

/* ---- children: a handle is a table { done, ok, error, n, ... results } */

/* In the registry: handle -> fiber, of those that run. A script cannot forge that. */
static const char handles_key;

static void push_handles(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&handles_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/* The fiber of the handle at `index`; NULL once it has ended. */
static struct ty_fiber *fiber_of(lua_State *L, int index)
{
    push_handles(L);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    struct ty_fiber *fiber = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return fiber;
}

struct child {
    struct ty_fibers *set;
    int handle_ref;
};

struct outcome {
    struct child *child;
    struct ty_fiber *fiber;
    lua_State *co;
    int status, count;
};

/* Writes what became of the child into its handle. */
static int store_outcome(lua_State *L)
{
    struct outcome *o = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, o->child->handle_ref);
    int handle = lua_gettop(L);

    luaL_checkstack(L, o->count + 4, "too many results");
    lua_xmove(o->co, L, o->count);
    if (o->status) {
        struct ty_fiber *parent = o->fiber->parent; /* NULL once it has ended */
        if (parent && !o->fiber->cancelled && parent->failure_ref == LUA_NOREF) {
            lua_pushvalue(L, -1);
            parent->failure_ref = luaL_ref(L, LUA_REGISTRYINDEX);
        }
        lua_setfield(L, handle, "error");
    } else {
        for (int i = o->count; i >= 1; i--)
            lua_rawseti(L, handle, i);
        lua_pushinteger(L, o->count);
        lua_setfield(L, handle, "n");
        lua_pushboolean(L, 1);
        lua_setfield(L, handle, "ok");
    }
    return 0;
}

/* The handle has ended; until more is known, for want of memory. All its fields exist, so that
 * this cannot fail. */
static void end_handle(lua_State *L, int handle_ref)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, handle_ref);
    push_handles(L);
    lua_pushvalue(L, -2);
    lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    lua_pushliteral(L, "done");
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static void on_child_done(struct ty_fiber *fiber, lua_State *co, int status, int count, void *arg)
{
    struct child *child = arg;
    struct outcome outcome = {child, fiber, co, status, count};
    struct ty_fiber *parent = fiber->parent;

    end_handle(child->set->L, child->handle_ref);
    if (lua_cpcall(child->set->L, store_outcome, &outcome))
        lua_pop(child->set->L, 1); /* the handle says so already */
    luaL_unref(child->set->L, LUA_REGISTRYINDEX, child->handle_ref);
    free(child);
    if (parent && parent->wait == &parent->children_wait)
        ty_wake(&parent->children_wait, ty_push_nothing, NULL);
}

/* room() -> true, or nil and the error of one fiber too many */
static int l_room(lua_State *L)
{
    struct ty_fibers *set = ty_fibers_of(L);

    if (set->count >= set->max)
        return ty_fiber_refuse(L);
    lua_pushboolean(L, 1);
    return 1;
}

/* spawn(handle, fn, ...): starts a child of the running fiber */
static int l_spawn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    int nargs = lua_gettop(L) - 2;
    struct ty_fiber *parent = check_running(L);

    lua_pushboolean(L, 0);
    lua_setfield(L, 1, "done");
    lua_pushboolean(L, 0);
    lua_setfield(L, 1, "ok");
    lua_pushliteral(L, "not enough memory");
    lua_setfield(L, 1, "error");
    push_handles(L);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);

    struct child *child = ty_zalloc(sizeof(*child));
    child->set = ty_fibers_of(L);
    lua_pushvalue(L, 1);
    child->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);

    struct ty_fiber_options options = {.owner = parent->owner, .done = on_child_done, .arg = child};
    struct ty_fiber *fiber = ty_fiber_start(L, nargs, &options);
    if (fiber) {
        push_handles(L);
        lua_pushvalue(L, 1);
        lua_pushlightuserdata(L, fiber);
        lua_rawset(L, -3);
    }
    return 0;
}

/* await(handle): until a child of the running fiber has ended, which `handle` is one of */
static int l_await(lua_State *L)
{
    struct ty_fiber *child = lua_istable(L, 1) ? fiber_of(L, 1) : NULL;
    ty_fiber_loop(L);

    struct ty_fiber *fiber = ty_fiber_running(L);
    if (child && child->parent != fiber)
        return ty_fiber_blame(L, "only the fiber that started another may join it");
    fiber->children_wait.what = "child fibers";
    return ty_park(L, &fiber->children_wait, ty_cancel_nothing, -1);
}

/* cancel(handle): asks a child to end */
static int l_cancel(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct ty_fiber *fiber = fiber_of(L, 1);
    if (fiber)
        ty_fiber_cancel(fiber, "cancelled by its owner");
    return 0;
}

/* forgive(): the error of a child was taken by its owner */
static int l_forgive(lua_State *L)
{
    struct ty_fiber *fiber = check_running(L);

    luaL_unref(L, LUA_REGISTRYINDEX, fiber->failure_ref);
    fiber->failure_ref = LUA_NOREF;
    return 0;
}

/* ---- deadlines, shields, context */

/* narrow(seconds) -> previous: the deadline becomes at most that far away */
static int l_narrow(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);
    struct ty_fiber *fiber = check_running(L);
    uint64_t old = fiber->deadline_ms;

    luaL_argcheck(L, seconds >= 0, 1, "must be a number of seconds, not negative");
    if (seconds < FOREVER) {
        uint64_t due = ty_now_ms() + (uint64_t)(seconds * 1000 + 0.5);
        if (!old || due < old)
            fiber->deadline_ms = due;
    }
    lua_pushnumber(L, (double)old);
    return 1;
}

/* restore(previous) */
static int l_restore(lua_State *L)
{
    check_running(L)->deadline_ms = (uint64_t)luaL_checknumber(L, 1);
    return 0;
}

/* remaining() -> seconds to the deadline, or nil */
static int l_remaining(lua_State *L)
{
    struct ty_fiber *fiber = check_running(L);
    uint64_t now = ty_now_ms();

    if (!fiber->deadline_ms)
        return 0;
    lua_pushnumber(L, fiber->deadline_ms > now ? (double)(fiber->deadline_ms - now) / 1e3 : 0);
    return 1;
}

/* shield(on): nested */
static int l_shield(lua_State *L)
{
    struct ty_fiber *fiber = check_running(L);

    if (lua_toboolean(L, 1))
        fiber->shields++;
    else if (fiber->shields)
        fiber->shields--;
    return 0;
}

/* cancelled() -> reason or nil */
static int l_cancelled(lua_State *L)
{
    lua_pushstring(L, check_running(L)->cancelled);
    return 1;
}

/* A child reads its owner's context and writes its own; also if the owner had none so far. */
static void push_context(lua_State *L, struct ty_fiber *fiber)
{
    if (fiber->context_ref != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, fiber->context_ref);
        return;
    }
    luaL_checkstack(L, 4, "too many fibers in fibers");
    lua_newtable(L);
    if (fiber->parent) {
        lua_newtable(L);
        push_context(L, fiber->parent);
        lua_setfield(L, -2, "__index");
        lua_setmetatable(L, -2);
    }
    lua_pushvalue(L, -1);
    fiber->context_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Now, if there is something to read: the owner may end first. */
int ty_fiber_derive_context(lua_State *L, struct ty_fiber *parent)
{
    if (parent->context_ref == LUA_NOREF)
        return LUA_NOREF;
    lua_newtable(L);
    lua_newtable(L);
    push_context(L, parent);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* context() -> table */
static int l_context(lua_State *L)
{
    push_context(L, check_running(L));
    return 1;
}

void ty_fiber_warn(lua_State *L, struct ty_fiber *fiber, const struct ty_wait *wait)
{
    const char *what = wait->what ? wait->what : "something";
    const struct ty_request *req = fiber->request;
    char line[SHOWN_LINE];
    struct ty_buf fields = {0};

    if (strncmp(what, "db", 2) == 0 || wait == &fiber->children_wait)
        return;
    fiber->holding = false;
    memcpy(line, "?", 2);
    ty_fiber_line(L, line, sizeof(line));
    ty_log_add_field(&fields, "at", line, strlen(line));
    ty_log_add_field(&fields, "waits_for", what, strlen(what));
    struct ty_log_context context = {
        .request_id = req ? req->id : NULL,
        .fields = fields.data,
        .fields_len = fields.len,
    };
    ty_log(TY_LOG_WARN, "db", &context,
           "a transaction is held open while its fiber waits for something else");
    ty_buf_close(&fields);
}

/* holds(yes): is a transaction open in the running fiber? */
static int l_holds(lua_State *L)
{
    check_running(L)->holding = lua_toboolean(L, 1);
    return 0;
}

/* running() -> boolean */
static int l_running(lua_State *L)
{
    lua_pushboolean(L, ty_fiber_running(L) != NULL);
    return 1;
}

/* at_top() -> is this the running fiber itself, not a coroutine in it? */
static int l_at_top(lua_State *L)
{
    struct ty_fiber *fiber = ty_fiber_running(L);

    lua_pushboolean(L, fiber && fiber->co == L);
    return 1;
}

/* count() -> live fibers of this state */
static int l_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ty_fibers_count(ty_fibers_of(L)));
    return 1;
}

void ty_fiber_line(lua_State *co, char *out, size_t size)
{
    lua_Debug ar;
    bool found = false;

    for (int level = 0; level < 32 && lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "Sl", &ar);
        if (ar.currentline < 0)
            continue;
        bool library = strncmp(ar.source, "@tycho/", 7) == 0;
        if (!found || !library)
            snprintf(out, size, "%s:%d", ar.source + (ar.source[0] == '@'), ar.currentline);
        found = true;
        if (!library)
            return;
    }
}

int ty_fiber_blame(lua_State *L, const char *message)
{
    char line[160] = "";

    ty_fiber_line(L, line, sizeof(line));
    lua_pushfstring(L, "%s%s%s", line, *line ? ": " : "", message);
    return lua_error(L);
}

int luaopen_tycho_core_fiber(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"at_top", l_at_top},       {"await", l_await},          {"cancel", l_cancel},
        {"cancelled", l_cancelled}, {"context", l_context},      {"count", l_count},
        {"forgive", l_forgive},     {"holds", l_holds},          {"narrow", l_narrow},
        {"remaining", l_remaining}, {"restore", l_restore},      {"room", l_room},
        {"running", l_running},     {"shield", l_shield},        {"sleep", l_sleep},
        {"spawn", l_spawn},         {"has_room", ty_cstack_ask}, {NULL, NULL},
    };

    lua_pushlightuserdata(L, (void *)&handles_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, &ty_park_token);
    lua_setfield(L, -2, "PARK");
    return 1;
}
