/* JSON between bytes and Lua values, for bindings that have a body in hand.
 *
 * Reading is RFC 8259 and nothing else, on yyjson, into tables of the right size; writing is our
 * own, straight from the tables into the caller's buffer. Numbers keep their value: integers up to
 * 64 bits are exact (int64.h), larger ones are refused, never rounded. An array that is empty
 * stays one by a marker, its metatable; null is a light userdata of NULL.
 *
 * Data that cannot be converted is an error with the path of the member; what is thrown is only
 * Lua's "not enough memory".
 */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "tycho/buffer.h"
#include "tycho/error.h"

enum {
    TY_JSON_DEPTH_MAX = 128,
    TY_JSON_KEYS_MAX = 1000,
    /* Of what is written: a small table may be in many places of another. */
    TY_JSON_TEXT_MAX = 64 * 1024 * 1024,
    TY_JSON_TABLES_MAX = 4 * 1000 * 1000,
};

struct ty_json_limits {
    unsigned depth_max;  /* 0: TY_JSON_DEPTH_MAX, which is also the most */
    size_t keys_max;     /* of one object; 0: TY_JSON_KEYS_MAX */
    bool refuse_repeats; /* a name twice in one object is an error; otherwise the last one counts */
    bool wide_reals;     /* digits of more than 64 bits that a double says exactly are one */
};

/* Pushes the value of the document and returns 0, or pushes nothing and returns -1, kind "invalid"
 * with the detail SYNTAX, DEPTH, KEYS, REPEAT or RANGE, or "unavailable" when there is no memory
 * for a large one. `limits` may be NULL. */
int ty_json_decode(lua_State *L, const char *data, size_t len, const struct ty_json_limits *limits,
                   struct ty_error *error);

/* Adds the value at `index`. A table is an array if it has the marker or an element 1, else an
 * object. Returns -1, kind "internal", and leaves `out` as it was, for what JSON has no form for:
 * functions, arrays with holes or names, NaN, infinity, strings that are not UTF-8, more than 128
 * levels (cycles), more than TY_JSON_TEXT_MAX bytes or
 * TY_JSON_TABLES_MAX tables. */
int ty_json_encode(lua_State *L, int index, struct ty_buf *out, struct ty_error *error);

/* The metatable that marks arrays, the same for the whole state. */
void ty_json_push_array_marker(lua_State *L);
