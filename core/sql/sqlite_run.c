#include "sql/sqlite.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tycho/clock.h"

/* ---- one statement */

/* Stops a statement that has begun to write, such that nothing of it stays. */
static void abort_statement(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt)
{
    if (stmt->reads)
        return;
    sqlite3_interrupt(conn->handle);
    while (sqlite3_step(stmt->handle) == SQLITE_ROW)
        ;
}

static int refuse_result(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt,
                         struct ty_sql_op *op)
{
    abort_statement(conn, stmt);
    return ty_sqlite_fail(op, TY_ERR_TOO_LARGE, "result_max", "the result is larger than %zu bytes",
                          conn->db->options.result_max);
}

static int collect(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt, struct ty_sql_op *op)
{
    bool fits = true, named = false;
    int code;

    while ((code = sqlite3_step(stmt->handle)) == SQLITE_ROW) {
        if (op->rows_max && op->row_count >= op->rows_max) {
            if (stmt->reads)
                return 0;
            continue; /* it has to run to its end to be done */
        }
        if (!named) /* only now: a changed schema may have changed the columns */
            fits = ty_sqlite_add_names(op, stmt->handle);
        named = true;
        if (!fits || !ty_sqlite_add_row(op, stmt->handle))
            return refuse_result(conn, stmt, op);
    }
    if (code != SQLITE_DONE)
        return ty_sqlite_fail_code(conn, op, code);
    if (!named && !ty_sqlite_add_names(op, stmt->handle)) /* no rows, but a result */
        return refuse_result(conn, stmt, op);
    return 0;
}

/* May it insert? Then the number that an earlier insert got is forgotten first: one that turns out
 * to update a row gets none. */
static bool may_insert(const char *word)
{
    static const char *const inserters[] = {"INSERT", "REPLACE", "WITH", NULL};

    return ty_sql_is_one_of(word, inserters);
}

static void count_changes(struct ty_sqlite_conn *conn, struct ty_sql_op *op, const char *word)
{
    static const char *const changers[] = {"INSERT", "REPLACE", "UPDATE", "DELETE", "WITH", NULL};

    if (ty_sql_is_one_of(word, changers))
        op->changes = sqlite3_changes64(conn->handle);
    if (op->changes > 0 && may_insert(word))
        op->last_id = sqlite3_last_insert_rowid(conn->handle);
}

/* Binds and runs it. */
static int execute(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt, struct ty_sql_op *op,
                   const char *word)
{
    if (ty_sqlite_stmt_bind(conn, stmt, op) < 0)
        return -1;
    if (!stmt->reads && may_insert(word))
        sqlite3_set_last_insert_rowid(conn->handle, 0);
    if (collect(conn, stmt, op) < 0)
        return -1;
    if (!stmt->reads)
        count_changes(conn, op, word);
    return 0;
}

static int run_statement(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    char word[16];

    ty_sql_first_word(op->sql, word);
    conn->vacuums = strcmp(word, "VACUUM") == 0;
    struct ty_sqlite_stmt *stmt = ty_sqlite_stmt_get(conn, op);
    if (!stmt)
        return -1;

    bool may_write = conn->tx ? !conn->tx->read_only : conn->writes;
    int status = 0;

    if (!stmt->reads && !may_write) {
        op->bounce = !conn->tx;
        if (!op->bounce)
            status = ty_sqlite_fail(op, TY_ERR_INTERNAL, "SQLITE_READONLY",
                                    "this transaction only reads");
    } else {
        status = execute(conn, stmt, op, word);
    }
    ty_sqlite_stmt_put(conn, stmt);
    return status;
}

/* ---- several */

