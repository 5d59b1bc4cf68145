#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/mysql.h"
#include "sql/rows.h"
#include "tycho/memory.h"

/* The library hands over each cell where it stands in the packet: it is read from there, and goes
 * straight into the result. Numbers are little-endian. */

enum { BINARY = 63 }; /* the character set of what is none */

/* What becomes of a column. */
enum form {
    FORM_INTEGER,
    FORM_BOOLEAN,
    FORM_FLOAT,
    FORM_DOUBLE,
    FORM_TIMESTAMP,
    FORM_DATE,
    FORM_TIME,
    FORM_BITS,
    FORM_TEXT,
    FORM_BLOB,
    FORM_JSON,
    FORM_NULL,
};

struct ty_mysql_kind {
    unsigned char form;
    unsigned char width; /* of a number; 0: its length comes first */
    bool is_unsigned;
};

static uint64_t number(const unsigned char *at, unsigned width)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static uint64_t take_number(unsigned char **row, unsigned width)
{
    uint64_t value = number(*row, width);

    *row += width;
    return value;
}

/* A length in the protocol's own form. */
static size_t take_len(unsigned char **row)
{
    unsigned char first = *(*row)++;

    switch (first) {
    case 252:
        return take_number(row, 2);
    case 253:
        return take_number(row, 3);
    case 254:
        return take_number(row, 8);
    default:
        return first;
    }
}

/* ---- columns */

static bool attribute_is(const MYSQL_FIELD *field, enum mariadb_field_attr_t which,
                         const char *word)
{
    MARIADB_CONST_STRING text;

    return mariadb_field_attr(&text, field, which) == 0 && text.length == strlen(word) &&
           memcmp(text.str, word, text.length) == 0;
}

/* MariaDB's JSON is a text, of which it says how it is written; its types of fixed length are
 * sent as texts too. */
static enum form form_of_bytes(const MYSQL_FIELD *field)
{
    if (attribute_is(field, MARIADB_FIELD_ATTR_FORMAT_NAME, "json"))
        return FORM_JSON;
    if (attribute_is(field, MARIADB_FIELD_ATTR_DATA_TYPE_NAME, "uuid") ||
        attribute_is(field, MARIADB_FIELD_ATTR_DATA_TYPE_NAME, "inet6") ||
        attribute_is(field, MARIADB_FIELD_ATTR_DATA_TYPE_NAME, "inet4"))
        return FORM_TEXT;
    return field->charsetnr == BINARY ? FORM_BLOB : FORM_TEXT;
}

static enum form form_of(const MYSQL_FIELD *field)
{
    switch (field->type) {
    case MYSQL_TYPE_TINY: /* BOOLEAN is TINYINT(1) */
        return field->length == 1 && !(field->flags & UNSIGNED_FLAG) ? FORM_BOOLEAN : FORM_INTEGER;
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_YEAR:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
        return FORM_INTEGER;
    case MYSQL_TYPE_FLOAT:
        return FORM_FLOAT;
    case MYSQL_TYPE_DOUBLE:
        return FORM_DOUBLE;
    case MYSQL_TYPE_DATE:
    case MYSQL_TYPE_NEWDATE:
        return FORM_DATE;
    case MYSQL_TYPE_DATETIME:
    case MYSQL_TYPE_TIMESTAMP:
        return FORM_TIMESTAMP;
    case MYSQL_TYPE_TIME:
        return FORM_TIME;
    case MYSQL_TYPE_BIT:
        return FORM_BITS;
    case MYSQL_TYPE_JSON:
        return FORM_JSON;
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:
        return FORM_TEXT;
    case MYSQL_TYPE_NULL:
        return FORM_NULL;
    case MYSQL_TYPE_GEOMETRY:
        return FORM_BLOB;
    default:
        return form_of_bytes(field);
    }
}

static unsigned char width_of(const MYSQL_FIELD *field)
{
    switch (field->type) {
    case MYSQL_TYPE_TINY:
        return 1;
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_YEAR:
        return 2;
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_FLOAT:
        return 4;
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

/* ---- cells */

static void read_integer(const struct ty_mysql_kind *kind, uint64_t bits,
                         struct ty_sql_value *value)
{
    unsigned shift = (64 - 8u * kind->width) & 63;

    if (kind->form == FORM_BOOLEAN) {
        *value = (struct ty_sql_value){.type = TY_SQL_BOOLEAN, .integer = bits != 0};
    } else if (!kind->is_unsigned) {
        value->type = TY_SQL_INTEGER;
        value->integer = (int64_t)(bits << shift) >> shift;
    } else {
        value->type = bits > INT64_MAX ? TY_SQL_UNSIGNED : TY_SQL_INTEGER;
        value->natural = bits;
    }
}

/* A float of four bytes stands for the shortest number that is stored as it: 0.1, and not
 * 0.10000000149011612. */
static double widen(float narrow)
{
    char text[32];

    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)narrow);
        if (strtof(text, NULL) == narrow)
            break;
    }
    return strtod(text, NULL);
}

static void read_real(const struct ty_mysql_kind *kind, uint64_t bits, struct ty_sql_value *value)
{
    uint32_t half = (uint32_t)bits;
    float narrow;

    value->type = TY_SQL_REAL;
    if (kind->form == FORM_DOUBLE) {
        memcpy(&value->real, &bits, sizeof(bits));
    } else {
        memcpy(&narrow, &half, sizeof(half));
        value->real = widen(narrow);
    }
}

