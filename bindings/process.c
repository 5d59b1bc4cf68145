#include "tycho/process.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "modules.h"
#include "tycho/memory.h"

static const char PROCESS[] = "tycho.process";

enum { STRINGS_MAX = 4096 };

struct waiter;

struct process {
    struct ty_process *core; /* NULL if it never started */
    struct waiter *waiters;
    bool closed;
};

struct waiter {
    struct ty_wait wait;
    struct process *process; /* on the parked fiber's stack */
    struct waiter *next;
};

static int push_failure(lua_State *L, int status, const char *what)
{
    enum ty_error_kind kind = TY_ERR_UNAVAILABLE;

    if (status == UV_ENOENT)
        kind = TY_ERR_NOT_FOUND;
    else if (status == UV_EACCES || status == UV_EPERM)
        kind = TY_ERR_FORBIDDEN;
    return ty_push_error(L, kind, uv_err_name(status), "%s: %s", what, uv_strerror(status));
}

/* ---- waiting for the end */

static int push_exit(lua_State *L, struct process *self)
{
    int64_t code;
    int signum;

    ty_process_ended(self->core, &code, &signum);
    lua_pushinteger(L, (lua_Integer)code);
    lua_pushinteger(L, signum);
    return 2;
}

static int push_awaited(lua_State *L, void *arg)
{
    return push_exit(L, arg);
}

static void on_exited(struct ty_process *core, void *arg)
{
    struct process *self = arg;
    struct waiter *waiter = self->waiters;

    (void)core;
    self->waiters = NULL; /* the userdata may be gone when the last fiber has run */
    while (waiter) {
        struct waiter *next = waiter->next;
        ty_wake(&waiter->wait, push_awaited, waiter->process);
        free(waiter);
        waiter = next;
    }
}

static void cancel_wait(struct ty_wait *wait)
{
    struct waiter *waiter = (struct waiter *)wait;
    struct waiter **at = &waiter->process->waiters;

    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    free(waiter);
}

/* wait(process, timeout) -> code, signal */
static int l_wait(lua_State *L)
{
    struct process *self = luaL_checkudata(L, 1, PROCESS);
    double timeout = luaL_optnumber(L, 2, -1);
    int64_t code;
    int signum;

    luaL_argcheck(L, !self->closed, 1, "was given up");
    if (ty_process_ended(self->core, &code, &signum))
        return push_exit(L, self);
    ty_fiber_loop(L);

    struct waiter *waiter = ty_zalloc(sizeof(*waiter));
    waiter->wait.what = "child process";
    waiter->process = self;
    waiter->next = self->waiters;
    self->waiters = waiter;
    return ty_park(L, &waiter->wait, cancel_wait, timeout);
}

/* ---- starting */

/* A NULL-terminated array of the strings in the table at `index`, which keeps them; the array is
 * left on the stack. NULL and nothing pushed if it is nil. */
static char **check_strings(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return NULL;
    luaL_checktype(L, index, LUA_TTABLE);

    size_t count = lua_objlen(L, index);
    luaL_argcheck(L, count <= STRINGS_MAX, index, "too many strings");
    char **strings = lua_newuserdata(L, (count + 1) * sizeof(*strings));
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, index, "must be a list of strings");
        strings[i] = (char *)lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    strings[count] = NULL;
    return strings;
}

static struct ty_stdio check_stdio(lua_State *L, int index)
{
    const char *what = luaL_checkstring(L, index);

    if (strcmp(what, "null") == 0)
        return (struct ty_stdio){.kind = TY_STDIO_NULL};
    if (strcmp(what, "inherit") == 0)
        return (struct ty_stdio){.kind = TY_STDIO_INHERIT};
    if (strcmp(what, "pipe") == 0)
        return (struct ty_stdio){.kind = TY_STDIO_PIPE};
    return (struct ty_stdio){.kind = TY_STDIO_FILE, .path = what};
}

/* spawn(args, env, cwd, stdin, stdout, stderr) -> process, pid, descriptors of the pipes or -1 */
static int l_spawn(lua_State *L)
{
    lua_settop(L, 6);
    struct ty_process_options options = {
        .cwd = luaL_optstring(L, 3, NULL),
        .stdio = {check_stdio(L, 4), check_stdio(L, 5), check_stdio(L, 6)},
    };
    uv_loop_t *loop = ty_fiber_loop(L);
    options.args = check_strings(L, 1);
    options.env = check_strings(L, 2);
    luaL_argcheck(L, options.args && options.args[0], 1, "must name a program");

    struct process *self = lua_newuserdata(L, sizeof(*self));
    memset(self, 0, sizeof(*self));
    luaL_getmetatable(L, PROCESS);
    lua_setmetatable(L, -2);

    int status;
    self->core = ty_process_spawn(loop, &options, on_exited, self, &status);
    if (!self->core)
        return push_failure(L, status, options.args[0]);
    lua_pushinteger(L, ty_process_pid(self->core));
    for (int i = 0; i < 3; i++)
        lua_pushinteger(L, ty_process_take_pipe(self->core, i));
    return 5;
}

/* kill(process, signal) -> true, or false when it has ended */
static int l_kill(lua_State *L)
{
    struct process *self = luaL_checkudata(L, 1, PROCESS);
    int signum = (int)luaL_checkinteger(L, 2);
    int status = self->closed ? UV_ESRCH : ty_process_kill(self->core, signum);

    if (status < 0 && status != UV_ESRCH)
        return push_failure(L, status, "kill");
    lua_pushboolean(L, status == 0);
    return 1;
}

static int l_gc(lua_State *L)
{
    struct process *self = luaL_checkudata(L, 1, PROCESS);

    if (self->core && !self->closed)
        ty_process_close(self->core);
    self->closed = true;
    return 0;
}

int luaopen_tycho_core_process(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"kill", l_kill},
        {"spawn", l_spawn},
        {"wait", l_wait},
        {NULL, NULL},
    };

    luaL_newmetatable(L, PROCESS);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
