#include "tycho/stream.h"

#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "fiber.h"
#include "modules.h"

static const char STREAM[] = "tycho.stream";
static const char LISTENER[] = "tycho.listener";

/* The waits live here and not in requests of their own: whoever is parked on one has the userdata
 * on its stack, and giving up a wait also takes the core's callback back. */
struct stream {
    struct ty_stream *core;
    struct ty_wait reader;
    struct ty_wait writer; /* or who connects */
    struct ty_stream_want want;
    int read_status, write_status;
    double timeout;
    bool closed; /* then `core` is only good for giving up what is still parked */
};

struct listener {
    struct ty_listener *core; /* NULL if it never listened */
    struct ty_wait wait;
    int status;
    int port;
    bool closed;
};

static enum ty_error_kind kind_of(int status)
{
    switch (status) {
    case UV_EINVAL:
    case UV_ENAMETOOLONG:
        return TY_ERR_INVALID;
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
        return TY_ERR_NOT_FOUND;
    case UV_EACCES:
    case UV_EPERM:
        return TY_ERR_FORBIDDEN;
    case UV_EADDRINUSE:
        return TY_ERR_CONFLICT;
    case UV_ENOBUFS:
        return TY_ERR_TOO_LARGE;
    case UV_ECANCELED:
        return TY_ERR_CANCELLED;
    case UV_ETIMEDOUT:
        return TY_ERR_TIMEOUT;
    default:
        return TY_ERR_UNAVAILABLE;
    }
}

static int push_failure(lua_State *L, int status)
{
    const char *why = uv_strerror(status);

    if (status == UV_ECANCELED)
        why = "the stream was closed";
    else if (status == UV_ENOBUFS)
        why = "no delimiter within the limit";
    else if (status == UV_EOF)
        why = "the stream ended too early";
    return ty_push_error(L, kind_of(status), uv_err_name(status), "stream: %s", why);
}

static struct stream *new_stream(lua_State *L, uv_loop_t *loop)
{
    struct stream *self = lua_newuserdata(L, sizeof(*self));

    memset(self, 0, sizeof(*self));
    self->timeout = -1;
    luaL_getmetatable(L, STREAM);
    lua_setmetatable(L, -2);
    self->core = ty_stream_new(loop);
    return self;
}

/* The stream at `index`, for an operation that may wait: the last call that may throw. */
static struct stream *check_stream(lua_State *L, int index)
{
    struct stream *self = luaL_checkudata(L, index, STREAM);

    ty_fiber_loop(L);
    return self;
}

/* new() */
static int l_new(lua_State *L)
{
    new_stream(L, ty_fiber_loop(L));
    return 1;
}

/* open(fd): takes over a socket or a pipe */
static int l_open(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    struct stream *self = new_stream(L, ty_fiber_loop(L));
    int status = ty_stream_open(self->core, fd);

    if (status < 0) {
        close(fd);
        return push_failure(L, status);
    }
    return 1;
}

/* ---- writing and connecting */

static int push_written(lua_State *L, void *arg)
{
    struct stream *self = arg;

    if (self->write_status < 0)
        return push_failure(L, self->write_status);
    lua_pushboolean(L, 1);
    return 1;
}

static void on_written(struct ty_stream *core, int status, void *arg)
{
    struct stream *self = arg;

    (void)core;
    self->write_status = status;
    ty_wake(&self->writer, push_written, self);
}

static void cancel_write(struct ty_wait *wait)
{
    struct stream *self = (struct stream *)((char *)wait - offsetof(struct stream, writer));

    ty_stream_stop_write(self->core);
}

/* connect(stream, host, port, from) */
static int l_connect(lua_State *L)
{
    const char *host = luaL_checkstring(L, 2);
    int port = (int)luaL_optinteger(L, 3, 0);
    const char *from = luaL_optstring(L, 4, NULL);
    struct stream *self = check_stream(L, 1);

    if (self->closed)
        return push_failure(L, UV_ECANCELED);
    self->writer.what = "connect";
    int status = ty_stream_connect(self->core, host, port, from, on_written, self);
    if (status < 0)
        return push_failure(L, status);
    return ty_park(L, &self->writer, cancel_write, self->timeout);
}

