#include "host/observe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/message.h"
#include "tycho/memory.h"

enum { GRACE_MS = 3000, SECONDS_MAX = 3600, RATE_MAX = 2000, COUNT_MAX = 1000 };

struct observation {
    struct observation *next;
    struct master *master;
    struct client *client;
    const char *what; /* "profile", "trace" */
    uint64_t token;
    bool is_asked[TY_SHM_SLOTS_MAX], is_awaited[TY_SHM_SLOTS_MAX], is_silent[TY_SHM_SLOTS_MAX];
    unsigned wanted, seen; /* traces; 0: as many as come */
    uv_timer_t timer;
};

/* ---- its end */

static void on_closed(uv_handle_t *timer)
{
    free(timer->data);
}

static void tell_end(struct observation *o)
{
    for (unsigned i = 0; i < o->master->worker_count; i++) {
        struct worker *worker = &o->master->workers[i];
        struct ty_channel *channel = ty_worker_channel(worker);
        if (o->is_awaited[worker->slot] && channel)
            ty_channel_sendf(channel, -1,
                             "{\"type\":\"observe\",\"what\":\"end\",\"token\":%" PRIu64 "}",
                             o->token);
    }
}

static void drop(struct observation *o)
{
    struct observation **at = &o->master->observations;

    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    uv_close((uv_handle_t *)&o->timer, on_closed);
}

static void add_slots(struct ty_buf *out, const char *name, const bool *slots)
{
    const char *comma = "";

    ty_buf_addf(out, ",\"%s\":[", name);
    for (unsigned i = 0; i < TY_SHM_SLOTS_MAX; i++)
        if (slots[i]) {
            ty_buf_addf(out, "%s%u", comma, i);
            comma = ",";
        }
    ty_buf_addc(out, ']');
}

static void finish(struct observation *o)
{
    struct ty_buf json = {0};

    tell_end(o);
    for (unsigned i = 0; i < TY_SHM_SLOTS_MAX && !o->wanted; i++)
        o->is_silent[i] = o->is_silent[i] || o->is_awaited[i];
    add_slots(&json, "asked", o->is_asked);
    add_slots(&json, "silent", o->is_silent);
    ty_buf_addf(&json, ",\"seen\":%u", o->seen);
    ty_control_answer(o->client, true, ty_buf_cstr(&json));
    ty_buf_close(&json);
    drop(o);
}

static void on_timer(uv_timer_t *timer)
{
    finish(timer->data);
}

/* ---- its beginning */

static bool is_busy(struct master *master, struct client *client, const char *what)
{
    struct observation *o = master->observations;

    while (o && strcmp(o->what, what) != 0)
        o = o->next;
    if (o)
        ty_control_refuse(client, "another %s is being made: one at a time", what);
    return o != NULL;
}

/* Sends `order`, which ends before its token, to all serving workers, or to one; NULL, and refused,
 * if there is none. */
static struct observation *start(struct master *master, struct client *client, const char *what,
                                 uint64_t slot, struct ty_buf *order)
{
    struct observation *o = ty_zalloc(sizeof(*o));
    unsigned count = 0;

    o->master = master;
    o->client = client;
    o->what = what;
    o->token = ++master->last_token;
    o->timer.data = o;
    ty_buf_addf(order, ",\"token\":%" PRIu64 "}", o->token);
    for (unsigned i = 0; i < master->worker_count; i++) {
        struct worker *worker = &master->workers[i];
        if (worker->state != WORKER_SERVING || !ty_worker_channel(worker) ||
            (slot && worker->slot != slot))
            continue;
        ty_channel_send(ty_worker_channel(worker), -1, order->data, order->len);
        o->is_asked[worker->slot] = o->is_awaited[worker->slot] = true;
        count++;
    }
    if (count == 0) {
        free(o);
        ty_control_refuse(client, slot ? "there is no such worker" : "no worker serves");
        return NULL;
    }
    uv_timer_init(&master->loop, &o->timer);
    o->next = master->observations;
    master->observations = o;
    return o;
}

