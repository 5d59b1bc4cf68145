#include "host/web.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/memory_file.h"
#include "host/settings.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { CONFIG_MAX = 16 * 1024 * 1024 };

/* ---- the configuration */

static void on_struck(const char *route, void *arg)
{
    struct web *web = arg;
    struct ty_buf json = {0};

    ty_buf_adds(&json, "{\"type\":\"strike\",\"route\":\"");
    ty_buf_add_json(&json, route, strlen(route));
    ty_buf_adds(&json, "\"}");
    if (web->channel)
        ty_channel_send(web->channel, -1, json.data, json.len);
    ty_buf_close(&json);
}

static void open_engine(struct web *web)
{
    const struct ty_engine_env env = {.loop = &web->loop,
                                      .config = web->staged,
                                      .role = "web",
                                      .development = web->development,
                                      .slot = web->slot,
                                      .struck = on_struck,
                                      .struck_arg = web};

    ty_settings_open_log(web->staged, "web");
    ty_crash_allow_cores(ty_config_bool(web->staged, "host.core_dumps"));
    web->engine->open(&env);
    web->is_engine_open = true;
}

void ty_web_stage(struct web *web, int config_fd, bool development)
{
    struct ty_buf packed = {0};
    struct ty_config *config = NULL;

    if (ty_memory_file_read(config_fd, CONFIG_MAX, &packed))
        config = ty_config_unpack(packed.data, packed.len);
    ty_buf_close(&packed);
    if (!config)
        abort(); /* the master's own bytes */
    ty_config_unref(web->staged);
    web->staged = config;
    web->development = development;
    if (!web->is_engine_open)
        open_engine(web);
}

static void set_engine_config(struct web *web, struct ty_config *config)
{
    if (web->engine->set_config)
        web->engine->set_config(config);
}

/* ---- the list */

static struct held *find(struct web *web, uint64_t number)
{
    struct held *held = web->held;

    while (held && held->number != number)
        held = held->next;
    return held;
}

static void drop(struct held *held)
{
    struct held **at = &held->web->held;

    while (*at != held)
        at = &(*at)->next;
    *at = held->next;
    ty_config_unref(held->config);
    free(held);
}

static void tell(struct web *web, const char *type, uint64_t number)
{
    if (web->channel)
        ty_channel_sendf(web->channel, -1, "{\"type\":\"%s\",\"generation\":%" PRIu64 "}", type,
                         number);
}

static void on_gone(void *arg)
{
    struct held *held = arg;
    struct web *web = held->web;

    tell(web, "gone", held->number);
    drop(held);
    ty_web_stop_continue(web);
}

static void retire(struct held *held, uint64_t drain_ms)
{
    held->state = HELD_RETIRED;
    held->web->engine->retire(held->generation, drain_ms, on_gone, held);
}

void ty_web_retire_all(struct web *web, uint64_t drain_ms)
{
    struct held *next;

    web->active = NULL;
    for (struct held *held = web->held; held; held = next) {
        next = held->next; /* the engine may be done with it at once */
        if (held->state == HELD_LOADING)
            held->is_aborted = true;
        else if (held->state != HELD_RETIRED)
            retire(held, drain_ms);
    }
}

/* ---- prepare, commit, abort */

static void tell_failed(struct web *web, uint64_t number, const char *faults)
{
    struct ty_buf json = {0};

    ty_buf_addf(&json, "{\"type\":\"failed\",\"generation\":%" PRIu64 ",\"faults\":\"", number);
    ty_buf_add_json(&json, faults, strlen(faults));
    ty_buf_adds(&json, "\"}");
    if (web->channel)
        ty_channel_send(web->channel, -1, json.data, json.len);
    ty_buf_close(&json);
}

static void on_loaded(struct ty_generation *generation, const char *faults, void *arg)
{
    struct held *held = arg;
    struct web *web = held->web;

    held->generation = generation;
    held->state = HELD_READY;
    if (generation && !held->is_aborted) {
        tell(web, "ready", held->number);
    } else if (generation) {
        retire(held, 0);
    } else {
        if (!held->is_aborted)
            tell_failed(web, held->number, faults ? faults : "the scripts could not be loaded");
        tell(web, "gone", held->number);
        set_engine_config(web, web->active ? web->active->config : web->staged);
        drop(held);
        ty_web_stop_continue(web);
    }
}

void ty_web_prepare(struct web *web, uint64_t number, int bundle_fd)
{
    struct ty_error error;
    struct ty_bundle *bundle = ty_bundle_open(bundle_fd, &error);
    struct held *held;

    if (!bundle) {
        tell_failed(web, number, error.message);
        return;
    }
    if (web->is_stopping) { /* it will never be needed, and would be one more to wait for */
        tell(web, "gone", number);
        ty_bundle_unref(bundle);
        return;
    }
    held = ty_zalloc(sizeof(*held));
    held->web = web;
    held->number = number;
    held->config = ty_config_ref(web->staged);
    held->next = web->held;
    web->held = held;
    set_engine_config(web, held->config);
    web->engine->load(bundle, on_loaded, held);
    ty_bundle_unref(bundle);
}

/* False: the server cannot be had, which the configuration's checks should have prevented. */
static bool configure_server(struct web *web, const struct ty_config *config)
{
    struct ty_http_options options;
    struct ty_error error;
    int status = 0;

    ty_settings_http(config, &options);
    options.health = ty_web_health;
    options.health_arg = web;
    if (web->server)
        status = ty_http_server_configure(web->server, &options, &error);
    else
        web->server = ty_http_server_new(&web->loop, &options, &error);
    if (web->server && status == 0)
        return true;
    ty_log_error("host", "%s", error.message);
    return web->server != NULL;
}

void ty_web_commit(struct web *web, uint64_t number)
{
    struct held *held = find(web, number), *old = web->active;
    bool is_first = !web->server;

    if (!held || held->state != HELD_READY || web->is_stopping)
        return;
    if (!configure_server(web, held->config))
        abort();
    ty_settings_log_levels(held->config);
    ty_http_server_set_site(web->server, web->engine->site(held->generation));
    held->state = HELD_ACTIVE;
    web->active = held;
    strncpy(web->slot->generation, web->engine->id(held->generation),
            sizeof(web->slot->generation) - 1);
    web->engine->start(held->generation);
    tell(web, "committed", number);
    if (old)
        retire(old, ty_config_ms(held->config, "reload.drain_timeout"));
    if (is_first) {
        web->slot->state = TY_SLOT_SERVING;
        ty_web_look_after_neighbours(web);
        ty_web_report_health(web, true);
    }
}

void ty_web_abort(struct web *web, uint64_t number)
{
    struct held *held = find(web, number);

    if (!held)
        return;
    if (held->state == HELD_LOADING)
        held->is_aborted = true;
    else if (held->state == HELD_READY)
        retire(held, 0);
    if (web->active)
        set_engine_config(web, web->active->config);
}

void ty_web_end_streams(struct web *web, uint64_t number)
{
    struct held *held = find(web, number);

    if (held && held->state == HELD_RETIRED && web->engine->end_streams)
        web->engine->end_streams(held->generation);
}
