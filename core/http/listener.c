/* Accepting. The kernel keeps what is not accepted, so there is never a reason to drop one:
 * at the limit of connections or descriptors accepting just waits. */
#define _GNU_SOURCE /* accept4 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/conn.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum {
    ACCEPT_BATCH = 64,
    ACCEPT_BATCH_SHEDDING = 16, /* new connections are work too */
};

static void on_pause_over(uv_timer_t *timer);

static bool may_accept(const struct ty_http_server *server)
{
    return !server->is_accept_paused && !server->is_draining && !server->is_closing;
}

static void pause_accepting(struct ty_http_server *server, uint64_t ms)
{
    server->is_accept_paused = true;
    for (struct ty_listener *l = server->listeners; l; l = l->next)
        uv_poll_stop(&l->poll);
    if (ms)
        uv_timer_start(&server->accept_timer, on_pause_over, ms, 0);
}

/* Tried again soon; said once for each time that it comes to this. */
static void run_short(struct ty_http_server *server, const char *why)
{
    if (!server->is_short_of_fds) {
        ty_log_warn("http", "accepting pauses: %s", why);
        ty_measure_limit(&server->measure, TY_LIMIT_DESCRIPTORS);
    }
    server->is_short_of_fds = true;
    pause_accepting(server, TY_ACCEPT_BACKOFF_MS);
}

/* Descriptors are numbered from below, so a high number means that few are left. */
static bool would_take_reserve(int fd)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           (rlim_t)fd + 1 + TY_FD_RESERVE > limit.rlim_cur;
}

/* Which number would the next one get? Without looking, each try would take one of the reserve. */
static bool has_fd_to_spare(int any)
{
    int fd = fcntl(any, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return false;
    close(fd);
    return !would_take_reserve(fd);
}

/* The opposite of how a socket refuses without a filter. */
static void hear_all(int fd)
{
    int least = 0;

    setsockopt(fd, IPPROTO_IP, IP_MINTTL, &least, sizeof(least));
    setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &least, sizeof(least));
}

void ty_http_server_last_call(struct ty_http_server *server)
{
    int fd;

    server->is_last_call = true;
    for (struct ty_http_conn *conn = server->conns; conn; conn = conn->next)
        if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0)
            hear_all(fd);
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct ty_listener *listener)
{
    struct ty_http_server *server = listener->server;
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    struct ty_address peer;

    if (server->is_short_of_fds && !has_fd_to_spare(listener->copy)) {
        pause_accepting(server, TY_ACCEPT_BACKOFF_MS);
        return false;
    }
    from.ss_family = AF_UNSPEC;
    int fd = accept4(listener->copy, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            run_short(server, uv_strerror(-errno));
            return false;
        }
        return errno == EINTR || errno == ECONNABORTED;
    }
    if (server->is_last_call)
        hear_all(fd);
    ty_address_from(&peer, (const struct sockaddr *)&from);
    ty_conn_open(server, fd, &peer);

    if (server->conn_count >= server->options.limits.connection_max) {
        ty_measure_limit(&server->measure, TY_LIMIT_CONNECTIONS);
        pause_accepting(server, 0);
        return false;
    }
    if (would_take_reserve(fd + 1)) {
        run_short(server, "few file descriptors are left");
        return false;
    }
    server->is_short_of_fds = false;
    return true;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct ty_listener *listener = poll->data;
    int batch = listener->server->admission.turn.is_shedding ? ACCEPT_BATCH_SHEDDING : ACCEPT_BATCH;

    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < batch; i++) {
        if (!may_accept(listener->server) || !accept_one(listener))
            return;
    }
}

void ty_server_accept_more(struct ty_http_server *server)
{
    if (!server->is_accept_paused || server->is_draining || server->is_closing ||
        server->conn_count >= server->options.limits.connection_max ||
        uv_is_active((uv_handle_t *)&server->accept_timer))
        return;
    server->is_accept_paused = false;
    for (struct ty_listener *l = server->listeners; l; l = l->next)
        uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static void on_pause_over(uv_timer_t *timer)
{
    ty_server_accept_more(timer->data);
}

int ty_http_server_accept(struct ty_http_server *server, int fd)
{
    for (struct ty_listener *l = server->listeners; l; l = l->next) {
        if (l->fd == fd)
            return 0;
    }
    if (server->is_draining || server->is_closing)
        return UV_ECANCELED;

    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy < 0)
        return -errno;

    struct ty_listener *listener = ty_zalloc(sizeof(*listener));
    int rc = uv_poll_init(server->loop, &listener->poll, copy);

    if (rc < 0) {
        close(copy);
        free(listener);
        return rc;
    }
    listener->poll.data = listener;
    listener->server = server;
    listener->fd = fd;
    listener->copy = copy;
    listener->next = server->listeners;
    server->listeners = listener;
    server->handle_count++;
    if (!server->is_accept_paused)
        uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct ty_listener *listener = handle->data;
    struct ty_http_server *server = listener->server;

    close(listener->copy);
    free(listener);
    ty_server_handle_closed(server);
}

static void close_listener(struct ty_http_server *server, int fd)
{
    for (struct ty_listener **at = &server->listeners; *at; at = &(*at)->next) {
        struct ty_listener *listener = *at;

        if (listener->fd == fd) {
            *at = listener->next;
            uv_poll_stop(&listener->poll);
            uv_close((uv_handle_t *)&listener->poll, on_closed);
            return;
        }
    }
}

void ty_http_server_unaccept(struct ty_http_server *server, int fd)
{
    close_listener(server, fd);
}

/* Clients whose connection the kernel has already made get their answer. */
void ty_server_accept_stop(struct ty_http_server *server)
{
    while (server->listeners) {
        struct ty_listener *listener = server->listeners;

        while (may_accept(server) && accept_one(listener))
            ;
        close_listener(server, listener->fd);
    }
    uv_timer_stop(&server->accept_timer);
}
