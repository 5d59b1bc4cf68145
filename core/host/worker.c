#include "host/master.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "host/message.h"
#include "host/observe.h"
#include "tycho/clock.h"
#include "tycho/log.h"

/* ---- what a worker has in memory */

static void hold(struct worker *worker, uint64_t number)
{
    if (worker->held_count < HELD_MAX)
        worker->held[worker->held_count++] = number;
}

static void release(struct worker *worker, uint64_t number)
{
    for (unsigned i = 0; i < worker->held_count; i++)
        if (worker->held[i] == number)
            worker->held[i--] = worker->held[--worker->held_count];
}

unsigned ty_workers_generations(const struct master *master, uint64_t *numbers, unsigned max)
{
    unsigned count = 0;

    for (unsigned w = 0; w < master->worker_count; w++) {
        const struct worker *worker = &master->workers[w];
        for (unsigned i = 0; i < worker->held_count; i++) {
            unsigned known = 0;
            while (known < count && numbers[known] != worker->held[i])
                known++;
            if (known == count && count < max)
                numbers[count++] = worker->held[i];
        }
    }
    return count;
}

void ty_workers_end_oldest_streams(struct master *master)
{
    uint64_t numbers[HELD_MAX], oldest = UINT64_MAX;
    unsigned count = ty_workers_generations(master, numbers, HELD_MAX);
    struct ty_buf json = {0};

    for (unsigned i = 0; i < count; i++)
        if (numbers[i] < oldest && numbers[i] != master->active->number)
            oldest = numbers[i];
    ty_buf_addf(&json, "{\"type\":\"end_streams\",\"generation\":%" PRIu64 "}", oldest);
    ty_workers_tell(master, json.data, json.len);
    ty_buf_close(&json);
}

unsigned ty_workers_streams(const struct master *master, bool old)
{
    unsigned count = 0;

    for (unsigned i = 0; i < master->worker_count; i++)
        count += old ? master->workers[i].shared->old_streams : master->workers[i].shared->streams;
    return count;
}

/* ---- giving it a generation */

static void set_offered(struct worker *worker, struct generation *generation)
{
    ty_generation_unref(worker->offered);
    worker->offered = generation;
    worker->is_prepared = false;
}

struct ty_channel *ty_worker_channel(struct worker *worker)
{
    return worker->child ? ty_child_channel(worker->child) : NULL;
}

void ty_worker_prepare(struct worker *worker, struct generation *generation)
{
    struct ty_channel *channel = ty_worker_channel(worker);

    set_offered(worker, ty_generation_ref(generation));
    hold(worker, generation->number);
    if (!channel)
        return; /* its end is about to be noticed */
    ty_channel_sendf(channel, generation->config_fd,
                     "{\"type\":\"config\",\"development\":%s,\"waits\":%s}",
                     worker->master->options->development ? "true" : "false",
                     worker->master->is_waiting ? "true" : "false");
    ty_channel_sendf(channel, ty_bundle_fd(generation->bundle),
                     "{\"type\":\"prepare\",\"generation\":%" PRIu64 "}", generation->number);
}

static void tell_about(struct worker *worker, const char *type)
{
    struct ty_channel *channel = ty_worker_channel(worker);

    if (channel)
        ty_channel_sendf(channel, -1, "{\"type\":\"%s\",\"generation\":%" PRIu64 "}", type,
                         worker->offered->number);
}

/* What was said to all before it came; and levels that a new configuration must not undo. */
static void catch_up(struct worker *worker)
{
    struct ty_channel *channel = ty_worker_channel(worker);

    for (unsigned i = 0; channel && i < worker->master->level_count; i++)
        ty_channel_sendf(channel, -1, "{\"type\":\"log_level\",\"module\":\"%s\",\"level\":\"%s\"}",
                         worker->master->levels[i].module, worker->master->levels[i].level);
    if (channel && worker->master->fault.len > 0)
        ty_channel_send(channel, -1, worker->master->fault.data, worker->master->fault.len);
    ty_quarantine_catch_up(worker);
}

void ty_worker_commit(struct worker *worker)
{
    tell_about(worker, "commit");
    catch_up(worker);
    ty_generation_unref(worker->committed);
    worker->committed = ty_generation_ref(worker->offered);
    set_offered(worker, NULL);
}

void ty_worker_abort(struct worker *worker)
{
    tell_about(worker, "abort");
    set_offered(worker, NULL);
}

