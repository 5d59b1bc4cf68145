#include "sql/rows.h"

#include <string.h>

enum { NUMBER_LEN = 8 };

bool ty_sql_rows_add_name(struct ty_sql_op *op, size_t max, const char *name, size_t len)
{
    uint64_t size = len;

    return ty_buf_try_add(&op->rows, &size, NUMBER_LEN, max) &&
           ty_buf_try_add(&op->rows, name, len, max);
}

bool ty_sql_rows_add(struct ty_sql_op *op, size_t max, const struct ty_sql_value *value)
{
    char cell[1 + NUMBER_LEN];
    uint64_t len = value->bytes.len;

    cell[0] = (char)value->type;
    switch (value->type) {
    case TY_SQL_NULL:
        return ty_buf_try_add(&op->rows, cell, 1, max);
    case TY_SQL_BOOLEAN:
    case TY_SQL_INTEGER:
    case TY_SQL_UNSIGNED:
    case TY_SQL_REAL:
        memcpy(cell + 1, &value->integer, NUMBER_LEN);
        return ty_buf_try_add(&op->rows, cell, sizeof(cell), max);
    default:
        memcpy(cell + 1, &len, NUMBER_LEN);
        return ty_buf_try_add(&op->rows, cell, sizeof(cell), max) &&
               ty_buf_try_add(&op->rows, value->bytes.data, value->bytes.len, max);
    }
}

static void take(const struct ty_sql_op *op, struct ty_sql_cursor *cursor, void *out, size_t len)
{
    memcpy(out, op->rows.data + cursor->at, len);
    cursor->at += len;
}

static struct ty_slice take_bytes(const struct ty_sql_op *op, struct ty_sql_cursor *cursor)
{
    uint64_t len;

    take(op, cursor, &len, NUMBER_LEN);
    struct ty_slice bytes = {op->rows.data + cursor->at, len};
    cursor->at += len;
    return bytes;
}

struct ty_slice ty_sql_rows_name(const struct ty_sql_op *op, struct ty_sql_cursor *cursor)
{
    return take_bytes(op, cursor);
}

void ty_sql_rows_cell(struct ty_sql_op *op, struct ty_sql_cursor *cursor,
                      struct ty_sql_value *value)
{
    char type;

    take(op, cursor, &type, 1);
    value->type = (enum ty_sql_type)type;
    switch (value->type) {
    case TY_SQL_NULL:
        break;
    case TY_SQL_BOOLEAN:
    case TY_SQL_INTEGER:
    case TY_SQL_UNSIGNED:
    case TY_SQL_REAL:
        take(op, cursor, &value->integer, NUMBER_LEN);
        break;
    default:
        value->bytes = take_bytes(op, cursor);
        break;
    }
}

void ty_sql_rows_close(struct ty_sql_op *op)
{
    ty_buf_close(&op->rows);
}
