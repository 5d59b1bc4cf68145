#include "sql/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/memory.h"
#include "tycho/metrics.h"

/* Names and bounds after OpenTelemetry's conventions for database clients; but for those of rows,
 * which also tell nothing from something, and much from very much. */

static const double time_bounds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10};
static const struct ty_metric duration = {
    .name = "db_client_operation_duration_seconds",
    .help = "How long operations of a database took, without waiting for a connection.",
    .type = TY_HISTOGRAM,
    .bounds = time_bounds,
    .bound_count = sizeof(time_bounds) / sizeof(time_bounds[0]),
};
static const double row_bounds[] = {0, 1, 10, 100, 1000, 10000, 100000, 1000000};
static const struct ty_metric returned_rows = {
    .name = "db_client_response_returned_rows",
    .help = "Rows that statements returned.",
    .type = TY_HISTOGRAM,
    .bounds = row_bounds,
    .bound_count = sizeof(row_bounds) / sizeof(row_bounds[0]),
};
static const struct ty_metric wait_time = {
    .name = "db_client_connection_wait_time_seconds",
    .help = "How long operations waited for a connection.",
    .type = TY_HISTOGRAM,
    .bounds = time_bounds,
    .bound_count = sizeof(time_bounds) / sizeof(time_bounds[0]),
};
static const struct ty_metric connections = {
    .name = "db_client_connection_count",
    .help = "Connections by state.",
    .type = TY_GAUGE,
};
static const struct ty_metric connections_max = {
    .name = "db_client_connection_max",
    .help = "Connections that may be open.",
    .type = TY_GAUGE,
};
static const struct ty_metric pending = {
    .name = "db_client_connection_pending_requests",
    .help = "Operations that wait for a connection.",
    .type = TY_GAUGE,
};
static const struct ty_metric timeouts = {
    .name = "db_client_connection_timeouts_total",
    .help = "Operations that got no connection in time, or no place in the line.",
    .type = TY_COUNTER,
};
/* Not OpenTelemetry's: it has no words for them. */
static const struct ty_metric circuit = {
    .name = "tycho_db_circuit_open",
    .help =
        "Workers that cannot reach the database at present, and answer at once that they cannot.",
    .type = TY_GAUGE,
};
static const struct ty_metric places = {
    .name = "tycho_db_connection_places",
    .help =
        "Connections of all processes, with those whose end the server may not have noticed yet.",
    .type = TY_GAUGE,
};

enum { OPERATIONS = 7, KINDS = TY_ERR_UNKNOWN_OUTCOME + 1 };

static const char *const operations[OPERATIONS] = {"SELECT", "INSERT", "UPDATE", "DELETE",
                                                   "COMMIT", "BATCH",  "OTHER"};

struct ty_sql_figures {
    const char *system;
    char *name;
    struct ty_series *durations[OPERATIONS][KINDS + 1]; /* the last: without error */
    struct ty_series *rows, *wait, *idle, *used, *max, *pending, *timeouts;
    struct ty_series *circuit, *places; /* of a pool; else NULL */
};

static void add_label(struct ty_buf *labels, const char *name, const char *value)
{
    ty_metrics_add_label(labels, name, value, strlen(value));
}

/* `state` may be NULL. */
static struct ty_series *series(const struct ty_metric *metric, const char *name, const char *state)
{
    struct ty_buf labels = {0};

    add_label(&labels, "db_client_connection_pool_name", name);
    if (state)
        add_label(&labels, "db_client_connection_state", state);
    struct ty_series *found = ty_metrics_series(metric, ty_buf_cstr(&labels));
    ty_buf_close(&labels);
    return found;
}

static void add_database(struct ty_buf *labels, const struct ty_sql_figures *figures)
{
    add_label(labels, "db_system_name", figures->system);
    add_label(labels, "db_namespace", figures->name);
}

static struct ty_series *row_series(const struct ty_sql_figures *figures)
{
    struct ty_buf labels = {0};

    add_database(&labels, figures);
    struct ty_series *found = ty_metrics_series(&returned_rows, ty_buf_cstr(&labels));
    ty_buf_close(&labels);
    return found;
}

struct ty_sql_figures *ty_sql_figures_new(const char *system, const char *name)
{
    struct ty_sql_figures *figures = ty_zalloc(sizeof(*figures));

    figures->system = system;
    figures->name = ty_strdup(name);
    figures->rows = row_series(figures);
    figures->wait = series(&wait_time, name, NULL);
    figures->idle = series(&connections, name, "idle");
    figures->used = series(&connections, name, "used");
    figures->max = series(&connections_max, name, NULL);
    figures->pending = series(&pending, name, NULL);
    figures->timeouts = series(&timeouts, name, NULL);
    return figures;
}

void ty_sql_count_pool(struct ty_sql_figures *figures, bool is_open, unsigned used)
{
    if (!figures->circuit) {
        figures->circuit = series(&circuit, figures->name, NULL);
        figures->places = series(&places, figures->name, NULL);
    }
    ty_gauge_set(figures->circuit, is_open);
    ty_gauge_set(figures->places, used);
}

void ty_sql_figures_free(struct ty_sql_figures *figures)
{
    ty_gauge_set(figures->idle, 0);
    ty_gauge_set(figures->used, 0);
    ty_gauge_set(figures->max, 0);
    ty_gauge_set(figures->pending, 0);
    if (figures->circuit)
        ty_sql_count_pool(figures, false, 0);
    free(figures->name);
    free(figures);
}

static int operation_of(const struct ty_sql_op *op)
{
    char name[TY_SQL_OPERATION_MAX];
    int i = 0;

    ty_sql_operation(op, name);
    while (i < OPERATIONS - 1 && strcmp(name, operations[i]) != 0)
        i++;
    return i;
}

static struct ty_series *add_duration(struct ty_sql_figures *figures, int operation, int kind)
{
    struct ty_buf labels = {0};

    add_database(&labels, figures);
    add_label(&labels, "db_operation_name", operations[operation]);
    if (kind < KINDS)
        add_label(&labels, "error_type", ty_error_kind_name((enum ty_error_kind)kind));
    struct ty_series *found = ty_metrics_series(&duration, ty_buf_cstr(&labels));
    ty_buf_close(&labels);
    return found;
}

/* What became of it: of a batch, what became of the first that failed. */
static int kind_of(const struct ty_sql_op *op)
{
    while (op && op->status == 0)
        op = op->batch;
    return op ? (int)op->error.kind : KINDS;
}

void ty_sql_count_op(struct ty_sql_figures *figures, const struct ty_sql_op *op)
{
    int operation = operation_of(op), kind = kind_of(op);
    struct ty_series **at = &figures->durations[operation][kind];

    if (!*at)
        *at = add_duration(figures, operation, kind);
    ty_histogram_observe(*at, (double)op->run_ns / 1e9);
    for (; kind == KINDS && op; op = op->batch) {
        if (op->column_count > 0)
            ty_histogram_observe(figures->rows, (double)op->row_count);
    }
}

void ty_sql_count_wait(struct ty_sql_figures *figures, uint64_t ns, bool in_vain)
{
    ty_histogram_observe(figures->wait, (double)ns / 1e9);
    if (in_vain)
        ty_counter_add(figures->timeouts, 1);
}

void ty_sql_count_conns(struct ty_sql_figures *figures, unsigned used, unsigned idle, unsigned max,
                        unsigned waiting)
{
    ty_gauge_set(figures->used, used);
    ty_gauge_set(figures->idle, idle);
    ty_gauge_set(figures->max, max);
    ty_gauge_set(figures->pending, waiting);
}
