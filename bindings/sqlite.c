#include "tycho/sqlite.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "fiber_private.h"
#include "modules.h"
#include "sqlite_private.h"
#include "tycho/log.h"
#include "tycho/memory.h"
#include "vm.h"

enum { PARAMS_AT = 4, WHERE_MAX = 256, SQL_SHOWN = 500 };

/* A transaction as Lua holds it: userdata. */
struct handle {
    struct ty_sqlite_tx *tx; /* NULL: not begun yet, or over */
    struct ty_db *db;
    unsigned era;
};

/* One operation, and the fiber that waits for it. */
struct call {
    struct ty_wait wait;
    struct ty_sqlite_op op;
    struct ty_db *db;
    lua_State *L; /* whose line it was, as long as it waits */
    enum ty_db_shape shape;
    struct handle *handle;           /* BEGIN: to be filled in; NULL once nobody wants it */
    int handle_ref;                  /* keeps it from the collector */
    struct ty_sqlite_tx *tx;         /* COMMIT: to be dropped if it was cancelled before it ran */
    char *where;                     /* the line, where it had to be remembered; NULL */
    struct ty_sqlite_value values[]; /* then their bytes, then the statement */
};

static const char handle_name[] = "tycho.db.Transaction";

static struct call *call_of(struct ty_sqlite_op *op)
{
    return (struct call *)((char *)op - offsetof(struct call, op));
}

static void drop_call(struct call *call)
{
    ty_sqlite_op_close(&call->op);
    free(call->where);
    free(call);
}

/* ---- handles */

static void drop_handle(struct handle *handle)
{
    if (handle->tx && handle->era == ty_db_era())
        ty_sqlite_tx_drop(handle->tx);
    handle->tx = NULL;
}

static int l_handle_gc(lua_State *L)
{
    drop_handle(lua_touserdata(L, 1));
    return 0;
}

static struct handle *push_handle(lua_State *L, struct ty_db *db)
{
    struct handle *handle = lua_newuserdata(L, sizeof(*handle));

