#include "json_private.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "int64.h"
#include "json_scalar.h"

enum { STACK_PER_LEVEL = 6, TYPE_CDATA = 10 /* LuaJIT's boxed values */ };

static const double exact_max = 9007199254740992.0; /* 2^53 */

struct writer {
    lua_State *L;
    struct ty_buf *out;
    size_t start;
    size_t *tables; /* written so far */
    struct ty_error *error;
};

static int add_value(const struct writer *w, const struct ty_json_place *place, unsigned depth);

static int add_number(const struct writer *w, const struct ty_json_place *place)
{
    double number = lua_tonumber(w->L, -1);

    if (!ty_json_add_number(w->out, number))
        return ty_json_fail(w->error, place, "NUMBER", isnan(number) ? "not a number" : "infinity");
    return 0;
}

static int add_string(const struct writer *w, const struct ty_json_place *place)
{
    size_t len;
    const char *s = lua_tolstring(w->L, -1, &len);

    if (!ty_json_add_string(w->out, s, len))
        return ty_json_fail(w->error, place, "UTF8", "string that is not UTF-8");
    return 0;
}

/* The elements in whatever order lua_next() has them; they must be 1 to n and nothing else. */
static int check_elements(const struct writer *w, int table, const struct ty_json_place *place)
{
    size_t count = 0, length = lua_objlen(w->L, table);

    for (lua_pushnil(w->L); lua_next(w->L, table); lua_pop(w->L, 1), count++) {
        lua_Number key = lua_tonumber(w->L, -2);

        if (lua_type(w->L, -2) != LUA_TNUMBER)
            return ty_json_fail(w->error, place, "ARRAY", "array that has names too");
        if (key < 1 || key != floor(key) || key > (lua_Number)length)
            return ty_json_fail(w->error, place, "ARRAY", "array with holes");
    }
    if (count != length)
        return ty_json_fail(w->error, place, "ARRAY", "array with holes");
    return 0;
}

static int add_elements_by_index(const struct writer *w, int table,
                                 const struct ty_json_place *outer, unsigned depth)
{
    struct ty_json_place place = {.outer = outer};
    size_t length = lua_objlen(w->L, table);

    if (check_elements(w, table, outer))
        return -1;
    for (place.index = 1; place.index <= length; place.index++) {
        lua_rawgeti(w->L, table, (int)place.index);
        if (add_value(w, &place, depth))
            return -1;
        lua_pop(w->L, 1);
        ty_buf_addc(w->out, ',');
    }
    return 0;
}

/* The first key and value are on the stack. In a table with a proper array part lua_next() goes
 * from 1 to n, and that it finds nothing else shows that there is nothing else. */
static int add_elements(const struct writer *w, int table, const struct ty_json_place *outer,
                        unsigned depth)
{
    struct ty_json_place place = {.outer = outer, .index = 1};
    size_t start = w->out->len;

    do {
        if (lua_type(w->L, -2) != LUA_TNUMBER || lua_tonumber(w->L, -2) != (double)place.index) {
            lua_settop(w->L, table);
            w->out->len = start;
            return add_elements_by_index(w, table, outer, depth);
        }
        if (add_value(w, &place, depth))
            return -1;
        ty_buf_addc(w->out, ',');
        lua_pop(w->L, 1);
        place.index++;
    } while (lua_next(w->L, table));
    return 0;
}

static int add_name(const struct writer *w, struct ty_json_place *place)
{
    if (lua_type(w->L, -2) == LUA_TSTRING) {
        place->name = lua_tolstring(w->L, -2, &place->name_len);
        if (!ty_json_add_string(w->out, place->name, place->name_len))
            return ty_json_fail(w->error, place->outer, "UTF8", "name that is not UTF-8");
        return 0;
    }

    lua_Number number = lua_tonumber(w->L, -2);
    if (lua_type(w->L, -2) != LUA_TNUMBER || fabs(number) > exact_max || number != floor(number))
        return ty_json_fail(w->error, place->outer, "NAME",
                            "table with a key that is neither a string nor an integer");
    if (number == 1)
        return ty_json_fail(w->error, place->outer, "ARRAY", "array that has names too");
    ty_buf_addc(w->out, '"');
    ty_json_add_int64(w->out, (int64_t)number);
    ty_buf_addc(w->out, '"');
    place->name = "(number)";
    place->name_len = strlen(place->name);
    return 0;
}

