#include "host/figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/usage.h"
#include "tycho/clock.h"

struct text {
    struct ty_buf *out;
    bool openmetrics;
};

static void begin(struct text *text, const char *name, const char *type, const char *help)
{
    /* OpenMetrics names the family of a counter without its suffix */
    const char *suffix = strcmp(type, "counter") == 0 && !text->openmetrics ? "_total" : "";

    ty_buf_addf(text->out, "# TYPE %s%s %s\n# HELP %s%s %s\n", name, suffix, type, name, suffix,
                help);
}

static void add_worker_figures(const struct master *master, struct text *text)
{
    begin(text, "tycho_worker_up", "gauge", "Whether the worker serves.");
    for (unsigned i = 0; i < master->worker_count; i++)
        ty_buf_addf(text->out, "tycho_worker_up{worker=\"%u\"} %d\n", i + 1,
                    master->workers[i].state == WORKER_SERVING);
    begin(text, "tycho_worker_restarts", "counter", "Times that the worker was replaced.");
    for (unsigned i = 0; i < master->worker_count; i++)
        ty_buf_addf(text->out, "tycho_worker_restarts_total{worker=\"%u\"} %u\n", i + 1,
                    master->workers[i].shared->restarts);
    begin(text, "tycho_worker_recycles", "counter",
          "Times that the worker was replaced because it had grown too large.");
    for (unsigned i = 0; i < master->worker_count; i++)
        ty_buf_addf(text->out, "tycho_worker_recycles_total{worker=\"%u\",reason=\"memory\"} %u\n",
                    i + 1, master->workers[i].recycles);
    begin(text, "tycho_worker_script_bytes", "gauge", "Memory of the worker's Lua states.");
    for (unsigned i = 0; i < master->worker_count; i++)
        ty_buf_addf(text->out, "tycho_worker_script_bytes{worker=\"%u\"} %" PRIu64 "\n", i + 1,
                    master->workers[i].shared->script_bytes);
    begin(text, "tycho_worker_fibers", "gauge", "Live fibers of the worker.");
    for (unsigned i = 0; i < master->worker_count; i++)
        ty_buf_addf(text->out, "tycho_worker_fibers{worker=\"%u\"} %u\n", i + 1,
                    master->workers[i].shared->fibers);
}

static void add_process_figures(const struct master *master, struct text *text)
{
    begin(text, "process_resident_memory_bytes", "gauge",
          "Resident memory; worker 0 is the master.");
    ty_buf_addf(text->out, "process_resident_memory_bytes{worker=\"0\"} %" PRIu64 "\n",
                ty_resident_bytes());
    for (unsigned i = 0; i < master->worker_count; i++)
        ty_buf_addf(text->out, "process_resident_memory_bytes{worker=\"%u\"} %" PRIu64 "\n", i + 1,
                    master->workers[i].shared->resident_bytes);
    begin(text, "process_cpu_seconds", "counter", "CPU time; worker 0 is the master.");
    ty_buf_addf(text->out, "process_cpu_seconds_total{worker=\"0\"} %.3f\n",
                (double)ty_cpu_ms() / 1e3);
    for (unsigned i = 0; i < master->worker_count; i++)
        ty_buf_addf(text->out, "process_cpu_seconds_total{worker=\"%u\"} %.3f\n", i + 1,
                    (double)master->workers[i].shared->cpu_ms / 1e3);
    begin(text, "process_start_time_seconds", "gauge", "When the master started, Unix time.");
    ty_buf_addf(text->out, "process_start_time_seconds %.3f\n",
                (double)ty_wall_us() / 1e6 - (double)(ty_now_ms() - master->started_ms) / 1e3);
}

void ty_figures_add(const struct master *master, bool openmetrics, struct ty_buf *out)
{
    struct text text = {out, openmetrics};
    uint64_t numbers[HELD_MAX];

    begin(&text, "tycho_generation_info", "gauge", "The active generation of scripts.");
    if (master->active)
        ty_buf_addf(out, "tycho_generation_info{id=\"%s\"} 1\n", ty_generation_id(master->active));
    begin(&text, "tycho_generations_alive", "gauge", "Generations in memory, draining ones too.");
    ty_buf_addf(out, "tycho_generations_alive %u\n",
                ty_workers_generations(master, numbers, HELD_MAX));
    begin(&text, "tycho_streamed_answers", "gauge", "Answers being sent in pieces.");
    ty_buf_addf(out, "tycho_streamed_answers{generation=\"active\"} %u\n",
                ty_workers_streams(master, false));
    ty_buf_addf(out, "tycho_streamed_answers{generation=\"replaced\"} %u\n",
                ty_workers_streams(master, true));
    begin(&text, "tycho_workers", "gauge", "Workers that serve.");
    ty_buf_addf(out, "tycho_workers %u\n", ty_workers_serving(master));
    begin(&text, "tycho_quarantined_routes", "gauge", "Routes closed because of runaways.");
    ty_buf_addf(out, "tycho_quarantined_routes %u\n", ty_quarantine_count(master));
    add_worker_figures(master, &text);
    add_process_figures(master, &text);
}
