#include "error.h"

#include <lauxlib.h>
#include <stdio.h>

#include "modules.h"

static const char METATABLE[] = "tycho.error";

static int error_tostring(lua_State *L)
{
    lua_getfield(L, 1, "message");
    return 1;
}

static void set_metatable(lua_State *L)
{
    if (luaL_newmetatable(L, METATABLE)) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushliteral(L, "tycho.error");
        lua_setfield(L, -2, "__name");
        lua_pushliteral(L, "an error object");
        lua_setfield(L, -2, "__metatable"); /* one for all errors of the state */
    }
    lua_setmetatable(L, -2);
}

static void push_object(lua_State *L, const char *kind, const char *detail, const char *message)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, kind);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    if (detail && *detail) {
        lua_pushstring(L, detail);
        lua_setfield(L, -2, "detail");
    }
    set_metatable(L);
}

int ty_push_error(lua_State *L, enum ty_error_kind kind, const char *detail, const char *fmt, ...)
{
    char message[TY_ERROR_MESSAGE_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);

    lua_pushnil(L);
    push_object(L, ty_error_kind_name(kind), detail, message);
    return 2;
}

int ty_push_core_error(lua_State *L, const struct ty_error *error)
{
    return ty_push_error(L, error->kind, error->detail, "%s", error->message);
}

bool ty_is_error(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, METATABLE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* new(kind, message, detail, fields) -> error object; `fields` is copied into it first */
static int l_new(lua_State *L)
{
    const char *kind = luaL_checkstring(L, 1);
    const char *message = luaL_checkstring(L, 2);
    const char *detail = luaL_optstring(L, 3, NULL);

    push_object(L, kind, detail, message);
    if (lua_istable(L, 4)) {
        lua_pushnil(L);
        while (lua_next(L, 4)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        }
    }
    return 1;
}

/* is(value) -> boolean */
static int l_is(lua_State *L)
{
    lua_pushboolean(L, ty_is_error(L, 1));
    return 1;
}

/* kinds() -> { invalid = 400, ... } */
static int l_kinds(lua_State *L)
{
    lua_newtable(L);
#define X(name, kind, http)   \
    lua_pushinteger(L, http); \
    lua_setfield(L, -2, kind);
    TY_ERRORS(X)
#undef X
    return 1;
}

int luaopen_tycho_core_error(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"new", l_new},
        {"is", l_is},
        {"kinds", l_kinds},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
