#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "sql/pool_private.h"
#include "tycho/clock.h"

enum { RETRY_MS = 100 };

void pool_send(struct ty_pool_conn *conn, struct ty_sql_op *op)
{
    uint64_t now = ty_now_ns();

    if (conn->in_flight == 0) {
        conn->head_ns = now;
        conn->answered = false;
    }
    op->conn = conn;
    op->place = WHERE_SENT;
    op->sent_ns = now;
    op->next = NULL;
    *conn->tail = op;
    conn->tail = &op->next;
    conn->in_flight++;
    conn->pool->driver->send(conn, op);
}

/* ---- cancelling */

static bool can_be_cancelled(const struct ty_sql_op *op)
{
    return !pool_ends(op) && op->verb != TY_SQL_BEGIN;
}

void pool_cancel_head(struct ty_pool_conn *conn, int blame)
{
    if (!conn->head || conn->cancelling || conn->blame || !can_be_cancelled(conn->head))
        return;
    conn->blame = blame;
    conn->cancelling = true;
    conn->suspects = conn->in_flight;
    conn->cancel_ns = ty_now_ns();
    conn->pool->driver->cancel(conn);
}

void ty_pool_cancel_sent(struct ty_pool_conn *conn)
{
    conn->cancelling = false;
    if (conn->state != TY_POOL_OPEN)
        return;
    if (conn->tx)
        pool_tx_next(conn->tx);
    else
        pool_conn_release(conn);
}

static void fail_overdue(struct ty_pool *pool, struct ty_sql_op *op)
{
    ty_sql_fail(op, pool_system(pool), TY_ERR_TIMEOUT, "query_timeout",
                "%s: the statement took longer than %.3g s (databases.%s.query_timeout)",
                pool->options.name, (double)pool->options.query_ms / 1000, pool->options.name);
}

/* Did a cancel request end it, and whose? True: nobody's, it was meant for one before it; what it
 * did was undone, so that it can be sent again. */
static bool was_hit(struct ty_pool_conn *conn, struct ty_sql_op *op)
{
    bool hit = op->status == UV_ECANCELED || (op->status && op->error.kind == TY_ERR_CANCELLED);

    if (!hit)
        return false;
    if (conn->blame == TY_POOL_LIMIT) {
        fail_overdue(conn->pool, op);
        return false;
    }
    if (atomic_load(&op->cancelled)) {
        op->status = UV_ECANCELED;
        return false;
    }
    op->status = -1;
    if (!conn->suspects || conn->tx)
        return false; /* by somebody else: an administrator */
    if (op->tries < POOL_TRIES_MAX && !conn->pool->state->closing)
        return true;
    ty_sql_fail(op, pool_system(conn->pool), TY_ERR_UNAVAILABLE, "pool.cancelled",
                "%s: the statement was ended together with one before it",
                conn->pool->options.name);
    return false;
}

/* The driver says that it did nothing, and why would not happen again. */
static bool has_bounced(const struct ty_pool_conn *conn, const struct ty_sql_op *op)
{
    return op->bounce && !conn->tx && op->tries < POOL_TRIES_MAX && !atomic_load(&op->cancelled) &&
           !conn->pool->state->closing;
}

/* ---- answers */

static void take_head(struct ty_pool_conn *conn, struct ty_sql_op *op)
{
    uint64_t now = ty_now_ns(), began = conn->head_ns;

    assert(conn->head == op && conn->in_flight > 0);
    conn->head = op->next;
    if (!conn->head)
        conn->tail = &conn->head;
    conn->in_flight--;
    op->place = WHERE_NOWHERE;
    if (began > op->sent_ns)
        op->wait_ns += began - op->sent_ns;
    else
        began = op->sent_ns;
    op->run_ns = now - began;
    conn->answered = true;
    conn->used_ns = conn->head_ns = now;
}

void ty_pool_done(struct ty_pool_conn *conn, struct ty_sql_op *op, bool clean)
{
    struct ty_pool *pool = conn->pool;
    struct ty_pool_state_ *state = pool->state;

    take_head(conn, op);
    bool again = was_hit(conn, op) || has_bounced(conn, op);
    if (conn->suspects)
        conn->suspects--;
    conn->blame = TY_POOL_NO_BLAME;
    if (conn->tx) {
        pool_tx_done(conn->tx, op, clean);
        return;
    }
    if (!clean)
        conn->doomed = true;
    if (again) {
        op->tries++;
        pool_forget_result(pool, op);
        pool_wait_again(pool, op, pool_can_share(pool, op));
    } else {
        ty_sql_count_op(pool->figures, op);
    }
    if (conn->in_flight == 0)
        pool_conn_release(conn);
    if (state->share.head || state->alone.head)
        pool_pump(pool);
    if (!again)
        op->done(op);
}

/* ---- what is lost with a connection */

/* Only when it is next to certain that nothing was done, and nothing would be done twice: the
 * connection was idle and died as it was used again. */
