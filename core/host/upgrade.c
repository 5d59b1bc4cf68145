#include "host/upgrade.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/admin.h"
#include "host/control.h"
#include "host/inherit.h"
#include "host/message.h"
#include "host/tail.h"
#include "tycho/clock.h"
#include "tycho/embedded.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum phase { IDLE, STARTING, CALLED, DRAINING };

enum { CALL_MS = 5000 };

struct upgrade {
    struct master *master;
    enum phase phase;
    struct client *client; /* NULL: nobody waits for the answer */
    char *program;
    struct child *child;
    struct tail *tail; /* of its standard error; NULL once it has said who it is */
    uv_timer_t timer;
    uint64_t started_ms;
    int pid;
    char version[32];
    bool shares_web, shares_admin; /* it accepts on our sockets; else on others */
    bool is_over;                  /* both are told to stop */
    struct ty_buf why;             /* it will not do; "" if that is not known yet */
    char doing[128];               /* what it said last */
};

/* ---- telling whoever asked */

static void say(struct upgrade *upgrade, const char *text)
{
    snprintf(upgrade->doing, sizeof(upgrade->doing), "%s", text);
    if (upgrade->client)
        ty_control_progress(upgrade->client, text);
}

static void answer_refusal(struct client *client, const char *why)
{
    ty_log_warn("host", "upgrade refused: %s", why);
    if (client)
        ty_control_refuse(client, "%s", why);
}

static void answer_done(struct upgrade *upgrade)
{
    struct ty_buf json = {0};

    if (!upgrade->client)
        return;
    ty_buf_addf(&json, ",\"pid\":%d,\"version\":\"", upgrade->pid);
    ty_buf_add_json(&json, upgrade->version, strlen(upgrade->version));
    ty_buf_addf(&json, "\",\"old_pid\":%d,\"old_version\":\"%s\",\"ms\":%" PRIu64, getpid(),
                ty_version, ty_now_ms() - upgrade->started_ms);
    ty_control_answer(upgrade->client, true, ty_buf_cstr(&json));
    ty_buf_close(&json);
    upgrade->client = NULL;
}

/* ---- when it will not do */

/* It may have taken our names already, and its workers were perhaps told to accept. */
static void take_names_back(struct master *master)
{
    ty_control_reclaim(master->control);
    ty_pid_file_reclaim(&master->pid_file);
    ty_notify_main(&master->notify, getpid());
}

static void take_work_back(struct master *master)
{
    struct ty_error error;

    ty_log_warn("host", "the new program died while we were stopping: serving again");
    master->is_stopping = master->is_handed_over = false;
    uv_timer_stop(&master->force);
    ty_listeners_welcome(&master->listeners);
    if (master->admin && ty_admin_start(master->admin, &error) != 0)
        ty_log_error("host", "%s", error.message);
    ty_workers_resume(master);
}

static void close_tail(struct upgrade *upgrade)
{
    if (upgrade->tail)
        ty_tail_close(upgrade->tail);
    upgrade->tail = NULL;
}

static void fail(struct upgrade *upgrade)
{
    struct master *master = upgrade->master;
    struct client *client = upgrade->client;
    bool was_draining = upgrade->phase == DRAINING;

    uv_timer_stop(&upgrade->timer);
    close_tail(upgrade);
    upgrade->phase = IDLE;
    upgrade->client = NULL;
    ty_control_sweep(master->control);
    ty_pid_file_sweep(&master->pid_file);
    if (was_draining)
        take_work_back(master);
    if (!master->is_stopping)
        take_names_back(master);
    answer_refusal(client, ty_buf_cstr(&upgrade->why));
}

static void tell_to_stop(struct upgrade *upgrade)
{
    static const char json[] = "{\"type\":\"stop\"}";
    struct ty_channel *channel = upgrade->child ? ty_child_channel(upgrade->child) : NULL;

    if (channel)
        ty_channel_send(channel, -1, json, sizeof(json) - 1);
}

static void give_up(struct upgrade *upgrade, const char *why)
{
    tell_to_stop(upgrade); /* it may be behind a script, which dies in its place */
    upgrade->why.len = 0;
    ty_buf_adds(&upgrade->why, why);
    ty_child_kill(upgrade->child, SIGKILL); /* on_ended() goes on from here */
}

