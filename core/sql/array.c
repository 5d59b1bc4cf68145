/* PostgreSQL's text forms: of arrays (manual, 8.15.6 "Array Input and Output Syntax") and of the
 * values in them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/sql.h"

/* ---- values */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_bytes(struct ty_slice text, struct ty_buf *scratch, struct ty_sql_value *value)
{
    if (text.len < 2 || text.len % 2 != 0 || memcmp(text.data, "\\x", 2) != 0)
        return false;
    scratch->len = 0;
    char *to = ty_buf_reserve(scratch, text.len / 2);
    for (size_t i = 2; i < text.len; i += 2) {
        int high = hex_digit(text.data[i]), low = hex_digit(text.data[i + 1]);

        if (high < 0 || low < 0)
            return false;
        to[i / 2 - 1] = (char)(high << 4 | low);
    }
    scratch->len = text.len / 2 - 1;
    value->bytes = (struct ty_slice){to, scratch->len};
    return true;
}

static bool read_number(enum ty_sql_type type, struct ty_slice text, struct ty_sql_value *value)
{
    char copy[64], *end = copy;

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    if (type == TY_SQL_REAL)
        value->real = strtod(copy, &end); /* knows "NaN" and "Infinity" */
    else
        value->integer = strtoll(copy, &end, 10);
    return *end == '\0' && (type == TY_SQL_REAL || errno == 0);
}

/* "2026-11-21 16:00:00.12+00" becomes "2026-11-21T16:00:00.120000Z"; what is not of that form
 * (infinity, years before Christ or after 9999, another zone) stays as it is. */
static void read_timestamp(struct ty_slice text, struct ty_buf *scratch, struct ty_sql_value *value)
{
    enum { SECONDS_LEN = 19, DIGITS = 6 };
    const char *at = text.data + SECONDS_LEN, *end = text.data + text.len;
    char digits[DIGITS] = {'0', '0', '0', '0', '0', '0'};
    size_t count = 0;

    value->bytes = text;
    if (text.len < SECONDS_LEN || text.data[4] != '-' || text.data[10] != ' ')
        return;
    if (at < end && *at == '.') {
        for (at++; at < end && *at >= '0' && *at <= '9' && count < DIGITS; at++)
            digits[count++] = *at;
    }
    bool utc = end - at == 3 && memcmp(at, "+00", 3) == 0;
    if (at != end && !utc)
        return;
    scratch->len = 0;
    ty_buf_add(scratch, text.data, SECONDS_LEN);
    scratch->data[10] = 'T';
    ty_buf_addc(scratch, '.');
    ty_buf_add(scratch, digits, DIGITS);
    if (utc)
        ty_buf_addc(scratch, 'Z');
    value->bytes = (struct ty_slice){scratch->data, scratch->len};
}

bool ty_sql_from_text(enum ty_sql_type type, struct ty_slice text, struct ty_buf *scratch,
                      struct ty_sql_value *value)
{
    *value = (struct ty_sql_value){.type = type};
    switch (type) {
    case TY_SQL_BOOLEAN:
        value->integer = text.len == 1 && text.data[0] == 't';
        return text.len == 1;
    case TY_SQL_INTEGER:
    case TY_SQL_REAL:
        return read_number(type, text, value);
    case TY_SQL_BLOB:
        return read_bytes(text, scratch, value);
    case TY_SQL_TIMESTAMP:
        value->type = TY_SQL_TEXT;
        read_timestamp(text, scratch, value);
        return true;
    default:
        value->bytes = text;
        return true;
    }
}

/* ---- arrays */

static void skip(struct ty_slice *rest, size_t len)
{
    rest->data += len;
    rest->len -= len;
}

/* Lower bounds other than 1 are written in front: "[0:1]={1,2}". Lua's begin at 1 anyway. No
 * element looks like that: one with a brace is in quotes. */
static void skip_bounds(struct ty_slice *rest)
{
    static const char of_bounds[] = "[]:-+0123456789";
    size_t len = 0;

    if (rest->len == 0 || rest->data[0] != '[')
        return;
    while (len < rest->len && memchr(of_bounds, rest->data[len], sizeof(of_bounds) - 1))
        len++;
    if (rest->len - len >= 2 && memcmp(rest->data + len, "={", 2) == 0)
        skip(rest, len + 1);
}

/* What is between quotes, without its backslashes, into `out`. */
static bool unquote(struct ty_slice *rest, struct ty_buf *out)
{
    out->len = 0;
    for (size_t i = 1; i < rest->len; i++) {
        char c = rest->data[i];

        if (c == '"') {
            skip(rest, i + 1);
            return true;
        }
        if (c == '\\' && ++i < rest->len)
            c = rest->data[i];
        ty_buf_addc(out, c);
    }
    return false;
}

static enum ty_sql_token read_item(struct ty_sql_array *array, struct ty_buf *scratch,
                                   struct ty_sql_value *value)
{
    struct ty_slice *rest = &array->rest;
    struct ty_slice text = *rest;
    struct ty_buf plain = {0};
    bool quoted = rest->data[0] == '"';

    array->inside = true;
    if (quoted) {
        if (!unquote(rest, &plain)) {
            ty_buf_close(&plain);
            return TY_SQL_BAD;
        }
        text = (struct ty_slice){plain.data ? plain.data : "", plain.len};
    } else {
        text.len = 0;
        while (text.len < rest->len && !strchr(",{}\"", rest->data[text.len]))
            text.len++;
        skip(rest, text.len);
        if (text.len == 4 && memcmp(text.data, "NULL", 4) == 0) {
            *value = (struct ty_sql_value){.type = TY_SQL_NULL};
            return TY_SQL_ITEM;
        }
    }
    bool good = (quoted || text.len > 0) && ty_sql_from_text(array->element, text, scratch, value);
    if (good && quoted && value->bytes.data == text.data && value->type != TY_SQL_INTEGER &&
        value->type != TY_SQL_REAL && value->type != TY_SQL_BOOLEAN) {
        scratch->len = 0; /* texts stay where the next call may overwrite them */
        ty_buf_add(scratch, text.data, text.len);
        value->bytes = (struct ty_slice){scratch->data ? scratch->data : "", scratch->len};
    }
    ty_buf_close(&plain);
    return good ? TY_SQL_ITEM : TY_SQL_BAD;
}

enum ty_sql_token ty_sql_array_next(struct ty_sql_array *array, struct ty_buf *scratch,
                                    struct ty_sql_value *value)
{
    struct ty_slice *rest = &array->rest;

    skip_bounds(rest);
    if (array->inside && rest->len && rest->data[0] == ',') {
        skip(rest, 1);
        array->inside = false;
    }
    if (rest->len == 0)
        return TY_SQL_END;
    if (rest->data[0] == '}') {
        skip(rest, 1);
        array->inside = true;
        return TY_SQL_UP;
    }
    if (array->inside)
        return TY_SQL_BAD;
    if (rest->data[0] == '{') {
        skip(rest, 1);
        return TY_SQL_DOWN;
    }
    return read_item(array, scratch, value);
}
