/* An engine without Lua, for the tests of the host: real processes and sockets, made-up scripts.
 *
 * A bundle is good unless a line in it says otherwise. A file's lines are orders:
 *
 *   error WHAT        loading fails with "file:line: WHAT"
 *   error-in ROLE     loading fails in that role only ("web", "trial")
 *   crash-in ROLE     loading kills the process
 *   hang-in ROLE      loading never ends (the loop goes on)
 *   spin-in ROLE      loading never ends (the loop does not go on)
 *   stop-when FILE    a worker that has loaded it and said so stops (SIGSTOP) while FILE is there
 *   answer TEXT       what every request is answered with; the generation's id without one
 *   slow MS           after that many milliseconds
 *   unready           a required dependency is down while the file /tmp/... named next is absent
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/engine.h"
#include "tycho/memory.h"

struct ty_generation {
    struct ty_site site;
    char answer[128];
    char stop_when[32];
    uint64_t slow_ms;
    uv_timer_t timer; /* answers the load, ends the drain */
    ty_engine_loaded_fn *loaded;
    void *loaded_arg;
    char *faults;
    void (*gone)(void *arg);
    void *gone_arg;
    bool unused;
};

struct fake_slow {
    uv_timer_t timer;
    struct ty_request *req;
};

static struct {
    uv_loop_t *loop;
    char role[16];
    char need[256]; /* a file that must be there to be ready; "" if nothing is needed */
    struct ty_slot *slot;
} fake;

static void fake_open(const struct ty_engine_env *env)
{
    fake.loop = env->loop;
    fake.slot = env->slot;
    snprintf(fake.role, sizeof(fake.role), "%s", env->role);
}

static void fake_close(void (*done)(void *arg), void *arg)
{
    done(arg);
}

/* ---- requests */

static void fake_answer(struct ty_request *req)
{
    const struct ty_generation *gen = req->site->data;
    struct ty_buf body = {0};

    ty_buf_addf(&body, "%s %d\n", gen->answer, getpid());
    ty_request_respond(req, 200, NULL, 0, (struct ty_slice){body.data, body.len});
    ty_buf_close(&body);
}

static void fake_free(uv_handle_t *handle)
{
    free(handle->data);
}

static void fake_on_slow(uv_timer_t *timer)
{
    struct fake_slow *slow = timer->data;

    fake_answer(slow->req);
    uv_close((uv_handle_t *)timer, fake_free);
}

static void fake_handle(struct ty_request *req)
{
    const struct ty_generation *gen = req->site->data;
    uint64_t ms = gen->slow_ms;

    if (ty_slice_is(req->path, "/spin"))
        for (;;)
            fake.slot->requests = 1;
    if (ty_slice_is(req->path, "/die"))
        abort();
    if (ty_slice_is(req->path, "/slow"))
        ms = strtoull(req->query.data, NULL, 10);
    if (ms == 0) {
        fake_answer(req);
        return;
    }
    struct fake_slow *slow = ty_zalloc(sizeof(*slow));
    slow->req = req;
    slow->timer.data = slow;
    uv_timer_init(fake.loop, &slow->timer);
    uv_timer_start(&slow->timer, fake_on_slow, ms, 0);
}

/* ---- generations */

static void fake_on_free(uv_handle_t *handle)
{
    struct ty_generation *gen = handle->data;

    if (gen->gone)
        gen->gone(gen->gone_arg);
    ty_router_free(gen->site.router);
    free(gen->faults);
    free(gen);
}

static void fake_maybe_free(struct ty_generation *gen)
{
    if (gen->unused && gen->gone && !uv_is_closing((uv_handle_t *)&gen->timer))
        uv_close((uv_handle_t *)&gen->timer, fake_on_free);
}

static void fake_on_unused(struct ty_site *site)
{
    struct ty_generation *gen = site->data;

    gen->unused = true;
    fake_maybe_free(gen);
}

static void fake_on_loaded(uv_timer_t *timer)
{
    struct ty_generation *gen = timer->data;
    bool failed = gen->faults != NULL;

    gen->loaded(failed ? NULL : gen, gen->faults, gen->loaded_arg);
    if (failed)
        uv_close((uv_handle_t *)&gen->timer, fake_on_free);
    else if (gen->stop_when[0] && strcmp(fake.role, "web") == 0 &&
             access(gen->stop_when, F_OK) == 0)
        raise(SIGSTOP);
}

