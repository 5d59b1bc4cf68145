#include "sql/sqlite.h"

#include <string.h>

/* A result is one run of bytes: the names of the columns, then the cells, row by row. Each name is
 * a length and its bytes; each cell is a type, then 8 bytes (a number, or a length) unless it
 * is NULL, then the bytes of a text or blob. */

enum { NUMBER_LEN = 8 };

static bool add(struct ty_sqlite_op *op, const void *bytes, size_t len)
{
    return ty_buf_try_add(&op->rows, bytes, len, op->db->options.result_max);
}

bool ty_sqlite_add_names(struct ty_sqlite_op *op, sqlite3_stmt *handle)
{
    op->column_count = (unsigned)sqlite3_column_count(handle);
    for (unsigned i = 0; i < op->column_count; i++) {
        const char *name = sqlite3_column_name(handle, (int)i);
        uint64_t len = name ? strlen(name) : 0;

        if (!add(op, &len, NUMBER_LEN) || !add(op, name, len))
            return false;
    }
    return true;
}

static bool is_boolean(sqlite3_stmt *handle, int column)
{
    const char *declared = sqlite3_column_decltype(handle, column);

    return declared &&
           (sqlite3_stricmp(declared, "boolean") == 0 || sqlite3_stricmp(declared, "bool") == 0);
}

static bool add_number(struct ty_sqlite_op *op, enum ty_sqlite_type type, const void *number)
{
    char cell[1 + NUMBER_LEN];

    cell[0] = (char)type;
    memcpy(cell + 1, number, NUMBER_LEN);
    return add(op, cell, sizeof(cell));
}

static bool add_bytes(struct ty_sqlite_op *op, enum ty_sqlite_type type, const void *bytes, int len)
{
    uint64_t size = (uint64_t)len;

    return add_number(op, type, &size) && add(op, bytes, size);
}

static bool add_cell(struct ty_sqlite_op *op, sqlite3_stmt *handle, int column)
{
    char null = TY_SQLITE_NULL;
    sqlite3_int64 integer;
    double real;

    switch (sqlite3_column_type(handle, column)) {
    case SQLITE_INTEGER:
        integer = sqlite3_column_int64(handle, column);
        return add_number(op, is_boolean(handle, column) ? TY_SQLITE_BOOLEAN : TY_SQLITE_INTEGER,
                          &integer);
    case SQLITE_FLOAT:
        real = sqlite3_column_double(handle, column);
        return add_number(op, TY_SQLITE_REAL, &real);
    case SQLITE_TEXT:
        return add_bytes(op, TY_SQLITE_TEXT, sqlite3_column_text(handle, column),
                         sqlite3_column_bytes(handle, column));
    case SQLITE_BLOB:
        return add_bytes(op, TY_SQLITE_BLOB, sqlite3_column_blob(handle, column),
                         sqlite3_column_bytes(handle, column));
    default:
        return add(op, &null, 1);
    }
}

bool ty_sqlite_add_row(struct ty_sqlite_op *op, sqlite3_stmt *handle)
{
    for (unsigned i = 0; i < op->column_count; i++) {
        if (!add_cell(op, handle, (int)i))
            return false;
    }
    op->row_count++;
    return true;
}

static void take(const struct ty_sqlite_op *op, struct ty_sqlite_cursor *cursor, void *out,
                 size_t len)
{
    memcpy(out, op->rows.data + cursor->at, len);
    cursor->at += len;
}

static struct ty_slice take_bytes(const struct ty_sqlite_op *op, struct ty_sqlite_cursor *cursor)
{
    uint64_t len;

    take(op, cursor, &len, NUMBER_LEN);
    struct ty_slice bytes = {op->rows.data + cursor->at, len};
    cursor->at += len;
    return bytes;
}

struct ty_slice ty_sqlite_name(const struct ty_sqlite_op *op, struct ty_sqlite_cursor *cursor)
{
    return take_bytes(op, cursor);
}

void ty_sqlite_cell(const struct ty_sqlite_op *op, struct ty_sqlite_cursor *cursor,
                    struct ty_sqlite_value *value)
{
    char type;

    take(op, cursor, &type, 1);
    value->type = (enum ty_sqlite_type)type;
    switch (value->type) {
    case TY_SQLITE_INTEGER:
    case TY_SQLITE_BOOLEAN:
        take(op, cursor, &value->integer, NUMBER_LEN);
        break;
    case TY_SQLITE_REAL:
        take(op, cursor, &value->real, NUMBER_LEN);
        break;
    case TY_SQLITE_TEXT:
    case TY_SQLITE_BLOB:
        value->bytes = take_bytes(op, cursor);
        break;
    case TY_SQLITE_NULL:
        break;
    }
}

void ty_sqlite_op_close(struct ty_sqlite_op *op)
{
    ty_buf_close(&op->rows);
}
