/* Checking responses where they are made, so that the mistake has a line. */
#include <lauxlib.h>

#include "http.h"

/* Pushes what is wrong and returns true, or returns false. */
static bool push_field_fault(lua_State *L, int name, int value)
{
    struct ty_slice field, text;

    if (lua_type(L, name) != LUA_TSTRING)
        return lua_pushliteral(L, "names of headers are strings"), true;
    field.data = lua_tolstring(L, name, &field.len);
    if (!ty_http_is_token(field))
        return lua_pushfstring(L, "header '%s': the name is not a token", field.data), true;
    if (ty_http_is_reserved(field))
        return lua_pushfstring(L, "header '%s' is the server's own", field.data), true;
    if (lua_type(L, value) == LUA_TNUMBER)
        return false;
    if (lua_type(L, value) != LUA_TSTRING)
        return lua_pushfstring(L, "header '%s': a string is wanted, not a %s", field.data,
                               luaL_typename(L, value)),
               true;
    text.data = lua_tolstring(L, value, &text.len);
    if (!ty_http_is_value(text))
        return lua_pushfstring(L, "header '%s': a control character in the value", field.data),
               true;
    return false;
}

static bool push_list_fault(lua_State *L, int name, int list)
{
    int count = (int)lua_objlen(L, list);

    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        if (push_field_fault(L, name, lua_gettop(L)))
            return true;
        lua_pop(L, 1);
    }
    return false;
}

/* response_fault(status, headers) -> what is wrong with them, or nothing */
int ty_response_fault(lua_State *L)
{
    lua_Number status = lua_tonumber(L, 1);

    lua_settop(L, 2);
    if (!(status >= 200 && status <= 599 && status == (int)status)) {
        lua_pushfstring(L, "%s is not a final status",
                        lua_isnumber(L, 1) ? lua_tostring(L, 1) : luaL_typename(L, 1));
        return 1;
    }
    if (lua_isnil(L, 2))
        return 0;
    if (!lua_istable(L, 2))
        return lua_pushliteral(L, "headers are a table"), 1;
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        if (lua_istable(L, 4) ? push_list_fault(L, 3, 4) : push_field_fault(L, 3, 4))
            return 1;
        lua_pop(L, 1);
    }
    return 0;
}

void ty_push_response_names(lua_State *L, struct ty_generation *gen)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, gen->responses_ref);
    lua_pushliteral(L, "status");
    lua_pushliteral(L, "body");
    lua_pushliteral(L, "headers");
}
