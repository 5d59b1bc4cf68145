#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db_private.h"
#include "error.h"
#include "fiber_private.h"
#include "int64.h"
#include "tycho/http.h"
#include "tycho/log.h"
#include "tycho/memory.h"
#include "vm.h"

enum { WHERE_MAX = 256, SQL_SHOWN = 500 };

/* What a log record says about who asked. */
struct ty_db_origin {
    char where[WHERE_MAX];
    char request_id[TY_REQUEST_ID_MAX + 1];
    struct ty_trace trace;
};

void ty_db_call_free(struct ty_db_call *call)
{
    ty_sql_op_close(&call->op);
    free(call->origin);
    free(call);
}

/* Only while the fiber waits: later its stack and its request may be gone. */
static void note_origin(struct ty_db_call *call)
{
    struct ty_db_origin *origin = ty_zalloc(sizeof(*origin));
    const struct ty_request *req = call->fiber ? call->fiber->request : NULL;

    memcpy(origin->where, "?", 2);
    ty_fiber_line(call->L, origin->where, WHERE_MAX);
    if (req) {
        memcpy(origin->request_id, req->id, sizeof(origin->request_id));
        origin->trace = req->trace;
    }
    call->origin = origin;
}

static void log_slow(const struct ty_db_call *call)
{
    const struct ty_db_origin *origin = call->origin;
    struct ty_buf fields = {0}, sql = {0};
    char operation[TY_SQL_OPERATION_MAX];

    ty_sql_operation(&call->op, operation);
    ty_sql_outline(ty_sql_system(call->db->sql), ty_sql_statement(&call->op), SQL_SHOWN, &sql);
    ty_log_add_field(&fields, "db", call->db->name, strlen(call->db->name));
    ty_log_add_field(&fields, "operation", operation, strlen(operation));
    if (sql.len)
        ty_log_add_field(&fields, "sql", sql.data, sql.len);
    ty_log_add_field(&fields, "at", origin->where, strlen(origin->where));
    ty_buf_addf(&fields, ",\"seconds\":%.3f,\"waited\":%.3f", (double)call->op.run_ns / 1e9,
                (double)call->op.wait_ns / 1e9);
    struct ty_log_context context = {
        .request_id = origin->request_id[0] ? origin->request_id : NULL,
        .trace_id = origin->trace.trace_id[0] ? origin->trace.trace_id : NULL,
        .span_id = origin->trace.span_id[0] ? origin->trace.span_id : NULL,
        .fields = fields.data,
        .fields_len = fields.len,
    };
    ty_log(TY_LOG_WARN, "db", &context,
           call->op.status == UV_ECANCELED ? "slow statement, cancelled" : "slow statement");
    ty_buf_close(&fields);
    ty_buf_close(&sql);
}

/* Whoever still waits for what was cancelled did not ask for that: it ran in a transaction that
 * another fiber has ended. */
void ty_db_explain(struct ty_sql_op *op)
{
    if (op->status == UV_ECANCELED)
        ty_error_set(&op->error, TY_ERR_CANCELLED, "transaction.undone",
                     "db: the transaction was undone while another fiber waited for a statement "
                     "in it");
}

static int push_result(lua_State *L, void *arg)
{
    struct ty_db_call *call = arg;

    ty_db_explain(&call->op);
    if (call->op.status != 0)
        return ty_db_push_error(L, &call->op);
    switch (call->op.verb) {
    case TY_SQL_RUN:
    case TY_SQL_FETCH:
        return ty_db_push(L, &call->op, call->shape);
    case TY_SQL_COPY_END:
        ty_push_int64(L, call->op.changes);
        return 1;
    case TY_SQL_COPY_GET:
        if (call->op.rows.len > 0)
            lua_pushlstring(L, call->op.rows.data, call->op.rows.len);
        else
            lua_pushnil(L);
        return 1;
    default:
        lua_pushboolean(L, 1);
        return 1;
    }
}

void ty_db_call_judge(struct ty_db_call *call)
{
    if (!call->db->slow_ns || call->op.run_ns < call->db->slow_ns)
        return;
    if (!call->origin)
        note_origin(call);
    log_slow(call);
}

static void on_done(struct ty_sql_op *op)
{
    struct ty_db_call *call = ty_db_call_of(op);

    ty_db_call_judge(call);
    if (call->wait.span)
        ty_db_trace_done(call->wait.span, op);
    if (call->tx_span)
        ty_db_trace_committed(call->tx_span, op);
    if (call->tx && op->status == UV_ECANCELED)
        ty_sql_tx_drop(call->tx);
    ty_wake(&call->wait, push_result, call);
    ty_db_call_free(call);
}

void ty_db_call_cancel(struct ty_wait *wait)
{
    struct ty_db_call *call = (struct ty_db_call *)wait;

    note_origin(call);
    if (wait->span)
        ty_db_trace_cancelled(wait->span);
    ty_sql_cancel(&call->op);
}

struct ty_db *ty_db_check(lua_State *L, uv_loop_t *loop, int index, struct ty_error *error)
{
    return ty_db_find(loop, ty_vm_of(L)->config, luaL_checkstring(L, index), error);
}

struct ty_db_call *ty_db_call_new(lua_State *L, struct ty_db *db, int count, size_t bytes,
                                  size_t sql_len)
{
    size_t values = (size_t)count * sizeof(struct ty_sql_value);
    struct ty_db_call *call = ty_try_alloc(sizeof(*call) + values + bytes + sql_len + 1);

    if (!call)
        return NULL;
    memset(call, 0, sizeof(*call));
    call->db = db;
    call->L = L;
    call->fiber = ty_fiber_running(L);
    call->handle_ref = LUA_NOREF;
    call->op.done = on_done;
    call->wait.what = db->what;
    return call;
}

int ty_db_push_no_memory(lua_State *L)
{
    return ty_push_error(L, TY_ERR_UNAVAILABLE, "ENOMEM", "db: out of memory");
}

void ty_db_copy_sql(struct ty_sql_op *op, char *to, const char *sql, size_t len)
{
    memcpy(to, sql, len);
    to[len] = '\0';
    op->sql = to;
    op->sql_len = len;
}

int ty_db_call_start(lua_State *L, struct ty_db_call *call, const struct ty_db_handle *handle)
{
    if (call->fiber->tracing)
        call->wait.span = ty_db_trace(L, call, handle);
    if (handle)
        ty_sql_tx_start(handle->tx, &call->op);
    else
        ty_sql_start(call->db->sql, &call->op);
    return ty_park(L, &call->wait, ty_db_call_cancel, -1);
}
