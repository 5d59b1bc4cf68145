#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sql/postgres.h"

enum { NAME_LEN = 32 };

/* ---- refusing */

static void refuse(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    ty_pg_push(conn, TY_PG_REFUSED, op);
    ty_pg_link_later(&conn->link);
}

static int judge_whole(struct ty_sql_op *op)
{
    if (op->sql_len > TY_SQL_TEXT_MAX && op->verb != TY_SQL_SCRIPT)
        return ty_sql_fail(op, "postgresql", TY_ERR_TOO_LARGE, "54000",
                           "the statement is too long");
    if (memchr(op->sql, '\0', op->sql_len))
        return ty_sql_fail(op, "postgresql", TY_ERR_INTERNAL, "42601", "a NUL in the statement");
    return 0;
}

static int judge_text(struct ty_sql_op *op, const char *sql)
{
    const char *why = ty_pg_refusal(sql);

    return why ? ty_sql_fail(op, "postgresql", TY_ERR_INTERNAL, "refused", "%s", why) : 0;
}

/* Texts that were allowed once are not looked at again. */
static int judge(struct ty_pg *own, struct ty_sql_op *op)
{
    struct ty_pg_text *text = ty_pg_known_find(&own->known, op->sql, op->sql_len);

    if (op->param_count > TY_PG_PARAMS_MAX)
        return ty_sql_fail(op, "postgresql", TY_ERR_TOO_LARGE, "54000",
                           "%u parameters; there may be %d", op->param_count, TY_PG_PARAMS_MAX);
    if (text && text->allowed)
        return 0;
    if (judge_text(op, op->sql) < 0 || judge_whole(op) < 0)
        return -1;
    if (text)
        text->allowed = true;
    return 0;
}

/* ---- prepared statements */

bool ty_pg_drop(struct ty_pg_conn *conn, uint64_t serial)
{
    PGconn *pg = conn->link.pg;
    char sql[NAME_LEN + 16];

    snprintf(sql, sizeof(sql), "deallocate t%" PRIu64, serial);
    ty_pg_push(conn, TY_PG_DROP, NULL);
    return PQsendQueryParams(pg, sql, 0, NULL, NULL, NULL, NULL, 0) && PQpipelineSync(pg);
}

/* Not inside a transaction, which would fail if that did. */
static bool make_room(struct ty_pg_conn *conn, const struct ty_sql_op *op)
{
    unsigned count = 0;

    for (; op && count < conn->cache.max; op = op->batch)
        count++;
    while (!conn->base.tx && conn->cache.oldest && conn->cache.count + count > conn->cache.max) {
        uint64_t serial = ty_pg_cache_forget(&conn->cache, conn->cache.oldest->number);

        if (!ty_pg_drop(conn, serial))
            return false;
    }
    return true;
}

/* The statement, to be executed by its name; NULL: without one. Those that are met for the first
 * time may never come again. */
static const struct ty_pg_prepared *prepare(struct ty_pg_conn *conn, struct ty_sql_op *op,
                                            const char *sql, size_t len)
{
    struct ty_pg *own = conn->own;
    struct ty_pg_text *text = ty_pg_known_use(&own->known, sql, len);

    op->known = text ? text->number : 0;
    op->steps = 1;
    op->prepares = false;
    if (!text || own->prepares_never || (conn->pooled && !own->prepares_always))
        return NULL;
    if (op->tries) /* what it was prepared for has changed, perhaps for other connections, too */
        return NULL;
    const struct ty_pg_prepared *known = ty_pg_cache_find(&conn->cache, text->number);
    if (known || conn->cache.count >= conn->cache.max || (!text->runs && !own->prepares_always))
        return known;
    op->prepares = true;
    op->steps = 2;
    return ty_pg_cache_add(&conn->cache, text->number);
}

/* ---- sending */

