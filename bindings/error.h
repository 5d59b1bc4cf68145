/* Errors as Lua sees them: { kind, message, detail, code }, always the same table with a metatable.
 *
 * A private C module returns `nil, err` for what is wrong with the world; its facade raises it
 * (tycho.errors.check). What is wrong with the program is thrown as a string, with luaL_error().
 * The kinds are those of tycho/error.h.
 */
#pragma once

#include <lua.h>
#include <stdbool.h>

#include "tycho/error.h"

/* Pushes nil and an error object { kind, message, detail }; returns 2.
 * `detail` may be NULL. */
int ty_push_error(lua_State *L, enum ty_error_kind kind, const char *detail, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The same from what the core filled in. */
int ty_push_core_error(lua_State *L, const struct ty_error *error);

/* Is the value at `index` an error object? */
bool ty_is_error(lua_State *L, int index);
