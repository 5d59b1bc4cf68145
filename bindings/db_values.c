#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "db_private.h"
#include "int64.h"

/* Typed values are tables { text, other } with a metatable for each kind; the addresses of these
 * are the keys of the metatables in the registry. */
static const char kind_keys[] = {0, 0, 0, 0};
static const char *const kind_names[] = {"blob", "json", "array", "timestamp", NULL};
static const enum ty_sql_type kind_types[] = {TY_SQL_BLOB, TY_SQL_JSON, TY_SQL_ARRAY,
                                              TY_SQL_TIMESTAMP};

enum { KINDS = sizeof(kind_keys) };

static const double exact_max = 9007199254740992.0; /* 2^53 */

static void push_metatable(lua_State *L, int kind)
{
    lua_pushlightuserdata(L, (void *)&kind_keys[kind]);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushfstring(L, "tycho.db.%s", kind_names[kind]);
    lua_setfield(L, -2, "__metatable");
    lua_pushlightuserdata(L, (void *)&kind_keys[kind]);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

int ty_db_typed(lua_State *L)
{
    int kind = luaL_checkoption(L, 1, NULL, kind_names);

    luaL_checktype(L, 2, LUA_TSTRING);
    lua_createtable(L, 2, 0);
    for (int i = 1; i <= 2 && lua_isstring(L, i + 1); i++) {
        lua_pushvalue(L, i + 1);
        lua_rawseti(L, -2, i);
    }
    push_metatable(L, kind);
    lua_setmetatable(L, -2);
    return 1;
}

/* Which kind of typed value it is; -1: none. */
static int kind_of(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return -1;
    for (int kind = 0; kind < KINDS; kind++) {
        lua_pushlightuserdata(L, (void *)&kind_keys[kind]);
        lua_rawget(L, LUA_REGISTRYINDEX);
        bool same = lua_rawequal(L, -1, -2);
        lua_pop(L, 1);
        if (same) {
            lua_pop(L, 1);
            return kind;
        }
    }
    lua_pop(L, 1);
    return -1;
}

/* The text at that place of the table; the table keeps it. "" if there is none. */
static struct ty_slice typed_text(lua_State *L, int index, int place)
{
    struct ty_slice text = {"", 0};

    lua_rawgeti(L, index, place);
    if (lua_type(L, -1) == LUA_TSTRING)
        text.data = lua_tolstring(L, -1, &text.len);
    lua_pop(L, 1);
    return text;
}

/* Throws with the application's line. */
static void refuse_type(lua_State *L, int index, int number)
{
    static const char hint[] = ": db.json() and db.array() make values of tables";
    bool is_table = lua_istable(L, index);

    lua_pushfstring(L, "$%d is a %s, which no column holds%s", number, luaL_typename(L, index),
                    is_table ? hint : "");
    ty_fiber_blame(L, lua_tostring(L, -1));
}

static ptrdiff_t refuse_value(struct ty_error *error, int number, const char *what)
{
    return ty_error_set(error, TY_ERR_INVALID, "value", "db: $%d %s", number, what);
}

static bool is_utf8(const char *text, size_t len)
{
    for (size_t at = 0, n; at < len; at += n) {
        n = (unsigned char)text[at] < 0x80 ? 1 : ty_utf8_len(text + at, len - at);
        if (!n)
            return false;
    }
    return true;
}

static ptrdiff_t measure_text(struct ty_slice text, int number, struct ty_error *error)
{
    if (memchr(text.data, '\0', text.len))
        return refuse_value(error, number, "is text with a NUL; bytes are stored with db.blob()");
    if (!is_utf8(text.data, text.len))
        return refuse_value(error, number, "is not UTF-8; bytes are stored with db.blob()");
    return (ptrdiff_t)text.len;
}

/* An array has two forms; which one is wanted is known later. There is text in the first. */
static ptrdiff_t measure_typed(lua_State *L, int index, int kind, int number,
                               struct ty_error *error)
{
    struct ty_slice text = typed_text(L, index, 1);

    if (kind_types[kind] != TY_SQL_BLOB && measure_text(text, number, error) < 0)
        return -1;
    return (ptrdiff_t)(text.len + typed_text(L, index, 2).len);
}

static ptrdiff_t measure(lua_State *L, int index, int number, struct ty_error *error)
{
    struct ty_slice text;
    int64_t integer;
    int kind;

    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
        return 0;
    case LUA_TSTRING:
        text.data = lua_tolstring(L, index, &text.len);
        return measure_text(text, number, error);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, index))
            return 0;
        break;
    case LUA_TTABLE:
        kind = kind_of(L, index);
        if (kind < 0)
            break;
        return measure_typed(L, index, kind, number, error);
    default:
        if (ty_to_int64(L, index, &integer))
            return 0;
        break;
    }
    refuse_type(L, index, number);
    return -1;
}

ptrdiff_t ty_db_measure(lua_State *L, int first, int last, struct ty_error *error)
{
    ptrdiff_t total = 0;

    for (int i = first; i <= last; i++) {
        ptrdiff_t len = measure(L, i, i - first + 1, error);

        if (len < 0)
            return -1;
        total += len;
    }
    return total;
}

static void read_number(double number, struct ty_sql_value *value)
{
    if (number >= -exact_max && number <= exact_max && number == floor(number)) {
        value->type = TY_SQL_INTEGER;
        value->integer = (int64_t)number;
    } else {
        value->type = TY_SQL_REAL;
        value->real = number;
    }
}

static char *read_bytes(struct ty_sql_value *value, enum ty_sql_type type, const char *from,
                        size_t len, char *to)
{
    memcpy(to, from, len);
    value->type = type;
    value->bytes = (struct ty_slice){to, len};
    return to + len;
}

/* A table holds both forms of an array; the second one is behind the first. */
static char *read_typed(lua_State *L, int index, struct ty_sql_value *value, char *to)
{
    int kind = kind_of(L, index);
    enum ty_sql_type type = kind < 0 ? TY_SQL_BLOB : kind_types[kind]; /* measured: it is one */
    struct ty_slice text = typed_text(L, index, 1), other = typed_text(L, index, 2);

    to = read_bytes(value, type, text.data, text.len, to);
    if (type != TY_SQL_ARRAY)
        return to;
    memcpy(to, other.data, other.len);
    value->other_len = other.len;
    return to + other.len;
}

static void read_boxed(lua_State *L, int index, struct ty_sql_value *value)
{
    int kind = ty_to_int64(L, index, &value->integer);

    value->type = kind == 2 && value->integer < 0 ? TY_SQL_UNSIGNED : TY_SQL_INTEGER;
}

char *ty_db_read(lua_State *L, int first, int last, struct ty_sql_value *values, char *bytes)
{
    for (int i = first; i <= last; i++) {
        struct ty_sql_value *value = &values[i - first];
        const char *text;
        size_t len;

        *value = (struct ty_sql_value){.type = TY_SQL_NULL};
        switch (lua_type(L, i)) {
        case LUA_TNIL:
        case LUA_TLIGHTUSERDATA:
            break;
        case LUA_TBOOLEAN:
            value->type = TY_SQL_BOOLEAN;
            value->integer = lua_toboolean(L, i);
            break;
        case LUA_TNUMBER:
            read_number(lua_tonumber(L, i), value);
            break;
        case LUA_TSTRING:
            text = lua_tolstring(L, i, &len);
            bytes = read_bytes(value, TY_SQL_TEXT, text, len, bytes);
            break;
        case LUA_TTABLE:
            bytes = read_typed(L, i, value, bytes);
            break;
        default:
            read_boxed(L, i, value);
            break;
        }
    }
    return bytes;
}
