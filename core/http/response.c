#include "http/conn.h"
#include "http/status.h"
#include "http/syntax.h"
#include "tycho/log.h"

enum {
    FIXED_MAX = 640,      /* all that the server adds, but names that an operator chose */
    COPY_MAX = 16 * 1024, /* larger bodies are written from where they are */
    NUMBER_MAX = 20,
    CHUNK_HEAD_MAX = 18,
};

/* ------------------------------------------------------------------------------- the head */

bool ty_http_is_reserved(struct ty_slice name)
{
    switch (name.len) {
    case sizeof("date") - 1:
        return ty_slice_same(name, "date", 4);
    case sizeof("connection") - 1:
        return ty_slice_same(name, "connection", 10);
    case sizeof("traceparent") - 1:
        return ty_slice_same(name, "traceparent", 11);
    case sizeof("x-request-id") - 1:
        return ty_slice_same(name, "x-request-id", 12);
    case sizeof("content-length") - 1:
        return ty_slice_same(name, "content-length", 14);
    case sizeof("transfer-encoding") - 1:
        return ty_slice_same(name, "transfer-encoding", 17);
    default:
        return false;
    }
}

/* Bytes that the fields take on the wire, or TY_HTTP_E_STATUS, or TY_HTTP_E_HEADER. */
static ptrdiff_t check_head(int status, const struct ty_header *headers, size_t count)
{
    size_t len = 0;

    if (status < TY_STATUS_FIRST || status > TY_STATUS_LAST)
        return TY_HTTP_E_STATUS;
    for (size_t i = 0; i < count; i++) {
        const struct ty_header *header = &headers[i];

        if (!ty_http_is_token(header->name) || !ty_http_is_value(header->value) ||
            ty_http_is_reserved(header->name))
            return TY_HTTP_E_HEADER;
        len += header->name.len + header->value.len + 4;
    }
    return (ptrdiff_t)len;
}

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

static char *put_number(char *at, uint64_t number)
{
    char digits[NUMBER_MAX], *first = digits + sizeof(digits);

    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    return put(at, first, (size_t)(digits + sizeof(digits) - first));
}

static char *put_ids(char *at, const struct ty_exchange *ex)
{
    const struct ty_http_options *options = &ex->req.conn->server->options;

    at = PUT(at, "X-Request-Id: ");
    at = put(at, ex->req.id, strlen(ex->req.id));
    at = PUT(at, "\r\n");
    if (options->trace_header) {
        at = PUT(at, "traceparent: ");
        ty_trace_print(&ex->req.trace, at);
        at = PUT(at + TY_TRACEPARENT_LEN, "\r\n");
    }
    if (options->generation_header && ex->req.site) {
        at = put(at, options->generation_header, strlen(options->generation_header));
        at = PUT(at, ": ");
        at = put(at, ex->req.site->generation, strlen(ex->req.site->generation));
        at = PUT(at, "\r\n");
    }
    return at;
}

static bool will_close(const struct ty_exchange *ex)
{
    return !ex->keep_alive || ex->must_close || ex->mode == TY_BODY_UNTIL_CLOSE ||
           ex->req.conn->server->is_draining || ex->req.conn->server->is_closing;
}

/* Content-Length or Transfer-Encoding, where the status and method allow one. */
static char *put_framing(char *at, struct ty_exchange *ex, uint64_t length)
{
    bool has_none = ex->status == 204 || ex->status == 304;

    ex->is_bodiless = has_none || ex->status == 205 || ex->req.method == TY_HEAD;
    if (has_none)
        return at;
    if (ex->status == 205) /* framed like any other, and empty */
        return PUT(at, "Content-Length: 0\r\n");
    if (ex->mode == TY_BODY_CHUNKED)
        return PUT(at, "Transfer-Encoding: chunked\r\n");
    if (ex->mode == TY_BODY_UNTIL_CLOSE)
        return at;
    at = PUT(at, "Content-Length: ");
    at = put_number(at, length);
    return PUT(at, "\r\n");
}

/* Adds the whole head to the connection's buffer. */
static struct ty_buf *add_head(struct ty_exchange *ex, const struct ty_header *headers,
                               size_t count, size_t fields_len, uint64_t length)
{
    struct ty_http_server *server = ex->req.conn->server;
    const struct ty_http_options *options = &server->options;
    size_t name_len = options->generation_header ? strlen(options->generation_header) : 0;
    struct ty_buf *out = ty_conn_buffer(ex->req.conn);
    char *first = ty_buf_reserve(out, FIXED_MAX + server->stamp_len + name_len + fields_len);
    char *at = ty_status_print(ex->status, first);

    if (uv_now(server->loop) >= server->stamp_until)
        ty_server_refresh_stamp(server);
    at = put(at, server->stamp, server->stamp_len);
    at = put_framing(at, ex, length);
    at = put_ids(at, ex);
    if (will_close(ex))
        at = PUT(at, "Connection: close\r\n");
    else if (!ex->minor_one)
        at = PUT(at, "Connection: keep-alive\r\n");

    for (size_t i = 0; i < count; i++) {
        at = put(at, headers[i].name.data, headers[i].name.len);
        at = PUT(at, ": ");
        if (headers[i].value.len)
            at = put(at, headers[i].value.data, headers[i].value.len);
        at = PUT(at, "\r\n");
    }
    at = PUT(at, "\r\n");
    out->len += (size_t)(at - first);
    return out;
}

/* -------------------------------------------------------------------------------- the end */

