#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"
#include "tycho/memory.h"

enum { NUMBER_LEN = 32 };

/* The shortest text that is read back as the same number. */
static void add_real(struct ty_buf *out, double real)
{
    char text[NUMBER_LEN];

    if (isnan(real) || isinf(real)) {
        ty_buf_adds(out, isnan(real) ? "NaN" : real > 0 ? "Infinity" : "-Infinity");
        return;
    }
    if (fabs(real) < 0x1p63 && real == floor(real)) { /* or no integer column would take it */
        snprintf(text, sizeof(text), "%.0f", real);
        ty_buf_adds(out, text);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            break;
    }
    ty_buf_adds(out, text);
}

static void add_integer(struct ty_buf *out, int64_t integer)
{
    if (integer < 0)
        ty_buf_addc(out, '-');
    ty_buf_addu(out, integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer);
}

/* As text, which the server reads as whatever type the statement wants there; bytes as they are. */
static void add_value(struct ty_buf *out, const struct ty_sql_value *value)
{
    switch (value->type) {
    case TY_SQL_BOOLEAN:
        ty_buf_adds(out, value->integer ? "true" : "false");
        break;
    case TY_SQL_INTEGER:
        add_integer(out, value->integer);
        break;
    case TY_SQL_UNSIGNED:
        ty_buf_addu(out, value->natural);
        break;
    case TY_SQL_REAL:
        add_real(out, value->real);
        break;
    default:
        ty_buf_add(out, value->bytes.data, value->bytes.len);
        break;
    }
    ty_buf_addc(out, '\0');
}

static void make_room(struct ty_pg *own, unsigned count)
{
    if (count <= own->param_max)
        return;
    own->values = ty_realloc(own->values, count * sizeof(own->values[0]));
    own->lengths = ty_realloc(own->lengths, count * sizeof(own->lengths[0]));
    own->formats = ty_realloc(own->formats, count * sizeof(own->formats[0]));
    own->offsets = ty_realloc(own->offsets, count * sizeof(own->offsets[0]));
    own->param_max = count;
}

int ty_pg_bind(struct ty_pg *own, const struct ty_sql_op *op)
{
    make_room(own, op->param_count);
    own->scratch.len = 0;
    for (unsigned i = 0; i < op->param_count; i++) {
        const struct ty_sql_value *value = &op->params[i];

        own->offsets[i] = own->scratch.len;
        own->formats[i] = value->type == TY_SQL_BLOB;
        if (value->type != TY_SQL_NULL)
            add_value(&own->scratch, value);
        if (own->scratch.len - own->offsets[i] > INT32_MAX)
            return -1;
        own->lengths[i] = value->type == TY_SQL_BLOB ? (int)value->bytes.len : 0;
    }
    for (unsigned i = 0; i < op->param_count; i++) /* the buffer moves no more */
        own->values[i] =
            op->params[i].type == TY_SQL_NULL ? NULL : own->scratch.data + own->offsets[i];
    return 0;
}
