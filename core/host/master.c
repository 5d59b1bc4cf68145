#include "host/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/admin.h"
#include "host/control.h"
#include "host/inherit.h"
#include "host/settings.h"
#include "host/upgrade.h"
#include "host/watch.h"
#include "tycho/clock.h"
#include "tycho/embedded.h"
#include "tycho/log.h"
#include "tycho/memory.h"
#include "tycho/sql_ledger.h"

enum { TICK_MS = 250, FORCE_MARGIN_MS = 1000, FILES_MIN = 64, FILES_MAX = 1 << 20 };

/* ---- the end */

/* Nothing of ours runs any more: let go of everything, so that the loop ends. */
static void close_all(struct master *master)
{
    master->is_closing = true;
    ty_listeners_close(&master->listeners);
    ty_upgrade_close(master->upgrade);
    ty_inheritance_close(master->inheritance);
    if (master->control) {
        ty_commands_cancel(master);
        ty_control_close(master->control);
        ty_control_hang_up(master->control);
    }
    if (master->admin)
        ty_admin_close(master->admin);
    if (master->watch)
        ty_watch_close(master->watch);
    ty_reload_close(master->reload);
    ty_workers_close(master);
    uv_close((uv_handle_t *)&master->tick, NULL);
    uv_close((uv_handle_t *)&master->force, NULL);
    uv_close((uv_handle_t *)&master->require, NULL);
    for (size_t i = 0; i < sizeof(master->signals) / sizeof(*master->signals); i++)
        uv_close((uv_handle_t *)&master->signals[i], NULL);
    ty_pid_file_close(&master->pid_file);
}

static void maybe_close(struct master *master)
{
    if (master->is_stopping && !master->is_closing && ty_workers_alive(master) == 0)
        close_all(master);
}

static void on_force(uv_timer_t *timer)
{
    ty_log_warn("host", "requests are still running after host.shutdown_timeout: cutting them");
    ty_workers_kill(timer->data);
}

void ty_master_wind_down(struct master *master, uint64_t timeout_ms)
{
    master->is_stopping = true;
    uv_timer_start(&master->force, on_force, timeout_ms + FORCE_MARGIN_MS, 0);
    maybe_close(master);
}

void ty_master_stop(struct master *master)
{
    uint64_t timeout;

    if (ty_upgrade_stop(master->upgrade))
        return;
    if (master->is_waiting) {
        ty_master_fail(master, "tycho: told to stop before it served");
        return;
    }
    if (master->is_stopping) {
        master->exit_code = 1;
        ty_workers_kill(master);
        return;
    }
    ty_log_info("host", "stopping");
    ty_notify_send(&master->notify, "STOPPING=1");
    ty_inheritance_stopping(master->inheritance);
    if (!master->is_ready)
        master->exit_code = 1; /* told to stop before it served */
    ty_reload_cancel(master->reload);
    ty_listeners_refuse(&master->listeners);
    timeout = ty_config_ms(master->active ? master->active->config : master->config,
                           "host.shutdown_timeout");
    ty_workers_stop(master, timeout, false);
    ty_master_wind_down(master, timeout);
}

void ty_master_fail(struct master *master, const char *fmt, ...)
{
    struct ty_buf text = {0};
    va_list args;

    if (master->is_stopping)
        return;
    va_start(args, fmt);
    ty_buf_vaddf(&text, fmt, args);
    va_end(args);
    fprintf(stderr, "%s\n", ty_buf_cstr(&text));
    ty_inheritance_fail(master->inheritance, ty_buf_cstr(&text));
    ty_buf_close(&text);
    master->exit_code = 1;
    master->is_stopping = true;
    ty_reload_cancel(master->reload);
    ty_workers_kill(master);
    maybe_close(master);
}

/* ---- ready */

bool ty_master_is_healthy(const struct master *master, struct ty_buf *body)
{
    const struct worker *chosen = NULL;
    bool is_overloaded = false;

    if (master->is_handed_over)
        return true; /* the successor was when it took over */
    for (unsigned i = 0; i < master->worker_count; i++) {
        const struct worker *worker = &master->workers[i];
        is_overloaded = is_overloaded || worker->is_overloaded;
        if (worker->state == WORKER_SERVING && worker->has_health &&
            (!chosen || (worker->is_healthy && !chosen->is_healthy)))
            chosen = worker;
    }
    if (chosen)
        ty_buf_add(body, chosen->health.data, chosen->health.len);
    return chosen && chosen->is_healthy && !is_overloaded && !master->is_stopping;
}

