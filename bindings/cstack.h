/* How deep functions in C may be nested that call scripts, which call them again.
 *
 * Lua bounds its own stack, and nothing bounds that of C: a function that string.gsub calls and
 * that calls string.gsub, a coroutine that resumes another, a fiber that starts another would take
 * it all, and the process would die of it. So nothing of the kind may begin below an address, far
 * above the stack's end: what runs there still has room. LuaJIT looks itself where a function in C
 * calls back (tools/luajit-stack.patch); the rest asks here.
 */
#pragma once

#include <lua.h>
#include <stdbool.h>

/* Measures the calling thread's stack, which is the one that will run scripts. */
void ty_cstack_open(void);

bool ty_cstack_has_room(void);

/* has_room() -> boolean, for scripts of the library */
int ty_cstack_ask(lua_State *L);
