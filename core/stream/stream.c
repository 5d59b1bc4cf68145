#define _GNU_SOURCE /* memmem() */
#include "tycho/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "stream/state.h"
#include "tycho/memory.h"

enum { READ_MAX = 64 * 1024 };

struct write {
    uv_write_t req;
    char data[];
};

void stream_drop(struct ty_stream *s)
{
    if (--s->holds > 0 || !s->released)
        return;
    ty_buf_close(&s->in);
    free(s);
}

void stream_complete(struct ty_stream *s, struct stream_op *op, int status)
{
    struct stream_op done = *op;

    *op = (struct stream_op){0};
    if (done.cb)
        done.cb(s, status, done.arg);
}

static void on_closed(uv_handle_t *handle)
{
    struct ty_stream *s = handle->data;

    s->has_io = false;
    if (s->dial && !s->failed && !s->released) {
        stream_dial_next(s);
    } else {
        int status = s->failed ? s->failed : UV_ECANCELED;

        free(s->dial);
        s->dial = NULL;
        stream_complete(s, &s->reader, status);
        stream_complete(s, &s->writer, status);
    }
    stream_drop(s);
}

void stream_close_io(struct ty_stream *s)
{
    if (s->has_io && !uv_is_closing(&s->io.handle))
        uv_close(&s->io.handle, on_closed);
}

void stream_hold_io(struct ty_stream *s)
{
    s->io.handle.data = s;
    s->has_io = true;
    s->holds++;
}

struct ty_stream *ty_stream_new(uv_loop_t *loop)
{
    struct ty_stream *s = ty_zalloc(sizeof(*s));

    s->loop = loop;
    return s;
}

void ty_stream_close(struct ty_stream *s)
{
    s->holds++;
    s->released = true;
    stream_close_io(s);
    if (s->dial && !s->has_io)
        uv_cancel((uv_req_t *)&s->dial->lookup);
    stream_drop(s);
}

void ty_stream_reset(struct ty_stream *s)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    int fd;

    if (s->has_io && uv_fileno(&s->io.handle, &fd) == 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

int ty_stream_open(struct ty_stream *s, int fd)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    bool is_tcp = getsockname(fd, (struct sockaddr *)&name, &len) == 0 && name.ss_family != AF_UNIX;
    int status;

    if (is_tcp)
        status = uv_tcp_init(s->loop, &s->io.tcp);
    else
        status = uv_pipe_init(s->loop, &s->io.pipe, 0);
    if (status < 0)
        return status;

    stream_hold_io(s);
    status = is_tcp ? uv_tcp_open(&s->io.tcp, fd) : uv_pipe_open(&s->io.pipe, fd);
    if (status < 0) {
        s->failed = status;
        stream_close_io(s);
        return status;
    }
    s->connected = true;
    return 0;
}

/* ---- reading */

static ssize_t ready_until(const struct ty_stream *s, const struct ty_stream_want *want)
{
    const char *at = NULL;

    if (s->in.len > 0)
        at = memmem(s->in.data, s->in.len, want->delimiter, want->delimiter_len);
    if (at) {
        size_t len = (size_t)(at - s->in.data) + want->delimiter_len;
        return len <= want->max ? (ssize_t)len : UV_ENOBUFS;
    }
    return s->in.len >= want->max ? UV_ENOBUFS : UV_EAGAIN;
}

ssize_t ty_stream_ready(const struct ty_stream *s, const struct ty_stream_want *want)
{
    ssize_t ready = UV_EAGAIN;

    if (want->mode == TY_STREAM_UNTIL)
        ready = ready_until(s, want);
    else if (s->in.len >= want->max)
        ready = (ssize_t)want->max;
    else if (want->mode == TY_STREAM_SOME && s->in.len > 0)
        ready = (ssize_t)s->in.len;

    if (ready != UV_EAGAIN)
        return ready;
    if (s->failed)
        return s->failed;
    if (s->ended)
        return s->in.len == 0 ? 0 : UV_EOF;
    return UV_EAGAIN;
}

const char *ty_stream_data(const struct ty_stream *s)
{
    return s->in.data;
}

void ty_stream_consume(struct ty_stream *s, size_t len)
{
    ty_buf_consume(&s->in, len);
    if (s->in.len == 0)
        ty_buf_close(&s->in); /* an idle stream holds no buffer */
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct ty_stream *s = handle->data;
    size_t room = s->want.max - s->in.len; /* else it would be ready */

    (void)suggested;
    if (room > READ_MAX)
        room = READ_MAX;
    *out = uv_buf_init(ty_buf_reserve(&s->in, room), (unsigned)room);
}

