#include "http/conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tycho/memory.h"

static void settle(struct ty_http_conn *conn);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct ty_http_conn *conn = handle->data;

    (void)suggested;
    *buf = uv_buf_init(conn->server->read_buffer, TY_READ_SIZE);
}

void ty_conn_release(struct ty_http_conn *conn)
{
    struct ty_http_server *server = conn->server;

    if (!conn->is_closed || conn->ex || conn->is_ready)
        return;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    free(conn);
    server->kept_count--;
    ty_server_conn_freed(server);
}

static void on_closed(uv_handle_t *handle)
{
    struct ty_http_conn *conn = handle->data;
    struct ty_http_server *server = conn->server;

    conn->is_closed = true;
    ty_conn_output_free(conn);
    ty_buf_close(&conn->pending);
    ty_server_conn_closed(server);
    ty_conn_release(conn); /* may free the server */
}

/* The client is gone, or will be: tells the site, or forgets a request that it has not seen. */
static void abandon(struct ty_http_conn *conn)
{
    struct ty_exchange *ex = conn->ex;

    if (!ex)
        return;
    if (!ex->is_with_site && !ex->is_queued) {
        ty_exchange_drop(ex);
        return;
    }
    ex->req.aborted = true;
    if (ex->is_queued) {
        ty_exchange_finish(ex);
        return;
    }
    if (ex->req.on_abort)
        ex->req.on_abort(&ex->req); /* may finish it */
}

static void leave(struct ty_http_conn *conn)
{
    struct ty_http_server *server = conn->server;

    conn->phase = TY_CONN_GONE;
    ty_wheel_remove(&server->wheel, &conn->due);
    server->conn_count--;
    ty_gauge_set(server->measure.connections, (double)server->conn_count);
    abandon(conn);
}

void ty_conn_lose(struct ty_http_conn *conn)
{
    if (conn->phase == TY_CONN_GONE)
        return;
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    leave(conn);
}

void ty_conn_reset(struct ty_http_conn *conn)
{
    if (conn->phase == TY_CONN_GONE)
        return;
    if (uv_tcp_close_reset(&conn->tcp, on_closed) < 0)
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
    leave(conn);
}

/* The last answer is on its way. A client that is still sending would get a reset, and might
 * never see the answer, if this side just closed: it gets some time to read and close. */
static void end(struct ty_http_conn *conn)
{
    uv_os_fd_t fd;

    if (conn->closes_first || conn->is_ended || uv_fileno((uv_handle_t *)&conn->tcp, &fd) < 0) {
        ty_conn_lose(conn);
        return;
    }
    shutdown(fd, SHUT_WR);
    conn->phase = TY_CONN_LINGER;
    settle(conn);
}

static void discard(struct ty_http_conn *conn, size_t len)
{
    conn->discarded += len;
    if (conn->discarded > conn->server->options.limits.linger_max)
        ty_conn_lose(conn);
}

static void stop_reading(struct ty_http_conn *conn)
{
    uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->is_reading = false;
}

/* Bytes that cannot be parsed yet. */
static void stash(struct ty_http_conn *conn, const char *data, size_t len)
{
    struct ty_http_server *server = conn->server;
    size_t max = server->options.limits.pending_max;

    if (conn->pending_at) {
        ty_buf_consume(&conn->pending, conn->pending_at);
        conn->pending_at = 0;
    }
    if (!ty_buf_try_add(&conn->pending, data, len, max + TY_READ_SIZE)) {
        ty_conn_lose(conn);
        return;
    }
    if (conn->pending.len >= max && conn->is_reading) {
        stop_reading(conn);
        ty_measure_limit(&server->measure, TY_LIMIT_PENDING);
        if (conn->phase == TY_CONN_SITE)
            ty_conn_set_deadline(conn, TY_DEADLINE_STUFFED, TY_STUFFED_LOOK_MS);
    }
}

/* Parses; what synchronous answers there are leave in one write. */
static size_t feed(struct ty_http_conn *conn, const char *data, size_t len)
{
    struct ty_http_server *server = conn->server;

    server->corked = conn;
    size_t used = ty_conn_parse(conn, data, len);

    server->corked = NULL;
    ty_conn_flush(conn);
    return used;
}

static void on_end(struct ty_http_conn *conn)
{
    conn->is_ended = true;
    if (conn->output && conn->phase != TY_CONN_SITE)
        stop_reading(conn); /* it may only have shut its own side */
    else
        ty_conn_lose(conn);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct ty_http_conn *conn = stream->data;

    if (nread == 0)
        return;
    if (nread < 0) {
        if (nread == UV_EOF)
            on_end(conn);
        else
            ty_conn_lose(conn);
        return;
    }

    size_t len = (size_t)nread;

    ty_counter_add(conn->server->measure.received, (double)len);
    if (conn->phase >= TY_CONN_ENDING) {
        discard(conn, len);
    } else if (conn->phase == TY_CONN_SITE || conn->pending.len) {
        stash(conn, buf->base, len);
    } else {
        size_t used = feed(conn, buf->base, len);

        if (used < len && conn->phase < TY_CONN_ENDING)
            stash(conn, buf->base + used, len - used);
        settle(conn);
    }
}

