#include "int64.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modules.h"

enum { TYPE_CDATA = 10 }; /* LuaJIT's LUA_TCDATA, which no header declares */

enum { EXACT_BITS = 53, KIND_NONE = 0, KIND_SIGNED = 1, KIND_UNSIGNED = 2 };

/* Keys in the registry, by their address. */
static const char signed_key = 0, unsigned_key = 0, kind_key = 0;

/* Boxes are made and told apart by the FFI itself, in functions that scripts never see. */
static const char factories[] =
    "local ffi = ...\n"
    "local signed, unsigned = ffi.typeof('int64_t'), ffi.typeof('uint64_t')\n"
    "local istype = ffi.istype\n"
    "return function() return signed() end, function() return unsigned() end,\n"
    "  function(v) return istype(signed, v) and 1 or istype(unsigned, v) and 2 or 0 end\n";

static void keep(lua_State *L, const char *key)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void push_kept(lua_State *L, const char *key)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/* Opening the FFI twice would start its types anew, so this shares it with require(). */
static void push_ffi(lua_State *L)
{
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 1);
    lua_getfield(L, -1, "ffi");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        luaL_findtable(L, LUA_REGISTRYINDEX, "_PRELOAD", 1);
        lua_getfield(L, -1, "ffi");
        lua_remove(L, -2);
        lua_pushliteral(L, "ffi");
        lua_call(L, 1, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "ffi");
    }
    lua_remove(L, -2);
}

static void make_factories(lua_State *L)
{
    if (luaL_loadbuffer(L, factories, sizeof(factories) - 1, "=int64"))
        lua_error(L);
    push_ffi(L);
    lua_call(L, 1, 3);
    keep(L, &kind_key);
    keep(L, &unsigned_key);
    keep(L, &signed_key);
}

static void push_factory(lua_State *L, const char *key)
{
    luaL_checkstack(L, 6, "int64");
    push_kept(L, key);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    make_factories(L);
    push_kept(L, key);
}

static void push_box(lua_State *L, const char *key, uint64_t bits)
{
    push_factory(L, key);
    lua_call(L, 0, 1);
    /* The payload of a fresh box, which nobody else has seen yet. */
    memcpy((void *)lua_topointer(L, -1), &bits, sizeof(bits));
}

void ty_push_int64(lua_State *L, int64_t value)
{
    const int64_t limit = (int64_t)1 << EXACT_BITS;

    if (value >= -limit && value <= limit)
        lua_pushnumber(L, (lua_Number)value);
    else
        push_box(L, &signed_key, (uint64_t)value);
}

void ty_push_uint64(lua_State *L, uint64_t value)
{
    if (value <= INT64_MAX)
        ty_push_int64(L, (int64_t)value);
    else
        push_box(L, &unsigned_key, value);
}

int ty_to_int64(lua_State *L, int index, int64_t *value)
{
    if (lua_type(L, index) != TYPE_CDATA)
        return KIND_NONE;
    lua_pushvalue(L, index);
    push_factory(L, &kind_key);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    int kind = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (kind != KIND_NONE)
        memcpy(value, lua_topointer(L, index), sizeof(*value));
    return kind;
}

/* is(value) -> boolean: a boxed integer? */
static int l_is(lua_State *L)
{
    int64_t value;

    luaL_checkany(L, 1);
    lua_pushboolean(L, ty_to_int64(L, 1, &value) != KIND_NONE);
    return 1;
}

/* format(integer) -> string | nil: decimal digits; nil if it is no integer */
static int l_format(lua_State *L)
{
    int64_t value = 0;
    char text[32];

    luaL_checkany(L, 1);
    int kind = ty_to_int64(L, 1, &value);
    if (kind == KIND_NONE && lua_type(L, 1) == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(L, 1);

        if (!(number >= -9007199254740992.0 && number <= 9007199254740992.0))
            return 0;
        value = (int64_t)number;
        if ((lua_Number)value != number)
            return 0;
    } else if (kind == KIND_NONE) {
        return 0;
    }
    int len = kind == KIND_UNSIGNED
                  ? snprintf(text, sizeof(text), "%llu", (unsigned long long)value)
                  : snprintf(text, sizeof(text), "%lld", (long long)value);
    lua_pushlstring(L, text, (size_t)len);
    return 1;
}

static bool is_decimal(const char *text, size_t len)
{
    size_t at = text[0] == '-';

    if (at == len)
        return false;
    for (; at < len; at++)
        if (text[at] < '0' || text[at] > '9')
            return false;
    return true;
}

/* parse(text) -> integer | nil: decimal digits, perhaps with a minus; nil if it is anything else
 * or does not fit into 64 bits */
static int l_parse(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (!is_decimal(text, len))
        return 0;
    errno = 0;
    if (text[0] == '-') {
        long long value = strtoll(text, NULL, 10);

        if (errno)
            return 0;
        ty_push_int64(L, value);
    } else {
        unsigned long long value = strtoull(text, NULL, 10);

        if (errno)
            return 0;
        ty_push_uint64(L, value);
    }
    return 1;
}

int luaopen_tycho_core_int64(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"is", l_is}, {"format", l_format}, {"parse", l_parse}, {NULL, NULL}};

    push_factory(L, &kind_key);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
