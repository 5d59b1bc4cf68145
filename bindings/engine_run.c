#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "engine.h"

/* check: allow SAME-NAME because tests/blackbox/cli_spec.lua tests it */

struct run {
    struct ty_generation *gen;
    int code;
    bool ended, gone;
};

/* What a script leaves is its exit code: nothing, true and 0 are success. */
static int exit_code(lua_State *co, int count)
{
    if (count == 0 || lua_isnil(co, -count))
        return 0;
    if (lua_isboolean(co, -count))
        return lua_toboolean(co, -count) ? 0 : 1;
    return (int)lua_tointeger(co, -count);
}

static int show_error(lua_State *L)
{
    lua_State *co = lua_touserdata(L, 1);
    const char *text;

    lua_getglobal(L, "tostring");
    lua_xmove(co, L, 1);
    lua_call(L, 1, 1);
    text = lua_tostring(L, -1);
    luaL_traceback(L, co, text ? text : "(an error that cannot be shown)", 0);
    fprintf(stderr, "tycho: %s\n", lua_tostring(L, -1));
    return 0;
}

static void on_script_done(struct ty_fiber *fiber, lua_State *co, int status, int count, void *arg)
{
    struct run *run = arg;

    (void)fiber;
    run->ended = true;
    run->code = status ? 1 : exit_code(co, count);
    if (status)
        lua_cpcall(run->gen->vm->L, show_error, co);
}

static void on_gone(void *arg)
{
    ((struct run *)arg)->gone = true;
}

struct start {
    struct run *run;
    const char *name, *source;
    size_t len;
    int argc;
    char **argv;
};

/* Sets `arg` as every Lua program has it, compiles, and starts the fiber. */
static int start_script(lua_State *L)
{
    struct start *s = lua_touserdata(L, 1);
    struct ty_fiber_options options = {
        .owner = s->name, .detached = true, .done = on_script_done, .arg = s->run};

    lua_createtable(L, s->argc, 1);
    lua_pushstring(L, s->name);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < s->argc; i++) {
        lua_pushstring(L, s->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");

    ty_vm_push_loader(L, "compile_privileged");
    lua_pushlstring(L, s->source, s->len);
    lua_pushstring(L, s->name);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2))
        return lua_error(L);
    lua_pop(L, 1);
    luaL_checkstack(L, s->argc + 8, "too many arguments");
    for (int i = 0; i < s->argc; i++)
        lua_pushstring(L, s->argv[i]);
    ty_fiber_start(L, s->argc, &options);
    return 0;
}

/* The application's files, where there are any: a script may want to require them. */
static struct ty_bundle *read_bundle(const struct ty_config *config)
{
    struct ty_error error;
    return ty_bundle_read(ty_config_str(config, "scripts.path"), &error);
}

int ty_engine_run(const char *script_name, const char *source, size_t len, int argc, char **argv)
{
    const struct ty_engine_env *env = ty_engine_env();
    struct ty_bundle *bundle = read_bundle(env->config);
    struct run run = {.gen = ty_generation_bare(bundle)};
    struct start start = {&run, script_name, source, len, argc, argv};
    lua_State *L = run.gen->vm->L;

    if (bundle)
        ty_bundle_unref(bundle);
    if (lua_cpcall(L, start_script, &start)) {
        fprintf(stderr, "tycho: %s\n", lua_tostring(L, -1));
        lua_pop(L, 1);
        run.code = 1;
        run.ended = true;
    }
    while (!run.ended && uv_run(env->loop, UV_RUN_ONCE))
        ;
    if (!run.ended) {
        fprintf(stderr, "tycho: %s: waits for something that never comes\n", script_name);
        run.code = 1;
    }
    ty_lua_engine.retire(run.gen, 0, on_gone, &run);
    while (!run.gone && uv_run(env->loop, UV_RUN_ONCE))
        ;
    return run.code;
}
