/* Requests between the parser and their site. */
#include <strings.h>

#include "http/access.h"
#include "http/conn.h"
#include "http/health.h"
#include "http/syntax.h"
#include "tycho/http.h"

/* Fields that could change how the message is framed, routed or trusted. */
static bool is_forbidden_trailer(struct ty_slice name)
{
    static const char *const names[] = {
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "max-forwards",
        "pragma",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "set-cookie",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ty_slice_same(name, names[i], strlen(names[i])))
            return true;
    }
    return false;
}

static bool take_trailers(struct ty_exchange *ex)
{
    struct ty_header *trailers = ty_spans_resolve(ex, &ex->trailer_spans, ex->trailer_bytes.data);

    if (!trailers)
        return false;
    for (uint32_t i = 0; i < ex->trailer_spans.count; i++) {
        if (!is_forbidden_trailer(trailers[i].name))
            trailers[ex->req.trailer_count++] = trailers[i];
    }
    ex->req.trailers = trailers;
    return true;
}

void ty_conn_dispatch(struct ty_http_conn *conn)
{
    struct ty_exchange *ex = conn->ex;
    struct ty_http_server *server = conn->server;

    if (ex->trailer_spans.count && !take_trailers(ex)) {
        ty_conn_refuse(conn, TY_REFUSE_MEMORY);
        return;
    }
    conn->phase = TY_CONN_SITE;
    if (server->options.health && ty_health_answer(&ex->req))
        return;
    if (!ex->is_routed) {
        ty_conn_refuse(conn, TY_REFUSE_UNREADY);
    } else if (ty_admission_take(ex)) {
        ty_admission_enter(ex);
        ex->req.site->handle(&ex->req);
    }
}

static void release(struct ty_exchange *ex)
{
    struct ty_http_conn *conn = ex->req.conn;
    struct ty_http_server *server = conn->server;
    struct ty_site *site = ex->req.site;

    ty_admission_leave(ex);
    conn->ex = NULL;
    ty_exchange_put(&server->pool, ex);
    if (site) {
        site->requests--;
        ty_site_unref(site);
    }
}

void ty_exchange_drop(struct ty_exchange *ex)
{
    release(ex);
}

void ty_exchange_finish(struct ty_exchange *ex)
{
    struct ty_http_server *server = ex->req.conn->server;
    uint64_t took_ns = ty_now_ns() - ex->req.began_ns;

    if (ex->req.aborted)
        ty_counter_add(server->measure.aborted, 1);
    if (ex->status)
        ty_measure_answer(&server->measure, ex->req.match.route, ex->req.method, ex->status,
                          took_ns);
    if (server->options.access_log)
        ty_access_log(ex, took_ns);
    release(ex);
}

struct ty_slice ty_request_header(const struct ty_request *req, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < req->header_count; i++) {
        const struct ty_header *header = &req->headers[i];

        if (header->name.len == len && strncasecmp(header->name.data, name, len) == 0)
            return header->value;
    }
    return (struct ty_slice){0};
}

void ty_site_ref(struct ty_site *site)
{
    site->refs++;
}

void ty_site_unref(struct ty_site *site)
{
    if (--site->refs == 0 && site->on_unused)
        site->on_unused(site);
}