static void on_ended(struct child *child, int exit_code, int signal, void *arg)
{
    struct upgrade *upgrade = arg;
    const char *line = upgrade->tail ? ty_tail_line(upgrade->tail) : "";
    struct ty_buf why = {0};

    (void)child;
    upgrade->child = NULL;
    if (upgrade->master->is_closing || upgrade->is_over) {
        ty_control_sweep(upgrade->master->control);
        ty_pid_file_sweep(&upgrade->master->pid_file);
        return;
    }
    if (signal)
        ty_buf_addf(&why, "the new program was killed by signal %d (%s)", signal,
                    strsignal(signal));
    else
        ty_buf_addf(&why, "the new program ended with code %d", exit_code);
    if (upgrade->why.len == 0)
        ty_buf_addf(&upgrade->why, "%s%s%s", ty_buf_cstr(&why), line[0] ? ": " : "", line);
    ty_buf_close(&why);
    fail(upgrade);
}

/* ---- when it does */

static void hand_over(struct upgrade *upgrade)
{
    struct master *master = upgrade->master;
    uint64_t timeout = ty_config_ms(master->active->config, "host.shutdown_timeout");

    uv_timer_stop(&upgrade->timer);
    upgrade->phase = DRAINING;
    ty_log_info("host", "tycho %s (pid %d) serves now; finishing what runs here", upgrade->version,
                upgrade->pid);
    say(upgrade, "the new program serves; the old one finishes what it runs");
    ty_notify_main(&master->notify, upgrade->pid);
    if (master->admin)
        ty_admin_yield(master->admin, upgrade->shares_admin);
    if (!upgrade->shares_web)
        ty_listeners_refuse(&master->listeners);
    master->is_handed_over = true;
    ty_workers_stop(master, timeout, upgrade->shares_web);
    ty_master_wind_down(master, timeout);
}

static void on_late(uv_timer_t *timer)
{
    struct upgrade *upgrade = timer->data;
    struct ty_buf why = {0};

    ty_buf_addf(&why, "the new program was not ready within %" PRIu64 " s (host.upgrade_timeout)",
                (ty_now_ms() - upgrade->started_ms) / 1000);
    if (upgrade->doing[0])
        ty_buf_addf(&why, "; the last that was heard: %s", upgrade->doing);
    give_up(upgrade, ty_buf_cstr(&why));
    ty_buf_close(&why);
}

static void on_call_late(uv_timer_t *timer)
{
    give_up(timer->data, "the new program was ready, but did not take over when it was called");
}

static void call(struct upgrade *upgrade, yyjson_val *message)
{
    static const char json[] = "{\"type\":\"take_over\"}";
    struct ty_channel *channel = ty_child_channel(upgrade->child);

    if (!channel)
        return;                                              /* its end is about to be noticed */
    if ((int)message_uint(message, "pid") != upgrade->pid) { /* we could not tell when it dies */
        give_up(upgrade, "the new program is not the process that was started: a script around it "
                         "must end in `exec`");
        return;
    }
    upgrade->phase = CALLED;
    upgrade->shares_web = message_bool(message, "web");
    upgrade->shares_admin = message_bool(message, "admin");
    snprintf(upgrade->version, sizeof(upgrade->version), "%s", message_str(message, "version"));
    say(upgrade, "the new program is ready");
    uv_timer_start(&upgrade->timer, on_call_late, CALL_MS, 0);
    ty_channel_send(channel, -1, json, sizeof(json) - 1);
}

static void on_message(struct child *child, const char *json, size_t len, void *arg)
{
    struct upgrade *upgrade = arg;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *message = yyjson_doc_get_root(doc);
    const char *type = message_str(message, "type"), *text = message_str(message, "text");
    bool is_wanted = !upgrade->master->is_stopping && upgrade->why.len == 0;

    (void)child;
    if (strcmp(type, "progress") == 0 && upgrade->phase == STARTING)
        say(upgrade, text);
    else if (strcmp(type, "ready") == 0 && upgrade->phase == STARTING && is_wanted)
        call(upgrade, message);
    else if (strcmp(type, "taken") == 0 && upgrade->phase == CALLED && is_wanted)
        hand_over(upgrade);
    else if (strcmp(type, "stopping") == 0 && upgrade->phase == DRAINING)
        upgrade->is_over = true;
    else if (strcmp(type, "failed") == 0 && upgrade->why.len == 0)
        ty_buf_adds(&upgrade->why, text);
    yyjson_doc_free(doc);
}

/* ---- the beginning */

