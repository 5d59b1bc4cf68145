#include "sql/mysql.h"

#include <errmsg.h>
#include <limits.h>
#include <mysqld_error.h>
#include <stdlib.h>
#include <string.h>

#include "sql/rows.h"
#include "tycho/memory.h"

enum { CONNECTING_MAX = 4 };

/* ---- how operations end */

bool ty_mysql_is_clean(const struct ty_mysql_conn *conn)
{
    bool in_trans = conn->link.mysql->server_status & SERVER_STATUS_IN_TRANS;

    return in_trans == conn->in_tx;
}

void ty_mysql_done(struct ty_mysql_conn *conn, bool clean)
{
    struct ty_sql_op *op = conn->op;

    conn->op = NULL;
    conn->stmt = NULL;
    ty_pool_done(&conn->base, op, clean);
    ty_mysql_absorb(conn);
}

/* A statement's own error, or the connection's: the library sets the one or the other. */
static unsigned last_error(const struct ty_mysql_conn *conn, const char **state,
                           const char **message)
{
    MYSQL_STMT *handle = conn->stmt ? conn->stmt->handle : NULL;

    if (handle && mysql_stmt_errno(handle)) {
        *state = mysql_stmt_sqlstate(handle);
        *message = mysql_stmt_error(handle);
        return mysql_stmt_errno(handle);
    }
    *state = mysql_sqlstate(conn->link.mysql);
    *message = mysql_error(conn->link.mysql);
    return mysql_errno(conn->link.mysql);
}

void ty_mysql_lost(struct ty_mysql_conn *conn, const char *during)
{
    const char *state, *message;
    unsigned number = last_error(conn, &state, &message);
    struct ty_error error;

    if (number == 0) {
        number = CR_SERVER_LOST;
        state = "08S01";
        message = "the server has closed the connection";
    }
    ty_mysql_error(&error, number, state, message, during);
    if (!during)
        error.kind = TY_ERR_UNAVAILABLE;
    conn->op = NULL;
    ty_pool_lost(&conn->base, &error, during && ty_mysql_is_fatal(number));
}

void ty_mysql_failed(struct ty_mysql_conn *conn)
{
    const char *state, *message;
    unsigned number = last_error(conn, &state, &message);
    struct ty_mysql_stmt *stmt = conn->stmt;

    if (number == 0 || ty_mysql_is_lost(number)) {
        ty_mysql_lost(conn, NULL);
        return;
    }
    ty_mysql_fail(conn->op, number, state, message);
    if (stmt && !stmt->kept)
        ty_mysql_stmt_free(stmt);
    ty_mysql_done(conn,
                  !(conn->in_tx && ty_mysql_ends_tx(conn, number)) && ty_mysql_is_clean(conn));
}

static void tell_refused(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    ty_mysql_done(conn, ty_mysql_is_clean(conn));
}

void ty_mysql_refused(struct ty_mysql_conn *conn)
{
    conn->stmt = NULL;
    ty_mysql_link_later(&conn->link, tell_refused);
}

/* ---- verbs */

static bool is_refused(struct ty_mysql_conn *conn, struct ty_sql_op *op)
{
    const char *why = ty_mysql_text_refuse(op->sql, op->sql_len, conn->in_tx);

    if (why)
        ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, "42000", "%s", why);
    return why;
}

/* Was it closed since it was used, and the loop has not seen that yet? Then the operation did
 * nothing and goes to another connection, whatever it is. */
static bool has_bounced(struct ty_mysql_conn *conn, struct ty_sql_op *op)
{
    bool is_single = op->verb == TY_SQL_RUN || op->verb == TY_SQL_SCRIPT;

    if (!is_single || conn->base.tx || !ty_mysql_link_is_gone(&conn->link))
        return false;
    ty_sql_fail(op, "mysql", TY_ERR_UNAVAILABLE, "08S01", "the server has closed the connection");
    op->bounce = true;
    conn->base.doomed = true;
    ty_mysql_refused(conn);
    return true;
}

