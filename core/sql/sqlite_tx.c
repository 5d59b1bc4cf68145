#include "sql/sqlite.h"

#include <assert.h>
#include <stdlib.h>

#include "tycho/memory.h"

struct ty_sqlite_tx *ty_sqlite_tx_new(struct ty_sqlite_conn *conn, bool read_only)
{
    struct ty_sqlite_tx *tx = ty_zalloc(sizeof(*tx));

    tx->base.db = &conn->db->base;
    tx->db = conn->db;
    tx->conn = conn;
    tx->tail = &tx->head;
    tx->read_only = read_only;
    conn->tx = tx;
    return tx;
}

static void end(struct ty_sqlite_tx *tx)
{
    struct ty_sqlite_conn *conn = tx->conn;

    conn->tx = NULL;
    free(tx);
    ty_sqlite_release(conn);
}

static bool ends(const struct ty_sql_op *op)
{
    return op->verb == TY_SQL_COMMIT || op->verb == TY_SQL_ROLLBACK;
}

static void append(struct ty_sqlite_tx *tx, struct ty_sql_op *op)
{
    bool first = !tx->head;

    op->db = tx->base.db;
    op->tx = &tx->base;
    op->place = PLACE_TX;
    op->next = NULL;
    *tx->tail = op;
    tx->tail = &op->next;
    if (first)
        ty_sqlite_submit(tx->conn, op);
}

/* What waits is told so, and what reads is ended, since it would be undone; what writes is not:
 * SQLite would undo all of the transaction with it. */
static void cancel_all(struct ty_sqlite_tx *tx)
{
    struct ty_sql_op *running = tx->head;

    while (running && running->next)
        ty_sqlite_cancel(running->next);
    if (running && (running->verb == TY_SQL_FETCH ||
                    (running->verb == TY_SQL_RUN && ty_sql_only_reads(running->sql))))
        atomic_store(&running->cancelled, true);
}

void ty_sqlite_tx_start(struct ty_sql_tx *base, struct ty_sql_op *op)
{
    struct ty_sqlite_tx *tx = (struct ty_sqlite_tx *)base;

    assert(!tx->ended);
    if (ends(op))
        tx->ended = true;
    if (op->verb == TY_SQL_ROLLBACK_TO)
        cancel_all(tx);
    if (ends(op) && !tx->head && !tx->begun) { /* nothing happened in it */
        ty_sqlite_finish_later(op);
        end(tx);
        return;
    }
    append(tx, op);
}

void ty_sqlite_tx_on_done(struct ty_sqlite_tx *tx, struct ty_sql_op *op)
{
    tx->head = op->next;
    if (!tx->head)
        tx->tail = &tx->head;
    op->tx = NULL;

    bool dropped = op == &tx->last;
    if (ends(op)) {
        assert(!tx->head);
        end(tx);
    } else if (tx->head) {
        ty_sqlite_submit(tx->conn, tx->head);
    }
    if (!dropped)
        op->done(op);
}

bool ty_sqlite_tx_remove(struct ty_sqlite_tx *tx, struct ty_sql_op *op)
{
    for (struct ty_sql_op **at = &tx->head; *at; at = &(*at)->next) {
        if (*at != op)
            continue;
        *at = op->next;
        if (tx->tail == &op->next)
            tx->tail = at;
        if (ends(op))
            tx->ended = false;
        op->tx = NULL;
        return true;
    }
    return false;
}

void ty_sqlite_tx_drop(struct ty_sql_tx *base)
{
    struct ty_sqlite_tx *tx = (struct ty_sqlite_tx *)base;

    tx->ended = true;
    if (!tx->head && !tx->begun) {
        end(tx);
        return;
    }
    if (tx->head)
        atomic_store(&tx->head->cancelled, true);
    while (tx->head && tx->head->next)
        ty_sqlite_cancel(tx->head->next);
    tx->last.verb = TY_SQL_ROLLBACK;
    append(tx, &tx->last);
}
