/* Counters, gauges and histograms, shared by all workers.
 *
 * The values live in the shared memory file that the master makes: every worker slot has a
 * cell of its own for every series, so that counting is one plain store without a lock or a
 * shared cache line, and a scrape (by the master) adds the cells up. Cells belong to the slot
 * and not to the process: a worker that replaces a dead one goes on counting where that one
 * stopped, so counters never go back. Gauges are reset when a slot gets a new process.
 *
 * Series are registered under a robust lock, found again by name and labels, never removed.
 * Their number is bounded; what is beyond counts into tycho_metrics_dropped_series_total and
 * goes to a cell that nobody reads.
 *
 * Without ty_metrics_attach() (tests, `tycho run`) the registry is private to the process.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tycho/buffer.h"

enum ty_metric_type { TY_COUNTER, TY_GAUGE, TY_HISTOGRAM };

enum {
    TY_METRIC_SERIES_MAX = 4096,
    TY_METRIC_TEXT_MAX = 320, /* name and labels of one series */
    TY_METRIC_BUCKETS_MAX = 16,
};

/* A handle into this process's cells; stays valid for the life of the process. */
struct ty_series;

/* What a family looks like. Static or long-lived memory; one per metric name. */
struct ty_metric {
    const char *name; /* "http_server_active_requests"; counters end in _total */
    const char *help;
    enum ty_metric_type type;
    const double *bounds; /* histograms: ascending upper bounds, without +Inf; NULL: seconds */
    size_t bound_count;
};

/* How many bytes of shared memory the registry needs for `slots` worker slots. */
size_t ty_metrics_size(unsigned slots);

/* Formats fresh zeroed shared memory; once, by the master. */
void ty_metrics_format(void *memory, unsigned slots);

/* Uses the cells of `slot` in formatted memory from now on; resets the slot's gauges. Call
 * before the first ty_metrics_series(). */
void ty_metrics_attach(void *memory, unsigned slot);

/* Finds or registers a series. `labels` is NULL or Prometheus text without braces, values
 * escaped: `method="GET",code="200"`. Never fails (see above). Takes a lock: keep the result. */
struct ty_series *ty_metrics_series(const struct ty_metric *metric, const char *labels);

/* Single writer per slot: call from the loop's thread only. */
void ty_counter_add(struct ty_series *series, double amount);
void ty_gauge_set(struct ty_series *series, double value);
void ty_gauge_add(struct ty_series *series, double amount);
void ty_histogram_observe(struct ty_series *series, double value);

/* The sum over all slots; for status pages and tests. Histograms: the count. */
double ty_metrics_value(const char *name, const char *labels);

/* How often a histogram met each of its buckets, not added up, over all slots; the bound of bucket
 * i goes into `bounds`, +Inf is the last. Returns how many there are, at most
 * TY_METRIC_BUCKETS_MAX + 1; 0: there is no such series. */
size_t ty_metrics_buckets(const char *name, const char *labels,
                          double bounds[TY_METRIC_BUCKETS_MAX + 1],
                          double counts[TY_METRIC_BUCKETS_MAX + 1]);

/* Adds a scrape of everything: Prometheus text 0.0.4, or OpenMetrics 1.0 if `openmetrics`. */
void ty_metrics_render(struct ty_buf *out, int openmetrics);

/* Label values: backslash, quote and newline escaped into `out`. */
void ty_metrics_add_label(struct ty_buf *out, const char *name, const char *value, size_t len);