static void send_op(struct ty_pool_conn *base, struct ty_sql_op *op)
{
    struct ty_mysql_conn *conn = (struct ty_mysql_conn *)base;

    conn->op = op;
    conn->stmt = NULL;
    conn->retried = conn->too_large = false;
    conn->rows_seen = 0;
    if (has_bounced(conn, op))
        return;
    switch (op->verb) {
    case TY_SQL_RUN:
    case TY_SQL_OPEN:
        if (is_refused(conn, op))
            ty_mysql_refused(conn);
        else if (op->verb == TY_SQL_RUN)
            ty_mysql_run(conn);
        else
            ty_mysql_cursor_open(conn);
        break;
    case TY_SQL_SCRIPT:
        ty_mysql_script(conn);
        break;
    case TY_SQL_FETCH:
        ty_mysql_cursor_fetch(conn);
        break;
    case TY_SQL_SHUT:
        ty_mysql_cursor_shut(conn);
        break;
    case TY_SQL_BEGIN:
    case TY_SQL_COMMIT:
    case TY_SQL_ROLLBACK:
    case TY_SQL_SAVEPOINT:
    case TY_SQL_RELEASE:
    case TY_SQL_ROLLBACK_TO:
        ty_mysql_control(conn);
        break;
    default:
        ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, "0A000", "COPY is PostgreSQL's");
        ty_mysql_refused(conn);
        break;
    }
}

static bool changes_session(const struct ty_sql_op *op)
{
    switch (op->verb) {
    case TY_SQL_RUN:
    case TY_SQL_OPEN:
        return ty_mysql_text_changes_session(op->sql, op->sql_len);
    case TY_SQL_SCRIPT:
        return true;
    default:
        return false;
    }
}

/* Nothing is ever sent behind something else. */
static bool is_fast(const struct ty_pool *pool, const struct ty_sql_op *op)
{
    (void)pool, (void)op;
    return false;
}

/* ---- the driver */

void ty_mysql_unref(struct ty_mysql *own)
{
    if (--own->refs > 0)
        return;
    ty_lane_free(own->lane);
    ty_mysql_url_close(&own->url);
    explicit_bzero(own->password, strlen(own->password));
    free(own->password);
    free(own);
}

static void free_pool(struct ty_pool *pool)
{
    ty_mysql_killer_close(pool->own);
}

static const struct ty_pool_driver pool_driver = {
    .sql =
        {
            .system = "mysql",
            .close = ty_pool_close,
            .is_up = ty_pool_is_up,
            .start = ty_pool_start,
            .begin = ty_pool_begin,
            .tx_start = ty_pool_tx_start,
            .tx_drop = ty_pool_tx_drop,
            .cancel = ty_pool_cancel,
            .name = ty_sql_rows_name,
            .cell = ty_sql_rows_cell,
            .op_close = ty_sql_rows_close,
        },
    .conn_size = sizeof(struct ty_mysql_conn),
    .depth = 1,
    .connect = ty_mysql_connect,
    .send = send_op,
    .cancel = ty_mysql_cancel,
    .reset = ty_mysql_reset,
    .check = ty_mysql_check,
    .close = ty_mysql_close,
    .changes_session = changes_session,
    .is_fast = is_fast,
    .free = free_pool,
};

static struct ty_sql *open_pool(uv_loop_t *loop, const struct ty_sql_options *options,
                                struct ty_error *error)
{
    struct ty_mysql *own = ty_zalloc(sizeof(*own));
    const char *password = options->password;

    if (ty_mysql_url_read(&own->url, options->url, error) < 0) {
        free(own);
        return NULL;
    }
    if (!password)
        password = own->url.password ? own->url.password : "";
    own->password = ty_strdup(password);
    own->connect_s = (unsigned)((options->connect_ms + 999) / 1000);
    own->lane = ty_lane_new(loop, "mysql.connect", CONNECTING_MAX, UINT_MAX);
    own->refs = 1;
    mysql_library_init(0, NULL, NULL); /* here, and not at once on several threads */
    return ty_pool_new(loop, &pool_driver, options, own);
}

/* What a URL finds; from then on it is the pool's table that is used. */
const struct ty_sql_driver ty_mysql_driver = {
    .system = "mysql",
    .schemes = "mysql mariadb",
    .open = open_pool,
};
