#include "sql/mysql.h"

/* Transactions, savepoints and scripts: our own statements, in the text protocol. */

static void query(struct ty_mysql_conn *conn, ty_mysql_then_fn *then, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void query(struct ty_mysql_conn *conn, ty_mysql_then_fn *then, const char *fmt, ...)
{
    va_list args;

    conn->scratch.len = 0;
    va_start(args, fmt);
    ty_buf_vaddf(&conn->scratch, fmt, args);
    va_end(args);
    conn->link.text = ty_buf_cstr(&conn->scratch);
    conn->link.text_len = conn->scratch.len;
    ty_mysql_link_call(&conn->link, TY_MYSQL_QUERY, then);
}

static bool is_lost(const struct ty_mysql_link *link)
{
    unsigned number = ty_mysql_number(link);

    return number && ty_mysql_is_lost(number);
}

/* ---- transactions */

static void on_begun(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result) {
        ty_mysql_failed(conn);
        return;
    }
    conn->in_tx = true;
    ty_mysql_done(conn, ty_mysql_is_clean(conn));
}

static void start_transaction(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result)
        ty_mysql_failed(conn);
    else
        query(conn, on_begun, "START TRANSACTION%s", conn->op->read_only ? " READ ONLY" : "");
}

static void begin(struct ty_mysql_conn *conn)
{
    static const char *const levels[] = {
        [TY_SQL_READ_COMMITTED] = "READ COMMITTED",
        [TY_SQL_REPEATABLE_READ] = "REPEATABLE READ",
        [TY_SQL_SERIALIZABLE] = "SERIALIZABLE",
    };

    conn->link.result = 0;
    if (conn->op->isolation == TY_SQL_ISOLATION_DEFAULT)
        start_transaction(&conn->link);
    else
        query(conn, start_transaction, "SET TRANSACTION ISOLATION LEVEL %s",
              levels[conn->op->isolation]);
}

static void on_ended(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (is_lost(link)) {
        ty_mysql_lost(conn, NULL);
        return;
    }
    conn->in_tx = false;
    if (conn->op->status == 0 && link->result)
        ty_mysql_failed(conn);
    else
        ty_mysql_done(conn, ty_mysql_is_clean(conn));
}

/* What could not be committed is undone. */
static void on_committed(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result == 0 || is_lost(link)) {
        on_ended(link);
        return;
    }
    ty_mysql_fail(conn->op, ty_mysql_number(link), mysql_sqlstate(link->mysql),
                  mysql_error(link->mysql));
    query(conn, on_ended, "ROLLBACK");
}

/* ---- savepoints */

static void on_savepoint(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result)
        ty_mysql_failed(conn);
    else
        ty_mysql_done(conn, ty_mysql_is_clean(conn));
}

void ty_mysql_control(struct ty_mysql_conn *conn)
{
    unsigned level = conn->op->level;

    switch (conn->op->verb) {
    case TY_SQL_BEGIN:
        begin(conn);
        break;
    case TY_SQL_COMMIT:
        ty_mysql_cursors_close(conn);
        query(conn, on_committed, "COMMIT");
        break;
    case TY_SQL_ROLLBACK:
        ty_mysql_cursors_close(conn);
        query(conn, on_ended, "ROLLBACK");
        break;
    case TY_SQL_SAVEPOINT:
        query(conn, on_savepoint, "SAVEPOINT tycho_%u", level);
        break;
    case TY_SQL_RELEASE:
        query(conn, on_savepoint, "RELEASE SAVEPOINT tycho_%u", level);
        break;
    default: /* it stays, and is replaced by the next one of that name */
        query(conn, on_savepoint, "ROLLBACK TO SAVEPOINT tycho_%u", level);
        break;
    }
}

/* ---- scripts
 *
 * The server takes a script apart: it alone knows where a procedure ends. All of it is one
 * transaction, as far as its statements can be part of one. */

