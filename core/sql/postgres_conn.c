#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sql/postgres.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

enum { RING_MIN = 16 };

/* ---- what was sent */

struct ty_pg_sent *ty_pg_push(struct ty_pg_conn *conn, enum ty_pg_what what, struct ty_sql_op *op)
{
    if (conn->ring_count == conn->ring_size) {
        unsigned size = conn->ring_size ? conn->ring_size * 2 : RING_MIN;
        struct ty_pg_sent *ring = ty_alloc(size * sizeof(*ring));

        for (unsigned i = 0; i < conn->ring_count; i++)
            ring[i] = conn->ring[(conn->ring_at + i) & (conn->ring_size - 1)];
        free(conn->ring);
        conn->ring = ring;
        conn->ring_size = size;
        conn->ring_at = 0;
    }
    struct ty_pg_sent *sent =
        &conn->ring[(conn->ring_at + conn->ring_count++) & (conn->ring_size - 1)];
    *sent = (struct ty_pg_sent){.what = what, .op = op, .at = op};
    return sent;
}

struct ty_pg_sent *ty_pg_front(struct ty_pg_conn *conn)
{
    return conn->ring_count ? &conn->ring[conn->ring_at] : NULL;
}

void ty_pg_pop(struct ty_pg_conn *conn)
{
    conn->ring_at = (conn->ring_at + 1) & (conn->ring_size - 1);
    conn->ring_count--;
}

/* ---- losing it */

void ty_pg_lose(struct ty_pg_conn *conn, const struct ty_error *error, bool fatal)
{
    if (conn->dead)
        return;
    conn->dead = true;
    ty_pg_link_unwatch(&conn->link);
    ty_pg_link_never(&conn->link);
    conn->ring_count = 0;
    ty_pool_lost(&conn->base, error, fatal);
}

void ty_pg_lose_by_libpq(struct ty_pg_conn *conn)
{
    struct ty_error error;

    if (conn->dead)
        return;
    ty_pg_link_unwatch(&conn->link);
    ty_error_set(&error, TY_ERR_UNAVAILABLE, "connection",
                 "postgresql: %s: the server closed the connection", conn->own->name);
    ty_pg_lose(conn, &error, false);
}

void ty_pg_lose_later(struct ty_pg_conn *conn)
{
    ty_pg_link_unwatch(&conn->link);
    conn->broken = true;
    ty_pg_link_later(&conn->link);
}

/* ---- its life */

static struct ty_pg_conn *conn_of(struct ty_pg_link *link)
{
    return (struct ty_pg_conn *)((char *)link - offsetof(struct ty_pg_conn, link));
}

static void on_connected(struct ty_pg_link *link)
{
    struct ty_pg_conn *conn = conn_of(link);

    PQsetnonblocking(link->pg, 1);
    if (!PQenterPipelineMode(link->pg)) {
        ty_pg_lose_by_libpq(conn);
        return;
    }
    ty_pg_setup(conn);
}

static void on_failed(struct ty_pg_link *link, const struct ty_error *error, bool fatal)
{
    ty_pg_lose(conn_of(link), error, fatal);
}

static void on_ready(struct ty_pg_link *link, int events)
{
    struct ty_pg_conn *conn = conn_of(link);

    if (conn->dead)
        return;
    if (conn->mode != TY_PG_PIPELINE) {
        ty_pg_copy_ready(conn, events);
        return;
    }
    if ((events & UV_WRITABLE) && !ty_pg_link_flush(link)) {
        ty_pg_lose_by_libpq(conn);
        return;
    }
    if (events & (UV_READABLE | UV_DISCONNECT))
        ty_pg_receive(conn);
}

/* Operations that were refused are told when it is their turn, from the loop. */
static void on_later(struct ty_pg_link *link)
{
    struct ty_pg_conn *conn = conn_of(link);

    if (conn->dead)
        return;
    if (conn->broken)
        ty_pg_lose_by_libpq(conn);
    else if (conn->mode == TY_PG_PIPELINE)
        ty_pg_tell_refused(conn);
    else
        ty_pg_copy_ready(conn, 0);
}

static const struct ty_pg_link_calls calls = {
    .connected = on_connected, .failed = on_failed, .ready = on_ready, .later = on_later};

void ty_pg_connect(struct ty_pool_conn *base)
{
    struct ty_pg_conn *conn = (struct ty_pg_conn *)base;

    conn->own = base->pool->own;
    ty_pg_link_init(&conn->link, conn->own, &calls);
    ty_pg_cache_init(&conn->cache, base->pool->options.statements);
    ty_pg_link_connect(&conn->link, base->pool->options.connect_ms);
}

bool ty_pg_is_quiet(const struct ty_pool_conn *base)
{
    const struct ty_pg_conn *conn = (const struct ty_pg_conn *)base;
    char byte;

    return recv(PQsocket(conn->link.pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EINTR);
}

static void on_closed(struct ty_pg_link *link)
{
    struct ty_pg_conn *conn = conn_of(link);

    free(conn->ring);
    conn->ring = NULL;
    ty_pg_cache_close(&conn->cache);
    ty_pool_closed(&conn->base);
}

void ty_pg_close(struct ty_pool_conn *base)
{
    struct ty_pg_conn *conn = (struct ty_pg_conn *)base;

    conn->dead = true;
    conn->ring_count = 0;
    ty_pg_cancel_detach(conn);
    ty_pg_link_close(&conn->link, on_closed);
}
