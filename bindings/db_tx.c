#include <lauxlib.h>
#include <stdlib.h>

#include "db_private.h"
#include "error.h"
#include "fiber_private.h"
#include "tycho/memory.h"
#include "vm.h"

static const char handle_name[] = "tycho.db.Transaction";

static void drop_handle(struct ty_db_handle *handle)
{
    if (handle->tx && handle->era == ty_db_era())
        ty_sql_tx_drop(handle->tx);
    handle->tx = NULL;
    if (handle->span)
        ty_db_trace_undone(handle);
    ty_fiber_forget_end(&handle->end);
}

/* Whatever became of the fiber: nobody will end its transaction any more. */
static void on_fiber_end(struct ty_fiber_end *end)
{
    drop_handle((struct ty_db_handle *)((char *)end - offsetof(struct ty_db_handle, end)));
}

static int l_handle_gc(lua_State *L)
{
    drop_handle(lua_touserdata(L, 1));
    return 0;
}

static struct ty_db_handle *push_handle(lua_State *L, struct ty_db *db)
{
    struct ty_db_handle *handle = lua_newuserdata(L, sizeof(*handle));

    *handle = (struct ty_db_handle){.db = db, .era = ty_db_era(), .end.run = on_fiber_end};
    if (luaL_newmetatable(L, handle_name)) {
        lua_pushcfunction(L, l_handle_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushliteral(L, "tycho.db.Transaction");
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return handle;
}

struct ty_db_handle *ty_db_check_handle(lua_State *L, int index)
{
    struct ty_db_handle *handle = luaL_checkudata(L, index, handle_name);

    if (!handle->tx || handle->era != ty_db_era())
        ty_fiber_blame(L, "the transaction is over");
    return handle;
}

static int push_begun(lua_State *L, void *arg)
{
    struct ty_db_call *call = arg;

    if (call->op.status != 0)
        return ty_db_push_error(L, &call->op);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->handle_ref);
    return 1;
}

/* Without a fiber the Lua state may be gone: cancel_begin() has given the handle back. */
static void on_begun(struct ty_sql_op *op)
{
    struct ty_db_call *call = ty_db_call_of(op);
    lua_State *main = call->L;
    int ref = call->handle_ref;

    if (call->handle && call->handle->span)
        ty_db_trace_begun(call->handle, op);
    if (call->handle)
        call->handle->tx = op->tx;
    else if (op->tx)
        ty_sql_tx_drop(op->tx);
    if (call->handle) {
        ty_wake(&call->wait, push_begun, call);
        luaL_unref(main, LUA_REGISTRYINDEX, ref);
    }
    ty_db_call_free(call);
}

static void cancel_begin(struct ty_wait *wait)
{
    struct ty_db_call *call = (struct ty_db_call *)wait;

    if (wait->span)
        ty_db_trace_cancelled(wait->span);
    luaL_unref(call->L, LUA_REGISTRYINDEX, call->handle_ref);
    call->handle = NULL;
    ty_sql_cancel(&call->op);
}

static const char *const isolations[] = {"default", "read committed", "repeatable read",
                                         "serializable", NULL};

/* begin(name, read_only, isolation) -> transaction */
int ty_db_begin(lua_State *L)
{
    struct ty_error error;
    bool read_only = lua_toboolean(L, 2);
    int isolation = luaL_checkoption(L, 3, "default", isolations);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = ty_db_check(L, loop, 1, &error);

    if (!db)
        return ty_push_core_error(L, &error);
    struct ty_db_handle *handle = push_handle(L, db);
    ty_fiber_at_end(L, &handle->end);
    lua_pushvalue(L, -1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);

    struct ty_db_call *call = ty_db_call_new(ty_vm_of(L)->L, db, 0, 0, 0);
    if (!call) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return ty_db_push_no_memory(L);
    }
    call->op.read_only = read_only;
    call->op.isolation = (enum ty_sql_isolation)isolation;
    call->op.done = on_begun;
    if (call->fiber->tracing)
        call->wait.span = handle->span = ty_db_trace_begin(L, db);
    handle->tx = ty_sql_begin(db->sql, &call->op);
    if (handle->tx) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        ty_db_call_free(call);
        return 1;
    }
    call->handle = handle;
    call->handle_ref = ref;
    return ty_park(L, &call->wait, cancel_begin, -1);
}

/* commit(transaction) -> true */
int ty_db_commit(lua_State *L)
{
    struct ty_db_handle *handle = ty_db_check_handle(L, 1);
    ty_fiber_loop(L);

    struct ty_db_call *call = ty_db_call_new(L, handle->db, 0, 0, 0);
    if (!call)
        return ty_db_push_no_memory(L);
    call->op.verb = TY_SQL_COMMIT;
    call->tx = handle->tx;
    if (call->fiber->tracing)
        call->wait.span = ty_db_trace(L, call, handle);
    call->tx_span = handle->span;
    handle->span = NULL;
    handle->tx = NULL;
    ty_sql_tx_start(call->tx, &call->op);
    return ty_park(L, &call->wait, ty_db_call_cancel, -1);
}

/* rollback(transaction): does not wait, so that it works when nothing else does */
int ty_db_rollback(lua_State *L)
{
    drop_handle(luaL_checkudata(L, 1, handle_name));
    return 0;
}

static int run_level(lua_State *L, enum ty_sql_verb verb)
{
    struct ty_db_handle *handle = ty_db_check_handle(L, 1);
    unsigned level = (unsigned)luaL_checkinteger(L, 2);
    ty_fiber_loop(L);

    struct ty_db_call *call = ty_db_call_new(L, handle->db, 0, 0, 0);
    if (!call)
        return ty_db_push_no_memory(L);
    call->op.verb = verb;
    call->op.level = level;
    return ty_db_call_start(L, call, handle);
}

/* savepoint(transaction, level) -> true */
int ty_db_savepoint(lua_State *L)
{
    return run_level(L, TY_SQL_SAVEPOINT);
}

/* release(transaction, level) -> true */
int ty_db_release(lua_State *L)
{
    return run_level(L, TY_SQL_RELEASE);
}

static void on_undone(struct ty_sql_op *op)
{
    ty_sql_op_close(op);
    free(op);
}

/* undo(transaction, level): back to the savepoint, whatever still runs behind it; does not wait */
int ty_db_undo(lua_State *L)
{
    struct ty_db_handle *handle = luaL_checkudata(L, 1, handle_name);
    unsigned level = (unsigned)luaL_checkinteger(L, 2);

    if (!handle->tx || handle->era != ty_db_era())
        return 0;
    struct ty_sql_op *op = ty_zalloc(sizeof(*op));
    op->verb = TY_SQL_ROLLBACK_TO;
    op->level = level;
    op->done = on_undone;
    ty_sql_tx_start(handle->tx, op);
    return 0;
}
