#include <string.h>

#include "sql/rows.h"
#include "sql/sqlite.h"

bool ty_sqlite_add_names(struct ty_sql_op *op, sqlite3_stmt *handle)
{
    size_t max = ty_sqlite_of(op)->options.result_max;

    op->column_count = (unsigned)sqlite3_column_count(handle);
    for (unsigned i = 0; i < op->column_count; i++) {
        const char *name = sqlite3_column_name(handle, (int)i);

        if (!ty_sql_rows_add_name(op, max, name, name ? strlen(name) : 0))
            return false;
    }
    return true;
}

/* SQLite has no types for them: the declaration of the column says what was meant. */
static bool is_declared(sqlite3_stmt *handle, int column, const char *type, const char *other)
{
    const char *declared = sqlite3_column_decltype(handle, column);

    return declared &&
           (sqlite3_stricmp(declared, type) == 0 || sqlite3_stricmp(declared, other) == 0);
}

static struct ty_slice bytes_of(const void *bytes, int len)
{
    return (struct ty_slice){bytes, (size_t)len};
}

static void read_cell(sqlite3_stmt *handle, int column, struct ty_sql_value *value)
{
    switch (sqlite3_column_type(handle, column)) {
    case SQLITE_INTEGER:
        value->type =
            is_declared(handle, column, "boolean", "bool") ? TY_SQL_BOOLEAN : TY_SQL_INTEGER;
        value->integer = sqlite3_column_int64(handle, column);
        break;
    case SQLITE_FLOAT:
        value->type = TY_SQL_REAL;
        value->real = sqlite3_column_double(handle, column);
        break;
    case SQLITE_TEXT:
        value->type = is_declared(handle, column, "json", "jsonb") ? TY_SQL_JSON : TY_SQL_TEXT;
        value->bytes =
            bytes_of(sqlite3_column_text(handle, column), sqlite3_column_bytes(handle, column));
        break;
    case SQLITE_BLOB:
        value->type = TY_SQL_BLOB;
        value->bytes =
            bytes_of(sqlite3_column_blob(handle, column), sqlite3_column_bytes(handle, column));
        break;
    default:
        value->type = TY_SQL_NULL;
    }
}

bool ty_sqlite_add_row(struct ty_sql_op *op, sqlite3_stmt *handle)
{
    size_t max = ty_sqlite_of(op)->options.result_max;

    for (unsigned i = 0; i < op->column_count; i++) {
        struct ty_sql_value value = {.type = TY_SQL_NULL};

        read_cell(handle, (int)i, &value);
        if (!ty_sql_rows_add(op, max, &value))
            return false;
    }
    op->row_count++;
    return true;
}
