/* Making responses: checked where they are made, so that the mistake has a line. */
#include <lauxlib.h>

#include "http.h"

static void check_field(lua_State *L, int name, int value)
{
    struct ty_slice field, text;

    if (lua_type(L, name) != LUA_TSTRING)
        luaL_error(L, "app.response: names of headers are strings");
    field.data = lua_tolstring(L, name, &field.len);
    if (!ty_http_is_token(field))
        luaL_error(L, "app.response: header '%s': the name is not a token", field.data);
    if (ty_http_is_reserved(field))
        luaL_error(L, "app.response: header '%s' is the server's own", field.data);
    if (lua_type(L, value) == LUA_TNUMBER)
        return;
    if (lua_type(L, value) != LUA_TSTRING)
        luaL_error(L, "app.response: header '%s': a string is wanted, not a %s", field.data,
                   luaL_typename(L, value));
    text.data = lua_tolstring(L, value, &text.len);
    if (!ty_http_is_value(text))
        luaL_error(L, "app.response: header '%s': a control character in the value", field.data);
}

static void check_fields(lua_State *L, int table)
{
    lua_pushnil(L);
    while (lua_next(L, table)) {
        int value = lua_gettop(L);
        if (lua_istable(L, value)) {
            int count = (int)lua_objlen(L, value);
            for (int i = 1; i <= count; i++) {
                lua_rawgeti(L, value, i);
                check_field(L, value - 1, value + 1);
                lua_pop(L, 1);
            }
        } else {
            check_field(L, value - 1, value);
        }
        lua_pop(L, 1);
    }
}

/* response(status, body, headers) -> a response; raises, blaming the caller's line, when it could
 * not be sent. Upvalues: the metatable of responses, "status", "body", "headers". */
int ty_make_response(lua_State *L)
{
    lua_Number status = lua_tonumber(L, 1);

    lua_settop(L, 3);
    if (!(status >= 200 && status <= 599 && status == (int)status))
        return luaL_error(L, "app.response: %s is not a final status",
                          lua_isnumber(L, 1) ? lua_tostring(L, 1) : luaL_typename(L, 1));
    if (!lua_isnil(L, 3)) {
        if (!lua_istable(L, 3))
            return luaL_error(L, "app.response: headers are a table");
        check_fields(L, 3);
    }
    lua_createtable(L, 0, 3);
    for (int i = 1; i <= 3; i++) {
        lua_pushvalue(L, lua_upvalueindex(1 + i));
        lua_pushvalue(L, i);
        lua_rawset(L, 4);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, 4);
    return 1;
}

void ty_push_response_names(lua_State *L, struct ty_generation *gen)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, gen->responses_ref);
    lua_pushliteral(L, "status");
    lua_pushliteral(L, "body");
    lua_pushliteral(L, "headers");
}
