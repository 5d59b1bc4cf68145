/* Messages between processes and over the control socket: lengths, descriptors, JSON.
 *
 * The first byte says how to cut, the second with which pieces a descriptor comes along. What a
 * channel hands over is what a second, plain reading of the same bytes has, in order, and it ends
 * where that ends; no descriptor is left open.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "fuzz.h"
#include "host/message.h"
#include "tycho/channel.h"

enum { HEADER = 4, FD_BIT = 0x80, FDS_MAX = 16 };

static struct {
    uv_loop_t loop;
    bool ready;
    int null;          /* a descriptor to send */
    const uint8_t *at; /* the second reading */
    size_t left;
    size_t fds_sent, fds_got;
    bool gone;
} control;

static size_t length_at(const uint8_t *at)
{
    return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 |
           (size_t)(at[3] & ~FD_BIT) << 24;
}

/* What a receiver of commands and reports does first. */
static void read_json(const char *json, size_t len)
{
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *message = yyjson_doc_get_root(doc);

    REQUIRE(strlen(message_str(message, "command")) < len + 1);
    message_uint(message, "token");
    message_bool(message, "force");
    yyjson_doc_free(doc);
}

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    (void)channel, (void)arg;
    REQUIRE(!control.gone && control.left >= HEADER + len);
    REQUIRE(length_at(control.at) == len && json[len] == '\0');
    REQUIRE(memcmp(control.at + HEADER, json, len) == 0);
    REQUIRE((fd >= 0) == ((control.at[3] & FD_BIT) != 0));
    if (fd >= 0) {
        control.fds_got++;
        REQUIRE(control.fds_got <= control.fds_sent && fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
    }
    read_json(json, len);
    control.at += HEADER + len;
    control.left -= HEADER + len;
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    (void)channel, (void)arg;
    REQUIRE(!control.gone);
    control.gone = true;
}

static bool send_piece(int to, const uint8_t *data, size_t len, bool with_fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } space = {0};
    struct iovec part = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

    if (with_fd) {
        msg.msg_control = space.bytes;
        msg.msg_controllen = sizeof(space.bytes);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &control.null, sizeof(int));
    }
    return sendmsg(to, &msg, MSG_NOSIGNAL) == (ssize_t)len;
}

static void send_all(int to, const uint8_t *data, size_t size, struct cuts cuts, unsigned fds)
{
    for (size_t at = 0, piece, count = 0; at < size; at += piece, count++) {
        bool with_fd = fds >> count % 8 & 1;

        piece = next_piece(&cuts, size - at);
        if (!send_piece(to, data + at, piece, with_fd))
            return;
        control.fds_sent += with_fd;
        uv_run(&control.loop, UV_RUN_NOWAIT);
    }
}

static int open_descriptors(void)
{
    int fd = dup(0);

    close(fd);
    return fd; /* the lowest that is free */
}

static void run_until_quiet(void)
{
    for (size_t left = SIZE_MAX; left != control.left;) {
        left = control.left;
        for (int i = 0; i < 2 * FDS_MAX; i++) /* what brings descriptors is read piece by piece */
            uv_run(&control.loop, UV_RUN_NOWAIT);
    }
}

/* The bytes were cut off in the middle of a message, or said something that no message may. */
static bool is_at_end(void)
{
    return control.left < HEADER || length_at(control.at) > TY_CHANNEL_MAX ||
           control.left < HEADER + length_at(control.at) || control.at[3] & FD_BIT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];

    if (size < 2)
        return 0;
    if (!control.ready) {
        REQUIRE(uv_loop_init(&control.loop) == 0);
        control.null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    control.ready = true;
    control.at = data + 2;
    control.left = size - 2;
    control.fds_sent = control.fds_got = 0;
    control.gone = false;

    int lowest = open_descriptors();

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    struct ty_channel *channel = ty_channel_new(&control.loop, ends[0], on_message, on_gone, NULL);

    send_all(ends[1], data + 2, size - 2, (struct cuts){data[0] * 77u, data[0]}, data[1]);
    run_until_quiet();
    REQUIRE(control.fds_sent > FDS_MAX || is_at_end()); /* too many at once end it early */
    close(ends[1]);
    run_until_quiet();
    REQUIRE(control.gone);
    ty_channel_close(channel);
    uv_run(&control.loop, UV_RUN_DEFAULT);
    REQUIRE(open_descriptors() == lowest);
    return 0;
}
