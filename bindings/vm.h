/* One Lua state: what every generation, and every `tycho run`, has one of.
 *
 * The state's allocator counts bytes, and its user data is this struct, so that any binding
 * finds its context from a lua_State in two loads and without the registry.
 *
 * A script that takes too much memory meets a hook first: it collects, and raises, with the line,
 * if that was not enough. The allocator itself refuses later, and what allocates at one stroke.
 */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "fiber.h"
#include "guard.h"
#include "tycho/bundle.h"
#include "tycho/config.h"
#include "tycho/engine.h"

struct ty_vm {
    lua_State *L;
    lua_State *heap; /* an empty state, whose allocator serves L */
    lua_Alloc heap_alloc;
    void *heap_data;
    const struct ty_engine_env *env;
    struct ty_fibers *fibers;
    struct ty_config *config; /* of the generation: a reload may bring another */
    struct ty_bundle *bundle; /* NULL: none */
    void *generation;         /* the engine's; NULL: a state without one */
    size_t bytes;             /* allocated now */
    size_t bytes_max;
    size_t bytes_soft;          /* beyond it the hook is armed */
    unsigned rooms;             /* how often a test runner's limit was raised */
    size_t relief;              /* at so many bytes a whole collection is due between runs */
    _Atomic unsigned hooks;     /* enum ty_hook: what the hook is armed for */
    uint64_t guard_ms;          /* monotonic: until when loading may run; 0: not loading */
    struct ty_budget allowance; /* what fibers may use up that do not say otherwise */
};

/* Why a count hook runs. Each reason is set and cleared by its owner. */
enum ty_hook {
    TY_HOOK_LOAD = 1,   /* loading must end in time */
    TY_HOOK_MEMORY = 2, /* near the limit: collect, or raise */
    TY_HOOK_SLICE = 4,  /* guard.h */
    TY_HOOK_SAMPLE = 8, /* a profile wants to know the line */
};

/* Arm: safe in a signal handler of the loop's thread. The hook runs before the next instruction, or
 * for TY_HOOK_LOAD alone every now and then. */
void ty_vm_arm(struct ty_vm *vm, unsigned hook);
void ty_vm_disarm(struct ty_vm *vm, unsigned hook);

static inline bool ty_vm_is_armed(const struct ty_vm *vm, unsigned hook)
{
    return (atomic_load_explicit(&vm->hooks, memory_order_relaxed) & hook) != 0;
}

/* A state with the standard library at hand and the loader started. Aborts only when out of
 * memory; an error in the embedded library is a bug and aborts too, with its message. */
struct ty_vm *ty_vm_new(const struct ty_engine_env *env, struct ty_config *config,
                        struct ty_bundle *bundle);

/* No fiber may be left. */
void ty_vm_free(struct ty_vm *vm);

/* Between runs: collects when the state comes near its limit. LuaJIT does not by itself. */
void ty_vm_collect(struct ty_vm *vm);

static inline void ty_vm_relieve(struct ty_vm *vm)
{
    if (vm->bytes > vm->relief)
        ty_vm_collect(vm);
}

/* The vm of any lua_State of it. */
struct ty_vm *ty_vm_of(lua_State *L);

/* Pushes the field `name` of the loader (scripts/lib/tycho/_private/loader.lua). */
void ty_vm_push_loader(lua_State *L, const char *name);

/* Calls the field `name` of the loader with `nargs` values from the top of the
 * stack, protected and within reload.load_timeout. Like lua_pcall: 0, or an error and its value. */
int ty_vm_call_loader(struct ty_vm *vm, const char *name, int nargs, int nresults);
