#include "vm.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "cstack.h"
#include "engine.h"
#include "modules.h"
#include "profile.h"
#include "tycho/clock.h"
#include "tycho/embedded.h"
#include "tycho/memory.h"

/* check: allow SAME-NAME because tests/lua/loader_spec.lua tests what it loads */

enum {
    GUARD_INSTRUCTIONS = 10000,
    GC_PAUSE = 400, /* percent of live memory; 200, the default, costs a request a tenth more */
    RESERVE = 1024 * 1024, /* beyond the limit, to log and answer what went over it */
    ROOMS_MAX = 4,
};

static const char LOADER[] = "lib/tycho/_private/loader.lua";
static const char LOADER_KEY = 0;

int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);

/* Stops what loads too long, runs too long, or takes too much memory. It stays armed until that is
 * over: pcall cannot keep it. */
static void on_hook(lua_State *L, lua_Debug *ar);

/* Off first: were LuaJIT just changing its dispatch table when a signal came, it would take "on"
 * for what it has already. */
static void set_hook(struct ty_vm *vm)
{
    unsigned hooks = atomic_load(&vm->hooks);

    lua_sethook(vm->L, NULL, 0, 0);
    if (hooks)
        lua_sethook(vm->L, on_hook, LUA_MASKCOUNT, hooks == TY_HOOK_LOAD ? GUARD_INSTRUCTIONS : 1);
}

void ty_vm_arm(struct ty_vm *vm, unsigned hook)
{
    atomic_fetch_or(&vm->hooks, hook);
    set_hook(vm);
}

void ty_vm_disarm(struct ty_vm *vm, unsigned hook)
{
    atomic_fetch_and(&vm->hooks, ~hook);
    set_hook(vm);
}

/* New requests are refused meanwhile, but for one now and then. */
static void set_pressed(struct ty_vm *vm, bool pressed)
{
    struct ty_generation *gen = vm->generation;

    if (gen)
        gen->site.is_pressed = pressed;
    if (pressed) {
        vm->relief = 0; /* a collection is due as soon as nothing runs */
        ty_vm_arm(vm, TY_HOOK_MEMORY);
    } else {
        ty_vm_disarm(vm, TY_HOOK_MEMORY);
    }
}

static void set_limit(struct ty_vm *vm, size_t bytes)
{
    vm->bytes_max = bytes;
    vm->bytes_soft = bytes - bytes / 8;
}

/* What may not be allocated raises "not enough memory". The limit is for scripts; what the server
 * does outside of fibers must not fail for what a fiber has taken. */
static bool is_refused(struct ty_vm *vm, size_t bytes)
{
    if (!ty_vm_is_armed(vm, TY_HOOK_MEMORY) && vm->fibers)
        set_pressed(vm, true);
    if (bytes <= vm->bytes_max)
        return false;
    return bytes > vm->bytes_max + RESERVE || !vm->fibers || ty_fiber_running(vm->L);
}

/* Counts, and leaves the rest to LuaJIT's own allocator: faster than malloc for what Lua does, and
 * the state's memory goes back to the system as a whole. */
static void *allocate(void *ud, void *old, size_t old_size, size_t size)
{
    struct ty_vm *vm = ud;
    size_t bytes = vm->bytes + size - old_size;

    if (bytes > vm->bytes_soft && size > old_size && is_refused(vm, bytes))
        return NULL;
    void *memory = vm->heap_alloc(vm->heap_data, old, old_size, size);
    if (memory || !size)
        vm->bytes = bytes;
    return memory;
}

static void collect(struct ty_vm *vm, lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    /* Not again until a quarter of what is left has been filled. */
    vm->relief = vm->bytes_max / 2;
    size_t next = vm->bytes + (vm->bytes_max - vm->bytes) / 4;
    if (next > vm->relief)
        vm->relief = next;
    if (vm->bytes <= vm->bytes_soft && ty_vm_is_armed(vm, TY_HOOK_MEMORY))
        set_pressed(vm, false);
    else if (vm->bytes > vm->bytes_soft)
        vm->relief = 0; /* again after each run: who holds it may be gone */
}

void ty_vm_collect(struct ty_vm *vm)
{
    collect(vm, vm->L);
}

/* A test that takes too much fails; the runner goes on, and has to say so. What the test keeps is
 * still there: without some room each further instruction fails, those that report included. */
