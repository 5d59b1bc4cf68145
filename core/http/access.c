#include "http/access.h"

#include "http/conn.h"
#include "tycho/log.h"

enum { NAME_MAX_LEN = 64, STATUS_ABORTED = 499, PATH_SHOWN = 100, MESSAGE_LEN = PATH_SHOWN + 64 };

/* The log redacts parameters whose names it knows; a percent-encoded name would get past it. */
static bool hides_secret(struct ty_slice name)
{
    char decoded[NAME_MAX_LEN];

    if (!memchr(name.data, '%', name.len))
        return false;
    if (name.len > sizeof(decoded))
        return true; /* too long to tell */

    ptrdiff_t len = ty_path_decode(name, decoded);

    return len < 0 || ty_log_is_secret(decoded, (size_t)len);
}

static void add_query(struct ty_buf *out, struct ty_slice query)
{
    for (size_t at = 0; at <= query.len;) {
        const char *amp = at < query.len ? memchr(query.data + at, '&', query.len - at) : NULL;
        size_t end = amp ? (size_t)(amp - query.data) : query.len;
        const char *equals = end > at ? memchr(query.data + at, '=', end - at) : NULL;
        size_t name_len = equals ? (size_t)(equals - query.data) - at : 0;

        ty_buf_addc(out, at ? '&' : '?');
        if (equals && hides_secret((struct ty_slice){query.data + at, name_len})) {
            ty_buf_add(out, query.data + at, name_len + 1);
            ty_buf_adds(out, "[redacted]");
        } else {
            ty_buf_add(out, query.data + at, end - at);
        }
        at = end + 1;
    }
}

void ty_http_add_target(struct ty_buf *fields, const char *name, struct ty_slice target)
{
    struct ty_buf path = {0};
    const char *mark = target.len ? memchr(target.data, '?', target.len) : NULL;

    if (!mark || !memchr(mark, '%', target.len - (size_t)(mark - target.data))) {
        ty_log_add_field(fields, name, target.data, target.len);
        return;
    }

    size_t len = (size_t)(mark - target.data);

    ty_buf_add(&path, target.data, len);
    add_query(&path, (struct ty_slice){mark + 1, target.len - len - 1});
    ty_log_add_field(fields, name, path.data, path.len);
    ty_buf_close(&path);
}

/* What the message shows of the target; all of it is in the fields. */
static size_t path_len(struct ty_slice target)
{
    const char *mark = target.len ? memchr(target.data, '?', target.len) : NULL;
    size_t len = mark ? (size_t)(mark - target.data) : target.len;

    return len < PATH_SHOWN ? len : PATH_SHOWN;
}

void ty_access_log(struct ty_exchange *ex, uint64_t took_ns)
{
    struct ty_request *req = &ex->req;
    struct ty_buf *fields = &req->conn->server->log_fields;
    const char *method = req->method ? ty_method_name(req->method) : "";
    int status = ex->status ? ex->status : STATUS_ABORTED;
    char client[INET6_ADDRSTRLEN];

    if (!ty_log_enabled("access", TY_LOG_INFO))
        return;
    ty_request_client(req, client);
    fields->len = 0;
    ty_log_add_field(fields, "method", method, strlen(method));
    ty_http_add_target(fields, "path", req->target);
    ty_buf_addf(fields, ",\"status\":%d,\"duration_ms\":%.3f,\"bytes\":%llu", status,
                (double)took_ns / 1e6, (unsigned long long)ex->body_sent);
    ty_log_add_field(fields, "client", client, strlen(client));
    if (req->match.route)
        ty_log_add_field(fields, "route", req->match.route->pattern,
                         strlen(req->match.route->pattern));
    if (req->error_kind)
        ty_log_add_field(fields, "error", req->error_kind, strlen(req->error_kind));

    const struct ty_log_context context = {
        .request_id = req->id,
        .trace_id = req->trace.trace_id,
        .span_id = req->trace.span_id,
        .generation = req->site ? req->site->generation : NULL,
        .fields = fields->data,
        .fields_len = fields->len,
    };
    char message[MESSAGE_LEN];
    int len = snprintf(message, sizeof(message), "%s %.*s %d", method, (int)path_len(req->target),
                       req->target.data ? req->target.data : "", status);

    ty_log_text(TY_LOG_INFO, "access", &context, message, (size_t)len);
}
