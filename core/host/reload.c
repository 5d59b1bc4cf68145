#include "host/master.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/trial.h"
#include "host/upgrade.h"
#include "tycho/clock.h"
#include "tycho/log.h"
#include "tycho/memory.h"

/* One attempt goes through these; any fault before COMMIT leads back to IDLE with nothing changed.
 *
 *   ROOM     too many generations are alive: wait until one is drained
 *   TRIAL    a process of its own loads the new generation
 *   PREPARE  every serving worker loads it beside the old one
 *   COMMIT   decided: it is the active one, come what may; wait for the acknowledgements
 */
enum phase { IDLE, ROOM, TRIAL, PREPARE, COMMIT };

enum { ASKS_MAX = 8, ANSWER_MS = 5000, COMMIT_MS = 10000, ROOM_MARGIN_MS = 5000 };

struct reload {
    struct master *master;
    enum phase phase;
    struct reload_ask asks[ASKS_MAX]; /* the first is under way unless IDLE */
    unsigned ask_count;
    struct generation *next;
    struct trial *trial;
    uv_timer_t timer;
    struct ty_buf warning;
    uint64_t started_ms;
    bool is_cancelled;
    struct ty_series *outcomes[RELOAD_FAILED + 1];
    struct ty_series *duration;
};

static void begin(struct reload *reload);

/* ---- figures */

static void open_figures(struct reload *reload)
{
    static const struct ty_metric total = {"tycho_reloads_total", "Reloads by what became of them.",
                                           TY_COUNTER, NULL, 0};
    static const struct ty_metric duration = {
        "tycho_reload_duration_seconds", "From the request to the last worker's acknowledgement.",
        TY_HISTOGRAM, NULL, 0};
    static const char *const labels[] = {"result=\"committed\"", "result=\"unchanged\"",
                                         "result=\"refused\"", "result=\"failed\""};

    for (int i = 0; i <= RELOAD_FAILED; i++)
        reload->outcomes[i] = ty_metrics_series(&total, labels[i]);
    reload->duration = ty_metrics_series(&duration, NULL);
}

/* ---- the end of an attempt */

static void log_outcome(const struct reload *reload, const struct reload_result *result,
                        enum reload_kind kind)
{
    const struct ty_log_context context = {.generation = result->id};

    if (result->outcome == RELOAD_COMMITTED)
        ty_log(TY_LOG_INFO, "host", &context, "generation %s is active (%" PRIu64 " ms)",
               result->id, result->ms);
    else if (result->outcome != RELOAD_UNCHANGED)
        ty_log(TY_LOG_WARN, "host", &context, "%s refused: %s",
               kind == RELOAD_BACK ? "rollback" : "reload", result->text);
    if (reload->warning.len > 0)
        ty_log(TY_LOG_WARN, "host", &context, "%s", result->warning);
}

/* Not before the server has said that it is ready, nor after it has said that it stops. */
static void tell_manager(const struct reload *reload, const char *state)
{
    if (reload->master->is_ready && !reload->is_cancelled)
        ty_notify_send(&reload->master->notify, state);
}

static void finish(struct reload *reload, enum reload_outcome outcome, const char *text)
{
    struct master *master = reload->master;
    struct reload_ask ask = reload->asks[0];
    struct reload_result result = {.outcome = outcome,
                                   .text = text,
                                   .warning = ty_buf_cstr(&reload->warning),
                                   .id = master->active ? ty_generation_id(master->active) : "",
                                   .ms = ty_now_ms() - reload->started_ms};

    uv_timer_stop(&reload->timer);
    reload->phase = IDLE;
    ty_generation_unref(reload->next);
    reload->next = NULL;
    reload->ask_count--;
    memmove(reload->asks, reload->asks + 1, reload->ask_count * sizeof(*reload->asks));
    ty_counter_add(reload->outcomes[outcome], 1);
    if (outcome == RELOAD_COMMITTED)
        ty_histogram_observe(reload->duration, (double)result.ms / 1000);
    if (!ask.is_said && (outcome == RELOAD_COMMITTED || ask.kind != RELOAD_FIRST))
        log_outcome(reload, &result, ask.kind); /* a start that fails is said aloud */
    if (ask.kind != RELOAD_FIRST)
        tell_manager(reload, "READY=1");
    if (ask.done)
        ask.done(&result, ask.arg);
    begin(reload);
}

/* Before the decision: every worker forgets what it loaded. */
static void give_up(struct reload *reload, enum reload_outcome outcome, const char *text)
{
    struct master *master = reload->master;
    char *kept = ty_strdup(text); /* it may lie in what is freed below */

    for (unsigned i = 0; i < master->worker_count; i++)
        if (master->workers[i].offered == reload->next)
            ty_worker_abort(&master->workers[i]);
    finish(reload, outcome, kept);
    free(kept);
    ty_workers_offer(master);
}

