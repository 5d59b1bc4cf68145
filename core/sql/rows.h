/* A result as one run of bytes, for drivers that have to copy it anyway: written once, on any
 * thread, then read from front to back.
 *
 * The names of the columns, each a length and its bytes; then the cells, row by row: a type, then 8
 * bytes (a number, or a length) unless it is NULL, then the bytes.
 *
 * Writers return false when the result would be larger than `max`.
 */
#pragma once

#include "tycho/sql.h"

bool ty_sql_rows_add_name(struct ty_sql_op *op, size_t max, const char *name, size_t len);
/* ARRAY has no place here. */
bool ty_sql_rows_add(struct ty_sql_op *op, size_t max, const struct ty_sql_value *value);

/* For a driver's table. */
struct ty_slice ty_sql_rows_name(const struct ty_sql_op *op, struct ty_sql_cursor *cursor);
void ty_sql_rows_cell(struct ty_sql_op *op, struct ty_sql_cursor *cursor,
                      struct ty_sql_value *value);
void ty_sql_rows_close(struct ty_sql_op *op);
