#include <lauxlib.h>

#include "db_private.h"
#include "json.h"

enum { DEPTH_MAX = 6 }; /* PostgreSQL's MAXDIM */

/* The state's scratch for texts in arrays: its memory is kept, and freed with the process. */
static struct ty_buf scratch;

static void push_item(lua_State *L, const struct ty_sql_value *value)
{
    if (value->type == TY_SQL_NULL)
        lua_pushlightuserdata(L, NULL);
    else
        ty_db_push_value(L, value);
}

static void push_table(lua_State *L)
{
    lua_newtable(L);
    ty_json_push_array_marker(L);
    lua_setmetatable(L, -2);
}

/* What is complete, on top of the stack, becomes the next element of what is below it. */
static void append(lua_State *L, int *counts, int depth)
{
    lua_rawseti(L, -2, ++counts[depth]);
}

static bool push_all(lua_State *L, struct ty_sql_array *array)
{
    int counts[DEPTH_MAX + 1] = {0}, depth = 0;
    struct ty_sql_value value;

    for (;;) {
        switch (ty_sql_array_next(array, &scratch, &value)) {
        case TY_SQL_DOWN:
            if (depth == DEPTH_MAX || (depth == 0 && counts[0] > 0))
                return false;
            if (depth == 0)
                counts[0]++;
            push_table(L);
            counts[++depth] = 0;
            break;
        case TY_SQL_UP:
            if (depth == 0)
                return false;
            if (--depth > 0)
                append(L, counts, depth);
            break;
        case TY_SQL_ITEM:
            if (depth == 0)
                return false;
            push_item(L, &value);
            append(L, counts, depth);
            break;
        case TY_SQL_END:
            return depth == 0 && counts[0] == 1;
        case TY_SQL_BAD:
            return false;
        }
    }
}

void ty_db_push_array(lua_State *L, const struct ty_sql_value *value)
{
    struct ty_sql_array array = {.rest = value->bytes, .element = value->element};
    int top = lua_gettop(L);

    luaL_checkstack(L, DEPTH_MAX + 4, "too many arrays in arrays");
    if (push_all(L, &array))
        return;
    lua_settop(L, top);
    lua_pushlstring(L, value->bytes.data, value->bytes.len);
}
