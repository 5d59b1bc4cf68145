#include <lauxlib.h>

#include "db_private.h"
#include "error.h"
#include "int64.h"
#include "json.h"

enum { JSON_KEYS_MAX = 1000000 };

static void push_json(lua_State *L, const struct ty_sql_value *value)
{
    static const struct ty_json_limits limits = {.keys_max = JSON_KEYS_MAX, .wide_reals = true};

    if (ty_json_decode(L, value->bytes.data, value->bytes.len, &limits, NULL) < 0)
        lua_pushlstring(L, value->bytes.data, value->bytes.len);
}

void ty_db_push_value(lua_State *L, const struct ty_sql_value *value)
{
    switch (value->type) {
    case TY_SQL_INTEGER:
        ty_push_int64(L, value->integer);
        break;
    case TY_SQL_UNSIGNED:
        ty_push_uint64(L, value->natural);
        break;
    case TY_SQL_BOOLEAN:
        lua_pushboolean(L, value->integer != 0);
        break;
    case TY_SQL_REAL:
        lua_pushnumber(L, value->real);
        break;
    case TY_SQL_JSON:
        push_json(L, value);
        break;
    default:
        lua_pushlstring(L, value->bytes.data, value->bytes.len);
    }
}

static void push_cell(lua_State *L, const struct ty_sql_value *value)
{
    if (value->type == TY_SQL_NULL)
        lua_pushnil(L);
    else if (value->type == TY_SQL_ARRAY)
        ty_db_push_array(L, value);
    else
        ty_db_push_value(L, value);
}

/* The names are at `names`, `names` + 1, ... Of two columns with one name it is the last one that
 * counts, also if it is NULL. */
static void push_row(lua_State *L, struct ty_sql_op *op, struct ty_sql_cursor *cursor, int names)
{
    struct ty_sql_value value;

    lua_createtable(L, 0, (int)op->column_count);
    for (unsigned i = 0; i < op->column_count; i++) {
        ty_sql_cell(op, cursor, &value);
        lua_pushvalue(L, names + (int)i);
        push_cell(L, &value);
        lua_rawset(L, -3);
    }
}

static int push_names(lua_State *L, const struct ty_sql_op *op, struct ty_sql_cursor *cursor)
{
    int names = lua_gettop(L) + 1;

    luaL_checkstack(L, (int)op->column_count + 8, "too many columns");
    for (unsigned i = 0; i < op->column_count; i++) {
        struct ty_slice name = ty_sql_name(op, cursor);
        lua_pushlstring(L, name.data, name.len);
    }
    return names;
}

static void push_value(lua_State *L, struct ty_sql_op *op, struct ty_sql_cursor *cursor)
{
    struct ty_sql_value value = {.type = TY_SQL_NULL};

    for (unsigned i = 0; i < op->column_count; i++)
        ty_sql_name(op, cursor);
    if (op->column_count > 0) /* PostgreSQL has rows of nothing */
        ty_sql_cell(op, cursor, &value);
    push_cell(L, &value);
}

static void push_outcome(lua_State *L, const struct ty_sql_op *op)
{
    lua_createtable(L, 0, 2);
    ty_push_int64(L, op->changes);
    lua_setfield(L, -2, "changes");
    if (op->last_id) {
        ty_push_int64(L, op->last_id);
        lua_setfield(L, -2, "last_id");
    }
}

int ty_db_push(lua_State *L, struct ty_sql_op *op, enum ty_db_shape shape)
{
    struct ty_sql_cursor cursor = {0};
    int names;

    if (shape == TY_DB_EXEC) {
        push_outcome(L, op);
        return 1;
    }
    if (op->row_count == 0) {
        if (shape == TY_DB_ROWS)
            lua_newtable(L);
        else
            lua_pushnil(L);
        return 1;
    }
    if (shape == TY_DB_VALUE) {
        push_value(L, op, &cursor);
        return 1;
    }
    names = push_names(L, op, &cursor);
    if (shape == TY_DB_ONE) {
        push_row(L, op, &cursor, names);
        return 1;
    }
    lua_createtable(L, op->row_count < INT32_MAX ? (int)op->row_count : 0, 0);
    for (uint64_t i = 1; i <= op->row_count; i++) {
        push_row(L, op, &cursor, names);
        lua_rawseti(L, -2, (int)i);
    }
    return 1;
}

static void set_name(lua_State *L, const char *field, const char *name)
{
    if (!name[0])
        return;
    lua_pushstring(L, name);
    lua_setfield(L, -2, field);
}

int ty_db_push_error(lua_State *L, const struct ty_sql_op *op)
{
    ty_push_core_error(L, &op->error);
    set_name(L, "constraint", op->constraint);
    set_name(L, "table", op->table);
    set_name(L, "column", op->column);
    if (op->line) {
        lua_pushinteger(L, (lua_Integer)op->line);
        lua_setfield(L, -2, "line");
    }
    return 2;
}
