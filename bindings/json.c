#include "json.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "json_private.h"
#include "modules.h"

enum { SCRATCH_KEEP_MAX = 256 * 1024, PATH_MAX_LEN = 256 };

/* Keys in the registry, by their address. */
static const char marker_key = 0, scratch_key = 0;

void ty_json_push_array_marker(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&marker_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "json.array");
    lua_setfield(L, -2, "__name");
    lua_pushlightuserdata(L, (void *)&marker_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static int free_scratch(lua_State *L)
{
    struct ty_json_scratch *scratch = lua_touserdata(L, 1);

    ty_buf_close(&scratch->buf);
    return 0;
}

static struct ty_json_scratch *new_scratch(lua_State *L)
{
    struct ty_json_scratch *scratch = lua_newuserdata(L, sizeof(*scratch));

    *scratch = (struct ty_json_scratch){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_scratch);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pushlightuserdata(L, (void *)&scratch_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return scratch;
}

struct ty_json_scratch *ty_json_push_scratch(lua_State *L)
{
    luaL_checkstack(L, 6, "json");
    lua_pushlightuserdata(L, (void *)&scratch_key);
    lua_rawget(L, LUA_REGISTRYINDEX);

    struct ty_json_scratch *scratch = lua_touserdata(L, -1);
    if (!scratch || scratch->busy) {
        lua_pop(L, 1);
        scratch = new_scratch(L);
    }
    scratch->buf.len = 0;
    scratch->busy = true;
    return scratch;
}

void ty_json_release_scratch(struct ty_json_scratch *scratch)
{
    if (scratch->buf.cap > SCRATCH_KEEP_MAX)
        ty_buf_close(&scratch->buf);
    scratch->busy = false;
}

/* Outermost first, so from the end of `path` backwards; what has no room becomes "...". */
static const char *describe(char path[PATH_MAX_LEN], const struct ty_json_place *place)
{
    char *at = path + PATH_MAX_LEN - 1, part[PATH_MAX_LEN];

    *at = '\0';
    for (; place; place = place->outer) {
        int len = place->name
                      ? snprintf(part, sizeof(part), "%s%.*s", place->outer ? "." : "",
                                 (int)(place->name_len < 64 ? place->name_len : 64), place->name)
                      : snprintf(part, sizeof(part), "[%zu]", place->index);
        if (at - path < len + 3) {
            at -= 3;
            memcpy(at, "...", 3);
            break;
        }
        at -= len;
        memcpy(at, part, (size_t)len);
    }
    return at;
}

int ty_json_fail(struct ty_error *error, const struct ty_json_place *place, const char *detail,
                 const char *message)
{
    char path[PATH_MAX_LEN];

    return ty_error_set(error, TY_ERR_INVALID, detail, "%s%s%s", message, place ? " at " : "",
                        describe(path, place));
}

/* encode(value) -> string | nil, err */
static int l_encode(lua_State *L)
{
    struct ty_error error;

    luaL_checkany(L, 1);
    struct ty_json_scratch *scratch = ty_json_push_scratch(L);
    int status = ty_json_encode(L, 1, &scratch->buf, &error);
    if (status == 0)
        lua_pushlstring(L, scratch->buf.data, scratch->buf.len);
    ty_json_release_scratch(scratch);
    return status ? ty_push_core_error(L, &error) : 1;
}

/* decode(text, depth_max, keys_max, refuse_repeats) -> value | nil, err; 0: the default */
static int l_decode(lua_State *L)
{
    struct ty_error error;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer depth = luaL_optinteger(L, 2, 0), keys = luaL_optinteger(L, 3, 0);
    luaL_argcheck(L, depth >= 0 && depth <= TY_JSON_DEPTH_MAX, 2, "must be between 1 and 128");
    luaL_argcheck(L, keys >= 0, 3, "must not be negative");
    struct ty_json_limits limits = {
        .depth_max = (unsigned)depth,
        .keys_max = (size_t)keys,
        .refuse_repeats = lua_toboolean(L, 4),
    };

    if (ty_json_decode(L, text, len, &limits, &error))
        return ty_push_core_error(L, &error);
    return 1;
}

int luaopen_tycho_core_json(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", l_encode}, {"decode", l_decode}, {NULL, NULL}};

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    ty_json_push_array_marker(L);
    lua_setfield(L, -2, "ARRAY");
    return 1;
}
