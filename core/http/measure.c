#include "http/measure.h"

#include <stdio.h>

static const struct ty_metric duration = {
    .name = "http_server_request_duration_seconds",
    .help = "Time from a request's first byte to its answer.",
    .type = TY_HISTOGRAM,
};
static const struct ty_metric active = {
    .name = "http_server_active_requests",
    .help = "Requests that are being answered.",
    .type = TY_GAUGE,
};
static const struct ty_metric connections = {
    .name = "tycho_http_connections",
    .help = "Open client connections.",
    .type = TY_GAUGE,
};
static const struct ty_metric accepted = {
    .name = "tycho_http_accepted_total",
    .help = "Connections accepted.",
    .type = TY_COUNTER,
};
static const struct ty_metric aborted = {
    .name = "tycho_http_aborted_total",
    .help = "Requests whose client went away before the answer.",
    .type = TY_COUNTER,
};
static const struct ty_metric received = {
    .name = "tycho_http_received_bytes_total",
    .help = "Bytes read from clients.",
    .type = TY_COUNTER,
};
static const struct ty_metric sent = {
    .name = "tycho_http_sent_bytes_total",
    .help = "Bytes written to clients.",
    .type = TY_COUNTER,
};
static const struct ty_metric limits = {
    .name = "tycho_http_limits_total",
    .help = "Times that a limit was met.",
    .type = TY_COUNTER,
};

static const char *const limit_names[] = {
#define X(name, label) [TY_LIMIT_##name] = label,
    TY_HTTP_LIMITS(X)
#undef X
};

void ty_measure_init(struct ty_measure *measure)
{
    *measure = (struct ty_measure){
        .active = ty_metrics_series(&active, NULL),
        .connections = ty_metrics_series(&connections, NULL),
        .accepted = ty_metrics_series(&accepted, NULL),
        .aborted = ty_metrics_series(&aborted, NULL),
        .received = ty_metrics_series(&received, NULL),
        .sent = ty_metrics_series(&sent, NULL),
    };
    for (int i = TY_LIMIT_NONE + 1; i < TY_LIMIT_COUNT_OF; i++) {
        char labels[64];

        snprintf(labels, sizeof(labels), "limit=\"%s\"", limit_names[i]);
        measure->limits[i] = ty_metrics_series(&limits, labels);
    }
}

void ty_measure_limit(struct ty_measure *measure, enum ty_http_limit limit)
{
    if (limit != TY_LIMIT_NONE)
        ty_counter_add(measure->limits[limit], 1);
}

static struct ty_series *series_of(const struct ty_route *route, unsigned method, int status_class)
{
    const char *pattern = route ? route->pattern : "(none)";
    struct ty_buf labels = {0};

    ty_metrics_add_label(&labels, "http_request_method", method ? ty_method_name(method) : "_OTHER",
                         method ? strlen(ty_method_name(method)) : sizeof("_OTHER") - 1);
    ty_metrics_add_label(&labels, "http_route", pattern, strlen(pattern));
    ty_metrics_add_label(&labels, "http_response_status_class",
                         (char[]){(char)('0' + status_class), 'x', 'x'}, 3);

    struct ty_series *series = ty_metrics_series(&duration, ty_buf_cstr(&labels));

    ty_buf_close(&labels);
    return series;
}

void ty_measure_answer(struct ty_measure *measure, struct ty_route *route, unsigned method,
                       int status, uint64_t took_ns)
{
    int bit = method ? __builtin_ctz(method) : TY_METHOD_COUNT;
    int status_class = status / 100;
    struct ty_series **series =
        route && method ? &route->series[bit][status_class] : &measure->unrouted[bit][status_class];

    if (!*series)
        *series = series_of(route, method, status_class);
    ty_histogram_observe(*series, (double)took_ns / 1e9);
}
