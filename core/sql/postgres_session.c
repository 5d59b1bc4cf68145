#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"

/* One round trip: the session is set, and $1, the process that libpq was told of, compared with the
 * one that answers. Where they differ somebody pools in between: sessions are not ours there, and
 * only what such a pooler carries along (TimeZone, DateStyle) is set. A server that looks after its
 * clients every half second ends what a dead one of ours left running. */
static const char setup_head[] = "select pg_catalog.pg_backend_pid() = $1::int,"
                                 " pg_catalog.set_config('TimeZone', 'UTC', false),"
                                 " pg_catalog.set_config('DateStyle', 'ISO', false),"
                                 " case when pg_catalog.pg_backend_pid() = $1::int then"
                                 " pg_catalog.set_config('bytea_output', 'hex', false) ||"
                                 " pg_catalog.set_config('IntervalStyle', 'postgres', false) ||"
                                 " pg_catalog.set_config('extra_float_digits', '1', false)";
static const char setup_watch[] =
    " || pg_catalog.set_config('client_connection_check_interval', '500ms', false)";
static const char setup_tail[] = " end";

enum { VERSION_THAT_WATCHES = 140000 };

void ty_pg_setup(struct ty_pg_conn *conn)
{
    PGconn *pg = conn->link.pg;
    bool watches = PQserverVersion(pg) >= VERSION_THAT_WATCHES;
    char sql[sizeof(setup_head) + sizeof(setup_watch) + sizeof(setup_tail)], pid[16];
    const char *values[] = {pid};

    snprintf(pid, sizeof(pid), "%d", PQbackendPID(pg));
    snprintf(sql, sizeof(sql), "%s%s%s", setup_head, watches ? setup_watch : "", setup_tail);
    ty_pg_push(conn, TY_PG_SETUP, NULL);
    if (!PQsendQueryParams(pg, sql, 1, NULL, values, NULL, NULL, 0) || !PQpipelineSync(pg) ||
        !ty_pg_link_flush(&conn->link))
        ty_pg_lose_later(conn);
}

void ty_pg_on_setup(struct ty_pg_conn *conn, const PGresult *result)
{
    struct ty_error error;

    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        conn->pooled = strcmp(PQgetvalue(result, 0, 0), "t") != 0;
        return;
    }
    if (!PQresultErrorField(result, PG_DIAG_SQLSTATE)) {
        ty_pg_lose_by_libpq(conn);
        return;
    }
    ty_error_set(&error, TY_ERR_UNAVAILABLE, PQresultErrorField(result, PG_DIAG_SQLSTATE),
                 "postgresql: %s: the session cannot be set up: %s", conn->own->name,
                 PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    ty_pg_lose(conn, &error, false);
}

void ty_pg_reset(struct ty_pool_conn *base)
{
    struct ty_pg_conn *conn = (struct ty_pg_conn *)base;
    PGconn *pg = conn->link.pg;

    if (conn->dead)
        return;
    conn->tending = true;
    ty_pg_push(conn, TY_PG_DISCARD, NULL);
    if (!PQsendQueryParams(pg, "discard all", 0, NULL, NULL, NULL, NULL, 0) ||
        !PQpipelineSync(pg)) {
        ty_pg_lose_later(conn);
        return;
    }
    ty_pg_cache_clear(&conn->cache);
    ty_pg_setup(conn);
}

void ty_pg_check(struct ty_pool_conn *base)
{
    struct ty_pg_conn *conn = (struct ty_pg_conn *)base;

    if (conn->dead)
        return;
    conn->tending = true;
    ty_pg_push(conn, TY_PG_CHECK, NULL);
    if (!PQpipelineSync(conn->link.pg) || !ty_pg_link_flush(&conn->link))
        ty_pg_lose_later(conn);
}

/* ---- what statements leave behind */

/* Statements that change a session by their first word. DO and CALL may do anything. */
static const char *const changers[] = {
    "RESET",   "LISTEN",     "UNLISTEN", "PREPARE", "DEALLOCATE", "DECLARE", "LOAD",
    "DISCARD", "CHECKPOINT", "DO",       "CALL",    "EXECUTE",    "LOCK",    NULL,
};

/* Words that do it wherever they stand. False alarms (a column of that name) cost a little time. */
static const char *const words[] = {
    "temp",
    "temporary",
    "pg_temp",
    "set_config",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "currval",
    "lastval",
    "setseed",
    NULL,
};

static bool is_word(const char *text, size_t len)
{
    for (const char *const *word = words; *word; word++) {
        if (strlen(*word) == len && strncasecmp(text, *word, len) == 0)
            return true;
    }
    return false;
}

static bool has_word(const char *sql)
{
    while (*sql) {
        size_t len = 0;

        while (isalnum((unsigned char)sql[len]) || sql[len] == '_')
            len++;
        if (len && strchr("tTsSpPcClL", *sql) && is_word(sql, len))
            return true;
        sql += len ? len : 1;
    }
    return false;
}

const char *ty_pg_first_word(const char *sql, char out[16])
{
    sql = ty_pg_skip_blanks(sql);
    ty_sql_first_word(sql, out);
    return sql + strlen(out);
}

/* SET LOCAL and SET TRANSACTION end with the transaction. */
static bool changes(const char *sql)
{
    char word[16], second[16];

    const char *rest = ty_pg_first_word(sql, word);
    if (strcmp(word, "SET") == 0) {
        ty_pg_first_word(rest, second);
        return strcmp(second, "LOCAL") != 0 && strcmp(second, "TRANSACTION") != 0 &&
               strcmp(second, "CONSTRAINTS") != 0;
    }
    return ty_sql_is_one_of(word, changers) || has_word(sql);
}

/* Looked at once for each text that is known. */
static bool op_changes(struct ty_pg *own, const struct ty_sql_op *op)
{
    struct ty_pg_text *text = ty_pg_known_find(&own->known, op->sql, op->sql_len);

    if (!text)
        return changes(op->sql);
    if (!text->judged) {
        text->changes_session = changes(text->sql);
        text->judged = true;
    }
    return text->changes_session;
}

static bool has_text(const struct ty_sql_op *op)
{
    return op->verb == TY_SQL_RUN || op->verb == TY_SQL_SCRIPT || op->verb == TY_SQL_OPEN ||
           op->verb == TY_SQL_COPY_IN || op->verb == TY_SQL_COPY_OUT;
}

bool ty_pg_changes_session(const struct ty_sql_op *op)
{
    struct ty_pg *own = ((struct ty_pool *)op->db)->own;

    if (!has_text(op))
        return false;
    for (; op; op = op->batch) {
        if (op_changes(own, op))
            return true;
    }
    return false;
}

/* ---- what they may not do */

static const char *const transactions[] = {"BEGIN", "START",     "COMMIT",  "END", "ROLLBACK",
                                           "ABORT", "SAVEPOINT", "RELEASE", NULL};

const char *ty_pg_refusal(const char *sql)
{
    char word[16], second[16];

    const char *rest = ty_pg_first_word(sql, word);
    if (ty_sql_is_one_of(word, transactions))
        return "transactions are begun and ended with db.transaction()";
    if (strcmp(word, "COPY") == 0)
        return "rows are copied with db.copy_in() and db.copy_out()";
    if (strcmp(word, "LISTEN") == 0 || strcmp(word, "UNLISTEN") == 0)
        return "notifications are waited for with db.listen()";
    if (strcmp(word, "PREPARE") == 0) {
        ty_pg_first_word(rest, second);
        if (strcmp(second, "TRANSACTION") == 0)
            return "transactions are begun and ended with db.transaction()";
    }
    return NULL;
}
