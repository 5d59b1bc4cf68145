#include "host/web.h"

#include <string.h>

#include "tycho/clock.h"
#include "tycho/log.h"

enum { BEAT_MS = 50, NEIGHBOURS_MS = 100, HEALTH_MS = 500, OVERLOADED_MS = 10000 };

/* Once each turn of the loop; reading the loop's own clock costs nothing. */
static void on_turn(uv_prepare_t *turn)
{
    struct web *web = turn->data;

    web->slot->heartbeat_ms = uv_now(&web->loop);
}

/* The engine notes what the running generation has; here are the draining ones too. */
static void count_scripts(struct web *web)
{
    size_t bytes = 0, fibers = 0, streams = 0, old = 0, more;

    for (struct held *held = web->held; held && web->engine->memory; held = held->next) {
        if (!held->generation)
            continue;
        bytes += web->engine->memory(held->generation, &more);
        fibers += more;
        more = web->engine->streams ? web->engine->streams(held->generation) : 0;
        *(held->state == HELD_RETIRED ? &old : &streams) += more;
    }
    web->slot->streams = (uint32_t)streams;
    web->slot->old_streams = (uint32_t)old;
    web->slot->script_bytes = bytes;
    web->slot->fibers = (uint32_t)fibers;
}

static void count_connections(struct web *web)
{
    struct ty_http_counts counts = {0};

    if (web->server)
        counts = ty_http_server_counts(web->server);
    web->slot->connections = (uint32_t)counts.connections;
    web->slot->requests = (uint32_t)counts.requests;
}

static void on_beat(uv_timer_t *timer)
{
    struct web *web = timer->data;
    uint64_t now = ty_now_ns(), due = web->beat_ns + BEAT_MS * UINT64_C(1000000);
    uint64_t dropped = ty_log_dropped();

    ty_histogram_observe(web->lag, now > due ? (double)(now - due) / 1e9 : 0);
    web->beat_ns = now;
    web->slot->heartbeat_ms = now / 1000000;
    count_connections(web);
    count_scripts(web);
    ty_counter_add(web->dropped, (double)(dropped - web->log_dropped));
    web->log_dropped = dropped;
}

static void on_neighbours(uv_timer_t *timer)
{
    ty_web_look_after_neighbours(timer->data);
}

/* ---- health */

/* It has refused requests for so long that they should be sent elsewhere. */
static bool is_overloaded(const struct web *web)
{
    return web->server && ty_http_server_shedding_ms(web->server) > OVERLOADED_MS;
}

static bool is_ready(struct web *web, struct ty_buf *dependencies)
{
    bool ok = !web->engine->ready || web->engine->ready(dependencies);

    return ok && web->active && (!web->is_stopping || web->is_succeeded) && !is_overloaded(web);
}

int ty_web_health(bool ready, struct ty_buf *body, void *arg)
{
    struct ty_buf dependencies = {0};
    bool ok;

    if (!ready) {
        ty_buf_adds(body, "{\"status\":\"alive\"}");
        return 200;
    }
    ok = is_ready(arg, &dependencies);
    ty_buf_addf(body, "{\"status\":\"%s\",\"dependencies\":[%s]}", ok ? "ready" : "unready",
                ty_buf_cstr(&dependencies));
    ty_buf_close(&dependencies);
    return ok ? 200 : 503;
}

void ty_web_report_health(struct web *web, bool is_first)
{
    struct ty_buf now = {0}, json = {0};
    bool ok = is_ready(web, &now), overloaded = is_overloaded(web);

    /* A change of this alone is one too. */
    ty_buf_addc(&now, overloaded ? '!' : ok ? '+' : '-');
    if (web->channel && (is_first || now.len != web->last_health.len ||
                         memcmp(now.data, web->last_health.data, now.len) != 0)) {
        ty_buf_addf(&json, "{\"type\":\"health\",\"ok\":%s,\"overloaded\":%s,\"dependencies\":\"",
                    ok ? "true" : "false", overloaded ? "true" : "false");
        ty_buf_add_json(&json, now.data, now.len - 1);
        ty_buf_adds(&json, "\"}");
        ty_channel_send(web->channel, -1, json.data, json.len);
        ty_buf_close(&json);
    }
    ty_buf_close(&web->last_health);
    web->last_health = now;
}

static void on_health(uv_timer_t *timer)
{
    struct web *web = timer->data;

    if (web->active)
        ty_web_report_health(web, false);
    ty_web_check_memory(web);
}

/* ---- */

static void start_timer(struct web *web, uv_timer_t *timer, uv_timer_cb callback, uint64_t ms)
{
    uv_timer_init(&web->loop, timer);
    timer->data = web;
    uv_timer_start(timer, callback, ms, ms);
}

void ty_web_beat_open(struct web *web)
{
    static const struct ty_metric lag = {
        "tycho_loop_lag_seconds", "How late the loop ran a timer of 50 ms.", TY_HISTOGRAM, NULL, 0};
    static const struct ty_metric dropped = {"tycho_log_dropped_total",
                                             "Log records lost because the disk was too slow.",
                                             TY_COUNTER, NULL, 0};

    web->lag = ty_metrics_series(&lag, NULL);
    web->dropped = ty_metrics_series(&dropped, NULL);
    web->beat_ns = ty_now_ns();
    uv_prepare_init(&web->loop, &web->turn);
    web->turn.data = web;
    uv_prepare_start(&web->turn, on_turn);
    ty_web_check_memory(web);
    start_timer(web, &web->beat, on_beat, BEAT_MS);
    start_timer(web, &web->neighbours, on_neighbours, NEIGHBOURS_MS);
    start_timer(web, &web->health, on_health, HEALTH_MS);
}

void ty_web_beat_close(struct web *web)
{
    uv_close((uv_handle_t *)&web->turn, NULL);
    uv_close((uv_handle_t *)&web->beat, NULL);
    uv_close((uv_handle_t *)&web->neighbours, NULL);
    uv_close((uv_handle_t *)&web->health, NULL);
    ty_buf_close(&web->last_health);
}
