#include "host/web.h"

#include <unistd.h>

#include "tycho/clock.h"
#include "tycho/log.h"

/* From the first word to the last:
 *   accept what the kernel has already accepted for us   (at least SETTLE_MS, and until none waits)
 *   answer what was asked, close what is idle            (the server drains)
 *   let the generations finish                           (the engine retires them)
 *   close the engine, the timers, the channel            (the loop ends)
 */
enum { LOOK_MS = 10, SETTLE_MS = 60, SETTLE_MAX_MS = 1000 };

static uint64_t time_left(const struct web *web)
{
    uint64_t passed = ty_now_ms() - web->stop_ms;

    return passed < web->stop_timeout_ms ? web->stop_timeout_ms - passed : 0;
}

static void on_engine_closed(void *arg)
{
    struct web *web = arg;

    ty_web_beat_close(web);
    uv_close((uv_handle_t *)&web->stop, NULL);
    uv_close((uv_handle_t *)&web->deadline, NULL);
    uv_close((uv_handle_t *)&web->terminate, NULL);
    ty_channel_close(web->channel);
    web->channel = NULL;
}

void ty_web_stop_continue(struct web *web)
{
    if (!web->is_stopping || web->server || web->held || !web->is_engine_open)
        return;
    web->is_engine_open = false;
    web->engine->close(on_engine_closed, web);
}

static void on_server_closed(void *arg)
{
    struct web *web = arg;

    web->server = NULL;
    uv_timer_stop(&web->deadline);
    ty_web_retire_all(web, time_left(web));
    ty_web_stop_continue(web);
}

static void close_server(struct web *web)
{
    struct ty_http_server *server = web->server;

    uv_timer_stop(&web->stop);
    ty_web_accept_none(web);
    if (server && !web->is_closing)
        ty_http_server_close(server, on_server_closed, web);
    web->is_closing = true;
}

static void on_drained(void *arg)
{
    close_server(arg);
}

static void on_deadline(uv_timer_t *timer)
{
    ty_log_warn("host", "requests are still running after host.shutdown_timeout: cutting them");
    close_server(timer->data);
}

static void on_look(uv_timer_t *timer)
{
    struct web *web = timer->data;
    uint64_t passed = ty_now_ms() - web->stop_ms;

    if (web->is_accepting_all && passed < SETTLE_MAX_MS &&
        (passed < SETTLE_MS || ty_web_has_waiting(web)))
        return;
    uv_timer_stop(timer);
    ty_web_accept_none(web);
    ty_http_server_drain(web->server, on_drained, web);
}

void ty_web_stop(struct web *web, uint64_t timeout_ms, bool with_others)
{
    if (web->is_stopping)
        return;
    if (!web->is_engine_open)
        _exit(0); /* nothing has begun */
    ty_web_observe_close(web);
    web->is_stopping = true;
    web->stop_ms = ty_now_ms();
    web->stop_timeout_ms = timeout_ms;
    web->slot->state = TY_SLOT_DRAINING;
    if (web->channel)
        ty_channel_sendf(web->channel, -1, "{\"type\":\"stopping\"}");
    if (!web->server) {
        ty_web_retire_all(web, 0);
        ty_web_stop_continue(web);
        return;
    }
    ty_web_report_health(web, false);
    ty_http_server_last_call(web->server);
    web->is_accepting_all = with_others;
    if (with_others)
        ty_web_accept_all(web);
    uv_timer_start(&web->deadline, on_deadline, timeout_ms, 0);
    uv_timer_start(&web->stop, on_look, LOOK_MS, LOOK_MS);
}
