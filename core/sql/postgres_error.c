#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"

/* SQLSTATEs, or classes of them: the manual's appendix A. The first that fits counts. */
static const struct {
    const char *state;
    enum ty_error_kind kind;
} kinds[] = {
    {"08P01", TY_ERR_INTERNAL}, /* another number of values than of placeholders */
    {"08", TY_ERR_UNAVAILABLE}, /* connections */
    {"22", TY_ERR_INVALID},     /* data */
    {"23", TY_ERR_CONFLICT},    /* constraints */
    {"28", TY_ERR_UNAVAILABLE}, /* authorization */
    {"40003", TY_ERR_UNKNOWN_OUTCOME},
    {"40", TY_ERR_CONFLICT},    /* serialization, deadlocks */
    {"53", TY_ERR_UNAVAILABLE}, /* resources */
    {"54", TY_ERR_TOO_LARGE},   /* limits of the program */
    {"55P03", TY_ERR_CONFLICT}, /* a lock that was not to be waited for */
    {"57014", TY_ERR_CANCELLED},
    {"57", TY_ERR_UNAVAILABLE}, /* an operator's doing */
    {"58", TY_ERR_UNAVAILABLE}, /* the system below */
};

static enum ty_error_kind kind_of(const char *state)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strncmp(state, kinds[i].state, strlen(kinds[i].state)) == 0)
            return kinds[i].kind;
    }
    return TY_ERR_INTERNAL;
}

static const char *field(const PGresult *result, int code)
{
    const char *text = PQresultErrorField(result, code);

    return text ? text : "";
}

/* "Key (email)=(a@b.c) already exists.": the column, if it is one. The value is nobody's business.
 */
static void find_column(struct ty_sql_op *op, const char *told)
{
    const char *open = strchr(told, '('), *close = open ? strstr(open, ")=(") : NULL;

    if (!close || memchr(open, ',', (size_t)(close - open)))
        return;
    snprintf(op->column, sizeof(op->column), "%.*s", (int)(close - open - 1), open + 1);
}

static void name_things(struct ty_sql_op *op, const PGresult *result)
{
    snprintf(op->constraint, sizeof(op->constraint), "%s", field(result, PG_DIAG_CONSTRAINT_NAME));
    snprintf(op->table, sizeof(op->table), "%s", field(result, PG_DIAG_TABLE_NAME));
    snprintf(op->column, sizeof(op->column), "%s", field(result, PG_DIAG_COLUMN_NAME));
    if (!*op->column)
        find_column(op, field(result, PG_DIAG_MESSAGE_DETAIL));
    if (!*op->constraint && *op->column) /* NOT NULL has no name */
        snprintf(op->constraint, sizeof(op->constraint), "%.70s.%.80s", op->table, op->column);
}

/* Where in the statement: positions count characters. */
static const char *place_in(const struct ty_sql_op *op, const char *position)
{
    unsigned long left = strtoul(position, NULL, 10);
    const char *at = op->sql;

    if (!left || op->verb != TY_SQL_RUN)
        return NULL;
    while (*at && (left > 1 || ((unsigned char)*at & 0xc0) == 0x80)) {
        left -= ((unsigned char)*at & 0xc0) != 0x80;
        at++;
    }
    return *at ? at : NULL;
}

static void fail_with_place(struct ty_sql_op *op, enum ty_error_kind kind, const char *state,
                            const PGresult *result)
{
    enum { SHOWN = 40 };
    const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = field(result, PG_DIAG_MESSAGE_HINT);
    const char *place = place_in(op, field(result, PG_DIAG_STATEMENT_POSITION));

    ty_sql_fail(op, "postgresql", kind, state, "%s%s%.*s%s%s%s", message, place ? ", at: " : "",
                place ? SHOWN : 0, place ? place : "", *hint ? " (" : "", hint, *hint ? ")" : "");
}

