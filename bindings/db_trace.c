/* What databases do for a request that is traced. */
#include <stdio.h>
#include <string.h>

#include "db_private.h"
#include "fiber_private.h"
#include "trace.h"

static struct ty_span *open_span(lua_State *L, const struct ty_db *db, const struct ty_span *parent)
{
    struct ty_span *span = ty_trace_open(ty_fiber_running(L), L, parent);

    if (span)
        snprintf(span->database, sizeof(span->database), "%s", db->name);
    return span;
}

struct ty_span *ty_db_trace(lua_State *L, const struct ty_db_call *call,
                            const struct ty_db_handle *handle)
{
    struct ty_span *span = open_span(L, call->db, handle ? handle->span : NULL);
    struct ty_buf text = {0};

    if (!span)
        return NULL;
    ty_sql_operation(&call->op, span->operation);
    ty_sql_outline(ty_sql_system(call->db->sql), ty_sql_statement(&call->op), TY_SPAN_TEXT_MAX,
                   &text);
    snprintf(span->text, sizeof(span->text), "%s", ty_buf_cstr(&text));
    ty_buf_close(&text);
    for (const struct ty_sql_op *op = call->op.batch ? &call->op : NULL; op; op = op->batch)
        span->count++;
    return span;
}

static void note_rows(struct ty_span *span, const struct ty_sql_op *op)
{
    bool is_data = op->column_count > 0;

    if (op->verb != TY_SQL_RUN && op->verb != TY_SQL_FETCH && op->verb != TY_SQL_COPY_END)
        return;
    span->is_changes = !span->has_rows && !is_data;
    span->has_rows = true;
    span->rows += is_data ? (int64_t)op->row_count : span->is_changes ? op->changes : 0;
}

static void note_error(struct ty_span *span, const struct ty_sql_op *op)
{
    span->error = ty_error_kind_name(op->error.kind);
    snprintf(span->detail, sizeof(span->detail), "%s", op->error.detail);
}

void ty_db_trace_cancelled(struct ty_span *span)
{
    span->error = ty_error_kind_name(TY_ERR_CANCELLED);
}

void ty_db_trace_done(struct ty_span *span, const struct ty_sql_op *op)
{
    unsigned number = 1;

    span->error = NULL;
    span->wait_ns = op->wait_ns;
    span->run_ns = op->run_ns;
    for (; op && op->status == 0; op = op->batch, number++)
        note_rows(span, op);
    if (op) {
        note_error(span, op);
        span->has_rows = false;
        span->failed = span->count ? number : 0;
    }
    ty_trace_close(span);
}

/* ---- transactions */

struct ty_span *ty_db_trace_begin(lua_State *L, const struct ty_db *db)
{
    struct ty_span *span = open_span(L, db, NULL);

    if (span)
        span->is_transaction = true;
    return span;
}

void ty_db_trace_begun(struct ty_db_handle *handle, const struct ty_sql_op *op)
{
    handle->span->wait_ns = op->wait_ns;
    if (op->status == 0)
        return;
    note_error(handle->span, op);
    ty_trace_close(handle->span);
    handle->span = NULL;
}

void ty_db_trace_committed(struct ty_span *span, const struct ty_sql_op *op)
{
    bool is_unknown = op->status != 0 && op->error.kind == TY_ERR_UNKNOWN_OUTCOME;

    span->outcome = op->status == 0 ? "committed" : is_unknown ? "unknown" : "rolled back";
    ty_trace_close(span);
}

void ty_db_trace_undone(struct ty_db_handle *handle)
{
    handle->span->outcome = "rolled back";
    ty_trace_close(handle->span);
    handle->span = NULL;
}
