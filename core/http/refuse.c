#include "http/refuse.h"

#include <stdio.h>

#include "http/conn.h"

enum { BODY_MAX = 320 };

static const struct {
    int status;
    enum ty_http_limit limit;
    const char *detail;
} reasons[] = {
#define X(name, status, limit, detail) [TY_REFUSE_##name] = {status, TY_LIMIT_##limit, detail},
    TY_REFUSALS(X)
#undef X
};

static const struct ty_header fields[] = {
    {{"Content-Type", 12}, {"application/problem+json", 24}},
    {{"Cache-Control", 13}, {"no-store", 8}},
    {{"Retry-After", 11}, {"1", 1}}, /* 503 only */
};

/* The request may have been refused before it had an id. */
static void identify(struct ty_exchange *ex)
{
    struct ty_random *random = &ex->req.conn->server->random;
    struct ty_trace *trace = &ex->req.trace;

    if (ex->req.id[0])
        return;
    ty_random_hex(random, trace->span_id);
    ty_random_hex(random, trace->trace_id);
    ty_random_hex(random, trace->trace_id + TY_SPAN_ID_LEN);
    trace->flags = 1;
    memcpy(ex->req.id, trace->trace_id, TY_TRACE_ID_LEN);
}

void ty_conn_refuse(struct ty_http_conn *conn, enum ty_refusal why)
{
    struct ty_exchange *ex = conn->ex;
    int status = reasons[why].status;
    char body[BODY_MAX];

    ty_measure_limit(&conn->server->measure, reasons[why].limit);
    identify(ex);
    if (!ex->req.method && conn->parser.method == HTTP_HEAD)
        ex->req.method = TY_HEAD;
    if (why == TY_REFUSE_OVERLOAD) {
        ex->req.error_kind = "unavailable";
    } else {
        ex->minor_one = true;
        ex->must_close = true;
    }
    conn->phase = TY_CONN_SITE;

    int len = snprintf(body, sizeof(body),
                       "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,"
                       "\"detail\":\"%s\",\"request_id\":\"%s\"}",
                       ty_http_reason(status), status, reasons[why].detail, ex->req.id);

    ty_request_respond(&ex->req, status, fields, status == 503 ? 3 : 2,
                       (struct ty_slice){body, (size_t)len});
}
