#include "host/master.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/control.h"
#include "host/message.h"
#include "host/observe.h"
#include "host/status.h"
#include "host/upgrade.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { DESCRIBE_MS = 2000, ITEMS_MAX = 12 * 1024 * 1024 /* of what fits in an answer */ };

/* ---- reload, rollback */

static void on_progress(const char *text, void *arg)
{
    ty_control_progress(arg, text);
}

static void on_reloaded(const struct reload_result *result, void *arg)
{
    static const char *const outcomes[] = {"committed", "unchanged", "refused", "failed"};
    bool ok = result->outcome <= RELOAD_UNCHANGED;
    struct ty_buf json = {0};

    ty_buf_addf(&json, ",\"outcome\":\"%s\",\"generation\":\"%s\",\"ms\":%" PRIu64,
                outcomes[result->outcome], result->id, result->ms);
    ty_buf_adds(&json, ",\"warning\":\"");
    ty_buf_add_json(&json, result->warning, strlen(result->warning));
    ty_buf_adds(&json, ok ? "\",\"message\":\"" : "\",\"error\":\"");
    ty_buf_add_json(&json, result->text, strlen(result->text));
    ty_buf_adds(&json, "\"");
    ty_control_answer(arg, ok, ty_buf_cstr(&json));
    ty_buf_close(&json);
}

static void ask_reload(struct master *master, struct client *client, enum reload_kind kind,
                       yyjson_val *command)
{
    struct reload_ask ask = {.kind = kind,
                             .force = message_bool(command, "force"),
                             .progress = on_progress,
                             .done = on_reloaded,
                             .arg = client};

    if (!master->active) {
        ty_control_refuse(client, "the server has not finished starting");
        return;
    }
    snprintf(ask.id, sizeof(ask.id), "%s", message_str(command, "id"));
    ty_reload_ask(master->reload, &ask);
}

static void run_reload(struct master *master, struct client *client, yyjson_val *command)
{
    ask_reload(master, client, RELOAD_FILES, command);
}

static void run_rollback(struct master *master, struct client *client, yyjson_val *command)
{
    ask_reload(master, client, RELOAD_BACK, command);
}

/* ---- ps, routes: the workers know */

struct description {
    struct description *next;
    struct master *master;
    struct client *client; /* NULL: nobody waits any more */
    uint64_t token;
    void (*add_more)(struct ty_buf *out); /* what the master knows of it; NULL: nothing */
    bool is_awaited[TY_SHM_SLOTS_MAX];
    struct ty_buf items; /* of a JSON array */
    uv_timer_t timer;
};

static void on_description_closed(uv_handle_t *timer)
{
    struct description *description = timer->data;

    ty_buf_close(&description->items);
    free(description);
}

static void finish_description(struct description *description)
{
    struct description **at = &description->master->descriptions;
    struct ty_buf json = {0};
    const char *comma = "";

    while (*at != description)
        at = &(*at)->next;
    *at = description->next;
    ty_buf_addf(&json, ",\"workers\":[%s],\"silent\":[", ty_buf_cstr(&description->items));
    for (unsigned i = 0; i < TY_SHM_SLOTS_MAX; i++)
        if (description->is_awaited[i]) {
            ty_buf_addf(&json, "%s%u", comma, i);
            comma = ",";
        }
    ty_buf_addc(&json, ']');
    if (description->add_more)
        description->add_more(&json);
    if (description->client)
        ty_control_answer(description->client, true, ty_buf_cstr(&json));
    ty_buf_close(&json);
    uv_close((uv_handle_t *)&description->timer, on_description_closed);
}

static void on_describe_timeout(uv_timer_t *timer)
{
    finish_description(timer->data);
}

static unsigned awaited(const struct description *description)
{
    unsigned count = 0;

    for (unsigned i = 0; i < TY_SHM_SLOTS_MAX; i++)
        count += description->is_awaited[i];
    return count;
}

/* Also one that finishes can be asked what it still runs. */
static bool can_describe(const struct worker *worker)
{
    return (worker->state == WORKER_SERVING || worker->state == WORKER_STOPPING) &&
           ty_child_channel(worker->child);
}

