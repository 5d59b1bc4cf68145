#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "tycho/buffer.h"
#include "tycho/channel.h"

/* One end of a channel, and what it heard. */
struct end {
    struct ty_channel *channel;
    struct ty_buf heard; /* messages, a line each */
    size_t last_len;
    int last_fd;
    int messages;
    int gone;
    bool close_on_message;
};

struct pair {
    uv_loop_t loop;
    struct end a, b;
    int raw; /* the other end of `a` where there is no `b` */
};

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    struct end *end = arg;

    assert_int_equal(json[len], '\0');
    end->messages++;
    end->last_len = len;
    if (len < 100)
        ty_buf_addf(&end->heard, "%s\n", json);
    if (end->last_fd >= 0)
        close(end->last_fd);
    end->last_fd = fd;
    if (end->close_on_message)
        ty_channel_close(channel);
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    struct end *end = arg;

    assert_ptr_equal(channel, end->channel);
    end->gone++;
}

static struct ty_channel *open_end(struct pair *pair, struct end *end, int fd)
{
    end->last_fd = -1;
    end->channel = ty_channel_new(&pair->loop, fd, on_message, on_gone, end);
    return end->channel;
}

static int make_pair(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    int fds[2];

    *state = pair;
    uv_loop_init(&pair->loop);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return -1;
    open_end(pair, &pair->a, fds[0]);
    open_end(pair, &pair->b, fds[1]);
    pair->raw = -1;
    return 0;
}

static int make_half(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    int fds[2];

    *state = pair;
    uv_loop_init(&pair->loop);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return -1;
    open_end(pair, &pair->a, fds[0]);
    pair->raw = fds[1];
    return 0;
}

static void close_end(struct end *end)
{
    if (end->channel && !end->close_on_message)
        ty_channel_close(end->channel);
    if (end->last_fd >= 0)
        close(end->last_fd);
    ty_buf_close(&end->heard);
}

static int close_pair(void **state)
{
    struct pair *pair = *state;
    int status;

    close_end(&pair->a);
    if (pair->raw < 0)
        close_end(&pair->b);
    else
        close(pair->raw);
    uv_run(&pair->loop, UV_RUN_DEFAULT);
    status = uv_loop_close(&pair->loop);
    free(pair);
    return status;
}

static void send_text(struct end *end, const char *text)
{
    assert_int_equal(ty_channel_send(end->channel, -1, text, strlen(text)), 0);
}

static void run_until(struct pair *pair, const int *count, int goal)
{
    while (*count < goal)
        assert_true(uv_run(&pair->loop, UV_RUN_ONCE) || *count >= goal);
}

/* ---- */

static void messages_arrive_whole_and_in_order(void **state)
{
    struct pair *pair = *state;

    send_text(&pair->a, "{\"n\":1}");
    send_text(&pair->a, "");
    ty_channel_sendf(pair->a.channel, -1, "{\"n\":%d}", 3);
    run_until(pair, &pair->b.messages, 3);

    assert_string_equal(ty_buf_cstr(&pair->b.heard), "{\"n\":1}\n\n{\"n\":3}\n");
}

static void both_ends_may_talk(void **state)
{
    struct pair *pair = *state;

    send_text(&pair->a, "ping");
    send_text(&pair->b, "pong");
    run_until(pair, &pair->a.messages, 1);
    run_until(pair, &pair->b.messages, 1);

    assert_string_equal(ty_buf_cstr(&pair->a.heard), "pong\n");
    assert_string_equal(ty_buf_cstr(&pair->b.heard), "ping\n");
}