void ty_worker_forget(struct worker *worker)
{
    set_offered(worker, NULL);
    ty_generation_unref(worker->committed);
    worker->committed = NULL;
    worker->serving = 0;
    worker->held_count = 0;
    ty_observe_lost(worker);
    worker->has_health = worker->is_healthy = worker->is_overloaded = false;
}

void ty_workers_offer(struct master *master)
{
    for (unsigned i = 0; i < master->worker_count; i++) {
        struct worker *worker = &master->workers[i];
        if (master->active &&
            (worker->state == WORKER_STARTING || worker->state == WORKER_SERVING) &&
            !worker->offered && worker->committed != master->active)
            ty_worker_prepare(worker, master->active);
    }
}

void ty_workers_tell(struct master *master, const char *json, size_t len)
{
    for (unsigned i = 0; i < master->worker_count; i++) {
        struct ty_channel *channel = ty_worker_channel(&master->workers[i]);
        if (channel)
            ty_channel_send(channel, -1, json, len);
    }
}

/* ---- what it says */

static void on_ready(struct worker *worker)
{
    struct master *master = worker->master;

    worker->is_prepared = true;
    if (ty_reload_wants(master->reload, worker->offered)) {
        ty_reload_heard(master->reload, worker, NULL);
    } else if (worker->offered == master->active) {
        ty_worker_commit(worker);
    } else {
        ty_worker_abort(worker);
        ty_workers_offer(master);
    }
}

static void on_failed(struct worker *worker, const char *faults)
{
    struct master *master = worker->master;
    bool wanted = ty_reload_wants(master->reload, worker->offered);

    release(worker, worker->offered->number);
    set_offered(worker, NULL);
    if (wanted) {
        ty_reload_heard(master->reload, worker, faults);
    } else if (!master->is_ready) {
        ty_master_fail(master, "%s", faults);
    } else {
        ty_log_error("host", "web worker %u cannot load the active generation: %s", worker->slot,
                     faults);
        ty_child_kill(worker->child, SIGKILL);
    }
}

static void on_committed(struct worker *worker, uint64_t number)
{
    struct master *master = worker->master;

    worker->serving = number;
    if (worker->state == WORKER_STARTING) {
        worker->state = WORKER_SERVING;
        ty_log_info("host", "web worker %u serves (pid %d, %" PRIu64 " ms after its start)",
                    worker->slot, ty_child_pid(worker->child), ty_now_ms() - worker->started_ms);
    }
    ty_reload_heard(master->reload, worker, NULL);
    ty_workers_offer(master); /* the active one may be another by now */
    ty_master_look(master);
}

/* It was told to, by us or by an operator: no reload waits for what it still runs. */
static void on_stopping(struct worker *worker)
{
    worker->state = WORKER_STOPPING;
    if (worker->offered)
        ty_worker_abort(worker);
    ty_reload_heard(worker->master->reload, worker, NULL);
}

static void on_health(struct worker *worker, yyjson_val *message)
{
    const char *dependencies = message_str(message, "dependencies");

    worker->has_health = true;
    worker->is_healthy = message_bool(message, "ok");
    worker->is_overloaded = message_bool(message, "overloaded");
    worker->health.len = 0;
    ty_buf_adds(&worker->health, dependencies);
    ty_master_look(worker->master);
}

void ty_worker_heard(struct child *child, const char *json, size_t len, void *arg)
{
    struct worker *worker = arg;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *message = yyjson_doc_get_root(doc);
    const char *type = message_str(message, "type");
    uint64_t number = message_uint(message, "generation");
    bool is_offered = worker->offered && worker->offered->number == number;

    (void)child;
    if (strcmp(type, "ready") == 0 && is_offered)
        on_ready(worker);
    else if (strcmp(type, "failed") == 0 && is_offered)
        on_failed(worker, message_str(message, "faults"));
    else if (strcmp(type, "committed") == 0)
        on_committed(worker, number);
    else if (strcmp(type, "stopping") == 0)
        on_stopping(worker);
    else if (strcmp(type, "health") == 0)
        on_health(worker, message);
    else if (strcmp(type, "strike") == 0)
        ty_quarantine_strike(worker->master, message_str(message, "route"));
    else if (strcmp(type, "recycle") == 0)
        ty_recycle_asked(worker, message_uint(message, "bytes"), message_uint(message, "max"));
    else if (strcmp(type, "description") == 0)
        ty_command_described(worker->master, worker, message);
    else if (strcmp(type, "observed") == 0)
        ty_observe_heard(worker, message);
    else if (strcmp(type, "gone") == 0) {
        release(worker, number);
        ty_reload_heard(worker->master->reload, worker, NULL);
    }
    yyjson_doc_free(doc);
}