/* Asks all workers, or only `max` of them. */
static struct description *describe(struct master *master, struct client *client, const char *what,
                                    unsigned max)
{
    struct description *description = ty_zalloc(sizeof(*description));
    unsigned count = 0;

    description->master = master;
    description->client = client;
    description->token = ++master->last_token;
    description->timer.data = description;
    description->next = master->descriptions;
    master->descriptions = description;
    uv_timer_init(&master->loop, &description->timer);
    uv_timer_start(&description->timer, on_describe_timeout, DESCRIBE_MS, 0);
    for (unsigned i = 0; i < master->worker_count && count < max; i++) {
        struct worker *worker = &master->workers[i];
        if (!can_describe(worker))
            continue;
        ty_channel_sendf(ty_child_channel(worker->child), -1,
                         "{\"type\":\"describe\",\"what\":\"%s\",\"token\":%" PRIu64 "}", what,
                         description->token);
        description->is_awaited[worker->slot] = true;
        count++;
    }
    if (count == 0)
        uv_timer_start(&description->timer, on_describe_timeout, 0, 0);
    return description;
}

void ty_command_described(struct master *master, struct worker *worker, yyjson_val *message)
{
    uint64_t token = message_uint(message, "token");
    struct description *description = master->descriptions;
    char *items;

    while (description && description->token != token)
        description = description->next;
    if (!description || !description->is_awaited[worker->slot])
        return;
    description->is_awaited[worker->slot] = false;
    items = yyjson_val_write(yyjson_obj_get(message, "items"), 0, NULL);
    if (items && description->items.len + strlen(items) > ITEMS_MAX) {
        free(items);
        items = NULL;
    }
    if (description->items.len > 0)
        ty_buf_addc(&description->items, ',');
    ty_buf_addf(&description->items, "{\"worker\":%u,\"pid\":%d,\"generations\":%s}", worker->slot,
                ty_child_pid(worker->child), items ? items : "[]");
    free(items);
    if (awaited(description) == 0)
        finish_description(description);
}

void ty_command_forget(struct master *master, const struct client *client)
{
    for (struct description *d = master->descriptions; d; d = d->next)
        if (d->client == client)
            d->client = NULL;
    ty_observe_forget(master, client);
}

void ty_commands_cancel(struct master *master)
{
    while (master->descriptions)
        finish_description(master->descriptions);
    ty_observe_cancel(master);
}

static void run_ps(struct master *master, struct client *client, yyjson_val *command)
{
    describe(master, client, message_bool(command, "stacks") ? "stacks" : "fibers", UINT_MAX);
}

static void add_lag_buckets(struct ty_buf *out)
{
    double bounds[TY_METRIC_BUCKETS_MAX + 1], counts[TY_METRIC_BUCKETS_MAX + 1];
    size_t count = ty_metrics_buckets("tycho_loop_lag_seconds", NULL, bounds, counts);

    ty_buf_adds(out, ",\"buckets\":[");
    for (size_t i = 0; i < count; i++) {
        ty_buf_adds(out, i ? ",{\"most\":" : "{\"most\":");
        if (i + 1 < count)
            ty_buf_addf(out, "%g", bounds[i]);
        else
            ty_buf_adds(out, "null");
        ty_buf_addf(out, ",\"count\":%.0f}", counts[i]);
    }
    ty_buf_addc(out, ']');
}

static void run_lag(struct master *master, struct client *client, yyjson_val *command)
{
    (void)command;
    describe(master, client, "lag", UINT_MAX)->add_more = add_lag_buckets;
}

static void run_routes(struct master *master, struct client *client, yyjson_val *command)
{
    (void)command;
    describe(master, client, "routes", 1);
}

/* ---- what the master knows itself */

static void answer_with(struct client *client, struct ty_buf *json)
{
    ty_control_answer(client, true, ty_buf_cstr(json));
    ty_buf_close(json);
}

static void run_status(struct master *master, struct client *client, yyjson_val *command)
{
    struct ty_buf json = {0};

    (void)command;
    ty_status_add(master, &json);
    answer_with(client, &json);
}

static void run_generations(struct master *master, struct client *client, yyjson_val *command)
{
    struct ty_buf json = {0};

    (void)command;
    ty_status_add_generations(master, &json);
    answer_with(client, &json);
}

