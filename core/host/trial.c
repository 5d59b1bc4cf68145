#include "host/trial.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/message.h"
#include "tycho/memory.h"

enum { MARGIN_MS = 3000, EXIT_MS = 2000 };

/* Lives until its process has ended, which may be a little after it has answered. */
struct trial {
    struct child *child;
    uv_timer_t timer;
    trial_done_fn *done; /* NULL once it has run */
    void *arg;
};

static void answer(struct trial *trial, const char *faults)
{
    trial_done_fn *done = trial->done;

    trial->done = NULL;
    if (done)
        done(faults, trial->arg);
}

static void on_timeout(uv_timer_t *timer)
{
    struct trial *trial = timer->data;

    ty_child_kill(trial->child, SIGKILL);
    answer(trial, "the scripts did not load in time (reload.load_timeout, reload.check_timeout)");
}

static void on_message(struct child *child, const char *json, size_t len, void *arg)
{
    struct trial *trial = arg;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *message = yyjson_doc_get_root(doc);
    const char *type = message_str(message, "type");

    (void)child;
    uv_timer_start(&trial->timer, on_timeout, EXIT_MS, 0);
    if (strcmp(type, "ready") == 0)
        answer(trial, NULL);
    else if (strcmp(type, "failed") == 0)
        answer(trial, message_str(message, "faults"));
    yyjson_doc_free(doc);
}

static void on_closed(uv_handle_t *timer)
{
    free(timer->data);
}

static void on_ended(struct child *child, int exit_code, int signal, void *arg)
{
    struct trial *trial = arg;
    char text[128];

    (void)child;
    if (signal)
        snprintf(text, sizeof(text), "the process that tried the scripts was killed by signal %d",
                 signal);
    else
        snprintf(text, sizeof(text), "the process that tried the scripts ended with code %d",
                 exit_code);
    answer(trial, text);
    uv_close((uv_handle_t *)&trial->timer, on_closed);
}

struct trial *ty_trial_start(struct master *master, struct generation *generation,
                             trial_done_fn *done, void *arg)
{
    const struct child_order order = {.role = "trial",
                                      .title = "tycho: trial",
                                      .shm_fd = ty_shm_fd(master->shm),
                                      .ledger_fd = master->ledger_fd};
    struct trial *trial = ty_zalloc(sizeof(*trial));
    const struct child_events events = {on_message, on_ended, trial};
    uint64_t timeout = ty_config_ms(generation->config, "reload.load_timeout") +
                       ty_config_ms(generation->config, "reload.check_timeout") + MARGIN_MS;
    char text[128];
    int status;

    trial->child = ty_child_start(&master->loop, &order, &events, &status);
    if (!trial->child) {
        snprintf(text, sizeof(text), "no process to try the scripts in: %s%s", uv_strerror(status),
                 status == UV_ENOENT ? " (/proc must be mounted)" : "");
        free(trial);
        done(text, arg);
        return NULL;
    }
    trial->done = done;
    trial->arg = arg;
    trial->timer.data = trial;
    uv_timer_init(&master->loop, &trial->timer);
    uv_timer_start(&trial->timer, on_timeout, timeout, 0);
    ty_channel_sendf(ty_child_channel(trial->child), generation->config_fd,
                     "{\"type\":\"config\",\"development\":%s}",
                     master->options->development ? "true" : "false");
    ty_channel_sendf(ty_child_channel(trial->child), ty_bundle_fd(generation->bundle),
                     "{\"type\":\"prepare\",\"generation\":%" PRIu64 "}", generation->number);
    return trial;
}

void ty_trial_drop(struct trial *trial)
{
    trial->done = NULL;
    ty_child_kill(trial->child, SIGKILL);
}
