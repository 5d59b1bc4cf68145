#include "stream/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "tycho/memory.h"

static void end_dial(struct ty_stream *s, int status)
{
    free(s->dial);
    s->dial = NULL;
    s->failed = status;
    s->connected = status == 0;
    stream_complete(s, &s->writer, status);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct ty_stream *s = ((struct stream_dial *)req->data)->stream;

    if (status < 0) {
        s->dial->status = status;
        stream_close_io(s); /* and on to the next address */
        return;
    }
    if (s->io.handle.type == UV_TCP)
        uv_tcp_nodelay(&s->io.tcp, 1);
    end_dial(s, 0);
}

void stream_dial_next(struct ty_stream *s)
{
    struct stream_dial *dial = s->dial;

    if (dial->next == dial->count) {
        end_dial(s, dial->status);
        return;
    }

    const struct sockaddr *to = (const struct sockaddr *)&dial->to[dial->next++];
    int status = uv_tcp_init(s->loop, &s->io.tcp);

    if (status < 0) { /* it only fails for bad flags */
        end_dial(s, status);
        return;
    }
    stream_hold_io(s);
    if (dial->from.ss_family)
        status = uv_tcp_bind(&s->io.tcp, (const struct sockaddr *)&dial->from, 0);
    if (status == 0)
        status = uv_tcp_connect(&dial->req, &s->io.tcp, to, on_connected);
    if (status < 0) {
        dial->status = status;
        stream_close_io(s);
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct stream_dial *dial = req->data;
    struct ty_stream *s = dial->stream;

    for (struct addrinfo *a = list; a && dial->count < STREAM_ADDRESSES_MAX; a = a->ai_next)
        memcpy(&dial->to[dial->count++], a->ai_addr, a->ai_addrlen);
    uv_freeaddrinfo(list);

    if (s->released || s->failed)
        end_dial(s, UV_ECANCELED);
    else if (status < 0)
        end_dial(s, status);
    else
        stream_dial_next(s);
    stream_drop(s);
}

static int to_address(const char *host, int port, struct sockaddr_storage *out)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0)
        return 0;
    return uv_ip6_addr(host, port, (struct sockaddr_in6 *)out);
}

static int dial_unix(struct ty_stream *s, const char *path)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return UV_ENAMETOOLONG; /* libuv would cut it */

    int status = uv_pipe_init(s->loop, &s->io.pipe, 0);
    if (status < 0)
        return status;
    stream_hold_io(s);
    uv_pipe_connect(&s->dial->req, &s->io.pipe, path, on_connected);
    return 0;
}

static int dial_host(struct ty_stream *s, const char *host, int port, const char *from)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct stream_dial *dial = s->dial;
    char service[16];

    if (from && to_address(from, 0, &dial->from) < 0)
        return UV_EINVAL;
    if (to_address(host, port, &dial->to[0]) == 0) {
        dial->count = 1;
        stream_dial_next(s);
        return 0;
    }

    snprintf(service, sizeof(service), "%d", port);
    int status = uv_getaddrinfo(s->loop, &dial->lookup, on_resolved, host, service, &hints);
    if (status == 0)
        s->holds++;
    return status;
}

int ty_stream_connect(struct ty_stream *s, const char *host, int port, const char *from,
                      ty_stream_cb *cb, void *arg)
{
    if (s->has_io || s->dial || s->failed)
        return s->failed ? s->failed : UV_EISCONN;

    s->dial = ty_zalloc(sizeof(*s->dial));
    s->dial->stream = s;
    s->dial->req.data = s->dial;
    s->dial->lookup.data = s->dial;
    s->dial->status = UV_EADDRNOTAVAIL;

    int status = host[0] == '/' ? dial_unix(s, host) : dial_host(s, host, port, from);
    if (status < 0) {
        free(s->dial);
        s->dial = NULL;
        return status;
    }
    s->writer = (struct stream_op){cb, arg};
    return 0;
}
