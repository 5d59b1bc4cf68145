#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"
#include "sql/postgres_received.h"
#include "tycho/clock.h"

/* ---- results that are too large are stopped while they come */

enum { GUESSED_READ = 8 * 1024 };

static void watch_size(struct ty_pg_conn *conn, bool progress)
{
    if (progress) {
        conn->read_mark = conn->read_len = 0;
        return;
    }
    uint64_t received = ty_pg_received(PQsocket(conn->link.pg));
    if (!received)
        conn->read_len += GUESSED_READ;
    else if (!conn->read_mark)
        conn->read_mark = received;
    else
        conn->read_len = received - conn->read_mark;
    if (conn->read_len > conn->base.pool->options.result_max && !conn->too_large) {
        conn->too_large = conn->stray = true;
        ty_pg_cancel_ours(conn);
    }
}

static void fail_too_large(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    ty_sql_fail(op, "postgresql", TY_ERR_TOO_LARGE, "result_max",
                "%s: the result is larger than %zu bytes (databases.%s.result_max)",
                conn->own->name, conn->base.pool->options.result_max, conn->own->name);
}

/* ---- one answer */

static void note_changes(struct ty_sql_op *op, PGresult *result)
{
    const char *status = PQcmdStatus(result);

    /* INSERT, UPDATE, DELETE, MERGE: the others count what they read. */
    if (*status == 'I' || *status == 'U' || *status == 'D' || *status == 'M')
        op->changes = strtoll(PQcmdTuples(result), NULL, 10);
    if (op->verb == TY_SQL_COMMIT && strcmp(status, "ROLLBACK") == 0)
        ty_sql_fail(op, "postgresql", TY_ERR_CONFLICT, "25P02",
                    "the transaction had failed, and was rolled back");
}

static void keep_rows(struct ty_pg_conn *conn, struct ty_sql_op *op, PGresult *result)
{
    uint64_t count = (uint64_t)PQntuples(result);

    if (PQresultMemorySize(result) > conn->base.pool->options.result_max) {
        PQclear(result);
        fail_too_large(conn, op);
        return;
    }
    PQclear(op->result);
    op->result = result;
    op->column_count = (unsigned)PQnfields(result);
    op->row_count = op->rows_max && count > op->rows_max ? op->rows_max : count;
}

static bool is_state(const PGresult *result, const char *wanted)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state && strcmp(state, wanted) == 0;
}

/* A prepared statement that does not fit any more, or is gone: it is prepared anew. */
static bool is_stale(const PGresult *result)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return is_state(result, "26000") || (is_state(result, "0A000") && function &&
                                         strcmp(function, "RevalidateCachedQuery") == 0);
}

static void prepare_anew(struct ty_pg_conn *conn, struct ty_sql_op *op, bool is_gone)
{
    uint64_t serial = ty_pg_cache_forget(&conn->cache, op->known);

    op->bounce = !conn->base.tx && op->tries == 0;
    op->error.kind = TY_ERR_CONFLICT; /* a transaction that is run again finds it new */
    if (!serial)
        return;
    if (conn->base.tx)
        conn->base.doomed =
            conn->base.doomed || !is_gone; /* it cannot be dropped now, and would stay */
    else if (!ty_pg_drop(conn, serial))
        ty_pg_lose_later(conn);
}

static unsigned line_of(const struct ty_sql_op *op, unsigned step)
{
    struct ty_pg_script script = ty_pg_script(op);

    for (unsigned i = 0; ty_pg_script_next(&script); i++) {
        if (i == step)
            return script.statement_line;
    }
    return 0;
}