static bool may_go_elsewhere(const struct ty_pool_conn *conn, const struct ty_sql_op *op)
{
    return !conn->answered && op->verb == TY_SQL_RUN && !op->batch && op->tries < POOL_TRIES_MAX &&
           !atomic_load(&op->cancelled) && ty_sql_only_reads(op->sql) &&
           ty_now_ns() - op->sent_ns < (uint64_t)RETRY_MS * POOL_NS_PER_MS &&
           !conn->pool->state->closing;
}

static void lose(struct ty_pool *pool, struct ty_sql_op *op, const struct ty_error *error)
{
    op->run_ns = ty_now_ns() - op->sent_ns;
    op->status = error->kind == TY_ERR_CANCELLED ? UV_ECANCELED : -1;
    op->error = *error;
    ty_sql_count_op(pool->figures, op);
    pool_finish_later(pool, op);
}

/* A write that was sent may have been done, unless the server has said, as its last word (class 57:
 * an operator's doing), that it gave up on it. */
static bool is_unknown(const struct ty_sql_op *op, const struct ty_error *error)
{
    if (op->verb != TY_SQL_RUN && op->verb != TY_SQL_SCRIPT)
        return false;
    if (strncmp(error->detail, "57P", 3) == 0)
        return false;
    while (op && op->verb == TY_SQL_RUN && ty_sql_only_reads(op->sql))
        op = op->batch;
    return op;
}

static void lose_sent(struct ty_pool *pool, struct ty_sql_op *op, const struct ty_error *error)
{
    struct ty_error own = *error;

    if (is_unknown(op, error))
        ty_error_set(&own, TY_ERR_UNKNOWN_OUTCOME, error->detail,
                     "%s: the connection was lost before the statement was answered: %s",
                     pool_system(pool), error->message);
    lose(pool, op, &own);
}

/* Operations of nobody's connection, in flight when it died. */
static void lose_singles(struct ty_pool_conn *conn, struct ty_sql_op *ops,
                         const struct ty_error *error, bool may_retry)
{
    struct ty_pool *pool = conn->pool;
    struct ty_sql_op *again = NULL;

    for (struct ty_sql_op *op = ops, *next; op; op = next) {
        next = op->next;
        if (may_retry && may_go_elsewhere(conn, op)) {
            op->tries++;
            pool_forget_result(pool, op);
            op->next = again;
            again = op;
        } else {
            lose_sent(pool, op, error);
        }
    }
    for (struct ty_sql_op *next; again; again = next) { /* the last first, to the front */
        next = again->next;
        pool_wait_again(pool, again, pool_can_share(pool, again));
    }
}

/* `said`: by the driver. */
static void lose_all(struct ty_pool_conn *conn, const struct ty_error *error, bool said,
                     bool may_retry)
{
    struct ty_sql_op *ops = conn->head;
    struct ty_pool_tx *tx = conn->tx;

    conn->abrupt = conn->in_flight > 0 || tx;
    conn->head = NULL;
    conn->tail = &conn->head;
    conn->in_flight = 0;
    conn->tx = NULL;
    pool_conn_close(conn);
    if (!said) { /* or the driver would go on with these operations */
        conn->to_close = false;
        conn->pool->driver->close(conn);
    }
    if (tx)
        pool_tx_lost(tx, ops, error);
    else
        lose_singles(conn, ops, error, may_retry);
    pool_stir(conn->pool);
}

void ty_pool_lost(struct ty_pool_conn *conn, const struct ty_error *error, bool fatal)
{
    struct ty_pool *pool = conn->pool;
    bool was_connecting = conn->state == TY_POOL_CONNECTING;
    struct ty_error copy = *error;

    if (conn->state == TY_POOL_CLOSING)
        return;
    lose_all(conn, &copy, true, !fatal);
    if (was_connecting)
        pool_circuit_failed(pool, &copy, fatal);
    pool_pump(pool);
}

void pool_abort(struct ty_pool_conn *conn, const struct ty_error *error)
{
    struct ty_pool *pool = conn->pool;
    struct ty_sql_op *op = conn->head;
    struct ty_error copy = *error;

    if (conn->state == TY_POOL_CLOSING)
        return;
    if (op && conn->blame && !conn->tx) { /* it had its chance */
        conn->head = op->next;
        if (!conn->head)
            conn->tail = &conn->head;
        if (conn->blame == TY_POOL_LIMIT)
            fail_overdue(pool, op);
        else
            ty_sql_fail(op, pool_system(pool), TY_ERR_CANCELLED, "cancelled", "cancelled");
        struct ty_error own = op->error;
        lose(pool, op, &own);
        if (conn->blame == TY_POOL_OWNER)
            op->status = UV_ECANCELED;
    } else if (op && conn->blame == TY_POOL_LIMIT) {
        fail_overdue(pool, op);
        copy = op->error;
    } else if (op && conn->blame) {
        ty_error_set(&copy, TY_ERR_CANCELLED, "cancelled", "%s: cancelled", pool_system(pool));
    }
    lose_all(conn, &copy, false, false);
    pool_pump(pool);
}