static int add_members(const struct writer *w, int table, const struct ty_json_place *outer,
                       unsigned depth)
{
    struct ty_json_place place = {.outer = outer};

    do {
        if (add_name(w, &place))
            return -1;
        ty_buf_addc(w->out, ':');
        if (add_value(w, &place, depth))
            return -1;
        ty_buf_addc(w->out, ',');
        lua_pop(w->L, 1);
    } while (lua_next(w->L, table));
    return 0;
}

static bool has_marker(const struct writer *w)
{
    if (!lua_getmetatable(w->L, -1))
        return false;
    ty_json_push_array_marker(w->L);
    bool same = lua_rawequal(w->L, -1, -2);
    lua_pop(w->L, 2);
    return same;
}

/* The first key and value are on the stack. */
static bool is_array(const struct writer *w, int table)
{
    if (lua_type(w->L, -2) != LUA_TNUMBER)
        return false;
    if (lua_tonumber(w->L, -2) == 1)
        return true;
    lua_rawgeti(w->L, table, 1);
    bool has_first = !lua_isnil(w->L, -1);
    lua_pop(w->L, 1);
    return has_first;
}

static int add_table(const struct writer *w, const struct ty_json_place *place, unsigned depth)
{
    int table = lua_gettop(w->L), status;

    if (++*w->tables > TY_JSON_TABLES_MAX)
        return ty_json_fail(w->error, place, "SIZE", "more than 4 million tables");
    if (depth == TY_JSON_DEPTH_MAX)
        return ty_json_fail(w->error, place, "DEPTH", "nested too deeply, or in a circle");
    if (!lua_checkstack(w->L, STACK_PER_LEVEL))
        return ty_error_set(w->error, TY_ERR_UNAVAILABLE, "MEMORY", "out of Lua stack");

    bool marked = has_marker(w);
    lua_pushnil(w->L);
    if (!lua_next(w->L, table)) {
        ty_buf_add(w->out, marked ? "[]" : "{}", 2);
        return 0;
    }
    bool array = marked || is_array(w, table);
    ty_buf_addc(w->out, array ? '[' : '{');
    if (array)
        status = add_elements(w, table, place, depth + 1);
    else
        status = add_members(w, table, place, depth + 1);
    if (status == 0)
        w->out->data[w->out->len - 1] = array ? ']' : '}'; /* over the last comma */
    return status;
}

static int add_box(const struct writer *w, const struct ty_json_place *place)
{
    int64_t value;
    int kind = ty_to_int64(w->L, lua_gettop(w->L), &value);

    if (kind == 0)
        return ty_json_fail(w->error, place, "TYPE", "cdata");
    if (kind == 1)
        ty_json_add_int64(w->out, value);
    else
        ty_json_add_uint64(w->out, (uint64_t)value);
    return 0;
}

static int add_value(const struct writer *w, const struct ty_json_place *place, unsigned depth)
{
    if (w->out->len - w->start > TY_JSON_TEXT_MAX)
        return ty_json_fail(w->error, place, "SIZE", "more than 64 MiB");
    switch (lua_type(w->L, -1)) {
    case LUA_TSTRING:
        return add_string(w, place);
    case LUA_TNUMBER:
        return add_number(w, place);
    case LUA_TTABLE:
        return add_table(w, place, depth);
    case LUA_TBOOLEAN:
        ty_buf_adds(w->out, lua_toboolean(w->L, -1) ? "true" : "false");
        return 0;
    case LUA_TNIL:
        ty_buf_adds(w->out, "null");
        return 0;
    case TYPE_CDATA:
        return add_box(w, place);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(w->L, -1)) {
            ty_buf_adds(w->out, "null");
            return 0;
        }
    }
    return ty_json_fail(w->error, place, "TYPE", lua_typename(w->L, lua_type(w->L, -1)));
}

int ty_json_encode(lua_State *L, int index, struct ty_buf *out, struct ty_error *error)
{
    int top = lua_gettop(L);
    size_t start = out->len, tables = 0;

    lua_checkstack(L, STACK_PER_LEVEL);
    lua_pushvalue(L, index);
    struct writer writer = {L, out, start, &tables, error};
    int status = add_value(&writer, NULL, 0);
    lua_settop(L, top);
    if (status) {
        out->len = start;
        if (error && error->kind == TY_ERR_INVALID)
            error->kind = TY_ERR_INTERNAL; /* not what somebody sent, but what we made */
    }
    return status;
}
