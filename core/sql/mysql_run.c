#include <mysqld_error.h>

#include "sql/mysql.h"

static void prepare(struct ty_mysql_conn *conn);

/* ---- preparing and executing */

/* The rows that nobody wanted are read away: the statement goes, and another one takes its place.
 */
static void prepare_again(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    struct ty_mysql_stmt *stmt = conn->stmt;

    if (stmt->kept)
        ty_mysql_cache_remove(&conn->cache, stmt);
    ty_mysql_stmt_free(stmt);
    conn->stmt = NULL;
    prepare(conn);
}

/* Has the table changed since it was prepared, so that it has to be prepared once more? What
 * only reads may have run already. */
static bool is_outdated(struct ty_mysql_conn *conn)
{
    unsigned number = mysql_stmt_errno(conn->stmt->handle);

    if (conn->retried)
        return false;
    return number == ER_NEED_REPREPARE || number == ER_UNKNOWN_STMT_HANDLER ||
           (number == TY_MYSQL_NEW_METADATA && ty_sql_reads(conn->op->sql));
}

static void on_executed(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result == 0) {
        conn->executed(link);
    } else if (is_outdated(conn)) {
        conn->retried = true;
        ty_mysql_link_call(link, TY_MYSQL_FREE_RESULT, prepare_again);
    } else {
        ty_mysql_failed(conn);
    }
}

static void bind_and_execute(struct ty_mysql_conn *conn)
{
    struct ty_mysql_stmt *stmt = conn->stmt;

    if (conn->wound != TY_MYSQL_UNHURT) { /* the request has met PREPARE, which it does not end */
        ty_sql_fail(conn->op, "mysql", TY_ERR_CANCELLED, "70100", "cancelled");
        if (!stmt->kept)
            ty_mysql_stmt_free(stmt);
        ty_mysql_refused(conn);
        return;
    }
    if (ty_mysql_stmt_bind(conn, stmt, conn->op) < 0) {
        if (!stmt->kept)
            ty_mysql_stmt_free(stmt);
        ty_mysql_refused(conn);
        return;
    }
    if (stmt->text.slot_count)
        mysql_stmt_bind_param(stmt->handle, stmt->binds);
    conn->link.stmt = stmt->handle;
    ty_mysql_link_call(&conn->link, TY_MYSQL_EXECUTE, on_executed);
}

/* A few statements cannot be prepared: which ones depends on the server. None of them returns rows
 * that somebody would want. */
static void fail_preparing(struct ty_mysql_conn *conn)
{
    struct ty_mysql_stmt *stmt = conn->stmt;

    if (mysql_stmt_errno(stmt->handle) != ER_UNSUPPORTED_PS || stmt->text.slot_count ||
        conn->op->verb != TY_SQL_RUN) {
        ty_mysql_failed(conn);
        return;
    }
    conn->stmt = NULL;
    ty_mysql_stmt_free(stmt);
    ty_mysql_run_plain(conn);
}

static void on_prepared(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    struct ty_mysql_stmt *stmt = conn->stmt;

    if (link->result) {
        fail_preparing(conn);
        return;
    }
    if (mysql_stmt_param_count(stmt->handle) != stmt->text.slot_count) {
        ty_sql_fail(conn->op, "mysql", TY_ERR_INTERNAL, "placeholder",
                    "the server sees %lu placeholders instead of %u",
                    mysql_stmt_param_count(stmt->handle), stmt->text.slot_count);
        ty_mysql_stmt_free(stmt);
        ty_mysql_refused(conn);
        return;
    }
    ty_mysql_rows_want(conn, stmt->handle);
    if (conn->op->verb == TY_SQL_OPEN) {
        unsigned long type = CURSOR_TYPE_READ_ONLY;
        mysql_stmt_attr_set(stmt->handle, STMT_ATTR_CURSOR_TYPE, &type);
    } else if (conn->base.pool->options.prepare != TY_SQL_PREPARE_NEVER) {
        ty_mysql_cache_keep(&conn->cache, stmt);
    }
    bind_and_execute(conn);
}