static void make_room(struct ty_vm *vm)
{
    if (vm->rooms == ROOMS_MAX || strcmp(vm->env->role, "test") != 0)
        return;
    vm->rooms++;
    set_limit(vm, vm->bytes + vm->bytes_max / 4);
    set_pressed(vm, false);
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct ty_vm *vm = ty_vm_of(L);
    bool scripted = vm->guard_ms || ty_fiber_running(L); /* else an error is being answered */
    const char *what = NULL;

    if (ty_vm_is_armed(vm, TY_HOOK_SAMPLE))
        ty_profile_hook(L, vm);
    if (ty_vm_is_armed(vm, TY_HOOK_SLICE))
        ty_guard_hook(L, vm);
    if (ty_vm_is_armed(vm, TY_HOOK_MEMORY) && scripted)
        collect(vm, L);
    if (ty_vm_is_armed(vm, TY_HOOK_MEMORY) && scripted) {
        what = "not enough memory (lua.memory_max)";
        make_room(vm);
    } else if (vm->guard_ms && ty_now_ms() >= vm->guard_ms) {
        what = "loading took too long (reload.load_timeout)";
    }
    if (!what)
        return;
    ty_fiber_blame(L, what); /* not `ar`: a loop in C may have asked */
}

struct ty_vm *ty_vm_of(lua_State *L)
{
    void *vm;

    lua_getallocf(L, &vm);
    return vm;
}

static void preload(lua_State *L, const char *name, lua_CFunction open)
{
    lua_getfield(L, LUA_GLOBALSINDEX, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, name);
    lua_pop(L, 2);
}

