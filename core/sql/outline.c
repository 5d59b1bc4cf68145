#define _GNU_SOURCE /* memmem */
#include <ctype.h>
#include <string.h>

#include "sql/driver.h"

/* What is left of a statement to be read: where its system differs from the others matters, because
 * an apostrophe in what was wrongly taken for a comment, or was not, turns texts inside out. */
struct reader {
    const char *at, *end;
    bool is_postgres, is_mysql, is_sqlite;
    bool escapes; /* behind E'...', which goes on with '...' */
};

static char peek(const struct reader *r, size_t ahead)
{
    return (size_t)(r->end - r->at) > ahead ? r->at[ahead] : '\0';
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* ---- what is left out */

static void skip_line(struct reader *r)
{
    const char *end = memchr(r->at, '\n', (size_t)(r->end - r->at));

    r->at = end ? end + 1 : r->end;
}

/* In PostgreSQL there may be comments in it. */
static void skip_comment(struct reader *r)
{
    unsigned depth = 0;

    while (r->at < r->end) {
        if (peek(r, 0) == '/' && peek(r, 1) == '*' && (depth == 0 || r->is_postgres)) {
            depth++;
            r->at += 2;
        } else if (peek(r, 0) == '*' && peek(r, 1) == '/') {
            r->at += 2;
            if (--depth == 0)
                return;
        } else {
            r->at++;
        }
    }
}

static bool begins_line_comment(const struct reader *r)
{
    if (peek(r, 0) == '#')
        return r->is_mysql;
    if (peek(r, 0) != '-' || peek(r, 1) != '-')
        return false;
    return !r->is_mysql || (unsigned char)peek(r, 2) <= ' ';
}

/* Blanks and comments; true if there were any. */
static bool skip_blanks(struct reader *r)
{
    const char *start = r->at;

    for (;;) {
        if (r->at < r->end && isspace((unsigned char)*r->at))
            r->at++;
        else if (begins_line_comment(r))
            skip_line(r);
        else if (peek(r, 0) == '/' && peek(r, 1) == '*')
            skip_comment(r);
        else
            return r->at > start;
    }
}

/* To behind the quote that ends it, which is doubled to stand for itself. */
static void skip_quoted(struct reader *r, char quote, bool escapes)
{
    for (r->at++; r->at < r->end; r->at++) {
        bool is_escaped = *r->at == '\\' && escapes && r->end - r->at > 1;

        if (is_escaped || (*r->at == quote && peek(r, 1) == quote))
            r->at++;
        else if (*r->at == quote)
            break;
    }
    if (r->at < r->end)
        r->at++;
}

/* 1, 1.5e-3, 0xff */
static void skip_number(struct reader *r)
{
    bool is_hex = peek(r, 0) == '0' && (peek(r, 1) | 0x20) == 'x';

    while (r->at < r->end && (is_name(*r->at) || *r->at == '.')) {
        bool is_exponent = !is_hex && (*r->at | 0x20) == 'e';

        r->at++;
        if (is_exponent && (peek(r, 0) == '-' || peek(r, 0) == '+'))
            r->at++;
    }
}

/* $tag$ ... $tag$: is there one here? */
static bool skip_dollars(struct reader *r)
{
    const char *open = r->at, *body = open + 1;

    if (!r->is_postgres || isdigit((unsigned char)peek(r, 1)))
        return false;
    while (body < r->end && *body != '$' && is_name(*body))
        body++;
    if (body == r->end || *body != '$')
        return false;

    size_t len = (size_t)(++body - open);
    const char *close = memmem(body, (size_t)(r->end - body), open, len);

    r->at = close ? close + len : r->end;
    return true;
}

/* ---- what is shown */

static bool is_quoted_name(const struct reader *r, char c)
{
    return c == '"' || (c == '`' && !r->is_postgres) || (c == '[' && r->is_sqlite);
}

static void skip_word(struct reader *r)
{
    while (r->at < r->end && is_name(*r->at))
        r->at++;
}

/* Goes behind the next thing that is no blank; false if it is a literal. */
static bool skip_token(struct reader *r)
{
    char c = *r->at;
    bool escapes = r->escapes, is_text = c == '\'';

    r->escapes = false;
    if (r->is_postgres && (c | 0x20) == 'e' && peek(r, 1) == '\'') {
        escapes = is_text = true;
        r->at++;
    }
    if (is_text) {
        r->escapes = escapes;
        skip_quoted(r, '\'', escapes);
        return false;
    }
    if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)peek(r, 1)))) {
        skip_number(r);
        return false;
    }
    if (c == '$' && skip_dollars(r))
        return false;
    if (is_quoted_name(r, c))
        skip_quoted(r, c == '[' ? ']' : c, false);
    else if (is_name(c))
        skip_word(r);
    else
        r->at++;
    return true;
}