static void say(struct reload *reload, const char *text)
{
    if (reload->asks[0].progress)
        reload->asks[0].progress(text, reload->asks[0].arg);
}

/* ---- COMMIT */

static void on_commit_timeout(uv_timer_t *timer)
{
    struct reload *reload = timer->data;

    ty_buf_adds(&reload->warning, "a worker has not yet acknowledged; it will, or be replaced");
    finish(reload, RELOAD_COMMITTED, "");
}

static void look_at_commit(struct reload *reload)
{
    struct master *master = reload->master;

    for (unsigned i = 0; i < master->worker_count; i++) {
        struct worker *worker = &master->workers[i];
        /* one that is not there yet starts with the new generation */
        if (worker->state == WORKER_SERVING && worker->committed == master->active &&
            worker->serving != master->active->number)
            return;
    }
    finish(reload, RELOAD_COMMITTED, "");
}

/* The decision. */
static void commit(struct reload *reload)
{
    struct master *master = reload->master;
    bool is_first = !master->active;

    uv_timer_stop(&reload->timer);
    reload->phase = COMMIT;
    ty_generation_unref(master->active);
    master->active = ty_generation_ref(reload->next);
    master->active->committed_us = ty_wall_us();
    ty_quarantine_clear(master);
    ty_master_adopt_settings(master);
    if (reload->asks[0].kind != RELOAD_BACK)
        ty_history_add(&master->history, master->active,
                       (unsigned)ty_config_int(master->active->config, "reload.keep") + 1);
    for (unsigned i = 0; i < master->worker_count; i++)
        if (master->workers[i].offered == master->active)
            ty_worker_commit(&master->workers[i]);
    ty_workers_offer(master);
    if (is_first) {
        finish(reload, RELOAD_COMMITTED, "");
        return;
    }
    uv_timer_start(&reload->timer, on_commit_timeout, COMMIT_MS, 0);
    look_at_commit(reload);
}

/* ---- PREPARE */

static void on_prepare_timeout(uv_timer_t *timer)
{
    give_up(timer->data, RELOAD_FAILED,
            "a worker did not load the new generation in time; nothing was changed");
}

/* Whoever serves must have it; whoever starts to serve meanwhile gets it too. So does one that has
 * been told to and has not said so yet: it may begin with the old one at any moment. One that
 * finishes need not: its successor loads what is decided. */
static void look_at_prepare(struct reload *reload)
{
    struct master *master = reload->master;
    bool is_complete = true;

    for (unsigned i = 0; i < master->worker_count; i++) {
        struct worker *worker = &master->workers[i];
        if (worker->state == WORKER_STOPPING ||
            (worker->state != WORKER_SERVING && !worker->committed))
            continue;
        if (!worker->offered)
            ty_worker_prepare(worker, reload->next);
        is_complete &= worker->offered == reload->next && worker->is_prepared;
    }
    if (is_complete)
        commit(reload);
}

/* ---- TRIAL */

static void on_tried(const char *faults, void *arg)
{
    struct reload *reload = arg;
    const struct ty_config *config = reload->next->config;

    reload->trial = NULL;
    if (faults) {
        finish(reload, RELOAD_REFUSED, faults);
        return;
    }
    reload->phase = PREPARE;
    say(reload, "the scripts are good; loading them in every worker");
    uv_timer_start(&reload->timer, on_prepare_timeout,
                   ty_config_ms(config, "reload.load_timeout") +
                       ty_config_ms(config, "reload.check_timeout") + ANSWER_MS,
                   0);
    look_at_prepare(reload);
}

static void enter_trial(struct reload *reload)
{
    struct trial *trial;

    uv_timer_stop(&reload->timer);
    reload->phase = TRIAL;
    say(reload, "trying the scripts");
    trial = ty_trial_start(reload->master, reload->next, on_tried, reload);
    if (trial)
        reload->trial = trial;
}

/* ---- ROOM */

static void on_room_timeout(uv_timer_t *timer)
{
    finish(timer->data, RELOAD_FAILED,
           "too many old generations are still finishing what they run (reload.max_alive); "
           "`tycho ps` shows what, try again later");
}

static bool has_room(const struct reload *reload)
{
    uint64_t numbers[HELD_MAX];
    unsigned alive = ty_workers_generations(reload->master, numbers, HELD_MAX);

    return alive < (unsigned)ty_config_int(reload->next->config, "reload.max_alive");
}

