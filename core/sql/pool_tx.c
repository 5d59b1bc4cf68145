#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sql/pool_private.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

bool pool_ends(const struct ty_sql_op *op)
{
    return op->verb == TY_SQL_COMMIT || op->verb == TY_SQL_ROLLBACK;
}

/* ---- from the beginning to the end */

struct ty_pool_tx *pool_tx_new(struct ty_pool_conn *conn, const struct ty_sql_op *op)
{
    struct ty_pool *pool = conn->pool;
    struct ty_pool_tx *tx = ty_zalloc(sizeof(*tx));

    tx->sql.db = &pool->sql;
    tx->pool = pool;
    tx->conn = conn;
    tx->tail = &tx->head;
    tx->read_only = op->read_only;
    tx->isolation = op->isolation;
    tx->next = pool->state->txs;
    tx->prev = &pool->state->txs;
    if (tx->next)
        tx->next->prev = &tx->next;
    pool->state->txs = tx;
    conn->tx = tx;
    conn->shared = false;
    return tx;
}

static void end(struct ty_pool_tx *tx)
{
    struct ty_pool *pool = tx->pool;
    struct ty_pool_conn *conn = tx->conn;

    assert(!tx->head && !tx->running);
    *tx->prev = tx->next;
    if (tx->next)
        tx->next->prev = tx->prev;
    free(tx);
    if (conn) {
        conn->tx = NULL;
        conn->used_ns = ty_now_ns();
        pool_conn_release(conn);
    }
    if (pool->state->closing)
        pool_do_soon(pool);
}

/* ---- one after the other */

static void append(struct ty_pool_tx *tx, struct ty_sql_op *op)
{
    op->db = &tx->pool->sql;
    op->tx = &tx->sql;
    op->place = WHERE_TX;
    op->next = NULL;
    op->queued_ns = ty_now_ns();
    *tx->tail = op;
    tx->tail = &op->next;
}

static struct ty_sql_op *pop(struct ty_pool_tx *tx)
{
    struct ty_sql_op *op = tx->head;

    tx->head = op->next;
    if (!tx->head)
        tx->tail = &tx->head;
    op->place = WHERE_NOWHERE;
    return op;
}

/* The transaction is gone with its connection. What it did is undone; nobody waits for `last`. */
static void tell_lost(struct ty_pool_tx *tx, struct ty_sql_op *op)
{
    if (op == &tx->last)
        return;
    op->tx = NULL;
    if (op->verb == TY_SQL_ROLLBACK)
        pool_finish_later(tx->pool, op);
    else
        pool_fail_as(tx->pool, op, &tx->error);
}

/* That error may have been caught, and thrown away. */
static void tell_dead(struct ty_pool_tx *tx, struct ty_sql_op *op)
{
    const char *why = tx->error.message;

    op->tx = NULL;
    ty_sql_fail(op, pool_system(tx->pool), TY_ERR_UNAVAILABLE, "transaction.rolled_back",
                "the transaction was rolled back by an earlier error%s%s", *why ? ": " : "", why);
    pool_finish_later(tx->pool, op);
}

static void start_last(struct ty_pool_tx *tx)
{
    tx->last.verb = TY_SQL_ROLLBACK;
    append(tx, &tx->last);
}

/* BEGIN leaves with the first statement where that saves a round trip. */
static bool begin(struct ty_pool_tx *tx, const struct ty_sql_op *first)
{
    struct ty_pool_conn *conn = tx->conn;

    tx->begun = tx->starting = true;
    tx->begin.verb = TY_SQL_BEGIN;
    tx->begin.read_only = tx->read_only;
    tx->begin.isolation = tx->isolation;
    tx->begin.db = &tx->pool->sql;
    pool_send(conn, &tx->begin);
    return tx->pool->driver->depth > 1 && first->verb == TY_SQL_RUN;
}

static void submit(struct ty_pool_tx *tx)
{
    struct ty_sql_op *op = pop(tx);
    struct ty_pool_conn *conn = tx->conn;

    if (tx->pool->driver->changes_session(op))
        conn->dirty = true;
    op->wait_ns += ty_now_ns() - op->queued_ns;
    tx->running = op;
    pool_send(conn, op);
}

/* Ends without the server: it was lost, or nothing was ever begun. True: `tx` is gone. */
static bool end_unsent(struct ty_pool_tx *tx)
{
    struct ty_sql_op *op = pop(tx);
    bool is_end = pool_ends(op);

    if (!tx->conn) {
        tell_lost(tx, op);
    } else if (op != &tx->last) {
        op->tx = NULL;
        pool_finish_later(tx->pool, op);
    }
    if (is_end)
        end(tx);
    return is_end;
}

static bool helps(const struct ty_sql_op *op)
{
    return op->verb == TY_SQL_ROLLBACK || op->verb == TY_SQL_ROLLBACK_TO;
}

void pool_tx_next(struct ty_pool_tx *tx)
{
    while (tx->head && !tx->running) {
        struct ty_sql_op *op = tx->head;

        if (!tx->conn || (pool_ends(op) && !tx->begun)) {
            if (end_unsent(tx))
                return;
            continue;
        }
        if (tx->conn->cancelling || tx->starting)
            return; /* told again when that is over */
        if (tx->dead && !helps(op)) {
            pop(tx);
            tell_dead(tx, op);
            if (pool_ends(op))
                start_last(tx);
            continue;
        }
        if (!tx->begun && !begin(tx, op))
            return;
        submit(tx);
    }
}