static void on_require_timeout(uv_timer_t *timer)
{
    struct master *master = timer->data;
    struct ty_buf body = {0};

    if (!ty_master_is_healthy(master, &body))
        ty_master_fail(master, "tycho: a required dependency is down (--require): [%s]",
                       ty_buf_cstr(&body));
    ty_buf_close(&body);
}

static void announce(struct master *master)
{
    printf("tycho %s serves http://%s with %u worker%s, generation %s\n", ty_version,
           master->listeners.address, master->worker_count, master->worker_count == 1 ? "" : "s",
           ty_generation_id(master->active));
    if (master->admin)
        printf("metrics and health: http://%s\n", ty_admin_address(master->admin));
    fflush(stdout);
    ty_notify_send(&master->notify, "READY=1");
}

void ty_master_look(struct master *master)
{
    struct ty_buf body = {0};
    bool is_healthy;

    maybe_close(master);
    if (master->is_stopping || master->is_ready ||
        ty_workers_serving(master) < master->worker_count)
        return;
    is_healthy = ty_master_is_healthy(master, &body);
    ty_buf_close(&body);
    if (master->options->require_dependencies && !is_healthy) {
        if (!uv_is_active((uv_handle_t *)&master->require))
            uv_timer_start(&master->require, on_require_timeout,
                           ty_config_ms(master->config, "host.start_timeout"), 0);
        return;
    }
    uv_timer_stop(&master->require);
    if (master->is_waiting) {
        ty_inheritance_ready(master);
        return;
    }
    master->is_ready = true;
    announce(master);
    if (master->options->development)
        master->watch = ty_watch_open(master);
}

void ty_master_take_over(struct master *master)
{
    static const char accept[] = "{\"type\":\"accept\"}";
    struct ty_error error;

    if (master->is_stopping)
        return;
    if (ty_listeners_open(&master->listeners, (int)ty_config_int(master->config, "http.backlog"),
                          &error) != 0 ||
        (master->admin && ty_admin_start(master->admin, &error) != 0) ||
        ty_control_reveal(master->control, &error) != 0) {
        ty_master_fail(master, "tycho: %s", error.message);
        return;
    }
    ty_pid_file_reveal(&master->pid_file);
    master->is_waiting = false;
    ty_workers_tell(master, accept, sizeof(accept) - 1);
    ty_inheritance_taken(master->inheritance);
    ty_notify_main(&master->notify, getpid());
    ty_master_look(master);
}

/* ---- settings, logs, signals */

void ty_master_adopt_settings(struct master *master)
{
    ty_settings_log_levels(master->active->config);
    for (unsigned i = 0; i < master->level_count; i++) {
        const struct log_level *said = &master->levels[i];
        enum ty_log_level level;
        if (ty_log_parse_level(said->level, &level))
            ty_log_set_module_level(said->module[0] ? said->module : NULL, level);
    }
}

void ty_master_reopen_logs(struct master *master)
{
    static const char json[] = "{\"type\":\"reopen\"}";

    ty_log_reopen();
    ty_workers_tell(master, json, sizeof(json) - 1);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct master *master = handle->data;
    const struct reload_ask ask = {.kind = RELOAD_FILES};

    if (signal == SIGHUP)
        ty_reload_ask(master->reload, &ask); /* the log says what became of it */
    else if (signal == SIGUSR1)
        ty_master_reopen_logs(master);
    else if (signal == SIGUSR2)
        ty_upgrade_ask(master->upgrade, NULL, "");
    else
        ty_master_stop(master);
}

static void on_tick(uv_timer_t *timer)
{
    struct master *master = timer->data;
    uint64_t now = ty_now_ms();

    ty_workers_watch(master);
    if (master->control)
        ty_control_retry(master->control);
    if (master->notify.watchdog_ms && now - master->notified_ms >= master->notify.watchdog_ms) {
        ty_notify_send(&master->notify, "WATCHDOG=1");
        master->notified_ms = now;
    }
}