/* Parameters are bound already. */
static bool send_bound(struct ty_pg_conn *conn, struct ty_sql_op *op, const char *sql, size_t len)
{
    struct ty_pg *own = conn->own;
    PGconn *pg = conn->link.pg;
    const struct ty_pg_prepared *prepared = prepare(conn, op, sql, len);
    int count = (int)op->param_count;

    if (!prepared)
        return PQsendQueryParams(pg, sql, count, NULL, own->values, own->lengths, own->formats, 0);
    if (op->prepares && !PQsendPrepare(pg, prepared->name, sql, 0, NULL))
        return false;
    return PQsendQueryPrepared(pg, prepared->name, count, own->values, own->lengths, own->formats,
                               0);
}

static int check_batch(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    for (struct ty_sql_op *at = op; at; at = at->batch) {
        int code = judge(conn->own, at);

        if (code == 0 && ty_pg_bind(conn->own, at) < 0)
            code = ty_sql_fail(at, "postgresql", TY_ERR_TOO_LARGE, "54000",
                               "a parameter is too large");
        if (code < 0) {
            if (at != op) /* nothing of it is sent; the first one tells */
                ty_sql_fail(op, "postgresql", at->error.kind, at->error.detail,
                            "a statement of the batch was refused");
            return -1;
        }
    }
    return 0;
}

static bool send_run(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    if (check_batch(conn, op) < 0) {
        refuse(conn, op);
        return true;
    }
    if (!make_room(conn, op))
        return false;
    ty_pg_push(conn, TY_PG_OP, op);
    for (struct ty_sql_op *at = op; at; at = at->batch) {
        at->tries = op->tries;
        if (op->batch)
            ty_pg_bind(conn->own, at);
        if (!send_bound(conn, at, at->sql, at->sql_len))
            return false;
    }
    return PQpipelineSync(conn->link.pg);
}

static bool send_plain(struct ty_pg_conn *conn, const char *sql)
{
    return PQsendQueryParams(conn->link.pg, sql, 0, NULL, NULL, NULL, NULL, 0);
}

static int check_script(struct ty_sql_op *op)
{
    struct ty_pg_script script = ty_pg_script(op);
    unsigned count = 0;

    if (judge_whole(op) < 0)
        return -1;
    while (ty_pg_script_next(&script)) {
        count++;
        if (judge_text(op, script.statement.data) < 0) {
            op->line = script.statement_line;
            return -1;
        }
    }
    op->steps = count;
    op->prepares = false;
    return 0;
}

/* One by one, but in one go and one transaction. */
static bool send_script(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    struct ty_buf *text = &conn->own->text;
    struct ty_pg_script script = ty_pg_script(op);

    if (check_script(op) < 0 || op->steps == 0) {
        refuse(conn, op);
        return true;
    }
    op->known = 0;
    ty_pg_push(conn, TY_PG_OP, op);
    while (ty_pg_script_next(&script)) {
        text->len = 0;
        ty_buf_add(text, script.statement.data, script.statement.len);
        if (!send_plain(conn, ty_buf_cstr(text)))
            return false;
    }
    return PQpipelineSync(conn->link.pg);
}

static const char *begin_text(const struct ty_sql_op *op)
{
    static const char *const texts[][2] = {
        [TY_SQL_ISOLATION_DEFAULT] = {"begin", "begin read only"},
        [TY_SQL_READ_COMMITTED] = {"begin isolation level read committed",
                                   "begin isolation level read committed read only"},
        [TY_SQL_REPEATABLE_READ] = {"begin isolation level repeatable read",
                                    "begin isolation level repeatable read read only"},
        [TY_SQL_SERIALIZABLE] = {"begin isolation level serializable",
                                 "begin isolation level serializable read only"},
    };

    return texts[op->isolation][op->read_only];
}

