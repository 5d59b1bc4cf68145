#include <string.h>

#include "sql/postgres.h"

/* pg_type.dat: these numbers never change. The most frequent ones first. */
static const struct {
    Oid oid, array;
    enum ty_sql_type type;
} types[] = {
    {16, 1000, TY_SQL_BOOLEAN},     /* bool */
    {17, 1001, TY_SQL_BLOB},        /* bytea */
    {20, 1016, TY_SQL_INTEGER},     /* int8 */
    {21, 1005, TY_SQL_INTEGER},     /* int2 */
    {23, 1007, TY_SQL_INTEGER},     /* int4 */
    {25, 1009, TY_SQL_TEXT},        /* text */
    {26, 1028, TY_SQL_INTEGER},     /* oid */
    {114, 199, TY_SQL_JSON},        /* json */
    {700, 1021, TY_SQL_REAL},       /* float4 */
    {701, 1022, TY_SQL_REAL},       /* float8 */
    {1043, 1015, TY_SQL_TEXT},      /* varchar */
    {1114, 1115, TY_SQL_TIMESTAMP}, /* timestamp */
    {1184, 1185, TY_SQL_TIMESTAMP}, /* timestamptz */
    {3802, 3807, TY_SQL_JSON},      /* jsonb */
    {18, 1002, TY_SQL_TEXT},        /* "char" */
    {19, 1003, TY_SQL_TEXT},        /* name */
    {1042, 1014, TY_SQL_TEXT},      /* bpchar */
    {1082, 1182, TY_SQL_TEXT},      /* date */
    {1083, 1183, TY_SQL_TEXT},      /* time */
    {1266, 1270, TY_SQL_TEXT},      /* timetz */
    {1186, 1187, TY_SQL_TEXT},      /* interval */
    {1700, 1231, TY_SQL_TEXT},      /* numeric: exact, so never a float */
    {2950, 2951, TY_SQL_TEXT},      /* uuid */
    {869, 1041, TY_SQL_TEXT},       /* inet */
    {650, 651, TY_SQL_TEXT},        /* cidr */
    {829, 1040, TY_SQL_TEXT},       /* macaddr */
};

static enum ty_sql_type type_of(Oid oid, enum ty_sql_type *element)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].oid == oid)
            return types[i].type;
        if (types[i].array == oid) {
            *element = types[i].type;
            return TY_SQL_ARRAY;
        }
    }
    return TY_SQL_TEXT;
}

struct ty_slice ty_pg_name(const struct ty_sql_op *op, struct ty_sql_cursor *cursor)
{
    const char *name = PQfname(op->result, (int)cursor->at++);

    return (struct ty_slice){name, strlen(name)};
}

/* The server's own, so that nothing else can be in there. */
static int64_t read_integer(struct ty_slice text)
{
    bool negative = text.data[0] == '-';
    uint64_t number = 0;

    for (size_t i = negative; i < text.len; i++)
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    return (int64_t)(negative ? 0 - number : number);
}

void ty_pg_cell(struct ty_sql_op *op, struct ty_sql_cursor *cursor, struct ty_sql_value *value)
{
    const PGresult *result = op->result;
    size_t at = cursor->at++ - op->column_count;
    int row = (int)(at / op->column_count), column = (int)(at % op->column_count);
    enum ty_sql_type element = TY_SQL_TEXT, type;

    if (PQgetisnull(result, row, column)) {
        *value = (struct ty_sql_value){.type = TY_SQL_NULL};
        return;
    }
    struct ty_slice text = {PQgetvalue(result, row, column),
                            (size_t)PQgetlength(result, row, column)};
    type = type_of(PQftype(result, column), &element);
    if (type == TY_SQL_INTEGER) {
        *value = (struct ty_sql_value){.type = type, .integer = read_integer(text)};
        return;
    }
    if (!ty_sql_from_text(type, text, &op->rows, value))
        *value = (struct ty_sql_value){.type = TY_SQL_TEXT, .bytes = text};
    if (type == TY_SQL_ARRAY)
        value->element = element;
}

void ty_pg_op_close(struct ty_sql_op *op)
{
    PQclear(op->result);
    op->result = NULL;
    ty_buf_close(&op->rows);
}