static void open_handles(struct master *master)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

    signal(SIGPIPE, SIG_IGN);
    uv_timer_init(&master->loop, &master->tick);
    uv_timer_init(&master->loop, &master->force);
    uv_timer_init(&master->loop, &master->require);
    master->tick.data = master->force.data = master->require.data = master;
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        uv_signal_init(&master->loop, &master->signals[i]);
        master->signals[i].data = master;
        uv_signal_start(&master->signals[i], on_signal, signals[i]);
    }
    uv_timer_start(&master->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- the start */

static unsigned count_workers(const struct ty_config *config)
{
    unsigned count = (unsigned)ty_config_int(config, "workers");

    if (count == 0)
        count = uv_available_parallelism();
    return count < TY_SHM_SLOTS_MAX ? count : TY_SHM_SLOTS_MAX - 1;
}

/* The soft limit is for programs that use select(); each connection is a descriptor. Workers
 * inherit it. Returns what it is now. */
static int raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return FILES_MAX;
    limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
    setrlimit(RLIMIT_NOFILE, &limit);
    return (int)limit.rlim_cur;
}

static void free_all(struct master *master)
{
    ty_reload_free(master->reload);
    ty_upgrade_free(master->upgrade);
    ty_inheritance_free(master->inheritance);
    if (master->control)
        ty_control_free(master->control);
    if (master->admin)
        ty_admin_free(master->admin);
    if (master->watch)
        ty_watch_free(master->watch);
    ty_buf_close(&master->fault);
    ty_strikes_clear(&master->strikes);
    ty_history_close(&master->history);
    ty_generation_unref(master->active);
    ty_config_unref(master->config);
    ty_shm_detach(master->shm);
    close(master->ledger_fd);
    ty_notify_close(&master->notify);
    free(master->workers);
    free(master->program);
    free(master);
}

/* What nothing can be done without; false, and said, if it is not to be had. */
static bool has_means(const struct ty_config *config, const struct inheritance *inheritance)
{
    const struct ty_crash_options crash = {.who = "the master", .role = "master"};
    int voice = ty_inheritance_voice(inheritance), files;
    int status = ty_settings_open_log(config, "master");

    if (status != 0) {
        dprintf(voice, "tycho: log file %s: %s (log.path)\n", ty_config_str(config, "log.path"),
                strerror(-status));
        return false;
    }
    ty_crash_open(&crash);
    ty_crash_allow_cores(ty_config_bool(config, "host.core_dumps"));
    files = raise_file_limit();
    if (files < FILES_MIN)
        dprintf(voice,
                "tycho: a process may open %d files only; at least %d are needed (ulimit -n, "
                "LimitNOFILE=)\n",
                files, FILES_MIN);
    return files >= FILES_MIN;
}

static bool share_memory(struct master *master)
{
    master->shm = ty_shm_create(master->worker_count);
    master->ledger_fd = ty_inheritance_ledger(master->inheritance);
    if (master->shm && master->ledger_fd < 0)
        master->ledger_fd = ty_sql_ledger_create();
    if (master->shm && master->ledger_fd >= 0)
        return true;
    dprintf(ty_inheritance_voice(master->inheritance), "tycho: no shared memory: %s\n",
            strerror(errno));
    return false;
}

int ty_host_serve(const struct ty_host_options *options, const struct ty_engine *engine)
{
    struct inheritance *inheritance = ty_inheritance_find();
    struct master *master;
    struct ty_error error = {0};
    int status;

    (void)engine; /* the master runs no scripts */
    if (!has_means(options->config, inheritance)) {
        ty_inheritance_free(inheritance);
        return 1;
    }
    master = ty_zalloc(sizeof(*master));
    master->options = options;
    master->config = ty_config_ref(options->config);
    master->inheritance = inheritance;
    master->is_waiting = inheritance != NULL;
    master->program = ty_upgrade_program(options->argv[0]);
    master->worker_count = count_workers(options->config);
    master->started_ms = ty_now_ms();
    if (!share_memory(master))
        return 1;
    ty_metrics_attach(ty_shm_metrics(master->shm), 0);
    uv_loop_init(&master->loop);
    ty_notify_open(&master->notify);
    open_handles(master);
    ty_workers_open(master);
    master->reload = ty_reload_new(master);
    master->upgrade = ty_upgrade_new(master);
    if (inheritance)
        ty_inheritance_open(master);
    if (ty_master_begin(master, &error) != 0)
        ty_master_fail(master, "tycho: %s", error.message);
    uv_run(&master->loop, UV_RUN_DEFAULT);
    status = master->exit_code;
    if (uv_loop_close(&master->loop) != 0)
        ty_log_error("host", "something was left open at the end");
    if (master->is_ready)
        ty_log_info("host", "stopped");
    free_all(master);
    ty_log_close();
    return status;
}