/* The statements of which the words are ours. */
static const char *our_text(struct ty_pg_conn *conn, const struct ty_sql_op *op)
{
    struct ty_buf *text = &conn->own->text;

    text->len = 0;
    switch (op->verb) {
    case TY_SQL_BEGIN:
        conn->reads_only = op->read_only;
        return begin_text(op);
    case TY_SQL_COMMIT:
        return "commit";
    case TY_SQL_ROLLBACK:
        return "rollback";
    case TY_SQL_SAVEPOINT:
        ty_buf_addf(text, "savepoint ty_%u", op->level);
        break;
    case TY_SQL_RELEASE:
        ty_buf_addf(text, "release savepoint ty_%u", op->level);
        break;
    case TY_SQL_ROLLBACK_TO:
        ty_buf_addf(text, "rollback to savepoint ty_%u", op->level);
        break;
    case TY_SQL_OPEN:
        ty_buf_addf(text, "declare ty_c%u no scroll cursor for ", op->level);
        ty_buf_add(text, op->sql, op->sql_len);
        break;
    case TY_SQL_FETCH:
        if (op->rows_max)
            ty_buf_addf(text, "fetch forward %" PRIu64 " from ty_c%u", op->rows_max, op->level);
        else
            ty_buf_addf(text, "fetch all from ty_c%u", op->level);
        break;
    default:
        ty_buf_addf(text, "close ty_c%u", op->level);
        break;
    }
    return ty_buf_cstr(text);
}

static bool send_ours(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    const char *sql;

    if (op->verb == TY_SQL_OPEN && (judge(conn->own, op) < 0 || ty_pg_bind(conn->own, op) < 0)) {
        if (op->status == 0)
            ty_sql_fail(op, "postgresql", TY_ERR_TOO_LARGE, "54000", "a parameter is too large");
        refuse(conn, op);
        return true;
    }
    sql = our_text(conn, op);
    if (!make_room(conn, op))
        return false;
    ty_pg_push(conn, TY_PG_OP, op);
    if (!send_bound(conn, op, sql, strlen(sql)))
        return false;
    if (op->verb == TY_SQL_ROLLBACK_TO) { /* which leaves the savepoint where it was */
        char release[NAME_LEN + 16];

        snprintf(release, sizeof(release), "release savepoint ty_%u", op->level);
        op->steps++;
        if (!send_plain(conn, release))
            return false;
    }
    return PQpipelineSync(conn->link.pg);
}

static bool send_now(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    ty_pg_gather(&conn->link);
    if (conn->pooled)
        conn->base.sealed = true; /* a pooler may not keep several apart */
    if (op->verb == TY_SQL_RUN)
        return send_run(conn, op);
    if (op->verb == TY_SQL_SCRIPT)
        return send_script(conn, op);
    return send_ours(conn, op);
}

static bool is_copy_begin(const struct ty_sql_op *op)
{
    return op->verb == TY_SQL_COPY_IN || op->verb == TY_SQL_COPY_OUT;
}

/* False: not yet. */
static bool try_send(struct ty_pg_conn *conn, struct ty_sql_op *op)
{
    struct ty_pg *own = conn->own;

    if (conn->cancel && !conn->cancel_is_pools)
        return false; /* it would be hit */
    if (conn->mode != TY_PG_PIPELINE)
        return ty_pg_copy_step(conn, op);
    if (conn->ring_count && (conn->pooled || is_copy_begin(op)))
        return false;
    if (is_copy_begin(op))
        ty_pg_copy_start(conn, op);
    else if (!send_now(conn, op) || !ty_pg_link_flush(&conn->link))
        ty_pg_lose_later(conn);
    if (own->scratch.cap > TY_PG_SCRATCH_KEPT)
        ty_buf_close(&own->scratch);
    if (own->text.cap > TY_PG_SCRATCH_KEPT)
        ty_buf_close(&own->text);
    return true;
}

void ty_pg_send(struct ty_pool_conn *base, struct ty_sql_op *op)
{
    struct ty_pg_conn *conn = (struct ty_pg_conn *)base;

    if (conn->dead || conn->broken || conn->unsent)
        return; /* it is told with the connection's end, or sent behind the others */
    if (!try_send(conn, op))
        conn->unsent = op;
}

void ty_pg_send_waiting(struct ty_pg_conn *conn)
{
    while (conn->unsent && !conn->dead && !conn->broken) {
        struct ty_sql_op *next = conn->unsent->next;

        if (!try_send(conn, conn->unsent))
            return;
        conn->unsent = next;
    }
}