    *handle = (struct handle){.db = db, .era = ty_db_era()};
    if (luaL_newmetatable(L, handle_name)) {
        lua_pushcfunction(L, l_handle_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushliteral(L, "tycho.db.Transaction");
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return handle;
}

static struct handle *check_handle(lua_State *L, int index)
{
    struct handle *handle = luaL_checkudata(L, index, handle_name);

    if (!handle->tx || handle->era != ty_db_era()) {
        luaL_where(L, 2);
        lua_pushliteral(L, "the transaction is over");
        lua_concat(L, 2);
        lua_error(L);
    }
    return handle;
}

/* ---- statements */

static void find_line(const struct call *call, char where[WHERE_MAX])
{
    memcpy(where, "?", 2);
    if (call->where)
        snprintf(where, WHERE_MAX, "%s", call->where);
    else if (call->wait.fiber) /* otherwise its stack may be gone */
        ty_fiber_line(call->L, where, WHERE_MAX);
}

static void log_slow(const struct call *call)
{
    char where[WHERE_MAX];
    struct ty_buf fields = {0};
    const char *sql = call->op.sql ? call->op.sql : "commit";

    find_line(call, where);
    ty_log_add_field(&fields, "db", call->db->name, strlen(call->db->name));
    ty_log_add_field(&fields, "sql", sql, strnlen(sql, SQL_SHOWN));
    ty_log_add_field(&fields, "at", where, strlen(where));
    ty_buf_addf(&fields, ",\"seconds\":%.3f,\"waited\":%.3f", (double)call->op.run_ns / 1e9,
                (double)call->op.wait_ns / 1e9);
    struct ty_log_context context = {.fields = fields.data, .fields_len = fields.len};
    ty_log(TY_LOG_WARN, "db", &context,
           call->op.status == UV_ECANCELED ? "slow statement, cancelled" : "slow statement");
    ty_buf_close(&fields);
}

static int push_result(lua_State *L, void *arg)
{
    struct call *call = arg;

    if (call->op.status != 0)
        return ty_db_push_error(L, &call->op);
    if (call->op.verb != TY_SQLITE_RUN) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return ty_db_push(L, &call->op, call->shape);
}

static void on_done(struct ty_sqlite_op *op)
{
    struct call *call = call_of(op);

    if (call->db->slow_ns && op->run_ns >= call->db->slow_ns)
        log_slow(call);
    if (call->tx && op->status == UV_ECANCELED)
        ty_sqlite_tx_drop(call->tx);
    ty_wake(&call->wait, push_result, call);
    drop_call(call);
}

static void cancel_call(struct ty_wait *wait)
{
    struct call *call = (struct call *)wait;
    char where[WHERE_MAX] = "?";

    ty_fiber_line(call->L, where, WHERE_MAX); /* for the log: the last moment to ask */
    call->where = ty_strdup(where);
    ty_sqlite_cancel(&call->op);
}

static struct ty_db *find_db(lua_State *L, uv_loop_t *loop, int index, struct ty_error *error)
{
    return ty_db_find(loop, ty_vm_of(L)->config, luaL_checkstring(L, index), error);
}

/* Room for one operation with `count` values of `bytes` bytes, and a statement. */
static struct call *new_call(lua_State *L, struct ty_db *db, int count, size_t bytes,
                             size_t sql_len)
{
    size_t values = (size_t)count * sizeof(struct ty_sqlite_value);
    struct call *call = ty_try_alloc(sizeof(*call) + values + bytes + sql_len + 1);

    if (!call)
        return NULL;
    memset(call, 0, sizeof(*call));
    call->db = db;
    call->L = L;
    call->handle_ref = LUA_NOREF;
    call->op.done = on_done;
    call->wait.what = "db";
    return call;
}

static int push_no_memory(lua_State *L)
{
    return ty_push_error(L, TY_ERR_UNAVAILABLE, "ENOMEM", "sqlite: out of memory");
}

static int start_call(lua_State *L, struct call *call, const struct handle *handle)
{
    if (handle)
        ty_sqlite_tx_start(handle->tx, &call->op);
    else
        ty_sqlite_start(call->db->sqlite, &call->op);
    return ty_park(L, &call->wait, cancel_call, -1);
}

static void copy_sql(struct call *call, char *to, const char *sql, size_t len)
{
    memcpy(to, sql, len);
    to[len] = '\0';
    call->op.sql = to;
    call->op.sql_len = len;
}

/* run(target, shape, sql, ...): target is a database's name or a transaction */
static int l_run(lua_State *L)
{
    static const char *const shapes[] = {"rows", "one", "value", "exec", NULL};

    size_t sql_len;
    struct ty_error error;
    struct handle *handle = lua_isuserdata(L, 1) ? check_handle(L, 1) : NULL;
    enum ty_db_shape shape = (enum ty_db_shape)luaL_checkoption(L, 2, NULL, shapes);
    const char *sql = luaL_checklstring(L, 3, &sql_len);
    int count = lua_gettop(L) - PARAMS_AT + 1;
    ptrdiff_t bytes = ty_db_measure(L, PARAMS_AT, PARAMS_AT + count - 1, &error);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = handle ? handle->db : NULL;

    if (bytes < 0 || (!db && !(db = find_db(L, loop, 1, &error))))
        return ty_push_core_error(L, &error);
    struct call *call = new_call(L, db, count, (size_t)bytes, sql_len);
    if (!call)
        return push_no_memory(L);

    char *space = (char *)(call->values + count);
    ty_db_read(L, PARAMS_AT, PARAMS_AT + count - 1, call->values, space);
    copy_sql(call, space + bytes, sql, sql_len);
    call->shape = shape;
    call->op.params = call->values;
    call->op.param_count = (unsigned)count;
    call->op.rows_max = shape == TY_DB_ROWS ? 0 : 1;
    return start_call(L, call, handle);
}

/* script(target, sql) */
static int l_script(lua_State *L)
{
    size_t sql_len;
    struct ty_error error;
    struct handle *handle = lua_isuserdata(L, 1) ? check_handle(L, 1) : NULL;
    const char *sql = luaL_checklstring(L, 2, &sql_len);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = handle ? handle->db : find_db(L, loop, 1, &error);

    if (!db)
        return ty_push_core_error(L, &error);
    struct call *call = new_call(L, db, 0, 0, sql_len);
    if (!call)
        return push_no_memory(L);
    copy_sql(call, (char *)call->values, sql, sql_len);
    call->op.verb = TY_SQLITE_SCRIPT;
    return start_call(L, call, handle);
}

/* ---- transactions */

static int push_begun(lua_State *L, void *arg)
{
    struct call *call = arg;

    if (call->op.status != 0)
        return ty_db_push_error(L, &call->op);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->handle_ref);
    return 1;
}

/* Without a fiber the Lua state may be gone: cancel_begin() has given the handle back. */
static void on_begun(struct ty_sqlite_op *op)
{
    struct call *call = call_of(op);
    lua_State *main = call->L;
    int ref = call->handle_ref;

    if (call->handle)
        call->handle->tx = op->tx;
    else if (op->tx)
        ty_sqlite_tx_drop(op->tx);
    if (call->handle) {
        ty_wake(&call->wait, push_begun, call);
        luaL_unref(main, LUA_REGISTRYINDEX, ref);
    }
    drop_call(call);
}

static void cancel_begin(struct ty_wait *wait)
{
    struct call *call = (struct call *)wait;

    luaL_unref(call->L, LUA_REGISTRYINDEX, call->handle_ref);
    call->handle = NULL;
    ty_sqlite_cancel(&call->op);
}

/* begin(name, read_only) -> transaction */
static int l_begin(lua_State *L)
{
    struct ty_error error;
    bool read_only = lua_toboolean(L, 2);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = find_db(L, loop, 1, &error);

    if (!db)
        return ty_push_core_error(L, &error);
    struct handle *handle = push_handle(L, db);
    lua_pushvalue(L, -1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);

    struct call *call = new_call(ty_vm_of(L)->L, db, 0, 0, 0);
    if (!call) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return push_no_memory(L);
    }
    call->op.read_only = read_only;
    call->op.done = on_begun;
    handle->tx = ty_sqlite_begin(db->sqlite, &call->op);
    if (handle->tx) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        drop_call(call);
        return 1;
    }
    call->handle = handle;
    call->handle_ref = ref;
    return ty_park(L, &call->wait, cancel_begin, -1);
}