static unsigned line_of(const char *text, const char *at)
{
    unsigned line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* `handle` is NULL for a comment. */
static int step_to_end(struct ty_sqlite_conn *conn, struct ty_sql_op *op, sqlite3_stmt *handle)
{
    int code = SQLITE_DONE;

    if (sqlite3_bind_parameter_count(handle) > 0)
        return ty_sqlite_fail(op, TY_ERR_INTERNAL, "placeholder", "a script has no placeholders");
    while (handle && (code = sqlite3_step(handle)) == SQLITE_ROW)
        ;
    return code == SQLITE_DONE ? 0 : ty_sqlite_fail_code(conn, op, code);
}

static int run_each(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    const char *next = op->sql;

    conn->vacuums = false;
    while (*(next = ty_sql_skip_blanks(next))) {
        sqlite3_stmt *handle = NULL;

        op->statement = next;
        conn->refusal = NULL;
        int code = sqlite3_prepare_v2(conn->handle, next, -1, &handle, &next);
        int status =
            code == SQLITE_OK ? step_to_end(conn, op, handle) : ty_sqlite_fail_code(conn, op, code);
        sqlite3_finalize(handle);
        if (status < 0) {
            op->line = line_of(op->sql, op->statement);
            return -1;
        }
    }
    op->statement = NULL;
    return 0;
}

/* What undoes has nothing to tell: the error that made it necessary has been told. */
static void undo(struct ty_sqlite_conn *conn, const char *sql)
{
    if (sqlite3_get_autocommit(conn->handle))
        return;
    conn->trusted = true;
    if (sqlite3_exec(conn->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        conn->broken = true;
    conn->trusted = false;
}

static int run_script(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    bool inner = conn->tx != NULL;

    if (ty_sqlite_check_text(op) < 0)
        return -1;
    if (ty_sqlite_conn_exec(conn, op, inner ? "SAVEPOINT script" : "BEGIN IMMEDIATE") < 0)
        return -1;
    int status = run_each(conn, op);
    if (status == 0)
        status = ty_sqlite_conn_exec(conn, op, inner ? "RELEASE script" : "COMMIT");
    if (status < 0)
        undo(conn, inner ? "ROLLBACK TO script; RELEASE script" : "ROLLBACK");
    return status;
}

/* ---- transactions */

/* The one setting that a transaction may change for itself, with its first statement: a table that
 * others refer to can then be made anew without their being told that its rows are gone. What leads
 * nowhere in the end is not committed. */
static const char KEYS_OFF[] = "pragma foreign_keys = off";

static bool wants_keys_off(const struct ty_sqlite_tx *tx, const struct ty_sql_op *op)
{
    return !tx->begun && !tx->read_only && op->verb == TY_SQL_RUN && strcmp(op->sql, KEYS_OFF) == 0;
}

static void set_back(struct ty_sqlite_conn *conn, const char *sql)
{
    conn->trusted = true;
    if (sqlite3_exec(conn->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        conn->broken = true;
    conn->trusted = false;
}

/* What belongs to the connection, for whoever uses it next. */
static void restore(struct ty_sqlite_conn *conn)
{
    struct ty_sqlite_tx *tx = conn->tx;

    if (tx->read_only && conn->writes)
        set_back(conn, "PRAGMA query_only=OFF");
    if (tx->keys_off)
        set_back(conn, "PRAGMA foreign_keys=ON");
    tx->keys_off = false;
}

static int begin(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    struct ty_sqlite_tx *tx = conn->tx;
    int status = 0;

    if (tx->begun)
        return 0;
    if (tx->read_only && conn->writes)
        status = ty_sqlite_conn_exec(conn, op, "PRAGMA query_only=ON");
    if (status == 0)
        status = ty_sqlite_conn_exec(conn, op, tx->read_only ? "BEGIN" : "BEGIN IMMEDIATE");
    tx->begun = status == 0;
    if (!tx->begun)
        restore(conn); /* it will not come here again */
    return status;
}

static int begin_without_keys(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    conn->tx->keys_off = true;
    return ty_sqlite_conn_exec(conn, op, KEYS_OFF) < 0 ? -1 : begin(conn, op);
}

static int check_keys(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    sqlite3_stmt *stmt = NULL;
    int code;

    conn->trusted = true;
    code = sqlite3_prepare_v2(conn->handle, "PRAGMA foreign_key_check", -1, &stmt, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(stmt);
    conn->trusted = false;
    sqlite3_finalize(stmt);
    if (code == SQLITE_ROW)
        return ty_sqlite_fail(op, TY_ERR_CONFLICT, "SQLITE_CONSTRAINT_FOREIGNKEY",
                              "FOREIGN KEY constraint failed");
    return code == SQLITE_DONE ? 0 : ty_sqlite_fail_code(conn, op, code);
}

static int commit(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    if (conn->tx->keys_off && check_keys(conn, op) < 0)
        return -1;
    return ty_sqlite_conn_exec(conn, op, "COMMIT");
}

static int end(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    struct ty_sqlite_tx *tx = conn->tx;
    int status = 0;

    if (!conn->handle)
        return 0;
    ty_sqlite_shut_cursors(conn);
    if (op->verb == TY_SQL_COMMIT && tx->begun && !tx->dead)
        status = commit(conn, op);
    undo(conn, "ROLLBACK");
    restore(conn);
    return status;
}

/* The levels have numbers, so that one that is still open inside, because its owner was cancelled,
 * is closed with the one around it. */
static int run_savepoint(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    char sql[64];

    if (op->verb == TY_SQL_SAVEPOINT)
        snprintf(sql, sizeof(sql), "SAVEPOINT level%u", op->level);
    else if (op->verb == TY_SQL_RELEASE)
        snprintf(sql, sizeof(sql), "RELEASE level%u", op->level);
    else
        snprintf(sql, sizeof(sql), "ROLLBACK TO level%u; RELEASE level%u", op->level, op->level);
    return ty_sqlite_conn_exec(conn, op, sql);
}

static int run_in_tx(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    struct ty_sqlite_tx *tx = conn->tx;
    int status;

    if (tx->dead && op->verb != TY_SQL_ROLLBACK)
        status = ty_sqlite_fail(op, TY_ERR_UNAVAILABLE, "transaction.rolled_back",
                                "the transaction was rolled back by an earlier error: %s",
                                tx->why.message);
    else if (op->verb == TY_SQL_COMMIT || op->verb == TY_SQL_ROLLBACK)
        status = 0;
    else if (wants_keys_off(tx, op))
        return begin_without_keys(conn, op);
    else
        status = begin(conn, op);

    if (op->verb == TY_SQL_COMMIT || op->verb == TY_SQL_ROLLBACK) {
        int ended = end(conn, op);
        return status < 0 ? status : ended;
    }
    if (status < 0)
        return status;
    if (op->verb == TY_SQL_RUN)
        status = run_statement(conn, op);
    else if (op->verb == TY_SQL_SCRIPT)
        status = run_script(conn, op);
    else if (op->verb >= TY_SQL_OPEN && op->verb <= TY_SQL_SHUT)
        status = ty_sqlite_run_cursor(conn, op);
    else if (op->verb > TY_SQL_SHUT)
        status = ty_sqlite_fail(op, TY_ERR_INTERNAL, "copy", "there is no COPY here");
    else
        status = run_savepoint(conn, op);
    if (status < 0 && op->verb == TY_SQL_ROLLBACK_TO)
        undo(conn, "ROLLBACK"); /* what was to be undone must not be committed */
    if (sqlite3_get_autocommit(conn->handle) && !tx->dead) {
        tx->dead = true; /* some errors roll all of it back */
        tx->why = op->error;
    }
    return status;
}

static void run_op(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    bool ends = op->verb == TY_SQL_COMMIT || op->verb == TY_SQL_ROLLBACK;

    if (!ends && atomic_load(&op->cancelled)) {
        ty_sqlite_fail(op, TY_ERR_CANCELLED, "SQLITE_INTERRUPT", "cancelled");
        return;
    }
    if (!ends && ty_sqlite_conn_open(conn, op) < 0)
        return;

    if (conn->tx)
        run_in_tx(conn, op);
    else if (op->verb == TY_SQL_SCRIPT)
        run_script(conn, op);
    else
        run_statement(conn, op);

    if (ty_sqlite_is_outage(op->code) && !conn->db->in_memory)
        conn->broken = true;
    if (conn->handle && !conn->tx)
        undo(conn, "ROLLBACK");
    if (conn->broken && (ends || !conn->tx))
        ty_sqlite_conn_close(conn);
}

void ty_sqlite_run(struct ty_work *work)
{
    struct ty_sql_op *op = (struct ty_sql_op *)((char *)work - offsetof(struct ty_sql_op, work));
    uint64_t start = ty_now_ns();

    run_op(op->conn, op);
    if (op->status != 0)
        ty_buf_close(&op->rows);
    op->run_ns = ty_now_ns() - start;
}
