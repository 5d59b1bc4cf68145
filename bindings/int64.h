/* Exact 64-bit integers between C and Lua.
 *
 * A Lua number holds integers exactly up to 2^53; beyond, an integer is LuaJIT's own boxed
 * int64_t or uint64_t (`9007199254740993LL`), which has arithmetic, comparison and tostring.
 */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* A number where that is exact, else a boxed integer. */
void ty_push_int64(lua_State *L, int64_t value);
void ty_push_uint64(lua_State *L, uint64_t value);

/* Reads a boxed integer at `index`: 1 int64_t, 2 uint64_t (its bits in *value), 0 anything else. */
int ty_to_int64(lua_State *L, int index, int64_t *value);
