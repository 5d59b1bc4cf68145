#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"

/* libpq has no COPY in pipeline mode: the connection leaves it, with nothing in flight, and comes
 * back to it when the copy has ended. One piece is under way at a time, so that neither side gets
 * ahead of the other by more than that and what the sockets hold. */

enum { PIECE_LEN = 64 * 1024 };

static void complete(struct ty_pg_conn *conn, bool clean)
{
    struct ty_sql_op *op = conn->copy;

    conn->copy = NULL;
    ty_pool_done(&conn->base, op, clean);
}

/* Nothing is left of the COPY. */
static void go_back(struct ty_pg_conn *conn)
{
    conn->mode = TY_PG_PIPELINE;
    if (!PQenterPipelineMode(conn->link.pg)) {
        ty_pg_lose_by_libpq(conn);
        return;
    }
    ty_pg_link_watch(&conn->link, UV_READABLE);
    if (conn->copy)
        complete(conn, ty_pg_is_clean(conn, conn->copy));
    if (!conn->dead)
        ty_pg_send_waiting(conn);
}

static int check(struct ty_sql_op *op)
{
    char word[16];

    ty_pg_first_word(op->sql, word);
    if (strcmp(word, "COPY") != 0)
        return ty_sql_fail(op, "postgresql", TY_ERR_INTERNAL, "refused",
                           "COPY ... FROM STDIN or TO STDOUT is wanted");
    if (op->param_count)
        return ty_sql_fail(op, "postgresql", TY_ERR_INTERNAL, "refused",
                           "COPY takes no parameters");
    return 0;
}

void ty_pg_copy_start(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    PGconn *pg = conn->link.pg;

    if (check(op) < 0) {
        ty_pg_push(conn, TY_PG_REFUSED, op);
        ty_pg_link_later(&conn->link);
        return;
    }
    conn->copy = op;
    conn->mode = TY_PG_COPY_STARTS;
    if (!PQexitPipelineMode(pg) || !PQsendQueryParams(pg, op->sql, 0, NULL, NULL, NULL, NULL, 0) ||
        !ty_pg_link_flush(&conn->link))
        ty_pg_lose_later(conn);
}

/* ---- answers */

static void fail_mismatch(struct ty_sql_op *op)
{
    if (op && op->status == 0)
        ty_sql_fail(op, "postgresql", TY_ERR_INTERNAL, "refused", "the statement is not %s",
                    op->verb == TY_SQL_COPY_IN ? "COPY ... FROM STDIN" : "COPY ... TO STDOUT");
}

static void on_end(struct ty_pg_conn *conn, const PGresult *result)
{
    struct ty_sql_op *op = conn->copy;
    bool good = PQresultStatus(result) == PGRES_COMMAND_OK;

    if (!op)
        return; /* it was given up */
    if (op->verb == TY_SQL_COPY_IN || op->verb == TY_SQL_COPY_OUT) {
        if (good)
            fail_mismatch(op);
        else
            ty_pg_fail(conn, op, result);
    } else if (good) {
        op->changes = strtoll(PQcmdTuples((PGresult *)result), NULL, 10);
    } else if (op->status == 0) {
        ty_pg_fail(conn, op, result);
    }
}

/* Gets what the server still says of it out of the way. */
static void end_copy(struct ty_pg_conn *conn, bool in)
{
    conn->mode = TY_PG_COPY_ENDS;
    if (in && PQputCopyEnd(conn->link.pg, "given up") < 0)
        ty_pg_lose_later(conn);
    else if (!in)
        ty_pg_cancel_ours(conn); /* or all of it would have to be read */
    if (!conn->broken && !ty_pg_link_flush(&conn->link))
        ty_pg_lose_later(conn);
    ty_pg_link_watch(&conn->link, conn->link.events | UV_READABLE);
    ty_pg_link_later(&conn->link);
}

static void begin_copy(struct ty_pg_conn *conn, bool in)
{
    if (in != (conn->copy->verb == TY_SQL_COPY_IN)) {
        fail_mismatch(conn->copy);
        end_copy(conn, in);
        return;
    }
    conn->mode = in ? TY_PG_COPIES_IN : TY_PG_COPIES_OUT;
    if (!in)
        ty_pg_link_watch(&conn->link, 0); /* nobody has asked for any yet */
    complete(conn, true);
}