/* commit(transaction) -> true */
static int l_commit(lua_State *L)
{
    struct handle *handle = check_handle(L, 1);
    ty_fiber_loop(L);

    struct call *call = new_call(L, handle->db, 0, 0, 0);
    if (!call)
        return push_no_memory(L);
    call->op.verb = TY_SQLITE_COMMIT;
    call->tx = handle->tx;
    handle->tx = NULL;
    ty_sqlite_tx_start(call->tx, &call->op);
    return ty_park(L, &call->wait, cancel_call, -1);
}

/* rollback(transaction): does not wait, so that it works when nothing else does */
static int l_rollback(lua_State *L)
{
    drop_handle(luaL_checkudata(L, 1, handle_name));
    return 0;
}

static int run_level(lua_State *L, enum ty_sqlite_verb verb)
{
    struct handle *handle = check_handle(L, 1);
    unsigned level = (unsigned)luaL_checkinteger(L, 2);
    ty_fiber_loop(L);

    struct call *call = new_call(L, handle->db, 0, 0, 0);
    if (!call)
        return push_no_memory(L);
    call->op.verb = verb;
    call->op.level = level;
    return start_call(L, call, handle);
}

/* savepoint(transaction, level) -> true */
static int l_savepoint(lua_State *L)
{
    return run_level(L, TY_SQLITE_SAVEPOINT);
}

/* release(transaction, level) -> true */
static int l_release(lua_State *L)
{
    return run_level(L, TY_SQLITE_RELEASE);
}

static void on_undone(struct ty_sqlite_op *op)
{
    free(op);
}

/* undo(transaction, level): back to the savepoint; does not wait */
static int l_undo(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, handle_name);
    unsigned level = (unsigned)luaL_checkinteger(L, 2);

    if (!handle->tx || handle->era != ty_db_era())
        return 0;
    struct ty_sqlite_op *op = ty_zalloc(sizeof(*op));
    op->verb = TY_SQLITE_ROLLBACK_TO;
    op->level = level;
    op->done = on_undone;
    ty_sqlite_tx_start(handle->tx, op);
    return 0;
}

int luaopen_tycho_core_sqlite(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"begin", l_begin},         {"blob", ty_db_blob},
        {"commit", l_commit},       {"release", l_release},
        {"rollback", l_rollback},   {"run", l_run},
        {"savepoint", l_savepoint}, {"script", l_script},
        {"undo", l_undo},           {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
