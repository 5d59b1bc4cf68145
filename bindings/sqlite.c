#include "tycho/sqlite.h"

#include <lauxlib.h>
#include <string.h>

#include "db_private.h"
#include "error.h"
#include "modules.h"
#include "vm.h"

/* check: allow SAME-NAME because scripts see tycho.db, whatever the database is. */

enum { PARAMS_AT = 4 };

static void copy_sql(struct ty_db_call *call, char *to, const char *sql, size_t len)
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
    struct ty_db_handle *handle = lua_isuserdata(L, 1) ? ty_db_check_handle(L, 1) : NULL;
    enum ty_db_shape shape = (enum ty_db_shape)luaL_checkoption(L, 2, NULL, shapes);
    const char *sql = luaL_checklstring(L, 3, &sql_len);
    int count = lua_gettop(L) - PARAMS_AT + 1;
    ptrdiff_t bytes = ty_db_measure(L, PARAMS_AT, PARAMS_AT + count - 1, &error);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = handle ? handle->db : NULL;

    if (bytes < 0 || (!db && !(db = ty_db_check(L, loop, 1, &error))))
        return ty_push_core_error(L, &error);
    struct ty_db_call *call = ty_db_call_new(L, db, count, (size_t)bytes, sql_len);
    if (!call)
        return ty_db_push_no_memory(L);

    char *space = (char *)(call->values + count);
    ty_db_read(L, PARAMS_AT, PARAMS_AT + count - 1, call->values, space);
    copy_sql(call, space + bytes, sql, sql_len);
    call->shape = shape;
    call->op.params = call->values;
    call->op.param_count = (unsigned)count;
    call->op.rows_max = shape == TY_DB_ROWS ? 0 : 1;
    return ty_db_call_start(L, call, handle);
}

/* script(target, sql) */
static int l_script(lua_State *L)
{
    size_t sql_len;
    struct ty_error error;
    struct ty_db_handle *handle = lua_isuserdata(L, 1) ? ty_db_check_handle(L, 1) : NULL;
    const char *sql = luaL_checklstring(L, 2, &sql_len);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = handle ? handle->db : ty_db_check(L, loop, 1, &error);

    if (!db)
        return ty_push_core_error(L, &error);
    struct ty_db_call *call = ty_db_call_new(L, db, 0, 0, sql_len);
    if (!call)
        return ty_db_push_no_memory(L);
    copy_sql(call, (char *)call->values, sql, sql_len);
    call->op.verb = TY_SQLITE_SCRIPT;
    return ty_db_call_start(L, call, handle);
}

/* need(name): where requests are served, the worker is not ready before this database works */
static int l_need(lua_State *L)
{
    const struct ty_engine_env *env = ty_vm_of(L)->env;
    struct ty_error error;

    if (strcmp(env->role, "web") == 0)
        ty_db_check(L, env->loop, 1, &error); /* what is wrong is said when it is used */
    return 0;
}

int luaopen_tycho_core_sqlite(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"begin", ty_db_begin},
        {"blob", ty_db_blob},
        {"commit", ty_db_commit},
        {"need", l_need},
        {"release", ty_db_release},
        {"rollback", ty_db_rollback},
        {"run", l_run},
        {"savepoint", ty_db_savepoint},
        {"script", l_script},
        {"undo", ty_db_undo},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