void ty_pg_fail(struct ty_pg_conn *conn, struct ty_sql_op *op, const PGresult *result)
{
    const char *state = field(result, PG_DIAG_SQLSTATE);
    const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
    enum ty_error_kind kind = kind_of(state);

    if (!*state) { /* libpq's own */
        ty_sql_fail(op, "postgresql", TY_ERR_UNAVAILABLE, "connection", "%s: %s", conn->own->name,
                    "the connection failed");
        return;
    }
    if (kind == TY_ERR_CONFLICT)
        name_things(op, result);
    if (kind == TY_ERR_CANCELLED && strstr(message, "timeout"))
        kind = TY_ERR_TIMEOUT;
    if (strcmp(state, "25006") == 0 && !conn->reads_only) {
        conn->base.doomed = true; /* the server was demoted: find the one that takes its place */
        kind = TY_ERR_UNAVAILABLE;
    }
    if (kind == TY_ERR_INTERNAL || kind == TY_ERR_INVALID)
        fail_with_place(op, kind, state, result);
    else
        ty_sql_fail(op, "postgresql", kind, state, "%s", message);
}

bool ty_pg_is_fatal(const struct ty_pg *own, const PGresult *result, struct ty_error *error)
{
    const char *severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (strcmp(severity, "FATAL") != 0 && strcmp(severity, "PANIC") != 0)
        return false;
    ty_error_set(error, TY_ERR_UNAVAILABLE, field(result, PG_DIAG_SQLSTATE), "postgresql: %s: %s",
                 own->name, field(result, PG_DIAG_MESSAGE_PRIMARY));
    return true;
}

/* ---- connecting */

/* "FATAL:  28P01: password ...": the only way in which libpq tells. */
static const char *find_state(const char *message, char state[6])
{
    for (const char *at = message; (at = strstr(at, ":  ")); at++) {
        size_t len = 0;

        while (len < 5 &&
               (isdigit((unsigned char)at[3 + len]) || isupper((unsigned char)at[3 + len])))
            len++;
        if (len == 5 && strncmp(at + 8, ": ", 2) == 0) {
            memcpy(state, at + 3, 5);
            state[5] = '\0';
            return at + 10;
        }
    }
    state[0] = '\0';
    return message;
}

/* One line for each host, without hints, and without where in the server's source it was. */
static void flatten(char *to, size_t size, const char *from)
{
    size_t len = 0;

    while (*from && len + 3 < size) {
        size_t line_len = strcspn(from, "\n");

        if (line_len && *from != '\t' && strncmp(from, "LOCATION:", 9) != 0) {
            if (len) {
                to[len++] = ';';
                to[len++] = ' ';
            }
            size_t room = size - 1 - len, taken = line_len < room ? line_len : room;
            memcpy(to + len, from, taken);
            len += taken;
        }
        from += line_len;
        from += *from == '\n';
    }
    to[len] = '\0';
}

static const char *advice_of(const char *state)
{
    if (strcmp(state, "28P01") == 0)
        return "; is databases.%s.password right?";
    if (strcmp(state, "3D000") == 0)
        return "; it has to be created first (databases.%s.url)";
    if (strncmp(state, "28", 2) == 0)
        return "; see databases.%s.url, and pg_hba.conf of the server";
    return NULL;
}

bool ty_pg_connect_error(const struct ty_pg *own, PGconn *pg, struct ty_error *error)
{
    char state[6], text[640], advice[160] = "";
    const char *message = find_state(pg ? PQerrorMessage(pg) : "out of memory", state);
    const char *host = pg ? PQhost(pg) : NULL, *port = pg ? PQport(pg) : NULL;

    flatten(text, sizeof(text), message);
    if (pg && PQconnectionNeedsPassword(pg)) {
        snprintf(state, sizeof(state), "28P01");
        snprintf(text, sizeof(text), "the server wants a password");
    }
    const char *form = advice_of(state);
    if (form) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(advice, sizeof(advice), form, own->name);
#pragma GCC diagnostic pop
    }
    if (*state)
        ty_error_set(error, TY_ERR_UNAVAILABLE, state, "postgresql: %s (%s:%s): %s%s", own->name,
                     host ? host : "", port ? port : "", text, advice);
    else
        ty_error_set(error, TY_ERR_UNAVAILABLE, "connection", "postgresql: %s: %s", own->name,
                     text);
    return form != NULL;
}
