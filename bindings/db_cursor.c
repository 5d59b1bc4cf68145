#include <lauxlib.h>
#include <string.h>

#include "db_private.h"
#include "error.h"
#include "fiber_private.h"

/* Results in pieces, and COPY: all of it in a transaction, which holds the connection. */

enum { PARAMS_AT = 4 };

/* open(transaction, number, sql, ...) -> true */
int ty_db_open(lua_State *L)
{
    struct ty_error error;
    struct ty_db_handle *handle = ty_db_check_handle(L, 1);
    unsigned number = (unsigned)luaL_checkinteger(L, 2);
    size_t sql_len;
    const char *sql = luaL_checklstring(L, 3, &sql_len);
    int last = lua_gettop(L), count = last - PARAMS_AT + 1;
    ptrdiff_t bytes = ty_db_measure(L, PARAMS_AT, last, &error);
    ty_fiber_loop(L);

    if (bytes < 0)
        return ty_push_core_error(L, &error);
    struct ty_db_call *call = ty_db_call_new(L, handle->db, count, (size_t)bytes, sql_len);
    if (!call)
        return ty_db_push_no_memory(L);
    char *end = ty_db_read(L, PARAMS_AT, last, call->values, (char *)(call->values + count));
    ty_db_copy_sql(&call->op, end, sql, sql_len);
    call->op.verb = TY_SQL_OPEN;
    call->op.level = number;
    call->op.params = call->values;
    call->op.param_count = (unsigned)count;
    return ty_db_call_start(L, call, handle);
}

/* fetch(transaction, number, count) -> rows; fewer than `count`: these were the last */
int ty_db_fetch(lua_State *L)
{
    struct ty_db_handle *handle = ty_db_check_handle(L, 1);
    unsigned number = (unsigned)luaL_checkinteger(L, 2);
    lua_Integer count = luaL_checkinteger(L, 3);
    ty_fiber_loop(L);

    struct ty_db_call *call = ty_db_call_new(L, handle->db, 0, 0, 0);
    if (!call)
        return ty_db_push_no_memory(L);
    call->op.verb = TY_SQL_FETCH;
    call->op.level = number;
    call->op.rows_max = count > 0 ? (uint64_t)count : 1;
    call->shape = TY_DB_ROWS;
    return ty_db_call_start(L, call, handle);
}

/* shut(transaction, number) -> true */
int ty_db_shut(lua_State *L)
{
    struct ty_db_handle *handle = ty_db_check_handle(L, 1);
    unsigned number = (unsigned)luaL_checkinteger(L, 2);
    ty_fiber_loop(L);

    struct ty_db_call *call = ty_db_call_new(L, handle->db, 0, 0, 0);
    if (!call)
        return ty_db_push_no_memory(L);
    call->op.verb = TY_SQL_SHUT;
    call->op.level = number;
    return ty_db_call_start(L, call, handle);
}

/* copy(transaction, "in"|"out", sql), copy(transaction, "put", bytes), copy(transaction, "end") ->
 * rows, copy(transaction, "get") -> bytes, or nil at the end */
int ty_db_copy(lua_State *L)
{
    static const char *const steps[] = {"in", "put", "end", "out", "get", NULL};
    struct ty_db_handle *handle = ty_db_check_handle(L, 1);
    int step = luaL_checkoption(L, 2, NULL, steps);
    size_t len;
    const char *text = luaL_optlstring(L, 3, "", &len);
    ty_fiber_loop(L);

    struct ty_db_call *call = ty_db_call_new(L, handle->db, 0, 0, len);
    if (!call)
        return ty_db_push_no_memory(L);
    call->op.verb = (enum ty_sql_verb)(TY_SQL_COPY_IN + step);
    ty_db_copy_sql(&call->op, (char *)call->values, text, len);
    if (call->op.verb == TY_SQL_COPY_PUT)
        call->op.data = (struct ty_slice){call->op.sql, len};
    return ty_db_call_start(L, call, handle);
}
