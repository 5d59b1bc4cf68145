#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "db_private.h"
#include "error.h"
#include "fiber_private.h"
#include "tycho/memory.h"
#include "vm.h"

/* Several statements in one go: one operation each, chained, and one fiber that waits for all. */

enum { BATCH_MAX = 1000, VALUES_MAX = 7900, ITEM_AT = 3, SHAPE_AT, SQL_AT, COUNT_AT, VALUES_AT };

static const char *const shapes[] = {"rows", "one", "value", "exec", NULL};

struct batch {
    struct ty_wait wait;
    struct ty_db_call **calls;
    int count;
};

static void free_batch(struct batch *batch)
{
    for (int i = 0; i < batch->count; i++) {
        batch->calls[i]->op.batch = NULL;
        ty_db_call_free(batch->calls[i]);
    }
    free(batch->calls);
    free(batch);
}

/* The statement that failed: the others were undone, or did not run. -1: none. */
static int find_failure(const struct batch *batch)
{
    for (int i = 0; i < batch->count; i++) {
        if (batch->calls[i]->op.status != 0)
            return i;
    }
    return -1;
}

static int push_batch(lua_State *L, void *arg)
{
    struct batch *batch = arg;
    int failed = find_failure(batch);

    if (failed >= 0) {
        ty_db_explain(&batch->calls[failed]->op);
        ty_db_push_error(L, &batch->calls[failed]->op);
        lua_pushinteger(L, failed + 1);
        lua_setfield(L, -2, "statement");
        return 2;
    }
    lua_createtable(L, batch->count, 0);
    int list = lua_gettop(L);
    for (int i = 0; i < batch->count; i++) {
        ty_db_push(L, &batch->calls[i]->op, batch->calls[i]->shape);
        lua_rawseti(L, list, i + 1);
        lua_settop(L, list); /* names of columns may be left below the result */
    }
    return 1;
}

static void on_batch_done(struct ty_sql_op *op)
{
    struct batch *batch = ty_db_call_of(op)->batch;

    ty_db_call_judge(batch->calls[0]);
    if (batch->wait.span)
        ty_db_trace_done(batch->wait.span, op);
    ty_wake(&batch->wait, push_batch, batch);
    free_batch(batch);
}

/* The first call speaks for all, and notes now who asked: later the fiber may be gone. */
static void cancel_batch(struct ty_wait *wait)
{
    if (wait->span)
        ty_db_trace_cancelled(wait->span);
    ty_db_call_cancel(&((struct batch *)wait)->calls[0]->wait);
}

/* Puts what the table at ITEM_AT holds above it: { shape, statement, value count, values... }.
 * Returns the count. May throw. */
static int unpack_item(lua_State *L)
{
    luaL_checktype(L, ITEM_AT, LUA_TTABLE);
    for (int i = 1; i <= 3; i++)
        lua_rawgeti(L, ITEM_AT, i);
    lua_Integer given = luaL_checkinteger(L, COUNT_AT);
    int count = given < 0 || given > VALUES_MAX ? -1 : (int)given;

    if (count < 0)
        luaL_error(L, "a statement has 0 to %d values", VALUES_MAX);
    luaL_checkstack(L, count + LUA_MINSTACK, "too many values");
    for (int i = 0; i < count; i++)
        lua_rawgeti(L, ITEM_AT, 4 + i);
    return count;
}

/* Everything that may throw happens here, while nothing is held. -1, with `error`, for values that
 * cannot be stored. */
static int check_items(lua_State *L, int count, struct ty_error *error)
{
    for (int i = 0; i < count; i++) {
        lua_settop(L, 2);
        lua_rawgeti(L, 2, i + 1);
        int values = unpack_item(L);
        luaL_checkoption(L, SHAPE_AT, NULL, shapes);
        luaL_checkstring(L, SQL_AT);
        if (ty_db_measure(L, VALUES_AT, VALUES_AT + values - 1, error) < 0)
            return -1;
    }
    return 0;
}

static struct ty_db_call *read_item(lua_State *L, struct ty_db *db)
{
    int count = unpack_item(L);
    size_t sql_len;
    const char *sql = lua_tolstring(L, SQL_AT, &sql_len);
    ptrdiff_t bytes = ty_db_measure(L, VALUES_AT, VALUES_AT + count - 1, NULL);
    struct ty_db_call *call = ty_db_call_new(L, db, count, (size_t)bytes, sql_len);

    if (!call)
        return NULL;
    char *space = (char *)(call->values + count);
    char *end = ty_db_read(L, VALUES_AT, VALUES_AT + count - 1, call->values, space);
    ty_db_copy_sql(&call->op, end, sql, sql_len);
    call->shape = (enum ty_db_shape)luaL_checkoption(L, SHAPE_AT, NULL, shapes);
    call->op.params = call->values;
    call->op.param_count = (unsigned)count;
    call->op.rows_max = call->shape == TY_DB_ROWS ? 0 : 1;
    return call;
}

/* The statements, chained. False: out of memory. */
static bool read_items(lua_State *L, struct ty_db *db, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++) {
        lua_settop(L, 2);
        lua_rawgeti(L, 2, i + 1);
        struct ty_db_call *call = read_item(L, db);
        if (!call)
            return false;
        call->batch = batch;
        call->op.done = on_batch_done;
        if (i > 0)
            batch->calls[i - 1]->op.batch = &call->op;
        batch->calls[batch->count++] = call;
    }
    return true;
}

/* batch(target, { { shape, sql, count, ... }, ... }) -> { result, ... } */
int ty_db_batch(lua_State *L)
{
    struct ty_error error;
    struct ty_db_handle *handle = lua_isuserdata(L, 1) ? ty_db_check_handle(L, 1) : NULL;
    int count = (int)lua_objlen(L, 2);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = handle ? handle->db : ty_db_check(L, loop, 1, &error);

    if (!db)
        return ty_push_core_error(L, &error);
    if (count < 1 || count > BATCH_MAX)
        return ty_push_error(L, TY_ERR_INTERNAL, "batch", "db: a batch is 1 to %d statements",
                             BATCH_MAX);
    if (check_items(L, count, &error) < 0)
        return ty_push_core_error(L, &error);

    struct batch *batch = ty_zalloc(sizeof(*batch));
    batch->calls = ty_zalloc((size_t)count * sizeof(struct ty_db_call *));
    batch->wait.what = db->what;
    if (!read_items(L, db, batch, count)) {
        free_batch(batch);
        return ty_db_push_no_memory(L);
    }
    if (batch->calls[0]->fiber->tracing)
        batch->wait.span = ty_db_trace(L, batch->calls[0], handle);
    if (handle)
        ty_sql_tx_start(handle->tx, &batch->calls[0]->op);
    else
        ty_sql_start(db->sql, &batch->calls[0]->op);
    return ty_park(L, &batch->wait, cancel_batch, -1);
}