/* libuv takes a hang-up behind a short read for the end and does not look: it may be a reset. */
static int why_ended(uv_stream_t *io)
{
    char byte;
    int fd;

    if (uv_fileno((uv_handle_t *)io, &fd) == 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
        errno != EAGAIN && errno != ENOTSOCK)
        return uv_translate_sys_error(errno);
    return UV_EOF;
}

static void on_read(uv_stream_t *io, ssize_t count, const uv_buf_t *buf)
{
    struct ty_stream *s = io->data;

    (void)buf;
    if (count == UV_EOF)
        count = why_ended(io);
    if (count > 0)
        s->in.len += (size_t)count;
    else if (count == UV_EOF)
        s->ended = true;
    else if (count < 0)
        s->failed = (int)count;

    if (ty_stream_ready(s, &s->want) == UV_EAGAIN)
        return;
    uv_read_stop(io);
    stream_complete(s, &s->reader, 0);
}

int ty_stream_read(struct ty_stream *s, const struct ty_stream_want *want, ty_stream_cb *cb,
                   void *arg)
{
    if (s->reader.cb)
        return UV_EBUSY;
    if (s->failed || !s->connected)
        return s->failed ? s->failed : UV_ENOTCONN;

    s->want = *want;
    int status = uv_read_start(&s->io.stream, on_room, on_read);
    if (status == 0)
        s->reader = (struct stream_op){cb, arg};
    return status;
}

void ty_stream_stop_read(struct ty_stream *s)
{
    s->reader = (struct stream_op){0};
    if (s->has_io && !uv_is_closing(&s->io.handle))
        uv_read_stop(&s->io.stream);
}

/* ---- writing */

static void on_written(uv_write_t *req, int status)
{
    struct ty_stream *s = req->handle->data;

    free(req);
    if (status < 0 && !s->failed)
        s->failed = status;
    stream_complete(s, &s->writer, status);
}

int ty_stream_write(struct ty_stream *s, const char *data, size_t len, ty_stream_cb *cb, void *arg)
{
    if (s->writer.cb)
        return UV_EBUSY;
    if (s->failed || !s->connected)
        return s->failed ? s->failed : UV_ENOTCONN;

    uv_buf_t buf = uv_buf_init((char *)data, (unsigned)len);
    int done = len > 0 ? uv_try_write(&s->io.stream, &buf, 1) : 0;
    if (done < 0 && done != UV_EAGAIN)
        return done;
    if (done > 0) {
        data += done;
        len -= (size_t)done;
    }
    if (len == 0)
        return 1;

    struct write *write = ty_try_alloc(sizeof(*write) + len);
    if (!write)
        return UV_ENOMEM;
    memcpy(write->data, data, len);
    buf = uv_buf_init(write->data, (unsigned)len);
    int status = uv_write(&write->req, &s->io.stream, &buf, 1, on_written);
    if (status < 0) {
        free(write);
        return status;
    }
    s->writer = (struct stream_op){cb, arg};
    return 0;
}

void ty_stream_stop_write(struct ty_stream *s)
{
    s->writer = (struct stream_op){0};
    s->failed = UV_ECANCELED;
    stream_close_io(s);
    if (s->dial && !s->has_io)
        uv_cancel((uv_req_t *)&s->dial->lookup);
}

int ty_stream_shutdown(struct ty_stream *s)
{
    int fd;

    if (s->writer.cb)
        return UV_EBUSY;
    if (s->failed || !s->connected)
        return s->failed ? s->failed : UV_ENOTCONN;

    /* Nothing is queued, so there is nothing to wait for. */
    uv_fileno(&s->io.handle, &fd);
    return shutdown(fd, SHUT_WR) == 0 ? 0 : uv_translate_sys_error(errno);
}

int ty_stream_name(const struct ty_stream *s, bool peer, char name[TY_STREAM_NAME_MAX], int *port)
{
    struct sockaddr_storage addr = {0};
    int len = sizeof(addr);
    size_t size = TY_STREAM_NAME_MAX;
    int status;

    *port = 0;
    if (!s->connected || !s->has_io)
        return UV_ENOTCONN;
    if (s->io.handle.type != UV_TCP)
        return peer ? uv_pipe_getpeername(&s->io.pipe, name, &size)
                    : uv_pipe_getsockname(&s->io.pipe, name, &size);

    status = peer ? uv_tcp_getpeername(&s->io.tcp, (struct sockaddr *)&addr, &len)
                  : uv_tcp_getsockname(&s->io.tcp, (struct sockaddr *)&addr, &len);
    if (status < 0)
        return status;
    /* The port is at the same place in both families. */
    *port = ntohs(((struct sockaddr_in *)&addr)->sin_port);
    return uv_ip_name((struct sockaddr *)&addr, name, TY_STREAM_NAME_MAX);
}
