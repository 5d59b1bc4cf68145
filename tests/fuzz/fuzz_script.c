/* Fuzz targets in Lua: FUZZ_SCRIPT returns a function, which is called in a fiber with each input
 * and raises when it has found something. It has the privileges of the standard library.
 *
 * Lines of Lua count as coverage: a hook tells libFuzzer which ran. So the compiler is off.
 */
#include <lauxlib.h>
#include <luajit.h>

#include "engine.h"
#include "fuzz.h"

enum { COUNTERS = 64 * 1024, READ_MAX = 64 * 1024, ROUNDS_MAX = 1000 };

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

/* The leak checker does not look into Lua's memory: what only Lua refers to seems to be lost. */
const char *__asan_default_options(void); /* NOLINT(bugprone-reserved-identifier): ASan's name */
const char *__asan_default_options(void)  /* NOLINT(bugprone-reserved-identifier) */
{
    return "detect_leaks=0:allocator_may_return_null=1";
}

static struct {
    uv_loop_t loop;
    struct ty_generation *gen;
    int function; /* reference */
    bool ended;
} script;

static void on_line(lua_State *L, lua_Debug *ar)
{
    lua_getinfo(L, "S", ar);
    uintptr_t place = (uintptr_t)ar->source / 16 * 2654435761u + (unsigned)ar->currentline * 40503u;

    counters[place % COUNTERS]++;
}

static void on_done(struct ty_fiber *fiber, lua_State *co, int status, int count, void *arg)
{
    (void)fiber, (void)arg;
    script.ended = true;
    if (status) {
        lua_getglobal(co, "tostring");
        lua_pushvalue(co, -2);
        lua_call(co, 1, 1);
        luaL_traceback(co, co, lua_tostring(co, -1), 0);
        fprintf(stderr, "%s\n", lua_tostring(co, -1));
        abort();
    }
    if (count && lua_isfunction(co, -count)) {
        lua_pushvalue(co, -count);
        script.function = luaL_ref(co, LUA_REGISTRYINDEX);
    }
}

static void finish(void)
{
    for (int round = 0; !script.ended; round++) {
        REQUIRE(round < ROUNDS_MAX);
        uv_run(&script.loop, UV_RUN_ONCE);
    }
}

static const struct ty_fiber_options options = {.owner = "fuzz", .detached = true, .done = on_done};

static int start_script(lua_State *L)
{
    static char source[READ_MAX];
    FILE *file = fopen(FUZZ_SCRIPT, "r");

    REQUIRE(file);
    size_t len = fread(source, 1, sizeof(source), file);

    fclose(file);
    ty_vm_push_loader(L, "compile_privileged");
    lua_pushlstring(L, source, len);
    lua_pushliteral(L, "@" FUZZ_SCRIPT);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2))
        return lua_error(L);
    lua_pop(L, 1);
    ty_fiber_start(L, 0, &options);
    return 0;
}

static void call_protected(lua_CFunction function, void *arg)
{
    lua_State *L = script.gen->vm->L;

    script.ended = false;
    if (lua_cpcall(L, function, arg)) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    finish();
}

static void open_engine(void)
{
    static const char *const none[] = {NULL};
    struct ty_config_source source = {.path = "/dev/null", .environ_ = none};
    struct ty_engine_env env = {.loop = &script.loop, .role = "test"};
    struct ty_error error;

    REQUIRE(uv_loop_init(&script.loop) == 0);
    env.config = ty_config_load(&source, &error);
    REQUIRE(env.config);
    ty_lua_engine.open(&env);
    script.gen = ty_generation_bare(NULL);

    lua_State *L = script.gen->vm->L;

    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    call_protected(start_script, NULL);
    REQUIRE(script.function);
}

static int start_input(lua_State *L)
{
    const struct ty_slice *input = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, script.function);
    lua_pushlstring(L, input->data, input->len);
    ty_fiber_start(L, 1, &options);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ty_slice input = {(const char *)data, size};

    if (!script.gen)
        open_engine();
    call_protected(start_input, &input);
    return 0;
}
