#define _GNU_SOURCE
#include "tycho/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tycho/buffer.h"
#include "tycho/memory.h"

/* On the wire the top bit of the length says that a descriptor belongs to the message. It is
 * needed: a receiver may get a descriptor together with the end of the message before. */
enum { HEADER_LEN = 4, FDS_MAX = 16, READ_LEN = 64 * 1024 };
static const uint32_t with_fd = UINT32_C(1) << 31;

struct message {
    struct message *next;
    int fd; /* -1: none, or sent */
    size_t len;
    size_t sent;
    char data[];
};

struct ty_channel {
    uv_poll_t poll;
    int fd;
    ty_channel_message_fn *message;
    ty_channel_gone_fn *gone;
    void *arg;
    struct message *first, *last;
    size_t queued;
    struct ty_buf in;
    int fds[FDS_MAX]; /* received, of messages that are not complete */
    size_t fd_count;
    bool is_busy; /* callbacks below us on the stack */
    bool is_gone; /* said, or about to be */
    bool is_closed;
};

static void on_poll(uv_poll_t *poll, int status, int events);

/* ---- the end */

static void drop_queue(struct ty_channel *channel)
{
    for (struct message *m; (m = channel->first);) {
        channel->first = m->next;
        if (m->fd >= 0)
            close(m->fd);
        free(m);
    }
    channel->last = NULL;
    channel->queued = 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct ty_channel *channel = handle->data;

    for (size_t i = 0; i < channel->fd_count; i++)
        close(channel->fds[i]);
    drop_queue(channel);
    ty_buf_close(&channel->in);
    close(channel->fd);
    free(channel);
}

static void lose(struct ty_channel *channel)
{
    if (channel->is_gone || channel->is_closed)
        return;
    channel->is_gone = true;
    uv_poll_stop(&channel->poll);
    channel->gone(channel, channel->arg);
}

/* ---- sending */

/* Returns 1 when `m` is out, 0 when the socket is full, -1 when the other side is gone. */
static int write_message(struct ty_channel *channel, struct message *m)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};

    while (m->sent < m->len) {
        struct iovec part = {m->data + m->sent, m->len - m->sent};
        struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
        if (m->fd >= 0) {
            msg.msg_control = control.bytes;
            msg.msg_controllen = sizeof(control.bytes);
            struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
            cmsg->cmsg_level = SOL_SOCKET;
            cmsg->cmsg_type = SCM_RIGHTS;
            cmsg->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(cmsg), &m->fd, sizeof(int));
        }
        ssize_t n = sendmsg(channel->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        m->sent += (size_t)n;
        if (m->fd >= 0)
            close(m->fd);
        m->fd = -1;
    }
    return 1;
}

static int flush_queue(struct ty_channel *channel)
{
    struct message *m;
    int status = 1;

    while ((m = channel->first) && (status = write_message(channel, m)) == 1) {
        channel->first = m->next;
        if (!channel->first)
            channel->last = NULL;
        channel->queued -= m->len;
        free(m);
    }
    return status;
}

static void watch(struct ty_channel *channel)
{
    uv_poll_start(&channel->poll, UV_READABLE | (channel->first ? UV_WRITABLE : 0), on_poll);
}

int ty_channel_send(struct ty_channel *channel, int fd, const char *json, size_t len)
{
    if (channel->is_gone || channel->is_closed)
        return UV_EPIPE;
    if (len > TY_CHANNEL_MAX || channel->queued + len > TY_CHANNEL_MAX) {
        shutdown(channel->fd, SHUT_RDWR); /* the loop sees the end and says so */
        return UV_ENOBUFS;
    }
    struct message *m = ty_zalloc(sizeof(*m) + HEADER_LEN + len);
    uint32_t head = (uint32_t)len | (fd >= 0 ? with_fd : 0);
    for (int i = 0; i < HEADER_LEN; i++)
        m->data[i] = (char)(head >> (8 * i) & 0xff);
    memcpy(m->data + HEADER_LEN, json, len);
    m->len = HEADER_LEN + len;
    m->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd >= 0 && m->fd < 0) {
        free(m);
        return UV_EMFILE;
    }
    if (channel->last)
        channel->last->next = m;
    else
        channel->first = m;
    channel->last = m;
    channel->queued += m->len;
    if (channel->first == m)
        flush_queue(channel); /* a broken socket is found by the loop */
    watch(channel);
    return 0;
}