static int start_loader(lua_State *L)
{
    const struct ty_embedded *file = ty_embedded_find(LOADER);

    luaL_openlibs(L);
#define X(name) preload(L, "tycho.core." #name, luaopen_tycho_core_##name);
    TY_MODULES(X)
#undef X
    preload(L, "cjson", luaopen_cjson);
    preload(L, "cjson.safe", luaopen_cjson_safe);

    if (!file)
        return luaL_error(L, "%s is not embedded", LOADER);
    if (luaL_loadbuffer(L, file->data, file->len, "@tycho/_private/loader.lua"))
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_pushlightuserdata(L, (void *)&LOADER_KEY);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

static int on_panic(lua_State *L)
{
    fprintf(stderr, "tycho: unprotected error in Lua: %s\n", lua_tostring(L, -1));
    return 0; /* LuaJIT aborts */
}

/* Batch work is nobody's neighbour: only servers are guarded, and who asks for it (tycho repl). */
static void set_allowance(struct ty_vm *vm)
{
    bool is_guarded = strcmp(vm->env->role, "web") == 0 || strcmp(vm->env->role, "trial") == 0;

    vm->allowance = (struct ty_budget){
        .slice_max_ms =
            is_guarded ? (uint32_t)ty_config_ms(vm->config, "lua.slice_max") : TY_GUARD_UNLIMITED,
        .cpu_max_ms = (uint32_t)ty_config_ms(vm->config, "lua.cpu_max"),
    };
}

struct ty_vm *ty_vm_new(const struct ty_engine_env *env, struct ty_config *config,
                        struct ty_bundle *bundle)
{
    struct ty_vm *vm = ty_zalloc(sizeof(*vm));

    vm->env = env;
    vm->config = ty_config_ref(config);
    vm->bundle = bundle ? ty_bundle_ref(bundle) : NULL;
    size_t max = ty_config_bytes(config, "lua.memory_max");
    set_limit(vm, max ? max : SIZE_MAX / 2);
    vm->relief = vm->bytes_max / 2;
    set_allowance(vm);
    ty_cstack_open();
    vm->heap = luaL_newstate(); /* only its allocator is used */
    if (vm->heap) {
        vm->heap_alloc = lua_getallocf(vm->heap, &vm->heap_data);
        vm->L = lua_newstate(allocate, vm);
    }
    if (!vm->L) {
        fputs("tycho: out of memory for a Lua state\n", stderr);
        abort();
    }
    lua_atpanic(vm->L, on_panic);
    vm->fibers = ty_fibers_new(vm->L, env->loop, (size_t)ty_config_int(config, "lua.fibers_max"));
    lua_gc(vm->L, LUA_GCSETPAUSE, GC_PAUSE);
    if (lua_cpcall(vm->L, start_loader, NULL)) {
        fprintf(stderr, "tycho: the standard library does not load: %s\n", lua_tostring(vm->L, -1));
        abort();
    }
    return vm;
}

void ty_vm_free(struct ty_vm *vm)
{
    ty_fibers_free(vm->fibers);
    lua_close(vm->L);
    lua_close(vm->heap);
    if (vm->bundle)
        ty_bundle_unref(vm->bundle);
    ty_config_unref(vm->config);
    free(vm);
}

void ty_vm_push_loader(lua_State *L, const char *name)
{
    lua_pushlightuserdata(L, (void *)&LOADER_KEY);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

int ty_vm_call_loader(struct ty_vm *vm, const char *name, int nargs, int nresults)
{
    lua_State *L = vm->L;
    uint64_t limit = ty_config_ms(vm->config, "reload.load_timeout");

    ty_vm_push_loader(L, name);
    lua_insert(L, -1 - nargs);

    vm->guard_ms = ty_now_ms() + limit;
    ty_vm_arm(vm, TY_HOOK_LOAD);
    ty_crash_vm = vm;
    int status = lua_pcall(L, nargs, nresults, 0);
    ty_crash_vm = NULL;
    vm->guard_ms = 0;
    ty_vm_disarm(vm, TY_HOOK_LOAD);
    return status;
}

/* ---- tycho.core.vm: what the loader and the library ask of their state */

/* file(name) -> text or nil: a file of the bundle, else of the embedded library */
static int l_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct ty_vm *vm = ty_vm_of(L);
    const struct ty_bundle_file *file = vm->bundle ? ty_bundle_find(vm->bundle, name) : NULL;

    if (!file)
        return 0;
    lua_pushlstring(L, file->data, file->len);
    return 1;
}

/* files(prefix) -> names, sorted */
static int l_files(lua_State *L)
{
    size_t len;
    const char *prefix = luaL_optlstring(L, 1, "", &len);
    struct ty_vm *vm = ty_vm_of(L);
    int n = 0;

    lua_newtable(L);
    for (size_t i = 0; vm->bundle && i < ty_bundle_count(vm->bundle); i++) {
        const char *name = ty_bundle_at(vm->bundle, i)->name;
        if (strncmp(name, prefix, len) != 0)
            continue;
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* embedded(name) -> text or nil */
static int l_embedded(lua_State *L)
{
    const struct ty_embedded *file = ty_embedded_find(luaL_checkstring(L, 1));

    if (!file)
        return 0;
    lua_pushlstring(L, file->data, file->len);
    return 1;
}

/* about() -> { root, role, development, generation, version } */
static int l_about(lua_State *L)
{
    struct ty_vm *vm = ty_vm_of(L);

    lua_createtable(L, 0, 5);
    lua_pushstring(L, vm->bundle ? ty_bundle_root(vm->bundle) : NULL);
    lua_setfield(L, -2, "root");
    lua_pushstring(L, vm->bundle ? ty_bundle_id(vm->bundle) : NULL);
    lua_setfield(L, -2, "generation");
    lua_pushstring(L, vm->env->role);
    lua_setfield(L, -2, "role");
    lua_pushboolean(L, vm->env->development);
    lua_setfield(L, -2, "development");
    lua_pushstring(L, ty_version);
    lua_setfield(L, -2, "version");
    return 1;
}

/* grants() -> list of names from scripts.grants */
static int l_grants(lua_State *L)
{
    const char *const *items;
    size_t count = ty_config_list(ty_vm_of(L)->config, "scripts.grants", &items);

    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* fault() -> why the files on disk do not run, or nil (development) */
static int l_fault(lua_State *L)
{
    lua_pushstring(L, ty_engine_fault());
    return 1;
}

/* guard(): from now on no slice of this state runs longer than lua.slice_max, as in a server; how
 * much it runs in all is its own business */
static int l_guard(lua_State *L)
{
    struct ty_vm *vm = ty_vm_of(L);
    struct ty_fiber *fiber = ty_fiber_running(L);

    vm->allowance.slice_max_ms = (uint32_t)ty_config_ms(vm->config, "lua.slice_max");
    vm->allowance.cpu_max_ms = UINT32_MAX;
    if (fiber)
        *ty_fiber_budget(fiber) = vm->allowance;
    ty_guard_open(vm->config);
    return 0;
}

/* memory() -> bytes allocated by this state */
static int l_memory(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)ty_vm_of(L)->bytes);
    return 1;
}

int luaopen_tycho_core_vm(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"about", l_about}, {"embedded", l_embedded}, {"fault", l_fault},
        {"file", l_file},   {"files", l_files},       {"grants", l_grants},
        {"guard", l_guard}, {"memory", l_memory},     {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
