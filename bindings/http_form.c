#include <lauxlib.h>

#include "http.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Pushes decoded text: '+' is a space, %XX a byte; a broken escape stands for itself (WHATWG). */
static void push_decoded(lua_State *L, const char *p, const char *end)
{
    const char *plain = p;

    while (plain < end && *plain != '%' && *plain != '+')
        plain++;
    if (plain == end) {
        lua_pushlstring(L, p, (size_t)(end - p));
        return;
    }

    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    luaL_addlstring(&buffer, p, (size_t)(plain - p));
    for (p = plain; p < end; p++) {
        if (*p == '%' && end - p > 2 && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
            luaL_addchar(&buffer, (char)(hex(p[1]) * 16 + hex(p[2])));
            p += 2;
        } else {
            luaL_addchar(&buffer, *p == '+' ? ' ' : *p);
        }
    }
    luaL_pushresult(&buffer);
}

/* Adds the value on top under the name below it; pops both. */
static void add_to_list(lua_State *L, int table)
{
    lua_pushvalue(L, -2);
    lua_rawget(L, table);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, table);
    }
    lua_insert(L, -2);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 2);
}

bool ty_push_form(lua_State *L, struct ty_slice text, bool all)
{
    const char *p = text.data, *end = p ? p + text.len : p;
    int count = 0;

    lua_createtable(L, 0, p && p < end ? 1 : 0);
    int table = lua_gettop(L);
    while (p < end) {
        const char *stop = p;
        const char *equals = NULL;
        for (; stop < end && *stop != '&'; stop++)
            if (*stop == '=' && !equals)
                equals = stop;
        if (stop > p) {
            if (++count > TY_QUERY_KEYS_MAX) {
                lua_settop(L, table - 1);
                return false;
            }
            push_decoded(L, p, equals ? equals : stop);
            push_decoded(L, equals ? equals + 1 : stop, stop);
            if (all)
                add_to_list(L, table);
            else
                lua_rawset(L, table);
        }
        p = stop + 1;
    }
    return true;
}