/* Year, month, day; then hour, minute, second; then microseconds: what is zero at the end is not
 * sent. */
static size_t write_date(const struct ty_mysql_kind *kind, const unsigned char *at, size_t len,
                         char *out, size_t out_len)
{
    unsigned char all[11] = {0};

    memcpy(all, at, len < sizeof(all) ? len : sizeof(all));
    unsigned year = (unsigned)number(all, 2);
    if (kind->form == FORM_DATE)
        return (size_t)snprintf(out, out_len, "%04u-%02u-%02u", year, all[2], all[3]);
    return (size_t)snprintf(out, out_len, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", year, all[2],
                            all[3], all[4], all[5], all[6], (unsigned)number(all + 7, 4));
}

/* Negative or not; days, hours, minutes, seconds; microseconds. */
static size_t write_time(const unsigned char *at, size_t len, char *out, size_t out_len)
{
    unsigned char all[12] = {0};

    memcpy(all, at, len < sizeof(all) ? len : sizeof(all));
    unsigned hours = (unsigned)number(all + 1, 4) * 24 + all[5];
    unsigned micros = (unsigned)number(all + 8, 4);
    int written =
        snprintf(out, out_len, "%s%02u:%02u:%02u", all[0] ? "-" : "", hours, all[6], all[7]);
    if (micros)
        written += snprintf(out + written, out_len - (size_t)written, ".%06u", micros);
    return (size_t)written;
}

static void read_bits(const unsigned char *at, size_t len, struct ty_sql_value *value)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < len; i++) /* the other way round */
        bits = bits << 8 | at[i];
    value->type = bits > INT64_MAX ? TY_SQL_UNSIGNED : TY_SQL_INTEGER;
    value->natural = bits;
}

static void read_bytes(const struct ty_mysql_kind *kind, unsigned char **row, char *text,
                       size_t text_len, struct ty_sql_value *value)
{
    size_t len = take_len(row);
    const unsigned char *at = *row;

    *row += len;
    value->type = TY_SQL_TEXT;
    value->bytes = (struct ty_slice){(const char *)at, len};
    switch ((enum form)kind->form) {
    case FORM_TIMESTAMP:
    case FORM_DATE:
        value->bytes = (struct ty_slice){text, write_date(kind, at, len, text, text_len)};
        break;
    case FORM_TIME:
        value->bytes = (struct ty_slice){text, write_time(at, len, text, text_len)};
        break;
    case FORM_BITS:
        read_bits(at, len, value);
        break;
    case FORM_BLOB:
        value->type = TY_SQL_BLOB;
        break;
    case FORM_JSON:
        value->type = TY_SQL_JSON;
        break;
    default:
        break;
    }
}

/* Called by the library, on its own stack. */
static void on_cell(void *arg, unsigned column, unsigned char **row)
{
    struct ty_mysql_conn *conn = arg;
    struct ty_sql_op *op = conn->op;
    struct ty_sql_value value = {.type = TY_SQL_NULL};
    const struct ty_mysql_kind *kind = &conn->kinds[column];
    char text[64];

    if (row && kind->form != FORM_NULL) {
        if (kind->form <= FORM_BOOLEAN)
            read_integer(kind, take_number(row, kind->width), &value);
        else if (kind->form <= FORM_DOUBLE)
            read_real(kind, take_number(row, kind->width), &value);
        else
            read_bytes(kind, row, text, sizeof(text), &value);
    }
    if (!op || conn->too_large || (op->rows_max && op->row_count >= op->rows_max))
        return;
    if (!ty_sql_rows_add(op, conn->base.pool->options.result_max, &value))
        conn->too_large = true;
}

void ty_mysql_rows_want(struct ty_mysql_conn *conn, MYSQL_STMT *handle)
{
    union {
        const void *plain;
        void (*call)(void *, unsigned, unsigned char **);
    } callback = {.call = on_cell};

    mysql_stmt_attr_set(handle, STMT_ATTR_CB_USER_DATA, conn);
    mysql_stmt_attr_set(handle, STMT_ATTR_CB_RESULT, callback.plain);
}

bool ty_mysql_rows_begin(struct ty_mysql_conn *conn, MYSQL_STMT *handle)
{
    struct ty_sql_op *op = conn->op;
    unsigned count = mysql_stmt_field_count(handle);
    const MYSQL_FIELD *fields = mariadb_stmt_fetch_fields(handle);

    if (count > conn->kind_cap) {
        conn->kinds = ty_realloc(conn->kinds, count * sizeof(conn->kinds[0]));
        conn->kind_cap = count;
    }
    op->column_count = count;
    for (unsigned i = 0; i < count; i++) {
        conn->kinds[i] = (struct ty_mysql_kind){
            .form = (unsigned char)form_of(&fields[i]),
            .width = width_of(&fields[i]),
            .is_unsigned = fields[i].flags & UNSIGNED_FLAG,
        };
        if (!ty_sql_rows_add_name(op, conn->base.pool->options.result_max, fields[i].name,
                                  strlen(fields[i].name)))
            return false;
    }
    return true;
}