static void on_script_over(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    bool clean;

    if (is_lost(link)) {
        ty_mysql_lost(conn, NULL);
        return;
    }
    clean = ty_mysql_is_clean(conn);
    if (conn->op->status == 0 && !clean && conn->in_tx)
        ty_sql_fail(conn->op, "mysql", TY_ERR_INTERNAL, "25000",
                    "the script has ended its transaction, which MySQL has committed");
    ty_mysql_done(conn, clean);
}

static void on_single_again(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (is_lost(link) || conn->in_tx)
        on_script_over(link);
    else
        query(conn, conn->op->status ? on_script_over : on_committed, "%s",
              conn->op->status ? "ROLLBACK" : "COMMIT");
}

static void on_result(struct ty_mysql_link *link);

static void on_rows_gone(struct ty_mysql_link *link)
{
    link->rows = NULL;
    link->result = 0;
    if (mysql_errno(link->mysql))
        link->result = 1;
    else
        ty_mysql_conn_of(link)->results++;
    if (link->result == 0 && mysql_more_results(link->mysql)) {
        ty_mysql_link_call(link, TY_MYSQL_NEXT_RESULT, on_result);
        return;
    }
    on_result(link);
}

static void end_script(struct ty_mysql_conn *conn)
{
    if (conn->op->verb == TY_SQL_RUN) {
        conn->op->changes = (int64_t)mysql_affected_rows(conn->link.mysql);
        on_script_over(&conn->link);
        return;
    }
    conn->link.multi = false;
    ty_mysql_link_call(&conn->link, TY_MYSQL_MULTI, on_single_again);
}

/* Of one statement. */
static void on_result(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    struct ty_sql_op *op = conn->op;

    if (is_lost(link)) {
        ty_mysql_lost(conn, NULL);
    } else if (link->result > 0) {
        ty_mysql_fail(op, ty_mysql_number(link), mysql_sqlstate(link->mysql),
                      mysql_error(link->mysql));
        op->line = ty_mysql_text_line(op->sql, op->sql_len, conn->results);
        end_script(conn);
    } else if (link->result == 0 && mysql_field_count(link->mysql) &&
               (link->rows = mysql_use_result(link->mysql))) {
        ty_mysql_link_call(link, TY_MYSQL_FREE_ROWS, on_rows_gone);
    } else if (link->result == 0 && mysql_more_results(link->mysql)) {
        conn->results++;
        ty_mysql_link_call(link, TY_MYSQL_NEXT_RESULT, on_result);
    } else {
        end_script(conn);
    }
}

static void run_script(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result) {
        ty_mysql_failed(conn);
        return;
    }
    link->text = conn->op->sql;
    link->text_len = conn->op->sql_len;
    ty_mysql_link_call(link, TY_MYSQL_QUERY, on_result);
}

void ty_mysql_run_plain(struct ty_mysql_conn *conn)
{
    conn->results = 0;
    conn->link.result = 0;
    run_script(&conn->link);
}

static void allow_many(struct ty_mysql_link *link)
{
    if (link->result) {
        ty_mysql_failed(ty_mysql_conn_of(link));
        return;
    }
    link->multi = true;
    ty_mysql_link_call(link, TY_MYSQL_MULTI, run_script);
}

void ty_mysql_script(struct ty_mysql_conn *conn)
{
    struct ty_sql_op *op = conn->op;

    conn->results = 0;
    conn->link.result = 0;
    if (ty_mysql_text_has_word(op->sql, op->sql_len, "ROLE") ||
        ty_mysql_text_has_word(op->sql, op->sql_len, "USE"))
        conn->base.doomed = true; /* a reset keeps both, the role and the database */
    if (op->sql_len > TY_SQL_TEXT_MAX || !ty_mysql_fits(conn, op->sql_len)) {
        ty_sql_fail(op, "mysql", TY_ERR_TOO_LARGE, "42000", "the script is too long");
        ty_mysql_refused(conn);
    } else if (memchr(op->sql, '\0', op->sql_len)) {
        ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, "42000", "a NUL in the script");
        ty_mysql_refused(conn);
    } else if (conn->in_tx) {
        allow_many(&conn->link);
    } else {
        query(conn, allow_many, "START TRANSACTION");
    }
}