static void a_descriptor_comes_with_its_own_message(void **state)
{
    struct pair *pair = *state;
    int pipe_fds[2];
    char byte = 0;

    assert_int_equal(pipe(pipe_fds), 0);
    send_text(&pair->a, "one");
    assert_int_equal(ty_channel_send(pair->a.channel, pipe_fds[1], "two", 3), 0);
    close(pipe_fds[1]);
    run_until(pair, &pair->b.messages, 1);
    run_until(pair, &pair->b.messages, 2);

    assert_true(pair->b.last_fd >= 0);
    assert_true(fcntl(pair->b.last_fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(pair->b.last_fd, "x", 1), 1);
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    send_text(&pair->a, "three");
    run_until(pair, &pair->b.messages, 3);
    assert_int_equal(pair->b.last_fd, -1);
    close(pipe_fds[0]);
}

static void descriptors_survive_a_full_socket(void **state)
{
    enum { COUNT = 200, LEN = 10000 };
    struct pair *pair = *state;
    char *text = calloc(1, LEN);

    memset(text, 'x', LEN);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(ty_channel_send(pair->a.channel, i % 2 ? 0 : -1, text, LEN), 0);
    for (int i = 1; i <= COUNT; i++) {
        int goal = pair->b.messages + 1;
        run_until(pair, &pair->b.messages, goal);
        if (pair->b.messages == COUNT)
            break;
    }

    assert_int_equal(pair->b.messages, COUNT);
    assert_true(pair->b.last_fd >= 0);
    assert_int_equal(pair->b.gone, 0);
    free(text);
}

static void the_largest_message_arrives(void **state)
{
    struct pair *pair = *state;
    char *text = calloc(1, TY_CHANNEL_MAX);

    assert_int_equal(ty_channel_send(pair->a.channel, -1, text, TY_CHANNEL_MAX), 0);
    run_until(pair, &pair->b.messages, 1);

    assert_int_equal(pair->b.last_len, TY_CHANNEL_MAX);
    free(text);
}

static void a_longer_one_ends_the_channel(void **state)
{
    struct pair *pair = *state;
    char *text = calloc(1, TY_CHANNEL_MAX + 1);

    assert_int_equal(ty_channel_send(pair->a.channel, -1, text, TY_CHANNEL_MAX + 1), UV_ENOBUFS);
    run_until(pair, &pair->a.gone, 1);
    run_until(pair, &pair->b.gone, 1);
    assert_int_equal(pair->b.messages, 0);
    free(text);
}

static void too_much_waiting_ends_the_channel(void **state)
{
    struct pair *pair = *state;
    char *text = calloc(1, TY_CHANNEL_MAX / 4);
    int sent = 0;

    while (ty_channel_send(pair->a.channel, -1, text, TY_CHANNEL_MAX / 4) == 0)
        sent++;
    run_until(pair, &pair->a.gone, 1);

    assert_in_range(sent, 3, 4);
    assert_int_equal(ty_channel_send(pair->a.channel, -1, "x", 1), UV_EPIPE);
    free(text);
}

static void what_was_sent_before_closing_arrives(void **state)
{
    struct pair *pair = *state;

    send_text(&pair->a, "last words");
    ty_channel_close(pair->a.channel);
    pair->a.channel = NULL;
    run_until(pair, &pair->b.gone, 1);

    assert_string_equal(ty_buf_cstr(&pair->b.heard), "last words\n");
    assert_int_equal(pair->b.gone, 1);
}

static void a_channel_may_be_closed_by_its_own_message(void **state)
{
    struct pair *pair = *state;

    pair->b.close_on_message = true;
    send_text(&pair->a, "one");
    send_text(&pair->a, "two");
    run_until(pair, &pair->a.gone, 1);

    assert_int_equal(pair->b.messages, 1);
    assert_int_equal(pair->b.gone, 0);
}

static void a_message_may_come_byte_by_byte(void **state)
{
    struct pair *pair = *state;
    static const char bytes[] = {2, 0, 0, 0, 'o', 'k', 1, 0, 0, 0, '!'};

    for (size_t i = 0; i < sizeof(bytes); i++) {
        assert_int_equal(write(pair->raw, bytes + i, 1), 1);
        uv_run(&pair->loop, UV_RUN_NOWAIT);
    }
    run_until(pair, &pair->a.messages, 2);

    assert_string_equal(ty_buf_cstr(&pair->a.heard), "ok\n!\n");
}

static void an_impossible_length_ends_the_channel(void **state)
{
    struct pair *pair = *state;

    assert_int_equal(write(pair->raw, "\1\0\0\1xxxx", 8), 8);
    run_until(pair, &pair->a.gone, 1);
    assert_int_equal(pair->a.messages, 0);
}

static void a_promised_descriptor_that_is_missing_ends_the_channel(void **state)
{
    struct pair *pair = *state;

    assert_int_equal(write(pair->raw, "\1\0\0\200x", 5), 5);
    run_until(pair, &pair->a.gone, 1);
    assert_int_equal(pair->a.messages, 0);
}

static void unclaimed_descriptors_are_closed_and_bounded(void **state)
{
    struct pair *pair = *state;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    int before = dup(0), sent = 0, after;

    close(before);
    while (pair->a.gone == 0 && sent++ < 100) {
        struct iovec part = {"\0\0\0\0", 4};
        struct msghdr msg = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        int zero = 0;
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &zero, sizeof(int));
        assert_int_equal(sendmsg(pair->raw, &msg, 0), 4);
        uv_run(&pair->loop, UV_RUN_ONCE);
    }
    assert_int_equal(pair->a.gone, 1);
    assert_in_range(sent, 2, 20);

    ty_channel_close(pair->a.channel);
    pair->a.channel = NULL;
    uv_run(&pair->loop, UV_RUN_DEFAULT);
    after = dup(0);
    close(after);
    assert_in_range(after, 0, before);
}

#define WITH(make, test) cmocka_unit_test_setup_teardown(test, make, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(make_pair, messages_arrive_whole_and_in_order),
        WITH(make_pair, both_ends_may_talk),
        WITH(make_pair, a_descriptor_comes_with_its_own_message),
        WITH(make_pair, descriptors_survive_a_full_socket),
        WITH(make_pair, the_largest_message_arrives),
        WITH(make_pair, a_longer_one_ends_the_channel),
        WITH(make_pair, too_much_waiting_ends_the_channel),
        WITH(make_pair, what_was_sent_before_closing_arrives),
        WITH(make_pair, a_channel_may_be_closed_by_its_own_message),
        WITH(make_half, a_message_may_come_byte_by_byte),
        WITH(make_half, an_impossible_length_ends_the_channel),
        WITH(make_half, a_promised_descriptor_that_is_missing_ends_the_channel),
        WITH(make_half, unclaimed_descriptors_are_closed_and_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