void ty_observe_profile(struct master *master, struct client *client, yyjson_val *command)
{
    double seconds = yyjson_get_num(yyjson_obj_get(command, "seconds"));
    uint64_t rate = message_uint(command, "rate"), ms;
    struct ty_buf order = {0};
    struct observation *o;

    if (is_busy(master, client, "profile"))
        return;
    if (seconds < 0.1 || seconds > SECONDS_MAX || rate < 1 || rate > RATE_MAX) {
        ty_control_refuse(client, "0.1 to %d seconds, and 1 to %d times a second", SECONDS_MAX,
                          RATE_MAX);
        return;
    }
    ms = (uint64_t)(seconds * 1000);
    ty_buf_addf(&order,
                "{\"type\":\"observe\",\"what\":\"profile\",\"ms\":%" PRIu64 ",\"rate\":%" PRIu64,
                ms, rate);
    o = start(master, client, "profile", message_uint(command, "worker"), &order);
    ty_buf_close(&order);
    if (o)
        uv_timer_start(&o->timer, on_timer, ms + GRACE_MS, 0);
}

void ty_observe_trace(struct master *master, struct client *client, yyjson_val *command)
{
    double seconds = yyjson_get_num(yyjson_obj_get(command, "seconds"));
    const char *route = message_str(command, "route");
    uint64_t count = message_uint(command, "count");
    struct ty_buf order = {0};
    struct observation *o;

    if (is_busy(master, client, "trace"))
        return;
    if (seconds < 0.1 || seconds > SECONDS_MAX || count < 1 || count > COUNT_MAX) {
        ty_control_refuse(client, "1 to %d requests, within 0.1 to %d seconds", COUNT_MAX,
                          SECONDS_MAX);
        return;
    }
    ty_buf_addf(&order, "{\"type\":\"observe\",\"what\":\"trace\",\"count\":%" PRIu64, count);
    ty_buf_adds(&order, ",\"route\":\"");
    ty_buf_add_json(&order, route, strlen(route));
    ty_buf_addc(&order, '"');
    o = start(master, client, "trace", 0, &order);
    ty_buf_close(&order);
    if (!o)
        return;
    o->wanted = (unsigned)count;
    uv_timer_start(&o->timer, on_timer, (uint64_t)(seconds * 1000), 0);
}

/* ---- while it lasts */

static bool is_complete(const struct observation *o)
{
    if (o->wanted && o->seen >= o->wanted)
        return true;
    for (unsigned i = 0; i < TY_SHM_SLOTS_MAX; i++)
        if (o->is_awaited[i])
            return false;
    return true;
}

static void pass_on(struct observation *o, const struct worker *worker, yyjson_val *message)
{
    char *text = yyjson_val_write(message, 0, NULL);
    struct ty_buf json = {0};

    ty_buf_addf(&json, "{\"worker\":%u,\"observed\":", worker->slot);
    ty_buf_adds(&json, text ? text : "null");
    ty_buf_addc(&json, '}');
    ty_control_send(o->client, &json);
    ty_buf_close(&json);
    free(text);
}

void ty_observe_heard(struct worker *worker, yyjson_val *message)
{
    struct observation *o = worker->master->observations;

    while (o && o->token != message_uint(message, "token"))
        o = o->next;
    if (!o || !o->is_awaited[worker->slot])
        return;
    if (message_bool(message, "last"))
        o->is_awaited[worker->slot] = false;
    pass_on(o, worker, message);
    o->seen += yyjson_obj_get(message, "error") == NULL;
    if (is_complete(o))
        finish(o);
}

void ty_observe_lost(const struct worker *worker)
{
    struct observation *next;

    for (struct observation *o = worker->master->observations; o; o = next) {
        next = o->next;
        if (!o->is_awaited[worker->slot])
            continue;
        o->is_awaited[worker->slot] = false;
        o->is_silent[worker->slot] = true;
        if (is_complete(o))
            finish(o);
    }
}

void ty_observe_describe(const struct master *master, struct ty_buf *out)
{
    ty_buf_addc(out, '[');
    for (const struct observation *o = master->observations; o; o = o->next)
        ty_buf_addf(out, "\"%s\"%s", o->what, o->next ? "," : "");
    ty_buf_addc(out, ']');
}

void ty_observe_forget(struct master *master, const struct client *client)
{
    struct observation *next;

    for (struct observation *o = master->observations; o; o = next) {
        next = o->next;
        if (o->client != client)
            continue;
        tell_end(o);
        drop(o);
    }
}

void ty_observe_cancel(struct master *master)
{
    while (master->observations)
        finish(master->observations);
}
