/* A profile of this process: the C stacks of tycho/profile.h joined to the Lua lines they belong
 * to.
 *
 * A sample is taken wherever the CPU happens to be, and there Lua's stack cannot be looked at. So
 * the handler arms the hook (vm.h), which runs at the next point where it can: the line is that of
 * the C function that was called, or the loop that was compiled. A slice that ends before is looked
 * at where it ended. What nobody runs scripts for is the loop's own.
 *
 * A stack is "worker;GET /orders;list scripts/app/orders.lua:12;line 14;encode_value": the route,
 * Lua functions with the line they begin at, the line, what it called in C. Or
 * "worker;loop;on_read".
 */
#pragma once

#include <lua.h>

#include "tycho/folded.h"

struct ty_vm;

/* The engine's `profile`, see tycho/engine.h. */
int ty_profile_open(unsigned hz);
struct ty_folded *ty_profile_close(void);

/* What the hook does for it (bindings/vm.c): L is running. */
void ty_profile_hook(lua_State *L, struct ty_vm *vm);

/* The slice that a sample was taken in has ended; `owner` was its fiber's. */
void ty_profile_settle(lua_State *co, struct ty_vm *vm, const char *owner);
