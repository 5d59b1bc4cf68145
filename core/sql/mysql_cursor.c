#include "sql/mysql.h"

/* The server keeps the result, in a temporary table if it is large, and gives as many rows as it is
 * asked for: other statements of the transaction may run in between. */

static struct ty_mysql_stmt **find(struct ty_mysql_conn *conn, unsigned number)
{
    struct ty_mysql_stmt **at = &conn->cursors;

    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

void ty_mysql_cursors_close(struct ty_mysql_conn *conn)
{
    while (conn->cursors) {
        struct ty_mysql_stmt *stmt = conn->cursors;

        conn->cursors = stmt->next;
        ty_mysql_stmt_free(stmt);
    }
}

void ty_mysql_forget_statements(struct ty_mysql_conn *conn)
{
    struct ty_mysql_stmt *stmt = conn->stmt;
    bool is_cursor = false;

    for (struct ty_mysql_stmt *at = conn->cursors; at; at = at->next)
        is_cursor |= at == stmt;
    if (stmt && !stmt->kept && !is_cursor)
        ty_mysql_stmt_free(stmt);
    conn->stmt = NULL;
    ty_mysql_cursors_close(conn);
    ty_mysql_cache_close(&conn->cache);
}

/* ---- opening */

static void on_opened(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    conn->stmt->number = conn->op->level;
    conn->stmt->next = conn->cursors;
    conn->cursors = conn->stmt;
    ty_mysql_done(conn, ty_mysql_is_clean(conn));
}

void ty_mysql_cursor_open(struct ty_mysql_conn *conn)
{
    struct ty_sql_op *op = conn->op;
    unsigned count = 0;

    for (struct ty_mysql_stmt *stmt = conn->cursors; stmt; stmt = stmt->next)
        count++;
    if (count >= TY_MYSQL_CURSORS_MAX)
        ty_sql_fail(op, "mysql", TY_ERR_TOO_LARGE, "cursors",
                    "more than %d queries are being read in pieces", TY_MYSQL_CURSORS_MAX);
    else if (!ty_sql_reads(op->sql))
        ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, "cursor", "only a query can be read in pieces");
    if (op->status < 0)
        ty_mysql_refused(conn);
    else
        ty_mysql_execute(conn, on_opened);
}

/* ---- fetching */

static void end(struct ty_mysql_conn *conn)
{
    if (conn->too_large)
        ty_sql_fail(conn->op, "mysql", TY_ERR_TOO_LARGE, "result_max",
                    "a piece of the result is larger than %zu bytes",
                    conn->base.pool->options.result_max);
    ty_mysql_done(conn, ty_mysql_is_clean(conn));
}

static void on_row(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    struct ty_sql_op *op = conn->op;

    if (link->result && link->result != MYSQL_NO_DATA) {
        *find(conn, op->level) = conn->stmt->next; /* of no use any more */
        ty_mysql_failed(conn);
        return;
    }
    op->row_count += link->result == 0;
    if (link->result == 0 && op->row_count < op->rows_max && !conn->too_large)
        ty_mysql_link_call(link, TY_MYSQL_FETCH, on_row);
    else
        end(conn);
}

static void tell(struct ty_mysql_link *link)
{
    end(ty_mysql_conn_of(link));
}

void ty_mysql_cursor_fetch(struct ty_mysql_conn *conn)
{
    struct ty_sql_op *op = conn->op;
    struct ty_mysql_stmt *stmt = *find(conn, op->level);
    unsigned long rows = op->rows_max < UINT32_MAX ? op->rows_max : UINT32_MAX;

    if (!stmt) {
        ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, "cursor", "there is no such cursor");
        ty_mysql_refused(conn);
        return;
    }
    conn->stmt = stmt;
    conn->link.stmt = stmt->handle;
    conn->too_large = !ty_mysql_rows_begin(conn, stmt->handle);
    if (conn->too_large || rows == 0) {
        ty_mysql_link_later(&conn->link, tell);
        return;
    }
    mysql_stmt_attr_set(stmt->handle, STMT_ATTR_PREFETCH_ROWS, &rows);
    ty_mysql_link_call(&conn->link, TY_MYSQL_FETCH, on_row);
}

/* ---- shutting */

void ty_mysql_cursor_shut(struct ty_mysql_conn *conn)
{
    struct ty_mysql_stmt **at = find(conn, conn->op->level);
    struct ty_mysql_stmt *stmt = *at;

    if (stmt) {
        *at = stmt->next;
        ty_mysql_stmt_free(stmt);
    }
    ty_mysql_link_later(&conn->link, tell);
}
