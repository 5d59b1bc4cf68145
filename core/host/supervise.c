#include "host/master.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/clock.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { QUICK_MS = 10000, BACK_OFF_MAX_S = 30, LATE_MS = 1000, LAST_WORD_MS = 200 };

static void start_worker(struct worker *worker);

/* ---- its life */

static void on_retry(uv_timer_t *timer)
{
    start_worker(timer->data);
}

/* At once the first time; a worker that keeps dying young waits 1, 2, 4 ... 30 seconds. */
static void replace(struct worker *worker, bool was_quick)
{
    uint64_t wait = 0;

    worker->quick_deaths = was_quick ? worker->quick_deaths + 1 : 0;
    for (unsigned i = 1; i < worker->quick_deaths && wait < BACK_OFF_MAX_S; i++)
        wait = wait ? wait * 2 : 1;
    if (wait > BACK_OFF_MAX_S)
        wait = BACK_OFF_MAX_S;
    if (wait > 0)
        ty_log_warn("host", "web worker %u keeps dying: next start in %" PRIu64 " s", worker->slot,
                    wait);
    uv_timer_start(&worker->retry, on_retry, wait * 1000, 0);
}

static void log_end(struct worker *worker, int exit_code, int signal)
{
    bool is_expected = worker->master->is_stopping || (exit_code == 0 && signal == 0);
    struct ty_slot *slot = worker->shared;
    char running[sizeof(slot->running)], how[64];

    memcpy(running, slot->running, sizeof(running));
    running[sizeof(running) - 1] = '\0';
    if (signal)
        snprintf(how, sizeof(how), "was killed by signal %d (%s)", signal, strsignal(signal));
    else
        snprintf(how, sizeof(how), "ended with code %d", exit_code);
    ty_log(is_expected ? TY_LOG_INFO : TY_LOG_ERROR, "host", NULL,
           "web worker %u (pid %d) %s; requests in flight: %u%s%s", worker->slot,
           ty_child_pid(worker->child), how, slot->requests, running[0] ? "; it was running " : "",
           running);
}

static void mark_dead(struct worker *worker)
{
    ty_worker_forget(worker);
    worker->child = NULL;
    worker->state = WORKER_DOWN;
    worker->doomed_ms = 0;
    worker->is_recycled = false;
    worker->shared->connections = worker->shared->requests = worker->shared->fibers = 0;
    worker->shared->streams = worker->shared->old_streams = 0;
    worker->shared->script_bytes = worker->shared->resident_bytes = 0;
    worker->shared->running[0] = '\0';
    worker->shared->pid = 0;
    worker->shared->state = TY_SLOT_EMPTY; /* neighbours look after its socket from now on */
}

static void on_ended(struct child *child, int exit_code, int signal, void *arg)
{
    struct worker *worker = arg;
    struct master *master = worker->master;
    /* one that was told to stop, and did, is not in trouble */
    bool was_quick = (exit_code || signal) && ty_now_ms() - worker->started_ms < QUICK_MS;
    /* perhaps because of it: then it must not go live */
    bool was_loading = ty_reload_wants(master->reload, worker->offered) && !worker->is_prepared;

    (void)child;
    /* Nothing is said of those that a failed start takes with it: what stopped it has been said. */
    if (!master->is_stopping || (master->is_ready && (exit_code != 0 || signal != 0)))
        log_end(worker, exit_code, signal);
    if (signal && !master->is_stopping)
        ty_quarantine_strike_of(worker);
    mark_dead(worker);
    if (!master->is_stopping && !master->is_ready) {
        ty_master_fail(master, "a web worker died while starting (%s %d); the log says more",
                       signal ? "signal" : "exit code", signal ? signal : exit_code);
    } else if (!master->is_stopping) {
        worker->shared->restarts++;
        replace(worker, was_quick);
    }
    ty_reload_heard(master->reload, worker, was_loading ? "it died while loading it" : NULL);
    ty_master_look(master);
}

static void start_worker(struct worker *worker)
{
    struct master *master = worker->master;
    char title[32];
    struct child_order order = {.role = "web",
                                .title = title,
                                .slot = worker->slot,
                                .shm_fd = ty_shm_fd(master->shm),
                                .ledger_fd = master->ledger_fd,
                                .listeners = master->listeners.fds,
                                .listener_count = master->listeners.count};
    const struct child_events events = {ty_worker_heard, on_ended, worker};
    int status;

    snprintf(title, sizeof(title), "tycho: web worker %u", worker->slot);
    worker->started_ms = ty_now_ms();
    worker->shared->started_ms = worker->shared->heartbeat_ms = worker->started_ms;
    worker->shared->state = TY_SLOT_STARTING;
    worker->child = ty_child_start(&master->loop, &order, &events, &status);
    if (!worker->child) {
        ty_log_error("host", "web worker %u cannot be started: %s", worker->slot,
                     uv_strerror(status));
        worker->shared->state = TY_SLOT_EMPTY;
        if (!master->is_ready) {
            ty_master_fail(master, "tycho: web worker %u cannot be started: %s", worker->slot,
                           uv_strerror(status));
            return;
        }
        if (worker->quick_deaths == 0)
            worker->quick_deaths = 1;
        replace(worker, true);
        return;
    }
    worker->state = WORKER_STARTING;
    worker->shared->pid = ty_child_pid(worker->child);
    ty_workers_offer(master);
}