/* Results of the statement, until there are no more. */
static void take_results(struct ty_pg_conn *conn)
{
    PGconn *pg = conn->link.pg;
    struct ty_error error;

    while (!conn->dead && !PQisBusy(pg)) {
        PGresult *result = PQgetResult(pg);
        ExecStatusType status = PQresultStatus(result);

        if (!result) {
            go_back(conn);
            return;
        }
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
            PQclear(result);
            if (conn->mode == TY_PG_COPY_STARTS)
                begin_copy(conn, status == PGRES_COPY_IN);
            return;
        }
        if (ty_pg_is_fatal(conn->own, result, &error))
            ty_pg_lose(conn, &error, false);
        else
            on_end(conn, result);
        PQclear(result);
    }
}

/* ---- pieces */

static void get_piece(struct ty_pg_conn *conn)
{
    struct ty_sql_op *op = conn->copy;
    char *row = NULL;
    int len = 0;

    while (op->rows.len < PIECE_LEN && (len = PQgetCopyData(conn->link.pg, &row, 1)) > 0) {
        if (!ty_buf_try_add(&op->rows, row, (size_t)len, conn->base.pool->options.result_max))
            ty_sql_fail(op, "postgresql", TY_ERR_TOO_LARGE, "result_max", "a row is too large");
        PQfreemem(row);
        if (op->status)
            break;
    }
    if (len < 0) {
        conn->mode = TY_PG_COPY_ENDS;
        ty_pg_link_watch(&conn->link, UV_READABLE);
    }
    if (op->rows.len || op->status) {
        if (conn->mode == TY_PG_COPIES_OUT)
            ty_pg_link_watch(&conn->link, 0);
        complete(conn, true);
    } else if (len < 0) {
        take_results(conn);
    } else {
        ty_pg_link_watch(&conn->link, UV_READABLE);
    }
}

/* What comes of a COPY TO that nobody wants any more. */
static void drain(struct ty_pg_conn *conn)
{
    char *row = NULL;

    while (PQgetCopyData(conn->link.pg, &row, 1) > 0)
        PQfreemem(row);
}

static void put_piece(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    const char *at = op->data.data;
    size_t left = op->data.len;

    while (left && !conn->broken) {
        int len = left > INT_MAX / 2 ? INT_MAX / 2 : (int)left;

        if (PQputCopyData(conn->link.pg, at, len) <= 0)
            ty_pg_lose_later(conn);
        at += len;
        left -= (size_t)len;
    }
}

/* A step of a COPY was asked for. */
static void take_step(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    conn->copy = op;
    if (op->verb == TY_SQL_COPY_PUT) {
        put_piece(conn, op);
    } else if (op->verb == TY_SQL_COPY_END) {
        conn->mode = TY_PG_COPY_ENDS;
        if (PQputCopyEnd(conn->link.pg, NULL) < 0)
            ty_pg_lose_later(conn);
    }
    if (!conn->broken && !ty_pg_link_flush(&conn->link))
        ty_pg_lose_later(conn);
    ty_pg_link_later(&conn->link);
}

bool ty_pg_copy_step(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    bool in = conn->mode == TY_PG_COPIES_IN, out = conn->mode == TY_PG_COPIES_OUT;

    if (conn->copy)
        return false;
    if ((in && (op->verb == TY_SQL_COPY_PUT || op->verb == TY_SQL_COPY_END)) ||
        ((out || conn->mode == TY_PG_COPY_ENDS) && op->verb == TY_SQL_COPY_GET)) {
        take_step(conn, op);
        return true;
    }
    if (in || out)
        end_copy(conn, in);
    return false;
}

static void go_on(struct ty_pg_conn *conn)
{
    switch (conn->mode) {
    case TY_PG_COPIES_IN:
        if (conn->copy && !(conn->link.events & UV_WRITABLE))
            complete(conn, true); /* it has left us */
        break;
    case TY_PG_COPIES_OUT:
        if (conn->copy)
            get_piece(conn);
        break;
    case TY_PG_COPY_ENDS:
        drain(conn);
        take_results(conn);
        break;
    case TY_PG_COPY_STARTS:
        take_results(conn);
        break;
    case TY_PG_PIPELINE:
        break;
    }
}

void ty_pg_copy_ready(struct ty_pg_conn *conn, int events)
{
    bool alive = !(events & UV_READABLE) || PQconsumeInput(conn->link.pg);

    if (alive && (events & UV_WRITABLE))
        alive = ty_pg_link_flush(&conn->link);
    if (alive)
        go_on(conn);
    if (!conn->dead && (!alive || conn->link.is_ended))
        ty_pg_lose_by_libpq(conn);
}