static bool fake_is_here(const char *order, const char *line, size_t len)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "%s-in %s", order, fake.role);

    return (size_t)n == len && memcmp(line, text, len) == 0;
}

/* Returns false if the load never answers. */
static bool fake_obey(struct ty_generation *gen, const char *file, int number, const char *line,
                      size_t len)
{
    char text[256];

    snprintf(text, sizeof(text), "%.*s", (int)len, line);
    if (strncmp(text, "answer ", 7) == 0)
        snprintf(gen->answer, sizeof(gen->answer), "%.100s", text + 7);
    else if (strncmp(text, "slow ", 5) == 0)
        gen->slow_ms = strtoull(text + 5, NULL, 10);
    else if (strncmp(text, "stop-when ", 10) == 0)
        snprintf(gen->stop_when, sizeof(gen->stop_when), "%s", text + 10);
    else if (strncmp(text, "need ", 5) == 0)
        snprintf(fake.need, sizeof(fake.need), "%s", text + 5);
    else if ((strncmp(text, "error ", 6) == 0 || fake_is_here("error", line, len)) && !gen->faults)
        gen->faults = ty_asprintf("%s:%d: %s", file, number, text + 6);
    else if (fake_is_here("crash", line, len))
        abort();
    else if (fake_is_here("hang", line, len))
        return false;
    while (fake_is_here("spin", line, len))
        usleep(1000);
    return true;
}

static bool fake_read(struct ty_generation *gen, const struct ty_bundle_file *file)
{
    bool answers = true;
    int number = 1;

    for (const char *at = file->data; *at && answers; number++) {
        size_t len = strcspn(at, "\n");
        answers = fake_obey(gen, file->name, number, at, len);
        at += len + (at[len] == '\n');
    }
    return answers;
}

static void fake_load(struct ty_bundle *bundle, ty_engine_loaded_fn *loaded, void *arg)
{
    struct ty_generation *gen = ty_zalloc(sizeof(*gen));
    bool answers = true;

    gen->loaded = loaded;
    gen->loaded_arg = arg;
    gen->site = (struct ty_site){.router = ty_router_new(),
                                 .handle = fake_handle,
                                 .on_unused = fake_on_unused,
                                 .data = gen,
                                 .refs = 1};
    snprintf(gen->site.generation, sizeof(gen->site.generation), "%s", ty_bundle_id(bundle));
    snprintf(gen->answer, sizeof(gen->answer), "%s", ty_bundle_id(bundle));
    gen->timer.data = gen;
    uv_timer_init(fake.loop, &gen->timer);
    fake.need[0] = '\0';
    for (size_t i = 0; i < ty_bundle_count(bundle) && answers; i++)
        if (strncmp(ty_bundle_at(bundle, i)->name, "app/", 4) == 0)
            answers = fake_read(gen, ty_bundle_at(bundle, i));
    if (answers)
        uv_timer_start(&gen->timer, fake_on_loaded, 0, 0);
}

static struct ty_site *fake_site(struct ty_generation *gen)
{
    return &gen->site;
}

static const char *fake_id(struct ty_generation *gen)
{
    return gen->site.generation;
}

static void fake_start(struct ty_generation *gen)
{
    (void)gen;
}

static void fake_retire(struct ty_generation *gen, uint64_t drain_ms, void (*gone)(void *arg),
                        void *arg)
{
    (void)drain_ms;
    gen->gone = gone;
    gen->gone_arg = arg;
    ty_site_unref(&gen->site);
}

static void fake_describe(struct ty_generation *gen, struct ty_buf *out)
{
    ty_buf_addf(out, "[{\"owner\":\"%s\"}]", gen->answer);
}

static void fake_describe_fibers(struct ty_generation *gen, bool stacks, struct ty_buf *out)
{
    (void)stacks;
    fake_describe(gen, out);
}

static bool fake_ready(struct ty_buf *out)
{
    bool ok = fake.need[0] == '\0' || access(fake.need, F_OK) == 0;

    if (fake.need[0])
        ty_buf_addf(out, "{\"name\":\"fake\",\"ok\":%s}", ok ? "true" : "false");
    return ok;
}

static const struct ty_engine fake_engine = {
    .open = fake_open,
    .close = fake_close,
    .load = fake_load,
    .site = fake_site,
    .id = fake_id,
    .start = fake_start,
    .retire = fake_retire,
    .describe_fibers = fake_describe_fibers,
    .describe_routes = fake_describe,
    .ready = fake_ready,
};