static void run_config(struct master *master, struct client *client, yyjson_val *command)
{
    struct ty_buf json = {0};

    (void)command;
    ty_buf_adds(&json, ",\"config\":");
    ty_config_json(master->active ? master->active->config : master->config, false, &json);
    answer_with(client, &json);
}

/* ---- what changes something at once */

static void run_stop(struct master *master, struct client *client, yyjson_val *command)
{
    char more[32];

    (void)command;
    snprintf(more, sizeof(more), ",\"pid\":%d", getpid());
    ty_control_answer(client, true, more);
    ty_master_stop(master);
}

static void run_upgrade(struct master *master, struct client *client, yyjson_val *command)
{
    const char *program = message_str(command, "program");

    if (program[0] && program[0] != '/')
        ty_control_refuse(client, "\"program\" must be an absolute path");
    else
        ty_upgrade_ask(master->upgrade, client, program);
}

static void run_reopen(struct master *master, struct client *client, yyjson_val *command)
{
    (void)command;
    ty_master_reopen_logs(master);
    ty_control_answer(client, true, "");
}

static bool remember_level(struct master *master, const char *module, const char *level)
{
    struct log_level *entry = master->levels;
    unsigned i = 0;

    if (module[0] == '\0')
        master->level_count = 0; /* all: whatever was said before */
    while (i < master->level_count && strcmp(entry[i].module, module) != 0)
        i++;
    if (i == LEVELS_MAX)
        return false;
    if (i == master->level_count)
        master->level_count++;
    snprintf(entry[i].module, sizeof(entry[i].module), "%s", module);
    snprintf(entry[i].level, sizeof(entry[i].level), "%s", level);
    return true;
}

static void answer_levels(struct master *master, struct client *client)
{
    struct ty_buf json = {0};

    ty_status_add_log_levels(master, &json);
    answer_with(client, &json);
}

static void run_log_level(struct master *master, struct client *client, yyjson_val *command)
{
    const char *module = message_str(command, "module"), *name = message_str(command, "level");
    struct ty_buf json = {0};
    enum ty_log_level level;

    if (name[0] == '\0' && module[0] == '\0') {
        answer_levels(master, client);
        return;
    }
    if (!ty_log_parse_level(name, &level)) {
        ty_control_refuse(client, "\"%s\" is no level: debug, info, warn, error, off", name);
        return;
    }
    if (strlen(module) >= sizeof(master->levels[0].module) ||
        !ty_log_set_module_level(module[0] ? module : NULL, level)) {
        ty_control_refuse(client, "\"%s\" is no module of the log", module);
        return;
    }
    if (!remember_level(master, module, ty_log_level_name(level))) {
        ty_control_refuse(client, "at most %d levels: set one for all modules first", LEVELS_MAX);
        return;
    }
    ty_buf_addf(&json, "{\"type\":\"log_level\",\"module\":\"%s\",\"level\":\"%s\"}", module,
                ty_log_level_name(level));
    ty_workers_tell(master, json.data, json.len);
    ty_buf_close(&json);
    answer_levels(master, client);
}

/* ---- */

void ty_command_run(struct master *master, struct client *client, const char *json, size_t len)
{
    static const struct {
        const char *name;
        void (*run)(struct master *, struct client *, yyjson_val *);
    } commands[] = {
        {"status", run_status},
        {"ps", run_ps},
        {"routes", run_routes},
        {"reload", run_reload},
        {"rollback", run_rollback},
        {"generations", run_generations},
        {"config", run_config},
        {"stop", run_stop},
        {"reopen", run_reopen},
        {"log_level", run_log_level},
        {"lag", run_lag},
        {"profile", ty_observe_profile},
        {"trace", ty_observe_trace},
        {"upgrade", run_upgrade},
    };
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *command = yyjson_doc_get_root(doc);
    const char *name = message_str(command, "command");
    size_t i = 0, count = sizeof(commands) / sizeof(*commands);

    while (i < count && strcmp(commands[i].name, name) != 0)
        i++;
    if (i == count)
        ty_control_refuse(client, "\"%.64s\" is no command", name);
    else
        commands[i].run(master, client, command);
    yyjson_doc_free(doc);
}
