#include <stdlib.h>

#include "sql/sqlite.h"
#include "tycho/memory.h"

enum { CURSORS_MAX = 16 };

static struct ty_sqlite_cursor **find(struct ty_sqlite_conn *conn, unsigned number)
{
    struct ty_sqlite_cursor **at = &conn->cursors;

    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

static void shut(struct ty_sqlite_conn *conn, struct ty_sqlite_cursor **at)
{
    struct ty_sqlite_cursor *cursor = *at;

    *at = cursor->next;
    ty_sqlite_stmt_put(conn, cursor->stmt);
    free(cursor);
}

void ty_sqlite_shut_cursors(struct ty_sqlite_conn *conn)
{
    while (conn->cursors)
        shut(conn, &conn->cursors);
}

static int open_cursor(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    unsigned count = 0;

    for (struct ty_sqlite_cursor *at = conn->cursors; at; at = at->next)
        count++;
    if (count >= CURSORS_MAX)
        return ty_sqlite_fail(op, TY_ERR_TOO_LARGE, "cursors",
                              "more than %d queries are being read in pieces", CURSORS_MAX);
    struct ty_sqlite_stmt *stmt = ty_sqlite_stmt_get(conn, op);
    if (!stmt)
        return -1;
    if (!stmt->reads || ty_sqlite_stmt_bind(conn, stmt, op) < 0) {
        if (!stmt->reads)
            ty_sqlite_fail(op, TY_ERR_INTERNAL, "cursor", "only a query can be read in pieces");
        ty_sqlite_stmt_put(conn, stmt);
        return -1;
    }
    struct ty_sqlite_cursor *cursor = ty_zalloc(sizeof(*cursor));
    cursor->number = op->level;
    cursor->stmt = stmt;
    cursor->next = conn->cursors;
    conn->cursors = cursor;
    return 0;
}

static int fetch(struct ty_sqlite_conn *conn, struct ty_sqlite_cursor *cursor, struct ty_sql_op *op)
{
    sqlite3_stmt *handle = cursor->stmt->handle;

    if (!ty_sqlite_add_names(op, handle))
        return ty_sqlite_fail(op, TY_ERR_TOO_LARGE, "result_max", "the names are too long");
    while (!cursor->ended && op->row_count < op->rows_max) {
        int code = sqlite3_step(handle);

        if (code == SQLITE_DONE) { /* one step more would begin again */
            cursor->ended = true;
            return 0;
        }
        if (code != SQLITE_ROW)
            return ty_sqlite_fail_code(conn, op, code);
        if (!ty_sqlite_add_row(op, handle))
            return ty_sqlite_fail(op, TY_ERR_TOO_LARGE, "result_max",
                                  "a piece of the result is larger than %zu bytes",
                                  conn->db->options.result_max);
    }
    return 0;
}

int ty_sqlite_run_cursor(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    if (op->verb == TY_SQL_OPEN)
        return open_cursor(conn, op);

    struct ty_sqlite_cursor **at = find(conn, op->level);
    if (op->verb == TY_SQL_SHUT) {
        if (*at)
            shut(conn, at);
        return 0;
    }
    if (!*at)
        return ty_sqlite_fail(op, TY_ERR_INTERNAL, "cursor", "there is no such cursor");
    return fetch(conn, *at, op);
}