static void prepare(struct ty_mysql_conn *conn)
{
    conn->stmt = ty_mysql_stmt_new(conn, conn->op);
    if (!conn->stmt) {
        ty_mysql_refused(conn);
        return;
    }
    conn->link.stmt = conn->stmt->handle;
    conn->link.text = conn->stmt->text.sql.data;
    conn->link.text_len = conn->stmt->text.sql.len;
    ty_mysql_link_call(&conn->link, TY_MYSQL_PREPARE, on_prepared);
}

void ty_mysql_execute(struct ty_mysql_conn *conn, ty_mysql_then_fn *then)
{
    conn->executed = then;
    conn->stmt = conn->op->verb == TY_SQL_RUN ? ty_mysql_cache_find(&conn->cache, conn->op) : NULL;
    if (conn->stmt)
        bind_and_execute(conn);
    else
        prepare(conn);
}

/* ---- results */

static void end(struct ty_mysql_conn *conn)
{
    struct ty_sql_op *op = conn->op;
    size_t max = conn->base.pool->options.result_max;
    bool clean = ty_mysql_is_clean(conn);

    if (!conn->stmt->kept && op->verb != TY_SQL_OPEN)
        ty_mysql_stmt_free(conn->stmt);
    if (conn->too_large)
        ty_sql_fail(op, "mysql", TY_ERR_TOO_LARGE, "result_max",
                    "the result is larger than %zu bytes", max);
    else if (!clean && conn->in_tx)
        ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, "25000",
                    "the statement has ended its transaction, which MySQL has committed");
    ty_mysql_done(conn, clean);
}

static void on_result_gone(struct ty_mysql_link *link)
{
    ty_mysql_finish(ty_mysql_conn_of(link));
}

static void on_next_result(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result > 0)
        ty_mysql_failed(conn);
    else if (link->result < 0)
        end(conn);
    else if (mysql_stmt_field_count(conn->stmt->handle))
        ty_mysql_link_call(link, TY_MYSQL_FREE_RESULT, on_result_gone);
    else
        ty_mysql_finish(conn);
}

/* Of procedures only the first result is given: the others are read away. */
void ty_mysql_finish(struct ty_mysql_conn *conn)
{
    if (mysql_stmt_more_results(conn->stmt->handle))
        ty_mysql_link_call(&conn->link, TY_MYSQL_NEXT_OF_STMT, on_next_result);
    else
        end(conn);
}

/* Are its rows those that it has changed: RETURNING? */
static bool returns_changes(const char *sql)
{
    static const char *const words[] = {"INSERT", "REPLACE", "DELETE", "UPDATE", NULL};
    char word[16];

    ty_sql_first_word(sql, word);
    return ty_sql_is_one_of(word, words);
}

static void on_row(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    struct ty_sql_op *op = conn->op;

    if (link->result == 0) {
        conn->rows_seen++;
        if (!op->rows_max || op->row_count < op->rows_max)
            op->row_count++;
        ty_mysql_link_call(link, TY_MYSQL_FETCH, on_row);
    } else if (link->result == MYSQL_NO_DATA) {
        if (returns_changes(op->sql))
            op->changes = (int64_t)conn->rows_seen;
        ty_mysql_finish(conn);
    } else {
        ty_mysql_failed(conn);
    }
}

static void on_run(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    struct ty_sql_op *op = conn->op;
    MYSQL_STMT *handle = conn->stmt->handle;

    if (mysql_stmt_field_count(handle)) {
        conn->too_large = !ty_mysql_rows_begin(conn, handle);
        ty_mysql_link_call(link, TY_MYSQL_FETCH, on_row);
        return;
    }
    op->changes = (int64_t)mysql_stmt_affected_rows(handle);
    op->last_id = (int64_t)mysql_stmt_insert_id(handle);
    ty_mysql_finish(conn);
}

void ty_mysql_run(struct ty_mysql_conn *conn)
{
    ty_mysql_execute(conn, on_run);
}