static void enter_room(struct reload *reload)
{
    if (has_room(reload)) {
        enter_trial(reload);
        return;
    }
    reload->phase = ROOM;
    say(reload, "waiting for an old generation to finish what it runs");
    ty_workers_end_oldest_streams(reload->master);
    uv_timer_start(&reload->timer, on_room_timeout,
                   ty_config_ms(reload->next->config, "reload.drain_timeout") + ROOM_MARGIN_MS, 0);
}

/* ---- the beginning */

static void begin_next(struct reload *reload)
{
    struct ty_error error = {.message = "no memory file for the configuration"};
    const struct reload_ask *ask = &reload->asks[0];

    reload->next = ask->kind == RELOAD_FIRST ? ty_generation_ref(ask->first)
                   : ask->kind == RELOAD_BACK
                       ? ty_reload_from_history(reload->master, ask->id, &reload->warning, &error)
                       : ty_reload_from_files(reload->master, &reload->warning, &error);
    if (!reload->next)
        finish(reload, RELOAD_REFUSED, error.message);
    else if (ask->kind == RELOAD_FIRST)
        enter_trial(reload);
    else if (!ask->force && ty_generation_is_same(reload->master->active, reload->next))
        finish(reload, RELOAD_UNCHANGED, "nothing has changed");
    else
        enter_room(reload);
}

static void begin(struct reload *reload)
{
    if (reload->phase != IDLE || reload->ask_count == 0)
        return;
    reload->started_ms = ty_now_ms();
    reload->warning.len = 0;
    if (reload->is_cancelled) {
        finish(reload, RELOAD_FAILED, "the server is stopping");
        return;
    }
    if (reload->asks[0].kind != RELOAD_FIRST)
        tell_manager(reload, "RELOADING=1");
    begin_next(reload);
}

/* ---- what the others see */

struct reload *ty_reload_new(struct master *master)
{
    struct reload *reload = ty_zalloc(sizeof(*reload));

    reload->master = master;
    reload->timer.data = reload;
    uv_timer_init(&master->loop, &reload->timer);
    open_figures(reload);
    return reload;
}

void ty_reload_free(struct reload *reload)
{
    ty_buf_close(&reload->warning);
    free(reload);
}

void ty_reload_ask(struct reload *reload, const struct reload_ask *ask)
{
    static const struct reload_result busy = {.outcome = RELOAD_FAILED,
                                              .text = "too many reloads are waiting already",
                                              .warning = "",
                                              .id = ""};
    static const struct reload_result upgrading = {
        .outcome = RELOAD_FAILED,
        .text = "an upgrade is under way, and the new program loads what is on disk; try again "
                "when it is over",
        .warning = "",
        .id = ""};
    bool is_upgrading = ty_upgrade_is_busy(reload->master->upgrade);

    if (is_upgrading || reload->ask_count == ASKS_MAX) {
        if (is_upgrading && !ask->is_said)
            ty_log_warn("host", "reload refused: %s", upgrading.text);
        if (ask->done)
            ask->done(is_upgrading ? &upgrading : &busy, ask->arg);
        return;
    }
    reload->asks[reload->ask_count++] = *ask;
    begin(reload);
}

void ty_reload_forget(struct reload *reload, const void *arg)
{
    for (unsigned i = 0; i < reload->ask_count; i++)
        if (reload->asks[i].arg == arg) {
            reload->asks[i].done = NULL;
            reload->asks[i].progress = NULL;
        }
}

void ty_reload_cancel(struct reload *reload)
{
    reload->is_cancelled = true;
    if (reload->trial)
        ty_trial_drop(reload->trial);
    reload->trial = NULL;
    if (reload->phase == COMMIT)
        finish(reload, RELOAD_COMMITTED, "");
    else if (reload->phase != IDLE)
        give_up(reload, RELOAD_FAILED, "the server is stopping");
}

void ty_reload_close(struct reload *reload)
{
    ty_reload_cancel(reload);
    uv_close((uv_handle_t *)&reload->timer, NULL);
}

bool ty_reload_is_busy(const struct reload *reload)
{
    return reload->phase != IDLE;
}

bool ty_reload_wants(const struct reload *reload, const struct generation *offered)
{
    return reload->phase == PREPARE && offered && offered == reload->next;
}

void ty_reload_heard(struct reload *reload, struct worker *worker, const char *faults)
{
    struct ty_buf text = {0};

    if (reload->phase == PREPARE && faults) {
        ty_buf_addf(&text,
                    "web worker %u could not load what the trial could; nothing was changed\n%s",
                    worker->slot, faults);
        give_up(reload, RELOAD_REFUSED, ty_buf_cstr(&text));
        ty_buf_close(&text);
    } else if (reload->phase == PREPARE) {
        look_at_prepare(reload);
    } else if (reload->phase == COMMIT) {
        look_at_commit(reload);
    } else if (reload->phase == ROOM && has_room(reload)) {
        enter_trial(reload);
    }
}
