#define _GNU_SOURCE /* accept4() */
#include "tycho/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tycho/memory.h"

enum { BACKLOG = 511 };

struct ty_listener {
    uv_poll_t poll;
    int fd;
    int port;
    ty_listener_cb *cb; /* NULL unless somebody waits */
    void *arg;
};

union address {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
};

static int parse(const char *host, int port, union address *out, socklen_t *len)
{
    if (host[0] == '/') {
        *len = sizeof(out->local);
        out->local.sun_family = AF_UNIX;
        if (strlen(host) >= sizeof(out->local.sun_path))
            return UV_ENAMETOOLONG;
        memcpy(out->local.sun_path, host, strlen(host));
        return 0;
    }
    *len = sizeof(out->ip4);
    if (uv_ip4_addr(host, port, &out->ip4) == 0)
        return 0;
    *len = sizeof(out->ip6);
    return uv_ip6_addr(host, port, &out->ip6);
}

static int listen_on(int fd, const union address *address, socklen_t len)
{
    const int yes = 1;

    if (address->any.sa_family != AF_UNIX &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0)
        return uv_translate_sys_error(errno);
    if (bind(fd, &address->any, len) < 0 || listen(fd, BACKLOG) < 0)
        return uv_translate_sys_error(errno);
    return 0;
}

static int port_of(int fd)
{
    union address own = {0};
    socklen_t len = sizeof(own);

    if (getsockname(fd, &own.any, &len) < 0 || own.any.sa_family == AF_UNIX)
        return 0;
    return ntohs(own.ip4.sin_port); /* at the same place in both families */
}

struct ty_listener *ty_listener_new(uv_loop_t *loop, const char *host, int port, int *status)
{
    union address address = {0};
    socklen_t len;

    *status = parse(host, port, &address, &len);
    if (*status < 0)
        return NULL;

    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        *status = uv_translate_sys_error(errno);
        return NULL;
    }
    *status = listen_on(fd, &address, len);
    if (*status < 0) {
        close(fd);
        return NULL;
    }

    struct ty_listener *listener = ty_zalloc(sizeof(*listener));
    *status = uv_poll_init(loop, &listener->poll, fd);
    if (*status < 0) {
        close(fd);
        free(listener);
        return NULL;
    }
    listener->fd = fd;
    listener->port = port_of(fd);
    listener->poll.data = listener;
    return listener;
}

int ty_listener_port(const struct ty_listener *listener)
{
    return listener->port;
}

int ty_listener_accept(struct ty_listener *listener, struct ty_stream *stream)
{
    int fd;

    do {
        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0)
        return uv_translate_sys_error(errno);

    int status = ty_stream_open(stream, fd);
    if (status < 0)
        close(fd);
    return status;
}

static void complete(struct ty_listener *listener, int status)
{
    ty_listener_cb *cb = listener->cb;

    listener->cb = NULL;
    if (cb)
        cb(listener, status, listener->arg);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)events;
    uv_poll_stop(poll);
    complete(poll->data, status);
}

int ty_listener_wait(struct ty_listener *listener, ty_listener_cb *cb, void *arg)
{
    if (listener->cb)
        return UV_EBUSY;

    int status = uv_poll_start(&listener->poll, UV_READABLE, on_ready);
    if (status == 0) {
        listener->cb = cb;
        listener->arg = arg;
    }
    return status;
}

void ty_listener_stop_wait(struct ty_listener *listener)
{
    listener->cb = NULL;
    if (!uv_is_closing((uv_handle_t *)&listener->poll))
        uv_poll_stop(&listener->poll);
}

static void on_closed(uv_handle_t *handle)
{
    struct ty_listener *listener = handle->data;

    complete(listener, UV_ECANCELED);
    free(listener);
}

void ty_listener_close(struct ty_listener *listener)
{
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    close(listener->fd); /* at once, so that nobody connects any more */
}
