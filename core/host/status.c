#include "host/status.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "host/admin.h"
#include "host/observe.h"
#include "host/upgrade.h"
#include "tycho/clock.h"
#include "tycho/embedded.h"
#include "tycho/log.h"

static const char *state_name(const struct worker *worker)
{
    static const char *const names[] = {"down", "starting", "serving", "stopping"};

    return names[worker->state];
}

static void add_seconds(struct ty_buf *out, const char *name, uint64_t since_ms)
{
    ty_buf_addf(out, ",\"%s\":%.3f", name, (double)(ty_now_ms() - since_ms) / 1000);
}

static void add_worker(const struct worker *worker, struct ty_buf *out)
{
    const struct ty_slot *slot = worker->shared;

    ty_buf_addf(out, "{\"slot\":%u,\"pid\":%d,\"state\":\"%s\",\"restarts\":%u", worker->slot,
                slot->pid, state_name(worker), slot->restarts);
    add_seconds(out, "age", worker->child ? worker->started_ms : ty_now_ms());
    ty_buf_addf(out, ",\"connections\":%u,\"requests\":%u,\"fibers\":%u,\"script_bytes\":%" PRIu64,
                slot->connections, slot->requests, slot->fibers, slot->script_bytes);
    ty_buf_addf(out, ",\"streams\":%u,\"replaced_streams\":%u", slot->streams, slot->old_streams);
    ty_buf_addf(out, ",\"generation\":\"%s\",\"generations\":%u}",
                worker->committed ? ty_generation_id(worker->committed) : "", worker->held_count);
}

static void add_time(struct ty_buf *out, int64_t wall_us)
{
    char text[TY_RFC3339_MAX];

    ty_rfc3339(wall_us, text);
    ty_buf_addf(out, "\"%s\"", text);
}

void ty_status_add(const struct master *master, struct ty_buf *out)
{
    struct ty_buf body = {0};

    ty_buf_addf(out, ",\"version\":\"%s\",\"pid\":%d,\"state\":\"%s\"", ty_version, getpid(),
                master->is_stopping ? "stopping"
                : master->is_ready  ? "serving"
                                    : "starting");
    add_seconds(out, "uptime", master->started_ms);
    ty_buf_addf(out, ",\"ready\":%s", ty_master_is_healthy(master, &body) ? "true" : "false");
    ty_buf_addf(out, ",\"dependencies\":[%s]", ty_buf_cstr(&body));
    ty_buf_close(&body);
    ty_buf_addf(out, ",\"generation\":\"%s\",\"reloading\":%s",
                master->active ? ty_generation_id(master->active) : "",
                ty_reload_is_busy(master->reload) ? "true" : "false");
    ty_buf_adds(out, ",\"upgrade\":");
    ty_upgrade_add_status(master->upgrade, out);
    ty_buf_addf(out, ",\"http\":\"%s\",\"admin\":\"%s\",\"log_dropped\":%" PRIu64,
                master->listeners.address, master->admin ? ty_admin_address(master->admin) : "",
                ty_log_dropped());
    ty_status_add_log_levels(master, out);
    ty_buf_adds(out, ",\"observing\":");
    ty_observe_describe(master, out);
    ty_buf_adds(out, ",\"quarantined\":");
    ty_quarantine_describe(master, out);
    ty_buf_adds(out, ",\"workers\":[");
    for (unsigned i = 0; i < master->worker_count; i++) {
        ty_buf_adds(out, i ? "," : "");
        add_worker(&master->workers[i], out);
    }
    ty_buf_addc(out, ']');
}

static void add_level(struct ty_buf *out, const char *module, const char *level)
{
    ty_buf_adds(out, out->data[out->len - 1] == '[' ? "" : ",");
    ty_buf_addf(out, "{\"module\":\"%s\",\"level\":\"%s\"}", module, level);
}

static bool is_said(const struct master *master, const char *module)
{
    for (unsigned i = 0; i < master->level_count; i++)
        if (strcmp(master->levels[i].module, module) == 0)
            return true;
    return false;
}

/* What a command said goes before the configuration; said for all, it undoes all of that. */
void ty_status_add_log_levels(const struct master *master, struct ty_buf *out)
{
    const struct ty_config *config = master->active ? master->active->config : master->config;
    const char *const *modules;
    size_t count = ty_config_names(config, "log.levels", &modules);
    bool is_overruled = is_said(master, "");

    ty_buf_adds(out, ",\"log_levels\":[");
    if (!is_overruled)
        add_level(out, "", ty_config_str(config, "log.level"));
    for (size_t i = 0; i < count && !is_overruled; i++)
        if (!is_said(master, modules[i]))
            add_level(out, modules[i], ty_config_named_str(config, "log.levels", modules[i], ""));
    for (unsigned i = 0; i < master->level_count; i++)
        add_level(out, master->levels[i].module, master->levels[i].level);
    ty_buf_addc(out, ']');
}

/* How many workers have this bundle in memory under the number they serve. */
static unsigned serving_it(const struct master *master, const struct generation *generation)
{
    unsigned count = 0;

    for (unsigned i = 0; i < master->worker_count; i++) {
        const struct generation *committed = master->workers[i].committed;
        count +=
            committed && strcmp(ty_generation_id(committed), ty_generation_id(generation)) == 0;
    }
    return count;
}

void ty_status_add_generations(const struct master *master, struct ty_buf *out)
{
    const char *active = master->active ? ty_generation_id(master->active) : "";
    uint64_t numbers[HELD_MAX];

    ty_buf_addf(out, ",\"alive\":%u,\"streams\":%u,\"replaced_streams\":%u,\"generations\":[",
                ty_workers_generations(master, numbers, HELD_MAX),
                ty_workers_streams(master, false), ty_workers_streams(master, true));
    for (unsigned i = master->history.count; i > 0; i--) {
        const struct generation *generation = master->history.list[i - 1];
        ty_buf_addf(out,
                    "%s{\"id\":\"%s\",\"files\":%zu,\"active\":%s,\"workers\":%u,\"committed\":",
                    i < master->history.count ? "," : "", ty_generation_id(generation),
                    ty_bundle_count(generation->bundle),
                    strcmp(ty_generation_id(generation), active) == 0 ? "true" : "false",
                    serving_it(master, generation));
        add_time(out, generation->committed_us);
        ty_buf_addc(out, '}');
    }
    ty_buf_addc(out, ']');
}
