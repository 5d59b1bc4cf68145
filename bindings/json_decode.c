#include "json_private.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include "int64.h"
#include "json_number.h"
#include "tycho/memory.h"

struct reader {
    lua_State *L;
    struct ty_json_limits limits;
    struct ty_error *error;
};

static int push_value(const struct reader *r, yyjson_val *value, const struct ty_json_place *place,
                      unsigned depth);

static int push_array(const struct reader *r, yyjson_val *array, const struct ty_json_place *outer,
                      unsigned depth)
{
    struct ty_json_place place = {.outer = outer};
    size_t count = yyjson_arr_size(array), i, max;
    yyjson_val *element;

    lua_createtable(r->L, (int)count, 0);
    if (count == 0) {
        ty_json_push_array_marker(r->L);
        lua_setmetatable(r->L, -2);
    }
    yyjson_arr_foreach(array, i, max, element)
    {
        place.index = i + 1;
        if (push_value(r, element, &place, depth))
            return -1;
        lua_rawseti(r->L, -2, (int)i + 1);
    }
    return 0;
}

/* Is the name on top of the stack in the table below it? */
static bool is_repeated(lua_State *L)
{
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    bool found = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return found;
}

static int push_object(const struct reader *r, yyjson_val *object,
                       const struct ty_json_place *outer, unsigned depth)
{
    struct ty_json_place place = {.outer = outer};
    size_t count = yyjson_obj_size(object), i, max;
    yyjson_val *key, *value;

    if (count > r->limits.keys_max)
        return ty_json_fail(r->error, outer, "KEYS", "too many names in an object");
    lua_createtable(r->L, 0, (int)count);
    yyjson_obj_foreach(object, i, max, key, value)
    {
        place.name = yyjson_get_str(key);
        place.name_len = yyjson_get_len(key);
        lua_pushlstring(r->L, place.name, place.name_len);
        if (r->limits.refuse_repeats && is_repeated(r->L))
            return ty_json_fail(r->error, &place, "REPEAT", "repeated name");
        if (push_value(r, value, &place, depth))
            return -1;
        lua_rawset(r->L, -3);
    }
    return 0;
}

static int push_container(const struct reader *r, yyjson_val *value,
                          const struct ty_json_place *place, unsigned depth)
{
    if (depth == r->limits.depth_max)
        return ty_json_fail(r->error, place, "DEPTH", "nested too deeply");
    if (!lua_checkstack(r->L, 6))
        return ty_error_set(r->error, TY_ERR_UNAVAILABLE, "MEMORY", "out of Lua stack");
    return yyjson_is_arr(value) ? push_array(r, value, place, depth + 1)
                                : push_object(r, value, place, depth + 1);
}

static int push_number(const struct reader *r, yyjson_val *value, const struct ty_json_place *place)
{
    struct ty_json_number number =
        ty_json_number_read(yyjson_get_raw(value), yyjson_get_len(value), r->limits.wide_reals);

    switch (number.kind) {
    case TY_JSON_SIGNED:
        ty_push_int64(r->L, number.integer);
        return 0;
    case TY_JSON_UNSIGNED:
        ty_push_uint64(r->L, number.whole);
        return 0;
    case TY_JSON_REAL:
        lua_pushnumber(r->L, number.real);
        return 0;
    case TY_JSON_INEXACT:
        return ty_json_fail(r->error, place, "RANGE",
                            "number that would be rounded to a whole one");
    default:
        return ty_json_fail(r->error, place, "RANGE", "number out of range");
    }
}

static int push_value(const struct reader *r, yyjson_val *value, const struct ty_json_place *place,
                      unsigned depth)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_STR:
        lua_pushlstring(r->L, yyjson_get_str(value), yyjson_get_len(value));
        return 0;
    case YYJSON_TYPE_RAW:
        return push_number(r, value, place);
    case YYJSON_TYPE_BOOL:
        lua_pushboolean(r->L, yyjson_get_bool(value));
        return 0;
    case YYJSON_TYPE_NULL:
        lua_pushlightuserdata(r->L, NULL);
        return 0;
    default:
        return push_container(r, value, place, depth);
    }
}

/* Counts lines and columns (in bytes) as editors do. */
static int fail_syntax(const char *data, size_t len, const yyjson_read_err *why,
                       struct ty_error *error)
{
    size_t line = 1, start = 0, pos = why->pos < len ? why->pos : len;

    if (why->code == YYJSON_READ_ERROR_EMPTY_CONTENT)
        return ty_error_set(error, TY_ERR_INVALID, "SYNTAX", "empty, not JSON");
    for (size_t i = 0; i < pos; i++) {
        if (data[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return ty_error_set(error, TY_ERR_INVALID, "SYNTAX", "line %zu, column %zu: %s", line,
                        pos - start + 1, why->msg);
}

/* Makes `scratch` large enough for any document of `len` bytes. */
static bool make_room(struct ty_buf *scratch, size_t len)
{
    size_t need = yyjson_read_max_memory_usage(len, YYJSON_READ_NUMBER_AS_RAW);

    if (need <= scratch->cap)
        return need > 0;
    need += need / 4; /* not again for a document that is a little longer */
    char *memory = ty_try_realloc(scratch->data, need);
    if (!memory)
        return false;
    scratch->data = memory;
    scratch->cap = need;
    return true;
}

/* The document in `scratch`; NULL and an error if it is none. */
static yyjson_doc *read_document(const char *data, size_t len, struct ty_buf *scratch,
                                 struct ty_error *error)
{
    yyjson_read_err why;
    yyjson_alc pool;

    if (len == 0) {
        ty_error_set(error, TY_ERR_INVALID, "SYNTAX", "empty, not JSON");
        return NULL;
    }
    if (!make_room(scratch, len)) {
        ty_error_set(error, TY_ERR_UNAVAILABLE, "MEMORY", "out of memory for JSON of %zu bytes",
                     len);
        return NULL;
    }
    yyjson_alc_pool_init(&pool, scratch->data, scratch->cap);
    /* Not in situ, so it does not write to `data`. */
    yyjson_doc *doc =
        yyjson_read_opts((char *)(size_t)data, len, YYJSON_READ_NUMBER_AS_RAW, &pool, &why);
    if (!doc)
        fail_syntax(data, len, &why, error);
    return doc;
}

static struct ty_json_limits effective(const struct ty_json_limits *limits)
{
    struct ty_json_limits now = limits ? *limits : (struct ty_json_limits){0};

    if (now.depth_max == 0 || now.depth_max > TY_JSON_DEPTH_MAX)
        now.depth_max = TY_JSON_DEPTH_MAX;
    if (now.keys_max == 0)
        now.keys_max = TY_JSON_KEYS_MAX;
    return now;
}

int ty_json_decode(lua_State *L, const char *data, size_t len, const struct ty_json_limits *limits,
                   struct ty_error *error)
{
    struct reader reader = {L, effective(limits), error};
    int top = lua_gettop(L);
    struct ty_json_scratch *scratch = ty_json_push_scratch(L);
    yyjson_doc *doc = read_document(data, len, &scratch->buf, error);
    int status = doc ? push_value(&reader, yyjson_doc_get_root(doc), NULL, 0) : -1;

    /* The document is in the scratch, so there is nothing else to free. */
    ty_json_release_scratch(scratch);
    if (status)
        lua_settop(L, top);
    else
        lua_remove(L, top + 1);
    return status;
}