/* What waits fails as cancelled, and what runs is ended. */
static void cancel_all(struct ty_pool_tx *tx)
{
    struct ty_sql_op *running = tx->running;

    while (tx->head) {
        struct ty_sql_op *op = pop(tx);

        op->tx = NULL;
        pool_fail_cancelled(tx->pool, op);
    }
    if (!running || helps(running))
        return;
    atomic_store(&running->cancelled, true);
    if (tx->conn->head == running)
        pool_cancel_head(tx->conn, TY_POOL_OWNER);
}

void ty_pool_tx_start(struct ty_sql_tx *handle, struct ty_sql_op *op)
{
    struct ty_pool_tx *tx = (struct ty_pool_tx *)handle;

    assert(!tx->ended);
    if (pool_ends(op))
        tx->ended = true;
    if (op->verb == TY_SQL_ROLLBACK_TO)
        cancel_all(tx); /* it would be undone */
    append(tx, op);
    pool_stir(tx->pool);
    pool_tx_next(tx);
}

/* ---- answers */

static void begin_done(struct ty_pool_tx *tx, const struct ty_sql_op *op, bool clean)
{
    tx->starting = false;
    if (op->status != 0 || !clean) {
        tx->misbegun = tx->dead = true;
        tx->error = op->error;
        tx->conn->doomed = true;
    }
    tx->pool->driver->sql.op_close(&tx->begin);
    tx->begin.result = NULL;
    if (!tx->running)
        pool_tx_next(tx);
}

/* It was sent behind a BEGIN that failed, and so stood alone. */
static void note_misbegun(struct ty_pool_tx *tx, struct ty_sql_op *op)
{
    if (op->status == 0)
        ty_sql_fail(op, pool_system(tx->pool), TY_ERR_UNKNOWN_OUTCOME, "begin",
                    "the transaction did not begin, and a statement meant for it ran: %s",
                    tx->error.message);
    else if (op->status != UV_ECANCELED)
        op->error = tx->error;
}

void pool_tx_done(struct ty_pool_tx *tx, struct ty_sql_op *op, bool clean)
{
    struct ty_pool *pool = tx->pool;
    bool is_own = op == &tx->last;

    if (op == &tx->begin) {
        begin_done(tx, op, clean);
        return;
    }
    tx->running = NULL;
    if (!is_own)
        op->tx = NULL;
    ty_sql_count_op(pool->figures, op);
    if (pool_ends(op)) {
        if (!clean || (op->verb == TY_SQL_ROLLBACK && op->status != 0))
            tx->conn->doomed = true;
        if (is_own)
            pool->driver->sql.op_close(op);
        end(tx); /* and its `last` */
    } else {
        bool stays = op->verb == TY_SQL_ROLLBACK_TO && op->status != 0; /* what was to be undone */

        if (!tx->dead)
            tx->error = op->error;
        tx->dead = !clean || tx->misbegun || stays;
        if (tx->misbegun)
            note_misbegun(tx, op);
        pool_tx_next(tx);
    }
    if (!is_own)
        op->done(op);
}

static void lose_running(struct ty_pool_tx *tx, struct ty_sql_op *op)
{
    struct ty_pool *pool = tx->pool;

    op->run_ns = ty_now_ns() - op->sent_ns;
    if (op->verb == TY_SQL_COMMIT) {
        op->tx = NULL;
        ty_sql_fail(op, pool_system(pool), TY_ERR_UNKNOWN_OUTCOME, "commit",
                    "the connection was lost before COMMIT was answered: %s", tx->error.message);
        pool_finish_later(pool, op);
    } else {
        tell_lost(tx, op);
    }
    if (op != &tx->last)
        ty_sql_count_op(pool->figures, op);
}

void pool_tx_lost(struct ty_pool_tx *tx, struct ty_sql_op *ops, const struct ty_error *error)
{
    struct ty_sql_op *running = tx->running;

    (void)ops; /* BEGIN, and what runs */
    tx->conn = NULL;
    tx->running = NULL;
    tx->starting = false;
    tx->error = *error;
    tx->pool->driver->sql.op_close(&tx->begin);
    if (running) {
        bool is_end = pool_ends(running);

        lose_running(tx, running);
        if (is_end) {
            end(tx);
            return;
        }
    }
    if (tx->error.kind == TY_ERR_CANCELLED) /* that was what ran; not those behind it */
        ty_error_set(&tx->error, TY_ERR_UNAVAILABLE, "transaction.rolled_back",
                     "%s: %s: the transaction was rolled back by an earlier error",
                     pool_system(tx->pool), tx->pool->options.name);
    pool_tx_next(tx);
}

/* ---- changes of mind */

bool pool_tx_remove(struct ty_pool_tx *tx, struct ty_sql_op *op)
{
    for (struct ty_sql_op **at = &tx->head; *at; at = &(*at)->next) {
        if (*at != op)
            continue;
        *at = op->next;
        if (tx->tail == &op->next)
            tx->tail = at;
        if (pool_ends(op))
            tx->ended = false;
        op->tx = NULL;
        op->place = WHERE_NOWHERE;
        return true;
    }
    return false;
}

void ty_pool_tx_drop(struct ty_sql_tx *handle)
{
    struct ty_pool_tx *tx = (struct ty_pool_tx *)handle;

    if (tx->running && pool_ends(tx->running))
        return; /* it ends, and is told */
    tx->ended = true;
    tx->dropped_ns = ty_now_ns();
    cancel_all(tx);
    start_last(tx);
    pool_stir(tx->pool);
    pool_tx_next(tx);
}