static void note_failure(struct ty_pg_conn *conn, struct ty_sql_op *op, const PGresult *result,
                         unsigned step)
{
    if (op->status != 0)
        return; /* told by an earlier step */
    if (PQresultStatus(result) == PGRES_PIPELINE_ABORTED)
        ty_sql_fail(op, "postgresql", TY_ERR_CONFLICT, "aborted",
                    "not run: a statement before it in the batch failed");
    else if (PQresultStatus(result) == PGRES_EMPTY_QUERY)
        ty_sql_fail(op, "postgresql", TY_ERR_INTERNAL, "42601", "the statement is empty");
    else
        ty_pg_fail(conn, op, result);
    if (op->verb == TY_SQL_SCRIPT)
        op->line = line_of(op, step);
    if (is_stale(result))
        prepare_anew(conn, op, is_state(result, "26000"));
}

static void take(struct ty_pg_conn *conn, struct ty_pg_sent *sent, PGresult *result)
{
    struct ty_sql_op *op = sent->at;
    bool of_prepare = op && op->prepares && sent->step == 0;
    ExecStatusType status = PQresultStatus(result);

    if (!op) {
        PQclear(result);
        return;
    }
    if (of_prepare && status != PGRES_COMMAND_OK)
        ty_pg_cache_forget(&conn->cache, op->known);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        if (!of_prepare)
            note_changes(op, result);
        if (status == PGRES_TUPLES_OK && op->verb != TY_SQL_SCRIPT) {
            keep_rows(conn, op, result);
            return;
        }
    } else {
        note_failure(conn, op, result, sent->step);
    }
    PQclear(result);
}

/* ---- the end of what was sent */

bool ty_pg_is_clean(const struct ty_pg_conn *conn, const struct ty_sql_op *op)
{
    PGTransactionStatusType status = PQtransactionStatus(conn->link.pg);
    bool outside = !conn->base.tx || op->verb == TY_SQL_COMMIT || op->verb == TY_SQL_ROLLBACK;

    /* While more is in flight libpq does not tell. Single statements cannot begin anything, and the
     * last of them will tell; in a transaction what failed has ended it. */
    if (status == PQTRANS_ACTIVE)
        return !conn->base.tx || op->status == 0;
    return status == (outside ? PQTRANS_IDLE : PQTRANS_INTRANS);
}

static void count(struct ty_pg_conn *conn, const struct ty_sql_op *op)
{
    struct ty_pg_text *text = op->status == 0 ? ty_pg_known_at(&conn->own->known, op->known) : NULL;
    uint64_t now = ty_now_ns();
    uint64_t since = op->sent_ns > conn->answered_ns ? op->sent_ns : conn->answered_ns;

    conn->answered_ns = now;
    for (const struct ty_sql_op *at = op->batch; at; at = at->batch) {
        struct ty_pg_text *other = ty_pg_known_at(&conn->own->known, at->known);

        if (other && other->runs == 0 && at->status == 0)
            ty_pg_known_count(other, (now - since) / 2);
    }
    if (text)
        ty_pg_known_count(text, now - since);
}

/* A batch is done again, or ended, as a whole: its first one says so to the pool. */
static void settle_batch(struct ty_sql_op *op)
{
    for (const struct ty_sql_op *at = op->batch; at; at = at->batch) {
        op->bounce = op->bounce || at->bounce;
        if (op->status == 0 && at->status && at->error.kind == TY_ERR_CANCELLED) {
            op->status = at->status;
            op->error = at->error;
        }
    }
}

static void finish_op(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    settle_batch(op);
    bool was_ended = op->status && op->error.kind == TY_ERR_CANCELLED;

    count(conn, op);
    if (conn->too_large) {
        conn->too_large = false;
        if (was_ended)
            fail_too_large(conn, op);
    } else if (was_ended && conn->stray && !atomic_load(&op->cancelled) && !conn->base.tx) {
        op->bounce = true; /* meant for one before it, which was too large */
    }
    ty_pool_done(&conn->base, op, ty_pg_is_clean(conn, op));
}