/* write(stream, bytes) */
static int l_write(lua_State *L)
{
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    struct stream *self = check_stream(L, 1);

    if (self->closed)
        return push_failure(L, UV_ECANCELED);
    self->writer.what = "stream write";
    int status = ty_stream_write(self->core, data, len, on_written, self);
    if (status == UV_EBUSY)
        return luaL_error(L, "another fiber is writing to this stream");
    if (status < 0)
        return push_failure(L, status);
    if (status == 0)
        return ty_park(L, &self->writer, cancel_write, self->timeout);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- reading */

/* What is wanted and there, nil at the end, or nil and an error. */
static int push_ready(lua_State *L, struct stream *self, ssize_t ready)
{
    if (ready < 0)
        return push_failure(L, (int)ready);
    if (ready == 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushlstring(L, ty_stream_data(self->core), (size_t)ready);
    ty_stream_consume(self->core, (size_t)ready);
    return 1;
}

static int push_read(lua_State *L, void *arg)
{
    struct stream *self = arg;

    if (self->read_status < 0 || self->closed)
        return push_failure(L, self->closed ? UV_ECANCELED : self->read_status);
    return push_ready(L, self, ty_stream_ready(self->core, &self->want));
}

static void on_read(struct ty_stream *core, int status, void *arg)
{
    struct stream *self = arg;

    (void)core;
    self->read_status = status;
    ty_wake(&self->reader, push_read, self);
}

static void cancel_read(struct ty_wait *wait)
{
    struct stream *self = (struct stream *)((char *)wait - offsetof(struct stream, reader));

    ty_stream_stop_read(self->core);
}

static int read_wanted(lua_State *L, const struct ty_stream_want *want)
{
    struct stream *self = check_stream(L, 1);

    if (self->closed)
        return push_failure(L, UV_ECANCELED);
    ssize_t ready = ty_stream_ready(self->core, want);
    if (ready != UV_EAGAIN)
        return push_ready(L, self, ready);

    int status = ty_stream_read(self->core, want, on_read, self);
    if (status == UV_EBUSY)
        return luaL_error(L, "another fiber is reading from this stream");
    if (status < 0)
        return push_failure(L, status);
    self->want = *want;
    self->reader.what = "stream read";
    return ty_park(L, &self->reader, cancel_read, self->timeout);
}

static size_t check_count(lua_State *L, int index)
{
    lua_Number count = luaL_checknumber(L, index);

    luaL_argcheck(L, count >= 1 && count <= 1e12, index, "must be a number of bytes");
    return (size_t)count;
}

/* read(stream, max) */
static int l_read(lua_State *L)
{
    const struct ty_stream_want want = {.mode = TY_STREAM_SOME, .max = check_count(L, 2)};
    return read_wanted(L, &want);
}

/* read_exact(stream, count) */
static int l_read_exact(lua_State *L)
{
    const struct ty_stream_want want = {.mode = TY_STREAM_EXACT, .max = check_count(L, 2)};
    return read_wanted(L, &want);
}

/* read_until(stream, delimiter, max) */
static int l_read_until(lua_State *L)
{
    struct ty_stream_want want = {.mode = TY_STREAM_UNTIL, .max = check_count(L, 3)};
    const char *delimiter = luaL_checklstring(L, 2, &want.delimiter_len);

    luaL_argcheck(L, want.delimiter_len >= 1 && want.delimiter_len <= TY_STREAM_DELIMITER_MAX, 2,
                  "must be 1 to 16 bytes");
    memcpy(want.delimiter, delimiter, want.delimiter_len);
    return read_wanted(L, &want);
}

/* ---- the rest */

/* timeout(stream, seconds): of each operation from now on; negative: none */
static int l_timeout(lua_State *L)
{
    struct stream *self = luaL_checkudata(L, 1, STREAM);

    self->timeout = luaL_checknumber(L, 2);
    return 0;
}

/* shutdown(stream) */
static int l_shutdown(lua_State *L)
{
    struct stream *self = luaL_checkudata(L, 1, STREAM);
    int status = self->closed ? UV_ECANCELED : ty_stream_shutdown(self->core);

    if (status == UV_EBUSY)
        return luaL_error(L, "another fiber is writing to this stream");
    if (status < 0)
        return push_failure(L, status);
    lua_pushboolean(L, 1);
    return 1;
}

/* close(stream, reset); also __gc */
static int l_close(lua_State *L)
{
    struct stream *self = luaL_checkudata(L, 1, STREAM);

    if (self->closed)
        return 0;
    self->closed = true;
    if (lua_toboolean(L, 2))
        ty_stream_reset(self->core);
    ty_stream_close(self->core);
    return 0;
}

/* name(stream, peer) -> address, port */
static int l_name(lua_State *L)
{
    struct stream *self = luaL_checkudata(L, 1, STREAM);
    char name[TY_STREAM_NAME_MAX] = "";
    int port;
    int status = UV_ECANCELED;

    if (!self->closed)
        status = ty_stream_name(self->core, lua_toboolean(L, 2), name, &port);
    if (status < 0)
        return push_failure(L, status);
    lua_pushstring(L, name);
    lua_pushinteger(L, port);
    return 2;
}

/* ---- listening */

/* listen(host, port) */
static int l_listen(lua_State *L)
{
    const char *host = luaL_checkstring(L, 1);
    int port = (int)luaL_optinteger(L, 2, 0);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct listener *self = lua_newuserdata(L, sizeof(*self));
    int status;

    memset(self, 0, sizeof(*self));
    luaL_getmetatable(L, LISTENER);
    lua_setmetatable(L, -2);
    self->core = ty_listener_new(loop, host, port, &status);
    if (!self->core)
        return push_failure(L, status);
    self->port = ty_listener_port(self->core);
    return 1;
}

/* port(listener) */
static int l_port(lua_State *L)
{
    lua_pushinteger(L, ((struct listener *)luaL_checkudata(L, 1, LISTENER))->port);
    return 1;
}

static int push_awaited(lua_State *L, void *arg)
{
    struct listener *self = arg;

    if (self->status < 0)
        return push_failure(L, self->status);
    lua_pushboolean(L, 0);
    return 1;
}

static void on_waiting(struct ty_listener *core, int status, void *arg)
{
    struct listener *self = arg;

    (void)core;
    self->status = status;
    ty_wake(&self->wait, push_awaited, self);
}

static void cancel_accept(struct ty_wait *wait)
{
    struct listener *self = (struct listener *)((char *)wait - offsetof(struct listener, wait));

    ty_listener_stop_wait(self->core);
}

/* accept(listener, stream, timeout) -> true, or false when it is time to try again */
static int l_accept(lua_State *L)
{
    struct listener *self = luaL_checkudata(L, 1, LISTENER);
    double timeout = luaL_optnumber(L, 3, -1);
    struct stream *stream = check_stream(L, 2);

    if (self->closed || stream->closed)
        return push_failure(L, UV_ECANCELED);
    int status = ty_listener_accept(self->core, stream->core);
    if (status == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (status == UV_EAGAIN)
        status = ty_listener_wait(self->core, on_waiting, self);
    if (status == UV_EBUSY)
        return luaL_error(L, "another fiber is accepting from this listener");
    if (status < 0)
        return push_failure(L, status);
    self->wait.what = "accept";
    return ty_park(L, &self->wait, cancel_accept, timeout);
}

/* unlisten(listener); also __gc */
static int l_unlisten(lua_State *L)
{
    struct listener *self = luaL_checkudata(L, 1, LISTENER);

    if (self->core && !self->closed)
        ty_listener_close(self->core);
    self->closed = true;
    return 0;
}

/* Makes a metatable whose __index is an empty table, for the facade to fill; pushes that table. */
static void push_class(lua_State *L, const char *name, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index");
    lua_remove(L, -2);
}

int luaopen_tycho_core_stream(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"accept", l_accept},
        {"close", l_close},
        {"connect", l_connect},
        {"listen", l_listen},
        {"name", l_name},
        {"new", l_new},
        {"open", l_open},
        {"port", l_port},
        {"read", l_read},
        {"read_exact", l_read_exact},
        {"read_until", l_read_until},
        {"shutdown", l_shutdown},
        {"timeout", l_timeout},
        {"unlisten", l_unlisten},
        {"write", l_write},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    push_class(L, STREAM, l_close);
    lua_setfield(L, -2, "Stream");
    push_class(L, LISTENER, l_unlisten);
    lua_setfield(L, -2, "Listener");
    return 1;
}