static void cut(struct ty_buf *out, size_t len)
{
    while (len > 0 && ((unsigned char)out->data[len] & 0xc0) == 0x80)
        len--; /* not in the middle of a character */
    out->len = len;
}

void ty_sql_outline(const char *system, struct ty_slice sql, size_t max, struct ty_buf *out)
{
    struct reader r = {
        .at = sql.data,
        .end = sql.data + sql.len,
        .is_postgres = strcmp(system, "postgresql") == 0,
        .is_mysql = strcmp(system, "mysql") == 0,
        .is_sqlite = strcmp(system, "sqlite") == 0,
    };
    size_t start = out->len;

    skip_blanks(&r);
    while (r.at < r.end && out->len - start <= max) {
        const char *from = r.at;

        if (!skip_token(&r))
            ty_buf_addc(out, '?');
        else
            ty_buf_add(out, from, (size_t)(r.at - from) <= max ? (size_t)(r.at - from) : max + 1);
        if (skip_blanks(&r) && r.at < r.end)
            ty_buf_addc(out, ' ');
    }
    if (out->len - start > max) {
        cut(out, start + max);
        ty_buf_adds(out, "...");
    }
}

/* ---- what an operation is called */

void ty_sql_operation(const struct ty_sql_op *op, char out[TY_SQL_OPERATION_MAX])
{
    static const char names[][TY_SQL_OPERATION_MAX] = {
        [TY_SQL_SCRIPT] = "SCRIPT",       [TY_SQL_BEGIN] = "BEGIN",
        [TY_SQL_COMMIT] = "COMMIT",       [TY_SQL_ROLLBACK] = "ROLLBACK",
        [TY_SQL_SAVEPOINT] = "SAVEPOINT", [TY_SQL_RELEASE] = "RELEASE",
        [TY_SQL_ROLLBACK_TO] = "UNDO",    [TY_SQL_FETCH] = "FETCH",
        [TY_SQL_SHUT] = "CLOSE",          [TY_SQL_COPY_IN] = "COPY",
        [TY_SQL_COPY_PUT] = "COPY DATA",  [TY_SQL_COPY_END] = "COPY END",
        [TY_SQL_COPY_OUT] = "COPY",       [TY_SQL_COPY_GET] = "COPY DATA",
    };

    if (op->verb == TY_SQL_RUN && op->batch)
        memcpy(out, "BATCH", sizeof("BATCH"));
    else if (op->verb == TY_SQL_RUN || op->verb == TY_SQL_OPEN)
        ty_sql_first_word(op->sql, out);
    else
        memcpy(out, names[op->verb], TY_SQL_OPERATION_MAX);
}

struct ty_slice ty_sql_statement(const struct ty_sql_op *op)
{
    switch (op->verb) {
    case TY_SQL_RUN:
    case TY_SQL_SCRIPT:
    case TY_SQL_OPEN:
    case TY_SQL_COPY_IN:
    case TY_SQL_COPY_OUT:
        return (struct ty_slice){op->sql, op->sql_len};
    default: /* what COPY sends is no statement */
        return (struct ty_slice){0};
    }
}
