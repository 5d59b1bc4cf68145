/* What happens to a connection when its time is up, or the server's. */
#define _GNU_SOURCE /* POLLRDHUP */
#include <poll.h>
#include <sys/socket.h>

#include "http/conn.h"

enum {
    RATE_MIN = 1024, /* bytes of a body in a second */
    DRAIN_FRESH_MS = 1000,
    DRAIN_GRACE_MS = 500,
};

static bool has_unread(struct ty_http_conn *conn)
{
    uv_os_fd_t fd;
    char byte;

    return uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Nothing is read, so the loop does not see the end behind what is waiting. A client that has been
 * seen to shut its side is gone only when both are. */
static bool is_hung_up(struct ty_http_conn *conn)
{
    struct pollfd look = {.events = conn->is_ended ? 0 : POLLRDHUP};

    return uv_fileno((uv_handle_t *)&conn->tcp, &look.fd) == 0 && poll(&look, 1, 0) > 0;
}

void ty_conn_drain(struct ty_http_conn *conn)
{
    uint64_t now = uv_now(conn->server->loop);
    const struct ty_http_limits *limits = &conn->server->options.limits;
    uint64_t total = conn->deadline == TY_DEADLINE_KEEPALIVE ? limits->keepalive_timeout_ms
                                                             : limits->header_timeout_ms;
    uint64_t left = conn->in_deadline > now ? conn->in_deadline - now : 0;

    if (conn->phase != TY_CONN_IDLE || conn->output || conn->pending.len)
        return;
    /* One that was used a moment ago is likely to be used again before the client sees that it
     * is closed: it gets the chance to ask once more, and is told then. */
    if (has_unread(conn) || left + DRAIN_FRESH_MS > total)
        ty_conn_set_deadline(conn, TY_DEADLINE_KEEPALIVE, DRAIN_GRACE_MS);
    else
        ty_conn_lose(conn);
}

static void on_input_due(struct ty_http_conn *conn)
{
    struct ty_http_server *server = conn->server;
    const struct ty_http_limits *limits = &server->options.limits;

    switch (conn->deadline) {
    case TY_DEADLINE_HEADER:
        if (conn->phase == TY_CONN_HEAD) {
            ty_conn_refuse(conn, TY_REFUSE_HEADER_TIMEOUT);
        } else { /* said nothing at all, so there is nothing to answer */
            ty_measure_limit(&server->measure, TY_LIMIT_HEADER_TIMEOUT);
            ty_conn_lose(conn);
        }
        break;
    case TY_DEADLINE_BODY:
        if ((conn->ex->req.body.len - conn->mark) * 1000 <
            (size_t)RATE_MIN * limits->body_timeout_ms) {
            ty_conn_refuse(conn, TY_REFUSE_BODY_TIMEOUT);
        } else {
            conn->mark = conn->ex->req.body.len;
            ty_conn_set_deadline(conn, TY_DEADLINE_BODY, limits->body_timeout_ms);
        }
        break;
    case TY_DEADLINE_KEEPALIVE:
        if (conn->output || (server->is_draining && has_unread(conn))) {
            ty_conn_set_deadline(conn, TY_DEADLINE_KEEPALIVE, DRAIN_GRACE_MS);
            break;
        }
        if (!server->is_draining)
            ty_measure_limit(&server->measure, TY_LIMIT_KEEPALIVE);
        ty_conn_lose(conn);
        break;
    case TY_DEADLINE_STUFFED:
        if (conn->is_reading)
            ty_conn_set_deadline(conn, TY_DEADLINE_NONE, 0);
        else if (is_hung_up(conn))
            ty_conn_lose(conn);
        else
            ty_conn_set_deadline(conn, TY_DEADLINE_STUFFED, TY_STUFFED_LOOK_MS);
        break;
    default:
        ty_conn_lose(conn);
        break;
    }
}

void ty_conn_due(struct ty_wheel_entry *entry)
{
    struct ty_http_conn *conn =
        (struct ty_http_conn *)((char *)entry - offsetof(struct ty_http_conn, due));
    uint64_t now = uv_now(conn->server->loop);

    if (conn->in_deadline <= now)
        on_input_due(conn);
    if (conn->phase != TY_CONN_GONE && conn->out_deadline <= now)
        ty_conn_output_due(conn, now);
    if (conn->phase != TY_CONN_GONE)
        ty_conn_schedule(conn);
}
