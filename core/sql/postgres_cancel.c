#include <stdlib.h>

#include "sql/postgres.h"
#include "tycho/memory.h"

/* libpq asks on a connection of its own, and waits until the server has passed the wish on: on a
 * thread. Whoever closes a connection does not wait for that. */
struct ty_pg_cancel {
    struct ty_work work;
    PGcancel *handle;
    struct ty_pg *own;
    struct ty_pg_conn *conn; /* NULL: it was closed meanwhile */
};

static void ask(struct ty_work *work)
{
    char why[256];

    /* If it fails, the statement goes on; the limits of the pool hold anyway. */
    PQcancel(((struct ty_pg_cancel *)work)->handle, why, sizeof(why));
}

static void start(struct ty_pg_conn *conn);

static void on_arrived(struct ty_pg_conn *conn)
{
    conn->cancel = NULL;
    if (conn->cancel_again) {
        conn->cancel_again = false;
        start(conn);
        return;
    }
    if (conn->cancel_is_pools) {
        conn->cancel_is_pools = false;
        ty_pool_cancel_sent(&conn->base);
    }
    if (!conn->dead)
        ty_pg_send_waiting(conn);
}

/* The wish has arrived, or never will. */
static void on_asked(struct ty_work *work, int status)
{
    struct ty_pg_cancel *cancel = (struct ty_pg_cancel *)work;
    struct ty_pg_conn *conn = cancel->conn;
    struct ty_pg *own = cancel->own;

    (void)status;
    PQfreeCancel(cancel->handle);
    free(cancel);
    if (conn)
        on_arrived(conn);
    ty_pg_unref(own);
}

static void start(struct ty_pg_conn *conn)
{
    struct ty_pg_cancel *cancel = ty_zalloc(sizeof(*cancel));

    cancel->handle = PQgetCancel(conn->link.pg);
    cancel->own = conn->own;
    cancel->conn = conn;
    conn->own->users++;
    conn->cancel = cancel;
    ty_lane_submit(conn->own->lane, &cancel->work, ask, on_asked);
}

void ty_pg_cancel_ours(struct ty_pg_conn *conn)
{
    if (conn->cancel)
        conn->cancel_again = true; /* the one on its way may be meant for what ran before */
    else
        start(conn);
}

void ty_pg_cancel(struct ty_pool_conn *base)
{
    struct ty_pg_conn *conn = (struct ty_pg_conn *)base;

    conn->cancel_is_pools = true;
    ty_pg_cancel_ours(conn);
}

void ty_pg_cancel_detach(struct ty_pg_conn *conn)
{
    if (!conn->cancel)
        return;
    conn->cancel->conn = NULL;
    ty_work_cancel(&conn->cancel->work); /* if it has not begun */
    conn->cancel = NULL;
}
