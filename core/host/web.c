#include "host/web.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/message.h"
#include "tycho/host.h"
#include "tycho/log.h"
#include "tycho/memory.h"
#include "tycho/sql_ledger.h"

/* ---- what the master says */

static void set_log_level(yyjson_val *message)
{
    const char *module = message_str(message, "module");
    enum ty_log_level level;

    if (ty_log_parse_level(message_str(message, "level"), &level))
        ty_log_set_module_level(module[0] ? module : NULL, level);
}

static void set_fault(struct web *web, const char *text)
{
    if (web->engine->set_fault)
        web->engine->set_fault(text[0] ? text : NULL);
}

static void stage(struct web *web, yyjson_val *message, int fd)
{
    web->is_waiting = message_bool(message, "waits");
    ty_web_stage(web, fd, message_bool(message, "development"));
}

static void begin_to_accept(struct web *web)
{
    web->is_waiting = false;
    ty_web_look_after_neighbours(web);
}

static void stop(struct web *web, yyjson_val *message)
{
    web->is_succeeded = message_bool(message, "succeeded");
    ty_web_stop(web, message_uint(message, "timeout_ms"), !web->is_succeeded);
}

static void set_quarantine(struct web *web, const char *route, uint64_t ms)
{
    if (web->engine->quarantine)
        web->engine->quarantine(route, ms);
}

static void obey(struct web *web, yyjson_val *message, int fd)
{
    const char *type = message_str(message, "type");
    uint64_t number = message_uint(message, "generation");

    if (strcmp(type, "config") == 0)
        stage(web, message, fd);
    else if (strcmp(type, "prepare") == 0)
        ty_web_prepare(web, number, fd);
    else if (strcmp(type, "commit") == 0)
        ty_web_commit(web, number);
    else if (strcmp(type, "abort") == 0)
        ty_web_abort(web, number);
    else if (strcmp(type, "end_streams") == 0)
        ty_web_end_streams(web, number);
    else if (strcmp(type, "stop") == 0)
        stop(web, message);
    else if (strcmp(type, "accept") == 0)
        begin_to_accept(web);
    else if (strcmp(type, "describe") == 0)
        ty_web_describe(web, message_str(message, "what"), message_uint(message, "token"));
    else if (strcmp(type, "observe") == 0)
        ty_web_observe(web, message);
    else if (strcmp(type, "log_level") == 0)
        set_log_level(message);
    else if (strcmp(type, "faults") == 0)
        set_fault(web, message_str(message, "text"));
    else if (strcmp(type, "quarantine") == 0)
        set_quarantine(web, message_str(message, "route"), message_uint(message, "ms"));
    else if (strcmp(type, "reopen") == 0)
        ty_log_reopen();
}

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    yyjson_doc *doc = yyjson_read(json, len, 0);

    (void)channel;
    obey(arg, yyjson_doc_get_root(doc), fd);
    yyjson_doc_free(doc);
    if (fd >= 0)
        close(fd);
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    (void)channel, (void)arg;
    _exit(1); /* the master is dead, and so are we: see ty_child_settle() */
}

/* ---- its life */

static void on_terminate(uv_signal_t *handle, int signal)
{
    struct web *web = handle->data;

    (void)signal;
    ty_web_stop(web, web->active ? ty_config_ms(web->active->config, "host.shutdown_timeout") : 0,
                false);
}

static void open_handles(struct web *web)
{
    uv_timer_init(&web->loop, &web->stop);
    uv_timer_init(&web->loop, &web->deadline);
    web->stop.data = web->deadline.data = web;
    uv_signal_init(&web->loop, &web->terminate);
    web->terminate.data = web;
    uv_signal_start(&web->terminate, on_terminate, SIGTERM);
    ty_web_beat_open(web);
    web->channel = ty_channel_new(&web->loop, CHILD_CHANNEL_FD, on_message, on_gone, web);
}

static void open_crash(const struct web *web)
{
    char who[32];
    const struct ty_crash_options options = {
        .who = who, .role = "web", .slot = web->slot, .scripts = web->engine->crashed};

    snprintf(who, sizeof(who), "web worker %u", web->self.slot);
    ty_crash_open(&options);
}

int ty_web_run(const struct child_self *self, const struct ty_engine *engine)
{
    struct web *web = ty_zalloc(sizeof(*web));

    web->self = *self;
    web->engine = engine;
    web->shm = ty_shm_attach(CHILD_SHM_FD);
    if (!web->shm || self->slot == 0 || self->slot >= ty_shm_slot_count(web->shm))
        return 1;
    web->slot = ty_shm_slot(web->shm, self->slot);
    open_crash(web);
    ty_metrics_attach(ty_shm_metrics(web->shm), self->slot);
    ty_sql_ledger_attach(CHILD_LEDGER_FD);
    uv_loop_init(&web->loop);
    open_handles(web);
    uv_run(&web->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&web->loop) != 0)
        ty_log_error("host", "something was left open at the end");
    ty_config_unref(web->staged);
    ty_shm_detach(web->shm);
    free(web);
    ty_log_close();
    return 0;
}

/* ---- which child this is */

bool ty_host_is_child(void)
{
    struct child_self self;

    return ty_child_self(&self);
}

int ty_host_child(const struct ty_engine *engine)
{
    struct child_self self;

    if (!ty_child_self(&self))
        return 1;
    ty_child_settle(&self);
    ty_crash_allow_cores(false); /* unless the configuration says otherwise */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* the terminal sends it to all; the master says what to do */
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    return strcmp(self.role, "trial") == 0 ? ty_trial_run(&self, engine)
                                           : ty_web_run(&self, engine);
}