static const char *reason_against(const struct upgrade *upgrade)
{
    const struct master *master = upgrade->master;

    if (upgrade->phase != IDLE)
        return "an upgrade is under way already";
    if (master->is_stopping)
        return "the server is stopping";
    if (!master->is_ready)
        return "the server has not finished starting";
    if (ty_inheritance_pid(master->inheritance))
        return "the server before this one still finishes what it runs; try again later";
    if (ty_reload_is_busy(master->reload))
        return "a reload is under way; try again when it is over";
    if (getpid() == 1)
        return "this is process 1, whose end would end the whole container: replace that";
    return NULL;
}

static void start(struct upgrade *upgrade)
{
    struct master *master = upgrade->master;
    const struct child_events events = {on_message, on_ended, upgrade};
    struct ty_buf text = {0};
    int status, said;

    ty_buf_addf(&text, "starting %s", upgrade->program);
    upgrade->child = ty_upgrade_start(master, upgrade->program, &events, &said, &status);
    if (upgrade->child) {
        ty_log_info("host", "upgrade: %s", ty_buf_cstr(&text));
        upgrade->phase = STARTING;
        upgrade->tail = ty_tail_open(&master->loop, said);
        upgrade->pid = ty_child_pid(upgrade->child);
        say(upgrade, ty_buf_cstr(&text));
        ty_notify_send(&master->notify, "RELOADING=1");
        uv_timer_start(&upgrade->timer, on_late,
                       ty_config_ms(master->active->config, "host.upgrade_timeout"), 0);
    } else {
        text.len = 0;
        ty_buf_addf(&text, "%s cannot be executed: %s", upgrade->program, uv_strerror(status));
        answer_refusal(upgrade->client, ty_buf_cstr(&text));
        upgrade->client = NULL;
    }
    ty_buf_close(&text);
}

void ty_upgrade_ask(struct upgrade *upgrade, struct client *client, const char *program)
{
    const char *why = reason_against(upgrade);

    if (why) {
        answer_refusal(client, why);
        return;
    }
    free(upgrade->program);
    upgrade->program = ty_strdup(program[0] ? program : upgrade->master->program);
    upgrade->client = client;
    upgrade->started_ms = ty_now_ms();
    upgrade->why.len = 0;
    upgrade->doing[0] = '\0';
    start(upgrade);
}

/* ---- what the others see */

struct upgrade *ty_upgrade_new(struct master *master)
{
    struct upgrade *upgrade = ty_zalloc(sizeof(*upgrade));

    upgrade->master = master;
    upgrade->timer.data = upgrade;
    uv_timer_init(&master->loop, &upgrade->timer);
    return upgrade;
}

void ty_upgrade_free(struct upgrade *upgrade)
{
    ty_buf_close(&upgrade->why);
    free(upgrade->program);
    free(upgrade);
}

void ty_upgrade_forget(struct upgrade *upgrade, const struct client *client)
{
    if (upgrade->client == client)
        upgrade->client = NULL;
}

bool ty_upgrade_is_busy(const struct upgrade *upgrade)
{
    return upgrade->phase != IDLE;
}

void ty_upgrade_add_status(const struct upgrade *upgrade, struct ty_buf *out)
{
    int predecessor = ty_inheritance_pid(upgrade->master->inheritance);

    if (upgrade->phase != IDLE) {
        ty_buf_addf(out, "{\"pid\":%d,\"state\":\"", upgrade->pid);
        ty_buf_add_json(out, upgrade->doing, strlen(upgrade->doing));
        ty_buf_adds(out, "\"}");
    } else if (predecessor) {
        ty_buf_addf(out,
                    "{\"pid\":%d,\"state\":\"the server before this one finishes what it runs\"}",
                    predecessor);
    } else {
        ty_buf_adds(out, "null");
    }
}

bool ty_upgrade_stop(struct upgrade *upgrade)
{
    if (upgrade->phase == STARTING)
        give_up(upgrade, "the server was told to stop");
    else if (upgrade->phase != IDLE)
        tell_to_stop(upgrade);
    if (upgrade->phase != DRAINING || upgrade->is_over)
        return false;
    upgrade->is_over = true;
    return true;
}

void ty_upgrade_close(struct upgrade *upgrade)
{
    if (upgrade->phase == DRAINING)
        answer_done(upgrade);
    else if (upgrade->client)
        answer_refusal(upgrade->client, "the server was told to stop");
    if (upgrade->phase >= CALLED && upgrade->child)
        ty_child_release(upgrade->child);
    close_tail(upgrade);
    uv_close((uv_handle_t *)&upgrade->timer, NULL);
}