int ty_channel_sendf(struct ty_channel *channel, int fd, const char *fmt, ...)
{
    struct ty_buf json = {0};
    va_list args;
    int status;

    va_start(args, fmt);
    ty_buf_vaddf(&json, fmt, args);
    va_end(args);
    status = ty_channel_send(channel, fd, json.data, json.len);
    ty_buf_close(&json);
    return status;
}

/* ---- receiving */

static bool keep_fds(struct ty_channel *channel, struct msghdr *msg)
{
    bool ok = !(msg->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (channel->fd_count < FDS_MAX) {
                channel->fds[channel->fd_count++] = fd;
            } else {
                close(fd);
                ok = false; /* more than any message could claim */
            }
        }
    }
    return ok;
}

/* Hands over the first message. Returns its length with the header, 0 when it is not complete, or
 * -1 when it breaks the rules. */
static ptrdiff_t take_message(struct ty_channel *channel, size_t from)
{
    unsigned char *head = (unsigned char *)channel->in.data + from;
    size_t have = channel->in.len - from, len;
    int fd = -1;

    if (have < HEADER_LEN)
        return 0;
    uint32_t word = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 |
                    (uint32_t)head[3] << 24;
    len = word & ~with_fd;
    if (len > TY_CHANNEL_MAX)
        return -1;
    if (have < HEADER_LEN + len)
        return 0;
    if (word & with_fd) {
        if (channel->fd_count == 0)
            return -1;
        fd = channel->fds[0];
        memmove(channel->fds, channel->fds + 1, --channel->fd_count * sizeof(int));
    }
    /* The message needs a NUL, where the next one begins: lend it that byte. */
    char *end = channel->in.data + from + HEADER_LEN + len, after = *end;
    *end = '\0';
    channel->message(channel, end - len, len, fd, channel->arg);
    *end = after;
    return (ptrdiff_t)(HEADER_LEN + len);
}

/* False: the channel must end. */
static bool take_messages(struct ty_channel *channel)
{
    size_t done = 0;
    ptrdiff_t n = 0;

    while (!channel->is_closed && !channel->is_gone && (n = take_message(channel, done)) > 0)
        done += (size_t)n;
    ty_buf_consume(&channel->in, done);
    if (channel->in.len == 0)
        ty_buf_close(&channel->in); /* a large message is rare */
    return n >= 0;
}

static bool read_some(struct ty_channel *channel)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        struct cmsghdr align;
    } control;
    /* one more, so that there is room for take_message()'s NUL */
    struct iovec part = {ty_buf_reserve(&channel->in, READ_LEN + 1), READ_LEN};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(channel->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0 || !keep_fds(channel, &msg))
        return false;
    channel->in.len += (size_t)n;
    return take_messages(channel);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct ty_channel *channel = poll->data;
    bool ok = status == 0;

    channel->is_busy = true;
    if (ok && (events & UV_WRITABLE)) {
        ok = flush_queue(channel) >= 0;
        if (ok)
            watch(channel);
    }
    if (events & UV_READABLE || !ok) /* what was said before the end still counts */
        ok = read_some(channel) && ok;
    if (!ok)
        lose(channel);
    channel->is_busy = false;
    if (channel->is_closed)
        uv_close((uv_handle_t *)poll, on_closed);
}

/* ---- */

struct ty_channel *ty_channel_new(uv_loop_t *loop, int fd, ty_channel_message_fn *message,
                                  ty_channel_gone_fn *gone, void *arg)
{
    struct ty_channel *channel = ty_zalloc(sizeof(*channel));

    channel->fd = fd;
    channel->message = message;
    channel->gone = gone;
    channel->arg = arg;
    channel->poll.data = channel;
    if (uv_poll_init(loop, &channel->poll, fd) != 0)
        abort(); /* not a socket, or one that has a channel: a bug */
    watch(channel);
    return channel;
}

void ty_channel_close(struct ty_channel *channel)
{
    if (channel->is_closed)
        return;
    flush_queue(channel);
    channel->is_closed = true;
    uv_poll_stop(&channel->poll);
    if (!channel->is_busy)
        uv_close((uv_handle_t *)&channel->poll, on_closed);
}