static void finish(struct ty_pg_conn *conn)
{
    struct ty_pg_sent sent = *ty_pg_front(conn);

    ty_pg_pop(conn);
    if (conn->ring_count == 0 && !conn->cancel && !conn->too_large)
        conn->stray = false;
    switch (sent.what) {
    case TY_PG_OP:
    case TY_PG_REFUSED:
        finish_op(conn, sent.op);
        break;
    case TY_PG_SETUP:
        if (!conn->ready) {
            conn->ready = true;
            ty_pool_connected(&conn->base);
            break;
        } /* fall through */
    case TY_PG_CHECK:
        conn->tending = false;
        ty_pool_was_reset(&conn->base);
        break;
    default:
        break;
    }
    if (!conn->dead && conn->unsent)
        ty_pg_send_waiting(conn);
}

void ty_pg_tell_refused(struct ty_pg_conn *conn)
{
    struct ty_pg_sent *front;
    unsigned left = conn->ring_count; /* those that come meanwhile are told later */

    while (left-- && !conn->dead && (front = ty_pg_front(conn)) && front->what == TY_PG_REFUSED)
        finish(conn);
}

/* ---- whatever has come */

static void on_result(struct ty_pg_conn *conn, PGresult *result)
{
    struct ty_pg_sent *sent = ty_pg_front(conn);
    ExecStatusType status = PQresultStatus(result);
    struct ty_error error;

    if (status == PGRES_PIPELINE_SYNC) {
        PQclear(result);
        finish(conn);
        ty_pg_tell_refused(conn);
        return;
    }
    if (ty_pg_is_fatal(conn->own, result, &error)) {
        ty_pg_lose(conn, &error, false);
        PQclear(result);
        return;
    }
    if (sent->what == TY_PG_OP) {
        take(conn, sent, result);
        return;
    }
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (sent->what == TY_PG_SETUP)
        ty_pg_on_setup(conn, result);
    else if (sent->what == TY_PG_DISCARD && !good)
        ty_pg_lose_by_libpq(conn);
    else if (!good && !is_state(result, "26000"))
        conn->base.doomed = true; /* a statement stays that should not */
    PQclear(result);
}

/* The answers to one statement end with a NULL. */
static void on_end_of_answer(struct ty_pg_conn *conn)
{
    struct ty_pg_sent *sent = ty_pg_front(conn);

    if (sent->what == TY_PG_OP && sent->at && ++sent->step >= sent->at->steps) {
        sent->at = sent->at->batch;
        sent->step = 0;
    }
}

/* What was refused has no answer: it is told from the loop. */
static bool awaits_answer(struct ty_pg_conn *conn)
{
    return conn->ring_count > 0 && ty_pg_front(conn)->what != TY_PG_REFUSED;
}

/* Was there anything? */
static bool take_all(struct ty_pg_conn *conn)
{
    PGconn *pg = conn->link.pg;
    bool progress = false, was_null = false;

    while (!conn->dead && !PQisBusy(pg) && awaits_answer(conn) && conn->mode == TY_PG_PIPELINE) {
        PGresult *result = PQgetResult(pg);

        progress = true;
        if (result) {
            on_result(conn, result);
        } else if (was_null) { /* nothing is awaited by libpq: we do not agree any more */
            ty_pg_lose_by_libpq(conn);
        } else {
            on_end_of_answer(conn);
        }
        was_null = !result;
    }
    return progress;
}

void ty_pg_receive(struct ty_pg_conn *conn)
{
    struct ty_pg_link *link = &conn->link;
    bool alive;

    do {
        alive = PQconsumeInput(link->pg);
        bool progress = take_all(conn);
        if (conn->dead)
            return;
        if (alive && !link->is_ended)
            watch_size(conn, progress || !conn->ring_count);
    } while (alive && !conn->dead && ty_pg_link_has_more(link));
    if (conn->dead || conn->broken)
        return;
    if (!alive || link->is_ended || !ty_pg_link_flush(link))
        ty_pg_lose_by_libpq(conn);
}
