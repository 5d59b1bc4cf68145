#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "db_private.h"
#include "int64.h"

/* Its address is the key of the metatable of blobs: { bytes }. */
static const char blob_key = 0;

static const double exact_max = 9007199254740992.0; /* 2^53 */

int ty_db_blob(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushlightuserdata(L, (void *)&blob_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "tycho.db.Blob");
        lua_setfield(L, -2, "__metatable");
        lua_pushlightuserdata(L, (void *)&blob_key);
        lua_pushvalue(L, -2);
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
    lua_setmetatable(L, -2);
    return 1;
}

static bool is_blob(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    lua_pushlightuserdata(L, (void *)&blob_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static const char *blob_bytes(lua_State *L, int index, size_t *len)
{
    lua_rawgeti(L, index, 1);
    const char *bytes = lua_tolstring(L, -1, len);
    lua_pop(L, 1); /* the table keeps it */
    return bytes;
}

/* Throws with the position of whoever called the facade. */
static void refuse_type(lua_State *L, int number, const char *what)
{
    luaL_where(L, 2);
    lua_pushfstring(L, "$%d is %s, which no column holds", number, what);
    lua_concat(L, 2);
    lua_error(L);
}

static ptrdiff_t refuse_value(struct ty_error *error, int number, const char *what)
{
    return ty_error_set(error, TY_ERR_INVALID, "value", "sqlite: $%d %s", number, what);
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

static ptrdiff_t measure_text(lua_State *L, int index, int number, struct ty_error *error)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);

    if (memchr(text, '\0', len))
        return refuse_value(error, number, "is text with a NUL; bytes are stored with db.blob()");
    if (!is_utf8(text, len))
        return refuse_value(error, number, "is not UTF-8; bytes are stored with db.blob()");
    return (ptrdiff_t)len;
}

static ptrdiff_t measure(lua_State *L, int index, int number, struct ty_error *error)
{
    int64_t integer;
    size_t len;
    int kind;

    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
        return 0;
    case LUA_TNUMBER:
        if (isnan(lua_tonumber(L, index)))
            return refuse_value(error, number, "is not a number (NaN)");
        return 0;
    case LUA_TSTRING:
        return measure_text(L, index, number, error);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, index))
            return 0;
        break;
    case LUA_TTABLE:
        if (!is_blob(L, index))
            break;
        blob_bytes(L, index, &len);
        return (ptrdiff_t)len;
    default:
        kind = ty_to_int64(L, index, &integer);
        if (kind == 2 && integer < 0)
            return refuse_value(error, number, "is larger than 2^63 - 1");
        if (kind)
            return 0;
        break;
    }
    refuse_type(L, number, luaL_typename(L, index));
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

static void read_number(double number, struct ty_sqlite_value *value)
{
    if (number >= -exact_max && number <= exact_max && number == floor(number)) {
        value->type = TY_SQLITE_INTEGER;
        value->integer = (int64_t)number;
    } else {
        value->type = TY_SQLITE_REAL;
        value->real = number;
    }
}

static char *read_bytes(struct ty_sqlite_value *value, enum ty_sqlite_type type, const char *from,
                        size_t len, char *to)
{
    memcpy(to, from, len);
    value->type = type;
    value->bytes = (struct ty_slice){to, len};
    return to + len;
}

void ty_db_read(lua_State *L, int first, int last, struct ty_sqlite_value *values, char *bytes)
{
    for (int i = first; i <= last; i++) {
        struct ty_sqlite_value *value = &values[i - first];
        const char *text;
        size_t len;

        *value = (struct ty_sqlite_value){.type = TY_SQLITE_NULL};
        switch (lua_type(L, i)) {
        case LUA_TNIL:
        case LUA_TLIGHTUSERDATA:
            break;
        case LUA_TBOOLEAN:
            *value =
                (struct ty_sqlite_value){.type = TY_SQLITE_INTEGER, .integer = lua_toboolean(L, i)};
            break;
        case LUA_TNUMBER:
            read_number(lua_tonumber(L, i), value);
            break;
        case LUA_TSTRING:
            text = lua_tolstring(L, i, &len);
            bytes = read_bytes(value, TY_SQLITE_TEXT, text, len, bytes);
            break;
        case LUA_TTABLE:
            text = blob_bytes(L, i, &len);
            bytes = read_bytes(value, TY_SQLITE_BLOB, text, len, bytes);
            break;
        default:
            value->type = TY_SQLITE_INTEGER;
            ty_to_int64(L, i, &value->integer);
            break;
        }
    }
}
