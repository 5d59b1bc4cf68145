/* One Lua state: what every generation, and every `tycho run`, has one of.
 *
 * The state's allocator counts bytes, and its user data is this struct, so that any binding finds its
 * context from a lua_State in two loads and without the registry.
 */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "fiber.h"
#include "tycho/bundle.h"
#include "tycho/config.h"

struct ty_vm {
    lua_State *L;
    uv_loop_t *loop;
    struct ty_fibers *fibers;
    struct ty_config *config;
    struct ty_bundle *bundle; /* NULL: none */
    void *generation;         /* the engine's; NULL: a state without one */
    size_t bytes;             /* allocated now */
    size_t bytes_max;         /* 0: no limit */
    bool loading;             /* top-level code of a bundle runs: nothing may wait */
};

/* A state with the standard library loaded and tycho.core.* preloaded. Aborts only when out of memory; an
 * error in the embedded library is a bug and aborts too, with its message. */
struct ty_vm *ty_vm_new(uv_loop_t *loop, struct ty_config *config, struct ty_bundle *bundle);

/* No fiber may be left. */
void ty_vm_free(struct ty_vm *vm);

/* The vm of any lua_State of it. */
struct ty_vm *ty_vm_of(lua_State *L);
