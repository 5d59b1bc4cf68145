#include "cli/local.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/settings.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { CLOSE_MS = 2000 };

/* The log goes to standard error whatever is configured: the file is the server's. */
static void open_log(const struct ty_config *config, const char *role, bool quiet)
{
    const char *format = ty_config_str(config, "log.format");
    struct ty_log_options options = {
        .pretty =
            strcmp(format, "pretty") == 0 || (strcmp(format, "auto") == 0 && isatty(STDERR_FILENO)),
        .role = role,
    };

    ty_log_parse_level(ty_config_str(config, "log.level"), &options.level);
    if (quiet && options.level < TY_LOG_WARN)
        options.level = TY_LOG_WARN;
    ty_log_open(&options);
    if (!quiet)
        ty_settings_log_levels(config);
}

struct local *local_open(struct cli *cli, const char *role, bool quiet)
{
    struct ty_config *config = cli_config(cli);

    if (!config)
        return NULL;
    struct local *local = ty_zalloc(sizeof(*local));
    const char *env = ty_config_str(config, "env");
    const struct ty_engine_env engine_env = {
        .loop = &local->loop,
        .config = config,
        .role = role,
        .development = env && strcmp(env, "dev") == 0,
    };

    local->engine = cli->engine;
    local->config = config;
    uv_loop_init(&local->loop);
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error code, not the end */
    open_log(config, role, quiet);
    local->engine->open(&engine_env);
    return local;
}

static void on_flag(void *arg)
{
    *(bool *)arg = true;
}

static void on_late(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Lets what is still closing come to its end, but does not wait for it for ever. */
static void run_dry(uv_loop_t *loop)
{
    bool late = false;
    uv_timer_t timer;

    uv_timer_init(loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_late, CLOSE_MS, 0);
    uv_unref((uv_handle_t *)&timer);
    while (!late && uv_run(loop, UV_RUN_ONCE))
        ;
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

void local_close(struct local *local)
{
    bool closed = false;

    local->engine->close(on_flag, &closed);
    while (!closed && uv_run(&local->loop, UV_RUN_ONCE))
        ;
    run_dry(&local->loop);
    ty_log_close();
    ty_config_unref(local->config);
    if (uv_loop_close(&local->loop) == 0)
        free(local); /* else something still points into it, and the process ends now */
}

struct load {
    struct ty_generation *gen;
    struct ty_buf *faults;
    bool done;
};

static void on_loaded(struct ty_generation *gen, const char *faults, void *arg)
{
    struct load *load = arg;

    load->gen = gen;
    load->done = true;
    if (!gen)
        ty_buf_adds(load->faults, faults);
}

struct ty_generation *local_load(struct local *local, struct ty_buf *faults, size_t *file_count)
{
    struct load load = {.faults = faults};
    struct ty_error error;
    const char *path = ty_config_str(local->config, "scripts.path");
    struct ty_bundle *bundle = ty_bundle_read(path ? path : ".", &error);

    if (!bundle) {
        ty_buf_adds(faults, error.message);
        return NULL;
    }
    *file_count = ty_bundle_count(bundle);
    local->engine->load(bundle, on_loaded, &load);
    ty_bundle_unref(bundle);
    while (!load.done && uv_run(&local->loop, UV_RUN_ONCE))
        ;
    if (!load.done)
        ty_buf_adds(faults, "a check of the application waits for something that never comes");
    return load.gen;
}

void local_unload(struct local *local, struct ty_generation *gen)
{
    bool gone = false;

    local->engine->retire(gen, 0, on_flag, &gone);
    while (!gone && uv_run(&local->loop, UV_RUN_ONCE))
        ;
}

int local_faults(struct cli *cli, const char *faults)
{
    struct ty_buf json = {0};

    if (!cli->values[OPTION_JSON]) {
        fprintf(stderr, "%s\n", faults);
        return TY_EXIT_FAILED;
    }
    ty_buf_adds(&json, "{\"ok\":false,\"faults\":[");
    for (size_t len; *faults; faults += len + (faults[len] == '\n')) {
        len = strcspn(faults, "\n");
        ty_buf_adds(&json, json.data[json.len - 1] == '[' ? "\"" : ",\"");
        ty_buf_add_json(&json, faults, len);
        ty_buf_addc(&json, '"');
    }
    ty_buf_adds(&json, "]}");
    puts(ty_buf_cstr(&json));
    ty_buf_close(&json);
    return TY_EXIT_FAILED;
}
