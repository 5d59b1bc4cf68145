#include "tycho/config.h"

#include <lauxlib.h>
#include <yyjson.h>

#include "int64.h"
#include "modules.h"
#include "vm.h"

/* Pushes a value of the configuration; null is nil. The depth is bounded by what reads files. */
static void push_value(lua_State *L, yyjson_val *value)
{
    size_t i, count;
    yyjson_val *key, *item;

    luaL_checkstack(L, 4, "the configuration is nested too deeply");
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_BOOL:
        lua_pushboolean(L, yyjson_get_bool(value));
        break;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(value))
            lua_pushnumber(L, yyjson_get_real(value));
        else
            ty_push_int64(L, yyjson_get_sint(value));
        break;
    case YYJSON_TYPE_STR:
        lua_pushlstring(L, yyjson_get_str(value), yyjson_get_len(value));
        break;
    case YYJSON_TYPE_ARR:
        lua_createtable(L, (int)yyjson_arr_size(value), 0);
        yyjson_arr_foreach(value, i, count, item)
        {
            push_value(L, item);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case YYJSON_TYPE_OBJ:
        lua_createtable(L, 0, (int)yyjson_obj_size(value));
        yyjson_obj_foreach(value, i, count, key, item)
        {
            lua_pushlstring(L, yyjson_get_str(key), yyjson_get_len(key));
            push_value(L, item);
            lua_rawset(L, -3);
        }
        break;
    default:
        lua_pushnil(L);
    }
}

static int push_document(lua_State *L)
{
    push_value(L, yyjson_doc_get_root(lua_touserdata(L, 1)));
    return 1;
}

/* all() -> everything in force as one table: durations in seconds, sizes in bytes. */
static int l_all(lua_State *L)
{
    struct ty_buf json = {0};

    ty_config_json(ty_vm_of(L)->config, true, &json);
    yyjson_doc *doc = yyjson_read(json.data, json.len, 0);
    ty_buf_close(&json);
    if (!doc)
        return luaL_error(L, "not enough memory");

    /* Protected, because a Lua state may run out of memory while the document is held. */
    lua_pushcfunction(L, push_document);
    lua_pushlightuserdata(L, doc);
    int status = lua_pcall(L, 1, 1, 0);
    yyjson_doc_free(doc);
    return status ? lua_error(L) : 1;
}

int luaopen_tycho_core_config(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_all);
    lua_setfield(L, -2, "all");
    return 1;
}
