#define _GNU_SOURCE /* memmem */
#include <ctype.h>
#include <string.h>

#include "sql/postgres.h"

/* Lexical structure: manual, 4.1. Only what may hide a semicolon is looked at. */

struct ty_pg_script ty_pg_script(const struct ty_sql_op *op)
{
    return (struct ty_pg_script){.at = op->sql, .end = op->sql + op->sql_len, .line = 1};
}

static unsigned count_lines(const char *at, const char *end)
{
    unsigned count = 0;

    for (; at < end; at++)
        count += *at == '\n';
    return count;
}

/* Behind a closing quote; two of them are one inside. `escapes`: E'it\'s'. */
static const char *skip_quoted(const char *at, const char *end, bool escapes)
{
    char quote = *at++;

    for (; at < end; at++) {
        bool is_pair =
            at + 1 < end && ((escapes && *at == '\\') || (*at == quote && at[1] == quote));

        if (is_pair)
            at++;
        else if (*at == quote)
            return at + 1;
    }
    return end;
}

static const char *skip_comment(const char *at, const char *end)
{
    unsigned depth = 0;

    for (; at + 1 < end; at++) {
        if (at[0] == '/' && at[1] == '*') {
            depth++;
            at++;
        } else if (at[0] == '*' && at[1] == '/') {
            at++;
            if (--depth == 0)
                return at + 1;
        }
    }
    return end;
}

/* $$...$$ or $tag$...$tag$; `at` itself if it is none: a parameter, say. */
static const char *skip_dollars(const char *at, const char *end)
{
    const char *tag_end = at + 1;

    if (tag_end < end && isdigit((unsigned char)*tag_end))
        return at;
    while (tag_end < end &&
           (isalnum((unsigned char)*tag_end) || *tag_end == '_' || (unsigned char)*tag_end >= 0x80))
        tag_end++;
    if (tag_end >= end || *tag_end != '$')
        return at;
    size_t len = (size_t)(tag_end + 1 - at);
    const char *close = memmem(tag_end + 1, (size_t)(end - tag_end - 1), at, len);
    return close ? close + len : end;
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Behind whatever begins at `at`: a string, a comment, a name, or one character. */
static const char *skip_token(const char *at, const char *end)
{
    const char *next = at;

    if ((*at == 'e' || *at == 'E') && at + 1 < end && at[1] == '\'')
        return skip_quoted(at + 1, end, true);
    if (*at == '\'' || *at == '"')
        return skip_quoted(at, end, false);
    if (*at == '-' && at + 1 < end && at[1] == '-') {
        while (next < end && *next != '\n' && *next != '\r')
            next++;
        return next;
    }
    if (*at == '/' && at + 1 < end && at[1] == '*')
        return skip_comment(at, end);
    if (*at == '$')
        next = skip_dollars(at, end);
    if (next == at && is_name(*at)) {
        while (next < end && (is_name(*next) || *next == '$'))
            next++;
    }
    return next == at ? at + 1 : next;
}

static bool is_empty_token(const char *at)
{
    return isspace((unsigned char)*at) || (at[0] == '-' && at[1] == '-') ||
           (at[0] == '/' && at[1] == '*');
}

const char *ty_pg_skip_blanks(const char *sql)
{
    const char *end = NULL; /* a script is long, and seldom begins with one */

    while (*sql && (*sql == ';' || is_empty_token(sql))) {
        end = end ? end : sql + strlen(sql);
        sql = skip_token(sql, end);
    }
    return sql;
}

/* SQL functions in standard syntax have semicolons inside: BEGIN ATOMIC ...; END. */
static void count_blocks(const char *at, const char *next, const char *end, unsigned *depth)
{
    size_t len = (size_t)(next - at);

    if (len == 5 && strncasecmp(at, "begin", len) == 0) {
        const char *second = next;

        while (second < end && isspace((unsigned char)*second))
            second++;
        if (end - second >= 6 && strncasecmp(second, "atomic", 6) == 0)
            *depth = 1;
    } else if (*depth && len == 4 && strncasecmp(at, "case", len) == 0) {
        ++*depth;
    } else if (*depth && len == 3 && strncasecmp(at, "end", len) == 0) {
        --*depth;
    }
}

bool ty_pg_script_next(struct ty_pg_script *script)
{
    const char *start = NULL, *at = script->at, *end = script->end;
    unsigned depth = 0, parens = 0;

    script->statement.len = 0;
    while (at < end) {
        const char *next = skip_token(at, end);

        if (*at == ';' && !depth && !parens && start)
            break;
        if (!start && *at != ';' && !is_empty_token(at)) {
            start = at;
            script->line += count_lines(script->at, at);
            script->at = at;
        }
        parens += *at == '(';
        parens -= *at == ')' && parens;
        count_blocks(at, next, end, &depth);
        at = next;
    }
    if (!start)
        return false;
    script->statement = (struct ty_slice){start, (size_t)(at - start)};
    script->statement_line = script->line;
    script->line += count_lines(script->at, at);
    script->at = at;
    return true;
}
