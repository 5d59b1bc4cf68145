/* The figures that the server keeps. */
#pragma once

#include "tycho/metrics.h"
#include "tycho/router.h"

/* clang-format off */
#define TY_HTTP_LIMITS(X)             \
    X(NONE,           "")             \
    X(TARGET,         "target")       \
    X(HEADER,         "header")       \
    X(FIELD,          "field")        \
    X(COUNT,          "count")        \
    X(BODY,           "body")         \
    X(CHUNK,          "chunk")        \
    X(PENDING,        "pending")      \
    X(CONNECTIONS,    "connections")  \
    X(DESCRIPTORS,    "descriptors")  \
    X(HEADER_TIMEOUT, "header_timeout") \
    X(BODY_TIMEOUT,   "body_timeout") \
    X(SEND_TIMEOUT,   "send_timeout") \
    X(SEND_TOTAL,     "send_total")   \
    X(KEEPALIVE,      "keepalive")
/* clang-format on */

enum ty_http_limit {
#define X(name, label) TY_LIMIT_##name,
    TY_HTTP_LIMITS(X)
#undef X
        TY_LIMIT_COUNT_OF
};

struct ty_measure {
    struct ty_series *active, *connections, *accepted, *aborted, *received, *sent;
    struct ty_series *limits[TY_LIMIT_COUNT_OF];
    struct ty_series *unrouted[TY_METHOD_COUNT + 1][TY_ROUTE_STATUS_CLASSES];
};

void ty_measure_init(struct ty_measure *measure);
void ty_measure_limit(struct ty_measure *measure, enum ty_http_limit limit);

/* One final answer. `route` may be NULL, `method` 0. */
void ty_measure_answer(struct ty_measure *measure, struct ty_route *route, unsigned method,
                       int status, uint64_t took_ns);
