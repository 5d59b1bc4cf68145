/* Bytes on their way to the client. What the socket takes at once is never copied again; the
 * rest waits in the connection's output, which exists only for that long. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "http/conn.h"
#include "tycho/memory.h"

enum { FLUSH_AT = 64 * 1024, BATCH_KEPT = 256 * 1024 };

static void send_next(struct ty_http_conn *conn);

size_t ty_conn_unsent(const struct ty_http_conn *conn)
{
    if (!conn->output)
        return 0;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp) +
           conn->output->queued.len;
}

static void give_back(struct ty_http_conn *conn, size_t len)
{
    struct ty_output *output = conn->output;

    if (len > output->held)
        len = output->held; /* given back already */
    output->held -= len;
    conn->server->held -= len;
}

void ty_conn_output_free(struct ty_http_conn *conn)
{
    if (!conn->output)
        return;
    give_back(conn, conn->output->held);
    ty_buf_close(&conn->output->sending);
    ty_buf_close(&conn->output->queued);
    free(conn->output);
    conn->output = NULL;
    conn->out_deadline = TY_NEVER;
}

/* The site may be in the middle of writing, so the connection is closed from the loop. */
static void broken(struct ty_http_conn *conn)
{
    conn->is_broken = true;
    if (conn->ex)
        conn->ex->req.aborted = true;
    ty_server_make_ready(conn->server, conn);
}

static void on_sent(uv_write_t *req, int status)
{
    struct ty_http_conn *conn = req->data;

    if (conn->phase == TY_CONN_GONE)
        return; /* freed when the handle is closed */
    if (status < 0) {
        broken(conn);
        return;
    }
    give_back(conn, conn->output->sending.len);
    conn->output->sending.len = 0;
    if (conn->output->queued.len) {
        send_next(conn);
    } else {
        ty_conn_output_free(conn);
    }
    ty_conn_sent(conn);
}

static void send_next(struct ty_http_conn *conn)
{
    struct ty_output *output = conn->output;
    struct ty_buf empty = output->sending;

    output->sending = output->queued;
    output->queued = empty;

    uv_buf_t buf = {.base = output->sending.data, .len = output->sending.len};

    output->req.data = conn;
    output->mark = output->sending.len;
    if (uv_write(&output->req, (uv_stream_t *)&conn->tcp, &buf, 1, on_sent) < 0) {
        broken(conn);
        return;
    }
    conn->out_deadline = uv_now(conn->server->loop) + conn->server->options.limits.send_timeout_ms;
    ty_conn_schedule(conn);
}

static bool is_stuck(const struct ty_http_conn *conn)
{
    return conn->out_deadline != TY_NEVER &&
           uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp) >= conn->output->mark;
}

static bool is_slower(const struct ty_http_conn *conn, const struct ty_http_conn *than)
{
    if (is_stuck(conn) != is_stuck(than))
        return is_stuck(conn);
    return conn->out_deadline < than->out_deadline;
}

/* All connections together hold too much: room for this one is made by those that have taken
 * nothing for longest. */
static void make_room(struct ty_http_server *server, const struct ty_http_conn *for_conn)
{
    while (server->held > server->options.limits.send_total_max) {
        struct ty_http_conn *slowest = NULL;

        for (struct ty_http_conn *conn = server->conns; conn; conn = conn->next) {
            if (conn != for_conn && conn->output && conn->output->held &&
                (!slowest || is_slower(conn, slowest)))
                slowest = conn;
        }
        if (!slowest)
            return;
        ty_measure_limit(&server->measure, TY_LIMIT_SEND_TOTAL);
        ty_conn_reset(slowest);
        /* Now, not when the handle is closed: many may come in one turn of the loop. A write that
         * is under way does not look at its bytes any more. */
        give_back(slowest, slowest->output->held);
        ty_buf_close(&slowest->output->sending);
        ty_buf_close(&slowest->output->queued);
    }
}

static void keep(struct ty_http_conn *conn, const char *data, size_t len)
{
    struct ty_http_server *server = conn->server;

    if (!ty_buf_try_add(&conn->output->queued, data, len, SIZE_MAX)) {
        broken(conn);
        return;
    }
    conn->output->held += len;
    server->held += len;
    make_room(server, conn);
}

/* What the socket takes at once: a count, or a UV_E* code. The usual answer is one run of bytes,
 * and send() is the cheapest call for that: write() and writev() go through the file layer first.
 */
static ssize_t try_send(struct ty_http_conn *conn, struct ty_slice head, struct ty_slice body)
{
    if (head.len && body.len) {
        uv_buf_t bufs[2] = {
            {.base = (char *)(uintptr_t)head.data, .len = head.len},
            {.base = (char *)(uintptr_t)body.data, .len = body.len},
        };
        return uv_try_write((uv_stream_t *)&conn->tcp, bufs, 2);
    }

    struct ty_slice run = head.len ? head : body;
    uv_os_fd_t fd;
    ssize_t n = uv_fileno((uv_handle_t *)&conn->tcp, &fd);

    if (n < 0)
        return n;
    do
        n = send(fd, run.data, run.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? uv_translate_sys_error(errno) : n;
}

static void send_now(struct ty_http_conn *conn, struct ty_slice head, struct ty_slice body)
{
    size_t total = head.len + body.len, done = 0;

    if (conn->phase == TY_CONN_GONE || conn->is_broken || !total)
        return;
    ty_counter_add(conn->server->measure.sent, (double)total);

    bool was_busy = conn->output;

    if (!was_busy) {
        ssize_t n = try_send(conn, head, body);

        if (n < 0 && n != UV_EAGAIN) {
            broken(conn);
            return;
        }
        done = n > 0 ? (size_t)n : 0;
        if (done == total)
            return;
        conn->output = ty_zalloc(sizeof(*conn->output));
    }
    if (done < head.len) {
        keep(conn, head.data + done, head.len - done);
        done = head.len;
    }
    keep(conn, body.data + (done - head.len), total - done);
    if (!was_busy && !conn->is_broken)
        send_next(conn);
}

struct ty_buf *ty_conn_buffer(struct ty_http_conn *conn)
{
    struct ty_http_server *server = conn->server;

    if (server->corked == conn)
        return &server->batch;
    server->scratch.len = 0;
    return &server->scratch;
}

/* One huge answer must not be paid for ever after. */
static void reset(struct ty_buf *buf)
{
    buf->len = 0;
    if (buf->cap > BATCH_KEPT)
        ty_buf_close(buf);
}

void ty_conn_commit(struct ty_http_conn *conn, struct ty_slice body)
{
    struct ty_http_server *server = conn->server;
    bool is_corked = server->corked == conn;
    struct ty_buf *buf = is_corked ? &server->batch : &server->scratch;

    if (is_corked && !body.len && buf->len < FLUSH_AT)
        return;
    send_now(conn, (struct ty_slice){buf->data, buf->len}, body);
    reset(buf);
}

void ty_conn_flush(struct ty_http_conn *conn)
{
    struct ty_buf *batch = &conn->server->batch;

    if (!batch->len)
        return;
    send_now(conn, (struct ty_slice){batch->data, batch->len}, (struct ty_slice){0});
    reset(batch);
}

void ty_conn_output_due(struct ty_http_conn *conn, uint64_t now)
{
    struct ty_http_server *server = conn->server;
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp);

    if (left < conn->output->mark) {
        conn->output->mark = left;
        conn->out_deadline = now + server->options.limits.send_timeout_ms;
        return;
    }
    ty_measure_limit(&server->measure, TY_LIMIT_SEND_TIMEOUT);
    ty_conn_reset(conn);
}
