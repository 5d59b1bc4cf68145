#include <inttypes.h>
#include <string.h>

#include "host/master.h"
#include "tycho/clock.h"
#include "tycho/log.h"

/* Counts strikes of all workers, and tells all of them which routes are closed. */

enum { CUT_MAX = 80 }; /* what may be cut in slot->running is no name */

static const struct ty_config *settings(const struct master *master)
{
    return master->active ? master->active->config : master->config;
}

static void add_message(struct ty_buf *json, const char *route, uint64_t ms)
{
    json->len = 0;
    ty_buf_adds(json, "{\"type\":\"quarantine\",\"route\":\"");
    ty_buf_add_json(json, route, strlen(route));
    ty_buf_addf(json, "\",\"ms\":%" PRIu64 "}", ms);
}

static void tell_all(struct master *master, const char *route, uint64_t ms)
{
    struct ty_buf json = {0};

    add_message(&json, route, ms);
    ty_workers_tell(master, json.data, json.len);
    ty_buf_close(&json);
}

void ty_quarantine_strike(struct master *master, const char *route)
{
    const struct ty_config *config = settings(master);
    const struct strikes_rule rule = {(unsigned)ty_config_int(config, "lua.strikes_max"),
                                      ty_config_ms(config, "lua.quarantine")};

    if (route[0] == '\0' || !ty_strikes_add(&master->strikes, route, &rule, ty_now_ms()))
        return;
    ty_log_warn("host",
                "%s is closed for %.0f s: it had to be stopped %u times within that time "
                "(lua.strikes_max, lua.quarantine)",
                route, (double)rule.window_ms / 1e3, rule.max);
    tell_all(master, route, rule.window_ms);
}

void ty_quarantine_strike_of(struct worker *worker)
{
    char route[sizeof(worker->shared->running)];

    ty_slot_route(worker->shared, route, sizeof(route));
    if (strlen(route) < CUT_MAX)
        ty_quarantine_strike(worker->master, route);
}

void ty_quarantine_catch_up(struct worker *worker)
{
    struct ty_channel *channel = ty_worker_channel(worker);
    const struct struck_route *route = NULL;
    uint64_t now = ty_now_ms();
    struct ty_buf json = {0};

    while (channel && (route = ty_strikes_closed(&worker->master->strikes, route, now))) {
        add_message(&json, route->name, route->closed_until_ms - now);
        ty_channel_send(channel, -1, json.data, json.len);
    }
    ty_buf_close(&json);
}

/* Other scripts, another chance. */
void ty_quarantine_clear(struct master *master)
{
    const struct struck_route *route = NULL;
    uint64_t now = ty_now_ms();

    while ((route = ty_strikes_closed(&master->strikes, route, now)))
        tell_all(master, route->name, 0);
    ty_strikes_clear(&master->strikes);
}

unsigned ty_quarantine_count(const struct master *master)
{
    const struct struck_route *route = NULL;
    uint64_t now = ty_now_ms();
    unsigned count = 0;

    while ((route = ty_strikes_closed(&master->strikes, route, now)))
        count++;
    return count;
}

void ty_quarantine_describe(const struct master *master, struct ty_buf *out)
{
    const struct struck_route *route = NULL;
    uint64_t now = ty_now_ms();
    const char *comma = "";

    ty_buf_addc(out, '[');
    while ((route = ty_strikes_closed(&master->strikes, route, now))) {
        ty_buf_addf(out, "%s{\"route\":\"", comma);
        ty_buf_add_json(out, route->name, strlen(route->name));
        ty_buf_addf(out, "\",\"left\":%.3f}", (double)(route->closed_until_ms - now) / 1e3);
        comma = ",";
    }
    ty_buf_addc(out, ']');
}