static bool is_gone(const struct ty_exchange *ex)
{
    return ex->req.aborted || ex->req.conn->phase == TY_CONN_GONE;
}

static void finish(struct ty_exchange *ex)
{
    struct ty_http_conn *conn = ex->req.conn;
    bool closes = will_close(ex), asked = !ex->keep_alive && !ex->must_close;

    ty_exchange_finish(ex);
    if (conn->phase != TY_CONN_GONE) {
        conn->phase = closes ? TY_CONN_ENDING : TY_CONN_IDLE;
        conn->closes_first = asked && !conn->pending.len;
    }
    ty_conn_continue(conn);
}

int ty_request_respond(struct ty_request *req, int status, const struct ty_header *headers,
                       size_t header_count, struct ty_slice body)
{
    struct ty_exchange *ex = ty_exchange_of(req);
    ptrdiff_t fields_len = check_head(status, headers, header_count);

    if (fields_len < 0)
        return (int)fields_len;
    if (is_gone(ex)) {
        finish(ex);
        return 0;
    }

    ex->status = status;
    ex->mode = TY_BODY_WHOLE;
    struct ty_buf *out = add_head(ex, headers, header_count, (size_t)fields_len, body.len);

    if (ex->is_bodiless)
        body.len = 0;
    ex->body_sent = body.len;
    if (body.len <= COPY_MAX) {
        ty_buf_add(out, body.data, body.len);
        body.len = 0;
    }
    ty_conn_commit(req->conn, body);
    finish(ex);
    return 0;
}

/* ------------------------------------------------------------------------------ in pieces */

int ty_request_begin(struct ty_request *req, int status, const struct ty_header *headers,
                     size_t header_count, int64_t length)
{
    struct ty_exchange *ex = ty_exchange_of(req);
    ptrdiff_t fields_len = check_head(status, headers, header_count);

    if (fields_len < 0)
        return (int)fields_len;
    if (is_gone(ex))
        return 0;

    ex->status = status;
    ex->mode = length >= 0 ? TY_BODY_LENGTH : ex->minor_one ? TY_BODY_CHUNKED : TY_BODY_UNTIL_CLOSE;
    ex->body_left = length >= 0 ? (uint64_t)length : 0;
    add_head(ex, headers, header_count, (size_t)fields_len, ex->body_left);
    ty_conn_commit(req->conn, (struct ty_slice){0});
    return 0;
}

static void add_chunk_head(struct ty_buf *out, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char text[CHUNK_HEAD_MAX], *at = text + sizeof(text);

    *--at = '\n';
    *--at = '\r';
    do
        *--at = digits[len & 15];
    while (len >>= 4);
    ty_buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

static void send_piece(struct ty_exchange *ex, struct ty_slice data)
{
    struct ty_http_conn *conn = ex->req.conn;
    struct ty_buf *out = ty_conn_buffer(conn);
    struct ty_slice large = {0};

    if (ex->mode == TY_BODY_CHUNKED)
        add_chunk_head(out, data.len);
    if (data.len <= COPY_MAX)
        ty_buf_add(out, data.data, data.len);
    else
        large = data;
    if (ex->mode == TY_BODY_CHUNKED && large.len) {
        ty_conn_commit(conn, large);
        out = ty_conn_buffer(conn);
    }
    if (ex->mode == TY_BODY_CHUNKED) {
        ty_buf_add(out, "\r\n", 2);
        large.len = 0;
    }
    ty_conn_commit(conn, large);
}

int ty_request_write(struct ty_request *req, struct ty_slice data)
{
    struct ty_exchange *ex = ty_exchange_of(req);
    bool too_long = false;

    if (is_gone(ex))
        return UV_ECANCELED;
    if (ex->mode == TY_BODY_LENGTH) {
        too_long = data.len > ex->body_left;
        if (too_long)
            data.len = (size_t)ex->body_left;
        ex->body_left -= data.len;
    }
    if (data.len && !ex->is_bodiless) {
        ex->body_sent += data.len;
        send_piece(ex, data);
    }
    if (too_long) {
        if (!ex->too_long)
            ty_log_error("http", "request %s: more written than the declared length", req->id);
        ex->too_long = true;
        ex->must_close = true;
        return TY_HTTP_E_LENGTH;
    }
    if (is_gone(ex))
        return UV_ECANCELED;
    ex->waits_for_room = ty_conn_unsent(req->conn) > req->conn->server->options.limits.send_max;
    return ex->waits_for_room;
}

/* Ends the connection in a way that the client cannot take for the end of the answer. */
static void cut(struct ty_exchange *ex)
{
    struct ty_http_conn *conn = ex->req.conn;
    bool must_reset = ex->mode == TY_BODY_UNTIL_CLOSE;

    ty_exchange_finish(ex);
    if (conn->server->corked == conn)
        ty_conn_flush(conn);
    if (must_reset)
        ty_conn_reset(conn);
    else
        ty_conn_lose(conn);
}

void ty_request_end(struct ty_request *req, bool failed)
{
    struct ty_exchange *ex = ty_exchange_of(req);
    bool is_short = ex->mode == TY_BODY_LENGTH && ex->body_left && !ex->is_bodiless;

    if (is_gone(ex)) {
        finish(ex);
        return;
    }
    if (failed || is_short) {
        cut(ex);
        return;
    }
    if (ex->mode == TY_BODY_CHUNKED && !ex->is_bodiless) {
        ty_buf_add(ty_conn_buffer(req->conn), "0\r\n\r\n", 5);
        ty_conn_commit(req->conn, (struct ty_slice){0});
    }
    finish(ex);
}
