#include "host/web.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/message.h"
#include "tycho/folded.h"
#include "tycho/memory.h"

/* Looking on for a while, because an operator asked: one profile and one trace at a time. */
struct observation {
    struct web *web;
    uint64_t profile_token, trace_token; /* 0: none */
    uv_timer_t end;                      /* of the profile */
};

static void tell(struct web *web, struct ty_buf *json)
{
    if (web->channel)
        ty_channel_send(web->channel, -1, json->data, json->len);
    ty_buf_close(json);
}

static void begin_answer(struct ty_buf *json, uint64_t token, bool is_last)
{
    ty_buf_addf(json, "{\"type\":\"observed\",\"token\":%" PRIu64 ",\"last\":%s", token,
                is_last ? "true" : "false");
}

/* ---- profile */

static void close_profile(struct observation *o, bool is_told)
{
    struct ty_folded *folded = o->web->engine->profile_close();
    struct ty_buf stacks = {0}, json = {0};
    uint64_t token = o->profile_token;

    o->profile_token = 0;
    uv_timer_stop(&o->end);
    if (folded && is_told) {
        ty_folded_render(folded, &stacks);
        begin_answer(&json, token, true);
        ty_buf_addf(&json, ",\"samples\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"stacks\":\"",
                    ty_folded_total(folded), ty_folded_lost(folded));
        ty_buf_add_json(&json, stacks.data, stacks.len);
        ty_buf_adds(&json, "\"}");
        tell(o->web, &json);
    }
    ty_buf_close(&stacks);
    ty_folded_free(folded);
}

static void on_profile_over(uv_timer_t *timer)
{
    close_profile(timer->data, true);
}

static void refuse(struct web *web, uint64_t token, const char *why)
{
    struct ty_buf json = {0};

    begin_answer(&json, token, true);
    ty_buf_adds(&json, ",\"error\":\"");
    ty_buf_add_json(&json, why, strlen(why));
    ty_buf_adds(&json, "\"}");
    tell(web, &json);
}

static void open_profile(struct observation *o, yyjson_val *message)
{
    uint64_t token = message_uint(message, "token");
    unsigned hz = (unsigned)message_uint(message, "rate");
    int status = UV_ENOSYS;

    if (o->web->engine->profile_open)
        status = o->web->engine->profile_open(hz);
    if (status != 0) {
        refuse(o->web, token, uv_strerror(status));
        return;
    }
    o->profile_token = token;
    uv_timer_start(&o->end, on_profile_over, message_uint(message, "ms"), 0);
}

/* ---- trace */

static void on_traced(const char *text, size_t len, void *arg)
{
    struct observation *o = arg;
    struct ty_buf json = {0};

    begin_answer(&json, o->trace_token, false);
    ty_buf_adds(&json, ",\"trace\":");
    ty_buf_add(&json, text, len);
    ty_buf_addc(&json, '}');
    tell(o->web, &json);
}

/* Is there a route that is written so, now? */
static bool has_route(struct web *web, const char *route)
{
    const char *pattern = strchr(route, '/');
    struct ty_buf json = {0};
    yyjson_doc *doc = NULL;
    bool found = false;
    size_t i, count;
    yyjson_val *item;

    if (pattern && web->active) {
        web->engine->describe_routes(web->active->generation, &json);
        doc = yyjson_read(json.data, json.len, 0);
    }
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, count, item) found =
        found || strcmp(message_str(item, "path"), pattern) == 0;
    yyjson_doc_free(doc);
    ty_buf_close(&json);
    return found;
}

static void open_trace(struct observation *o, yyjson_val *message)
{
    const struct ty_trace_order order = {.route = message_str(message, "route"),
                                         .count = (unsigned)message_uint(message, "count"),
                                         .traced = on_traced,
                                         .arg = o};

    if (!o->web->engine->trace || !has_route(o->web, order.route)) {
        refuse(o->web, message_uint(message, "token"), "there is no such route: see tycho routes");
        return;
    }
    o->trace_token = message_uint(message, "token");
    o->web->engine->trace(&order);
}

static void close_trace(struct observation *o)
{
    o->trace_token = 0;
    o->web->engine->trace(NULL);
}

/* ---- */

static struct observation *observation_of(struct web *web)
{
    struct observation *o = web->observation;

    if (o)
        return o;
    o = web->observation = ty_zalloc(sizeof(*o));
    o->web = web;
    uv_timer_init(&web->loop, &o->end);
    o->end.data = o;
    uv_unref((uv_handle_t *)&o->end);
    return o;
}

void ty_web_observe(struct web *web, yyjson_val *message)
{
    const char *what = message_str(message, "what");
    uint64_t token = message_uint(message, "token");
    bool is_end = strcmp(what, "end") == 0;
    struct observation *o = web->is_stopping ? NULL : observation_of(web);

    if (!o && !is_end)
        refuse(web, token, "the worker stops");
    else if (!o)
        return;
    else if (strcmp(what, "profile") == 0)
        open_profile(o, message);
    else if (strcmp(what, "trace") == 0)
        open_trace(o, message);
    else if (token == o->profile_token)
        close_profile(o, false);
    else if (token == o->trace_token)
        close_trace(o);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void ty_web_observe_close(struct web *web)
{
    struct observation *o = web->observation;

    if (!o)
        return;
    web->observation = NULL;
    if (o->profile_token)
        close_profile(o, true);
    if (o->trace_token)
        close_trace(o);
    uv_close((uv_handle_t *)&o->end, on_closed);
}