void ty_workers_open(struct master *master)
{
    master->workers = ty_zalloc(master->worker_count * sizeof(*master->workers));
    for (unsigned i = 0; i < master->worker_count; i++) {
        struct worker *worker = &master->workers[i];
        worker->master = master;
        worker->slot = i + 1;
        worker->shared = ty_shm_slot(master->shm, worker->slot);
        uv_timer_init(&master->loop, &worker->retry);
        worker->retry.data = worker;
    }
}

void ty_workers_start(struct master *master)
{
    for (unsigned i = 0; i < master->worker_count && !master->is_stopping; i++)
        start_worker(&master->workers[i]);
}

/* ---- all of them */

void ty_workers_resume(struct master *master)
{
    for (unsigned i = 0; i < master->worker_count; i++)
        if (!master->workers[i].child &&
            !uv_is_active((const uv_handle_t *)&master->workers[i].retry))
            start_worker(&master->workers[i]);
}

void ty_workers_stop(struct master *master, uint64_t timeout_ms, bool is_succeeded)
{
    for (unsigned i = 0; i < master->worker_count; i++) {
        struct worker *worker = &master->workers[i];
        struct ty_channel *channel = ty_worker_channel(worker);
        uv_timer_stop(&worker->retry);
        if (!worker->child || worker->state == WORKER_STOPPING)
            continue; /* one that was told before finishes what it runs */
        if (worker->state != WORKER_SERVING || !channel)
            ty_child_kill(worker->child, SIGKILL); /* it has nothing to finish */
        else
            ty_channel_sendf(channel, -1,
                             "{\"type\":\"stop\",\"timeout_ms\":%" PRIu64 ",\"succeeded\":%s}",
                             timeout_ms, is_succeeded ? "true" : "false");
        worker->state = WORKER_STOPPING;
    }
}

void ty_workers_kill(struct master *master)
{
    for (unsigned i = 0; i < master->worker_count; i++)
        if (master->workers[i].child)
            ty_child_kill(master->workers[i].child, SIGKILL);
}

unsigned ty_workers_alive(const struct master *master)
{
    unsigned count = 0;

    for (unsigned i = 0; i < master->worker_count; i++)
        count += master->workers[i].child != NULL;
    return count;
}

unsigned ty_workers_serving(const struct master *master)
{
    unsigned count = 0;

    for (unsigned i = 0; i < master->worker_count; i++)
        count += master->workers[i].state == WORKER_SERVING;
    return count;
}

void ty_workers_close(struct master *master)
{
    for (unsigned i = 0; i < master->worker_count; i++) {
        uv_close((uv_handle_t *)&master->workers[i].retry, NULL);
        ty_buf_close(&master->workers[i].health);
    }
}

/* Loading is one long turn of the loop: allow for it. */
static uint64_t silence_allowed(const struct worker *worker)
{
    struct ty_config *config =
        worker->master->active ? worker->master->active->config : worker->master->config;
    uint64_t ms = ty_config_ms(config, "host.heartbeat_timeout");

    if (worker->offered || worker->state == WORKER_STARTING)
        ms += ty_config_ms(config, "reload.load_timeout");
    return ms;
}

/* First it is asked where it is: its handler of SIGABRT (tycho/crash.h) leaves that in the log. */
static void put_down(struct worker *worker, uint64_t now, const char *why)
{
    struct ty_slot *slot = worker->shared;
    char running[sizeof(slot->running)];

    if (worker->doomed_ms) {
        if (now - worker->doomed_ms >= LAST_WORD_MS)
            ty_child_kill(worker->child, SIGKILL);
        return;
    }
    memcpy(running, slot->running, sizeof(running));
    running[sizeof(running) - 1] = '\0';
    ty_log_error("host", "web worker %u %s: killing it%s%s", worker->slot, why,
                 running[0] ? "; it was running " : "", running);
    worker->doomed_ms = now;
    ty_child_kill(worker->child, SIGABRT);
}

void ty_workers_watch(struct master *master)
{
    uint64_t now = ty_now_ms();
    bool was_late = master->watchdog_ms && now - master->watchdog_ms > LATE_MS;
    char why[64];

    master->watchdog_ms = now;
    for (unsigned i = 0; i < master->worker_count; i++) {
        struct worker *worker = &master->workers[i];
        uint64_t allowed = silence_allowed(worker);
        if (!worker->child)
            continue;
        if (was_late) /* we slept ourselves, and so did they perhaps: count from now */
            worker->shared->heartbeat_ms = now;
        if (worker->doomed_ms || !ty_slot_is_fresh(worker->shared, allowed)) {
            snprintf(why, sizeof(why), "has not answered for %" PRIu64 " ms",
                     now - worker->shared->heartbeat_ms);
            put_down(worker, now, why);
        } else if (worker->state == WORKER_STARTING && worker->committed == NULL &&
                   worker->offered &&
                   now - worker->started_ms >
                       ty_config_ms(worker->offered->config, "host.start_timeout") + allowed) {
            put_down(worker, now, "is not ready in time");
        }
    }
}
