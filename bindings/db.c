#include "db.h"

#include <lauxlib.h>
#include <string.h>

#include "db_private.h"
#include "error.h"
#include "modules.h"
#include "vm.h"

enum { PARAMS_AT = 4 };

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
    ty_db_copy_sql(&call->op, ty_db_read(L, PARAMS_AT, PARAMS_AT + count - 1, call->values, space),
                   sql, sql_len);
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
    ty_db_copy_sql(&call->op, (char *)call->values, sql, sql_len);
    call->op.verb = TY_SQL_SCRIPT;
    return ty_db_call_start(L, call, handle);
}

/* need(name) -> true: where requests are served, the worker is not ready before this database
 * works. A URL that no driver takes is an error wherever scripts load; that nobody configured the
 * name is said when it is used. */
static int l_need(lua_State *L)
{
    const struct ty_engine_env *env = ty_vm_of(L)->env;
    const char *name = luaL_checkstring(L, 1);
    struct ty_error error;

    if (ty_config_named_str(ty_vm_of(L)->config, "databases", name, "url") &&
        !ty_db_check(L, env->loop, 1, &error))
        return ty_push_core_error(L, &error);
    lua_pushboolean(L, 1);
    return 1;
}

/* system(name) -> "sqlite", "postgresql", "mysql" */
static int l_system(lua_State *L)
{
    const struct ty_engine_env *env = ty_vm_of(L)->env;
    struct ty_error error;
    struct ty_db *db = ty_db_check(L, env->loop, 1, &error);

    if (!db)
        return ty_push_core_error(L, &error);
    lua_pushstring(L, ty_sql_system(db->sql));
    return 1;
}

/* reads(sql) -> boolean: by its words */
static int l_reads(lua_State *L)
{
    lua_pushboolean(L, ty_sql_only_reads(luaL_checkstring(L, 1)));
    return 1;
}

/* can_batch(name) -> boolean */
static int l_can_batch(lua_State *L)
{
    const struct ty_engine_env *env = ty_vm_of(L)->env;
    struct ty_error error;
    struct ty_db *db = ty_db_check(L, env->loop, 1, &error);

    lua_pushboolean(L, db && ty_sql_can_batch(db->sql));
    return 1;
}

/* is_up(name) -> boolean */
static int l_is_up(lua_State *L)
{
    const struct ty_engine_env *env = ty_vm_of(L)->env;
    struct ty_error error;
    struct ty_db *db = ty_db_check(L, env->loop, 1, &error);

    lua_pushboolean(L, db && ty_sql_is_up(db->sql));
    return 1;
}

int luaopen_tycho_core_db(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"batch", ty_db_batch},
        {"begin", ty_db_begin},
        {"can_batch", l_can_batch},
        {"commit", ty_db_commit},
        {"copy", ty_db_copy},
        {"deafen", ty_db_deafen},
        {"fetch", ty_db_fetch},
        {"hear", ty_db_hear},
        {"is_up", l_is_up},
        {"listen", ty_db_listen},
        {"listening", ty_db_listening},
        {"need", l_need},
        {"open", ty_db_open},
        {"reads", l_reads},
        {"release", ty_db_release},
        {"rollback", ty_db_rollback},
        {"run", l_run},
        {"savepoint", ty_db_savepoint},
        {"script", l_script},
        {"shut", ty_db_shut},
        {"system", l_system},
        {"typed", ty_db_typed},
        {"undo", ty_db_undo},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