static void start_reading(struct ty_http_conn *conn)
{
    if (conn->is_reading || conn->is_ended)
        return;
    if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) == 0)
        conn->is_reading = true;
}

/* Sees to it that something happens next: a deadline for what is awaited. */
static void settle(struct ty_http_conn *conn)
{
    const struct ty_http_limits *limits = &conn->server->options.limits;

    switch (conn->phase) {
    case TY_CONN_IDLE:
        if (conn->deadline == TY_DEADLINE_NONE || conn->deadline == TY_DEADLINE_STUFFED)
            ty_conn_set_deadline(conn, TY_DEADLINE_KEEPALIVE, limits->keepalive_timeout_ms);
        break;
    case TY_CONN_HEAD:
        if (conn->deadline != TY_DEADLINE_HEADER)
            ty_conn_set_deadline(conn, TY_DEADLINE_HEADER, limits->header_timeout_ms);
        break;
    case TY_CONN_BODY:
        if (conn->deadline != TY_DEADLINE_BODY) {
            conn->mark = conn->ex->req.body.len;
            ty_conn_set_deadline(conn, TY_DEADLINE_BODY, limits->body_timeout_ms);
        }
        break;
    case TY_CONN_ENDING:
        ty_conn_set_deadline(conn, TY_DEADLINE_NONE, 0);
        start_reading(conn);
        if (!conn->output && !conn->is_broken)
            end(conn);
        break;
    case TY_CONN_LINGER:
        ty_conn_set_deadline(conn, TY_DEADLINE_LINGER, limits->linger_ms);
        start_reading(conn);
        break;
    case TY_CONN_SITE:
        ty_conn_set_deadline(conn, conn->is_reading ? TY_DEADLINE_NONE : TY_DEADLINE_STUFFED,
                             TY_STUFFED_LOOK_MS);
        break;
    default:
        break;
    }
}

void ty_conn_open(struct ty_http_server *server, int fd, const struct ty_address *peer)
{
    struct ty_http_conn *conn = ty_zalloc(sizeof(*conn));

    conn->server = server;
    conn->peer = *peer;
    conn->in_deadline = TY_NEVER;
    conn->out_deadline = TY_NEVER;
    conn->tcp.data = conn;
    uv_tcp_init(server->loop, &conn->tcp);
    ty_conn_parser_init(conn);

    conn->next = server->conns;
    if (conn->next)
        conn->next->prev = conn;
    server->conns = conn;
    server->kept_count++;
    server->conn_count++;
    ty_gauge_set(server->measure.connections, (double)server->conn_count);
    ty_counter_add(server->measure.accepted, 1);

    if (uv_tcp_open(&conn->tcp, fd) < 0) {
        close(fd);
        ty_conn_lose(conn);
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1); /* fails on other kinds of sockets, which need it not */
    start_reading(conn);
    ty_conn_set_deadline(conn, TY_DEADLINE_HEADER, server->options.limits.header_timeout_ms);
}

void ty_conn_continue(struct ty_http_conn *conn)
{
    if (conn->phase == TY_CONN_GONE) {
        ty_conn_release(conn);
        return;
    }
    if (conn->server->corked == conn)
        return; /* goes on by itself */
    if (conn->pending.len || !conn->is_reading)
        ty_server_make_ready(conn->server, conn);
    settle(conn);
}

void ty_conn_resume(struct ty_http_conn *conn)
{
    if (conn->is_broken) {
        ty_conn_reset(conn); /* so that nobody takes what has arrived for the whole answer */
        return;
    }
    if (conn->phase < TY_CONN_SITE && conn->pending.len) {
        conn->pending_at +=
            feed(conn, conn->pending.data + conn->pending_at, conn->pending.len - conn->pending_at);
        if (conn->pending_at == conn->pending.len || conn->phase >= TY_CONN_ENDING) {
            ty_buf_close(&conn->pending);
            conn->pending_at = 0;
        }
        settle(conn);
    }
    if (conn->phase != TY_CONN_GONE &&
        conn->pending.len - conn->pending_at < conn->server->options.limits.pending_max)
        start_reading(conn);
}

void ty_conn_sent(struct ty_http_conn *conn)
{
    size_t unsent = ty_conn_unsent(conn), max = conn->server->options.limits.send_max;
    struct ty_exchange *ex = conn->ex;

    if (!conn->output && conn->is_ended && conn->phase != TY_CONN_SITE) {
        ty_conn_lose(conn);
        return;
    }
    if (!conn->output && conn->phase == TY_CONN_ENDING)
        end(conn);
    else if (conn->pending.len && unsent <= max)
        ty_server_make_ready(conn->server, conn);
    else if (conn->server->is_draining)
        ty_conn_drain(conn);
    if (ex && ex == conn->ex && ex->waits_for_room && unsent <= max / 2) {
        ex->waits_for_room = false;
        if (ex->req.on_drain)
            ex->req.on_drain(&ex->req);
    }
}
