#include "engine.h"

#include <lauxlib.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "closed.h"
#include "crash.h"
#include "db.h"
#include "http.h"
#include "lag.h"
#include "profile.h"
#include "trace.h"
#include "tycho/clock.h"
#include "tycho/log.h"
#include "tycho/memory.h"

/* check: allow SAME-NAME because tests/blackbox/reload_spec.lua tests it */

/* The process's one engine: the environment that every generation of it shares. */
static struct {
    struct ty_engine_env env;
    struct ty_buf fault; /* what the last refused reload said, for development pages */
} engine;

/* ---- a generation's memory */

void ty_route_free(struct ty_route *route, void *unused)
{
    (void)unused;
    free((char *)route->pattern);
    free((char *)route->where);
    free(route->data);
    free(route);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct ty_generation *gen = handle->data;

    if (gen->gone)
        gen->gone(gen->gone_arg);
    free(gen->faults);
    free(gen);
}

/* The last thing that happens to a generation; not from inside one of its Lua calls. */
static void destroy(struct ty_generation *gen)
{
    ty_generation_forget_calls(gen);
    ty_vm_free(gen->vm);
    gen->vm = NULL; /* the host may still ask for figures until `gone` has run */
    ty_router_each(gen->site.router, ty_route_free, NULL);
    ty_router_free(gen->site.router);
    gen->site.router = NULL;
    uv_close((uv_handle_t *)&gen->timer, on_timer_closed);
}

static void destroy_when_over(struct ty_generation *gen)
{
    if (gen->retired && gen->unused && gen->idle)
        destroy(gen);
}

static void on_fibers_idle(void *arg)
{
    struct ty_generation *gen = arg;

    gen->idle = true;
    destroy_when_over(gen);
}

/* The last request may just be returning from Lua: the fibers' own idle notice comes later. */
static void on_site_unused(struct ty_site *site)
{
    struct ty_generation *gen = site->data;

    gen->unused = true;
    ty_fibers_on_idle(gen->vm->fibers, on_fibers_idle, gen);
}

