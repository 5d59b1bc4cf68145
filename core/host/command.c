#include "tycho/host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/message.h"
#include "tycho/channel.h"

/* The client's side of the control socket. */
struct exchange {
    struct ty_channel *channel;
    void (*reply)(const char *json, size_t len, void *arg);
    void *arg;
    int status; /* -1 until the last answer is there */
};

enum { UNREACHABLE = 3 };

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    struct exchange *exchange = arg;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *message = yyjson_doc_get_root(doc);

    if (fd >= 0)
        close(fd);
    exchange->reply(json, len, exchange->arg);
    if (message_bool(message, "done")) {
        exchange->status = message_bool(message, "ok") ? 0 : 1;
        ty_channel_close(channel);
    }
    yyjson_doc_free(doc);
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    struct exchange *exchange = arg;

    exchange->status = UNREACHABLE;
    fprintf(stderr, "tycho: the server went away without an answer\n");
    ty_channel_close(channel);
}

/* Returns the descriptor, or -1 after saying why. */
static int reach(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        fprintf(stderr, "tycho: control socket %s: the name is too long (host.socket)\n", path);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        fprintf(stderr,
                "tycho: no server answers on %s; is one running in this folder? "
                "(host.socket)\n",
                path);
    else
        fprintf(stderr, "tycho: control socket %s: %s (host.socket)\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

int ty_host_command(const char *socket_path, const char *json,
                    void (*reply)(const char *json, size_t len, void *arg), void *arg)
{
    struct exchange exchange = {.reply = reply, .arg = arg, .status = -1};
    int fd = reach(socket_path);
    uv_loop_t loop;

    if (fd < 0)
        return UNREACHABLE;
    uv_loop_init(&loop);
    exchange.channel = ty_channel_new(&loop, fd, on_message, on_gone, &exchange);
    ty_channel_send(exchange.channel, -1, json, strlen(json));
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return exchange.status;
}