static int keep_function(lua_State *L, lua_CFunction function)
{
    lua_pushcfunction(L, function);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void push_module(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

/* prepare(gen): what the hot path wants at hand. */
static int prepare(lua_State *L)
{
    struct ty_generation *gen = lua_touserdata(L, 1);

    gen->start_ref = keep_function(L, ty_call_start);
    gen->answer_error_ref = keep_function(L, ty_call_answer_error);
    gen->log_failure_ref = keep_function(L, ty_call_log);
    ty_push_request_metatable(L);
    gen->requests_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_pushliteral(L, "tycho.response");
    lua_setfield(L, -2, "__name");
    gen->responses_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    ty_push_response_names(L, gen);
    lua_pushcclosure(L, ty_answer, 4);
    gen->answer_ref = luaL_ref(L, LUA_REGISTRYINDEX);

    push_module(L, "tycho._private.pump");
    gen->pump_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    push_module(L, "tycho._private.devpage");
    lua_getfield(L, -1, "fault");
    gen->fault_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    push_module(L, "tycho.app"); /* sets the handlers of unmatched requests and errors */
    return 0;
}

static struct ty_generation *create(struct ty_config *config, struct ty_bundle *bundle)
{
    struct ty_generation *gen = ty_zalloc(sizeof(*gen));

    gen->handlers[TY_HANDLER_UNMATCHED] = gen->handlers[TY_HANDLER_ERROR] = LUA_NOREF;
    gen->request_timeout_ms = (uint32_t)ty_config_ms(config, "http.request_timeout");
    gen->site.router = ty_router_new();
    gen->site.handle = ty_generation_handle;
    gen->site.on_unused = on_site_unused;
    gen->site.data = gen;
    gen->site.refs = 1;
    if (bundle)
        snprintf(gen->site.generation, sizeof(gen->site.generation), "%s", ty_bundle_id(bundle));
    uv_timer_init(engine.env.loop, &gen->timer);
    gen->timer.data = gen;
    gen->vm = ty_vm_new(&engine.env, config, bundle);
    gen->vm->generation = gen;
    return gen;
}

/* ---- loading */

static void report_load(struct ty_generation *gen)
{
    ty_engine_loaded_fn *loaded = gen->loaded;
    char *faults = gen->faults;

    gen->loaded = NULL;
    gen->faults = NULL;
    if (!faults) {
        loaded(gen, NULL, gen->loaded_arg);
        return;
    }
    loaded(NULL, faults, gen->loaded_arg);
    free(faults);
    ty_lua_engine.retire(gen, 0, NULL, NULL);
}

static void on_load_over(uv_timer_t *timer)
{
    report_load(timer->data);
}

static void take_faults(struct ty_generation *gen, lua_State *L)
{
    const char *text = lua_tostring(L, -1);

    gen->faults = ty_strdup(text ? text : "loading failed with a value that is no text");
    lua_pop(L, 1);
}

/* The application's own checks have run, in a fiber. */
static void on_checked(struct ty_fiber *fiber, lua_State *co, int status, int count, void *arg)
{
    struct ty_generation *gen = arg;
    lua_State *L = gen->vm->L;

    (void)fiber;
    if (status) {
        lua_getglobal(L, "tostring");
        lua_xmove(co, L, 1);
        lua_pcall(L, 1, 1, 0); /* either way there is one value to show */
        take_faults(gen, L);
    } else if (count && lua_isstring(co, -count)) {
        lua_pushvalue(co, -count);
        lua_xmove(co, L, 1);
        take_faults(gen, L);
    }
    uv_timer_start(&gen->timer, on_load_over, 0, 0);
}

/* checks(gen): starts the fiber that runs them. */
static int start_checks(lua_State *L)
{
    struct ty_generation *gen = lua_touserdata(L, 1);
    struct ty_fiber_options options = {
        .owner = "checks",
        .detached = true,
        .done = on_checked,
        .arg = gen,
        .timeout_ms = ty_config_ms(gen->vm->config, "reload.check_timeout"),
    };

    ty_vm_push_loader(L, "check");
    ty_fiber_start(L, 0, &options);
    return 0;
}

static bool load_scripts(struct ty_generation *gen)
{
    lua_State *L = gen->vm->L;

    if (lua_cpcall(L, prepare, gen) || ty_vm_call_loader(gen->vm, "load_all", 0, 1) ||
        !lua_isnil(L, -1)) {
        take_faults(gen, L);
        return false;
    }
    lua_pop(L, 1);
    gen->sealed = true;
    if (lua_cpcall(L, start_checks, gen)) {
        take_faults(gen, L);
        return false;
    }
    return true;
}

static void engine_load(struct ty_bundle *bundle, ty_engine_loaded_fn *loaded, void *arg)
{
    struct ty_generation *gen = create(engine.env.config, bundle);

    gen->loaded = loaded;
    gen->loaded_arg = arg;
    if (!load_scripts(gen))
        uv_timer_start(&gen->timer, on_load_over, 0, 0);
}

/* ---- the end of a generation */

static const char REPLACED[] = "the generation was replaced";

static void end_streams(struct ty_generation *gen, const char *why)
{
    if (gen->streams && !gen->streams_over)
        ty_log_info("http", "generation %s: ending %zu streamed answers: %s", gen->site.generation,
                    gen->streams, why);
    gen->streams_over = true;
    ty_fibers_cancel(gen->vm->fibers, true, REPLACED);
}

static void on_age_over(uv_timer_t *timer)
{
    end_streams(timer->data, "reload.max_age is over");
}

/* Answers that go on, such as server-sent events, have longer than requests. */
static void on_drain_over(uv_timer_t *timer)
{
    struct ty_generation *gen = timer->data;
    uint64_t age = ty_now_ms() - gen->retired_ms;

    ty_fibers_cancel(gen->vm->fibers, false, REPLACED);
    uv_timer_start(&gen->timer, on_age_over, gen->age_ms > age ? gen->age_ms - age : 0, 0);
}

static size_t engine_streams(struct ty_generation *gen)
{
    return gen->streams;
}

static void engine_end_streams(struct ty_generation *gen)
{
    if (gen->vm)
        end_streams(gen, "another reload needs the room (reload.max_alive)");
}

static void engine_retire(struct ty_generation *gen, uint64_t drain_ms, void (*gone)(void *arg),
                          void *arg)
{
    gen->gone = gone;
    gen->gone_arg = arg;
    gen->retired = true;
    gen->retired_ms = ty_now_ms();
    /* as the newest configuration says; the engine may have been closed */
    gen->age_ms =
        ty_config_ms(engine.env.config ? engine.env.config : gen->vm->config, "reload.max_age");
    uv_timer_start(&gen->timer, on_drain_over, drain_ms, 0);
    ty_site_unref(&gen->site);
}

/* ---- the rest of the contract */

static void engine_open(const struct ty_engine_env *env)
{
    engine.env = *env;
    ty_config_ref(engine.env.config);
    if (strcmp(env->role, "web") == 0 || strcmp(env->role, "trial") == 0)
        ty_guard_open(env->config);
}

static void engine_set_config(struct ty_config *config)
{
    ty_config_ref(config);
    ty_config_unref(engine.env.config);
    engine.env.config = config;
    ty_guard_configure(config);
}

static void engine_close(void (*done)(void *arg), void *arg)
{
    ty_guard_close();
    ty_routes_open();
    ty_buf_close(&engine.fault);
    ty_config_unref(engine.env.config);
    engine.env.config = NULL;
    ty_db_close_all(done, arg);
}

static struct ty_site *engine_site(struct ty_generation *gen)
{
    return &gen->site;
}

static const char *engine_id(struct ty_generation *gen)
{
    return gen->site.generation;
}

static void engine_start(struct ty_generation *gen)
{
    (void)gen; /* nothing runs on its own yet */
}

static void describe_fibers(struct ty_generation *gen, bool stacks, struct ty_buf *out)
{
    if (gen->vm)
        ty_fibers_describe(gen->vm->fibers, stacks, out);
    else
        ty_buf_adds(out, "[]");
}

static void describe_route(struct ty_route *route, void *arg)
{
    struct ty_buf *out = arg;

    if (out->data[out->len - 1] != '[')
        ty_buf_addc(out, ',');
    ty_buf_adds(out, "{\"methods\":\"");
    ty_method_list(route->methods, out);
    ty_buf_adds(out, "\",\"path\":\"");
    ty_buf_add_json(out, route->pattern, strlen(route->pattern));
    ty_buf_adds(out, "\",\"where\":\"");
    ty_buf_add_json(out, route->where, strlen(route->where));
    ty_buf_adds(out, "\"}");
}

static void describe_routes(struct ty_generation *gen, struct ty_buf *out)
{
    ty_buf_addc(out, '[');
    if (gen->site.router)
        ty_router_each(gen->site.router, describe_route, out);
    ty_buf_addc(out, ']');
}

static size_t engine_memory(struct ty_generation *gen, size_t *fibers)
{
    *fibers = gen->vm ? ty_fibers_count(gen->vm->fibers) : 0;
    return gen->vm ? gen->vm->bytes : 0;
}

static void engine_set_fault(const char *faults)
{
    engine.fault.len = 0;
    if (faults)
        ty_buf_adds(&engine.fault, faults);
}

const struct ty_engine_env *ty_engine_env(void)
{
    return &engine.env;
}

const char *ty_engine_fault(void)
{
    return engine.fault.len ? ty_buf_cstr(&engine.fault) : NULL;
}

static bool engine_ready(struct ty_buf *out)
{
    return ty_db_ready(out);
}

const struct ty_engine ty_lua_engine = {
    .version = LUAJIT_VERSION,
    .stops_loops = TY_LUAJIT_CHECKHOOK,
    .open = engine_open,
    .close = engine_close,
    .set_config = engine_set_config,
    .set_fault = engine_set_fault,
    .quarantine = ty_route_close,
    .load = engine_load,
    .site = engine_site,
    .id = engine_id,
    .start = engine_start,
    .retire = engine_retire,
    .streams = engine_streams,
    .end_streams = engine_end_streams,
    .describe_fibers = describe_fibers,
    .describe_routes = describe_routes,
    .describe_lag = ty_lag_describe,
    .profile_open = ty_profile_open,
    .profile_close = ty_profile_close,
    .trace = ty_trace_ask,
    .memory = engine_memory,
    .ready = engine_ready,
    .crashed = ty_crash_describe,
    .run = ty_engine_run,
};

struct ty_generation *ty_generation_bare(struct ty_bundle *bundle)
{
    struct ty_generation *gen = create(engine.env.config, bundle);

    if (lua_cpcall(gen->vm->L, prepare, gen)) {
        fprintf(stderr, "tycho: %s\n", lua_tostring(gen->vm->L, -1));
        abort();
    }
    return gen;
}
