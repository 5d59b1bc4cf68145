#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/stream.h"

struct probe {
    int calls;
    int status;
};

static void on_done(struct ty_stream *stream, int status, void *arg)
{
    struct probe *probe = arg;

    (void)stream;
    probe->calls++;
    probe->status = status;
}

static void on_waiting(struct ty_listener *listener, int status, void *arg)
{
    (void)listener;
    on_done(NULL, status, arg);
}

static void run_until(uv_loop_t *loop, const struct probe *probe)
{
    while (probe->calls == 0)
        assert_true(uv_run(loop, UV_RUN_ONCE) || probe->calls);
}

static void finish(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

/* A connected pair over a listener on a free port. */
static void connect_pair(uv_loop_t *loop, struct ty_stream *ends[2])
{
    struct probe connected = {0}, waiting = {0};
    int status;
    struct ty_listener *listener = ty_listener_new(loop, "127.0.0.1", 0, &status);

    assert_non_null(listener);
    ends[0] = ty_stream_new(loop);
    ends[1] = ty_stream_new(loop);
    int port = ty_listener_port(listener);
    assert_int_equal(ty_stream_connect(ends[0], "127.0.0.1", port, NULL, on_done, &connected), 0);
    assert_int_equal(connected.calls, 0); /* never from inside */
    assert_int_equal(ty_listener_wait(listener, on_waiting, &waiting), 0);
    run_until(loop, &waiting);
    assert_int_equal(ty_listener_accept(listener, ends[1]), 0);
    run_until(loop, &connected);
    assert_int_equal(connected.status, 0);
    ty_listener_close(listener);
}

static void close_pair(uv_loop_t *loop, struct ty_stream *ends[2])
{
    ty_stream_close(ends[0]);
    ty_stream_close(ends[1]);
    finish(loop);
}

static void write_now(struct ty_stream *stream, const char *text)
{
    assert_int_equal(ty_stream_write(stream, text, strlen(text), NULL, NULL), 1);
}

/* Waits until `want` is there and returns what ty_stream_ready() says. */
static ssize_t await(uv_loop_t *loop, struct ty_stream *stream, const struct ty_stream_want *want)
{
    while (ty_stream_ready(stream, want) == UV_EAGAIN) {
        struct probe probe = {0};
        assert_int_equal(ty_stream_read(stream, want, on_done, &probe), 0);
        run_until(loop, &probe);
    }
    return ty_stream_ready(stream, want);
}

static void bytes_arrive_as_they_were_sent(void **state)
{
    const struct ty_stream_want want = {.mode = TY_STREAM_EXACT, .max = 9};
    struct ty_stream *ends[2];
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    write_now(ends[0], "half");
    write_now(ends[0], " done, rest");

    assert_int_equal(await(&loop, ends[1], &want), 9);
    assert_memory_equal(ty_stream_data(ends[1]), "half done", 9);
    close_pair(&loop, ends);
}

static void a_delimiter_ends_a_read(void **state)
{
    const struct ty_stream_want line = {
        .mode = TY_STREAM_UNTIL, .max = 100, .delimiter = "\r\n", .delimiter_len = 2};
    struct ty_stream *ends[2];
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    write_now(ends[0], "one\r\ntwo\r\n");

    assert_int_equal(await(&loop, ends[1], &line), 5);
    ty_stream_consume(ends[1], 5);
    assert_int_equal(await(&loop, ends[1], &line), 5);
    assert_memory_equal(ty_stream_data(ends[1]), "two\r\n", 5);
    close_pair(&loop, ends);
}

static void a_line_that_is_too_long_is_reported(void **state)
{
    const struct ty_stream_want line = {
        .mode = TY_STREAM_UNTIL, .max = 4, .delimiter = "\n", .delimiter_len = 1};
    struct ty_stream *ends[2];
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    write_now(ends[0], "endless\n");

    assert_int_equal(await(&loop, ends[1], &line), UV_ENOBUFS);
    close_pair(&loop, ends);
}

static void the_end_is_told_from_a_broken_off_message(void **state)
{
    const struct ty_stream_want five = {.mode = TY_STREAM_EXACT, .max = 5};
    struct ty_stream *ends[2];
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    write_now(ends[0], "abc");
    assert_int_equal(ty_stream_shutdown(ends[0]), 0);

    assert_int_equal(await(&loop, ends[1], &five), UV_EOF);
    ty_stream_consume(ends[1], 3);
    assert_int_equal(ty_stream_ready(ends[1], &five), 0);
    write_now(ends[1], "the other way still works");
    assert_int_equal(await(&loop, ends[0], &five), 5);
    close_pair(&loop, ends);
}

static void a_large_write_is_done_when_the_peer_has_room(void **state)
{
    enum { LEN = 16 * 1024 * 1024 };
    const struct ty_stream_want all = {.mode = TY_STREAM_EXACT, .max = LEN};
    struct ty_stream *ends[2];
    struct probe written = {0};
    uv_loop_t loop;
    char *data = calloc(1, LEN);

    (void)state;
    assert_non_null(data);
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    data[LEN - 1] = 'z';
    assert_int_equal(ty_stream_write(ends[0], data, LEN, on_done, &written), 0);
    assert_int_equal(ty_stream_write(ends[0], "x", 1, on_done, &written), UV_EBUSY);
    assert_int_equal(ty_stream_shutdown(ends[0]), UV_EBUSY);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(written.calls, 0);

    assert_int_equal(await(&loop, ends[1], &all), LEN);
    assert_int_equal(written.calls, 1);
    assert_int_equal(written.status, 0);
    assert_int_equal(ty_stream_data(ends[1])[LEN - 1], 'z');
    free(data);
    close_pair(&loop, ends);
}

static void closing_ends_what_is_running(void **state)
{
    const struct ty_stream_want some = {.mode = TY_STREAM_SOME, .max = 100};
    struct ty_stream *ends[2];
    struct probe reader = {0};
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    assert_int_equal(ty_stream_read(ends[0], &some, on_done, &reader), 0);
    assert_int_equal(ty_stream_read(ends[0], &some, on_done, &reader), UV_EBUSY);
    ty_stream_close(ends[0]);
    assert_int_equal(reader.calls, 0);

    ty_stream_close(ends[1]);
    finish(&loop);
    assert_int_equal(reader.calls, 1);
    assert_int_equal(reader.status, UV_ECANCELED);
}

static void a_read_that_was_stopped_can_be_started_again(void **state)
{
    const struct ty_stream_want some = {.mode = TY_STREAM_SOME, .max = 100};
    struct ty_stream *ends[2];
    struct probe stopped = {0};
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    assert_int_equal(ty_stream_read(ends[0], &some, on_done, &stopped), 0);
    ty_stream_stop_read(ends[0]);
    write_now(ends[1], "late");

    assert_int_equal(await(&loop, ends[0], &some), 4);
    assert_int_equal(stopped.calls, 0);
    close_pair(&loop, ends);
}

static void a_reset_is_seen_as_one(void **state)
{
    const struct ty_stream_want some = {.mode = TY_STREAM_SOME, .max = 100};
    struct ty_stream *ends[2];
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    ty_stream_reset(ends[0]);
    ty_stream_close(ends[0]);

    assert_int_equal(await(&loop, ends[1], &some), UV_ECONNRESET);
    assert_int_equal(ty_stream_write(ends[1], "x", 1, on_done, NULL), UV_ECONNRESET);
    ty_stream_close(ends[1]);
    finish(&loop);
}

static void a_stopped_write_breaks_the_stream(void **state)
{
    enum { LEN = 16 * 1024 * 1024 };
    struct ty_stream *ends[2];
    struct probe written = {0};
    uv_loop_t loop;
    char *data = calloc(1, LEN);

    (void)state;
    assert_non_null(data);
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    assert_int_equal(ty_stream_write(ends[0], data, LEN, on_done, &written), 0);
    ty_stream_stop_write(ends[0]);

    assert_int_equal(ty_stream_write(ends[0], "x", 1, on_done, &written), UV_ECANCELED);
    close_pair(&loop, ends);
    assert_int_equal(written.calls, 0);
    free(data);
}

static int dial(const char *host, int port, const char *from)
{
    struct probe probe = {0};
    uv_loop_t loop;

    uv_loop_init(&loop);
    struct ty_stream *stream = ty_stream_new(&loop);
    int status = ty_stream_connect(stream, host, port, from, on_done, &probe);
    if (status == 0) {
        run_until(&loop, &probe);
        status = probe.status;
    }
    ty_stream_close(stream);
    finish(&loop);
    return status;
}

static void what_cannot_be_reached_is_said(void **state)
{
    (void)state;
    char path[200];

    memset(path, '/', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(dial("127.0.0.1", 1, NULL), UV_ECONNREFUSED);
    assert_int_equal(dial("localhost", 1, NULL), UV_ECONNREFUSED); /* each of its addresses */
    assert_int_equal(dial("127.0.0.1", 1, "192.0.2.1"), UV_EADDRNOTAVAIL);
    assert_int_equal(dial("127.0.0.1", 1, "nonsense"), UV_EINVAL);
    assert_int_equal(dial("/nonexistent/socket", 0, NULL), UV_ENOENT);
    assert_int_equal(dial(path, 0, NULL), UV_ENAMETOOLONG);
}

static void closing_while_connecting_ends_it(void **state)
{
    struct probe by_name = {0}, by_address = {0}, stopped = {0};
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    struct ty_stream *a = ty_stream_new(&loop), *b = ty_stream_new(&loop),
                     *c = ty_stream_new(&loop);
    assert_int_equal(ty_stream_connect(a, "localhost", 1, NULL, on_done, &by_name), 0);
    assert_int_equal(ty_stream_connect(b, "127.0.0.1", 1, NULL, on_done, &by_address), 0);
    assert_int_equal(ty_stream_connect(c, "localhost", 1, NULL, on_done, &stopped), 0);
    ty_stream_close(a);
    ty_stream_close(b);
    ty_stream_stop_write(c);
    ty_stream_close(c);
    finish(&loop);

    assert_int_equal(by_name.calls, 1);
    assert_int_equal(by_name.status, UV_ECANCELED);
    assert_int_equal(by_address.calls, 1);
    assert_int_equal(by_address.status, UV_ECANCELED);
    assert_int_equal(stopped.calls, 0);
}

static void pipes_and_unix_sockets_are_streams_too(void **state)
{
    const struct ty_stream_want some = {.mode = TY_STREAM_SOME, .max = 100};
    int fds[2];
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    assert_int_equal(pipe(fds), 0);
    struct ty_stream *stream = ty_stream_new(&loop);
    assert_int_equal(ty_stream_open(stream, fds[0]), 0);
    assert_int_equal(write(fds[1], "piped", 5), 5);

    assert_int_equal(await(&loop, stream, &some), 5);
    ty_stream_consume(stream, 5);
    close(fds[1]);
    assert_int_equal(await(&loop, stream, &some), 0);
    ty_stream_close(stream);
    finish(&loop);
}

static void both_sides_have_names(void **state)
{
    char name[TY_STREAM_NAME_MAX];
    struct ty_stream *ends[2];
    int own, other;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    connect_pair(&loop, ends);
    assert_int_equal(ty_stream_name(ends[0], false, name, &own), 0);
    assert_string_equal(name, "127.0.0.1");
    assert_int_equal(ty_stream_name(ends[1], true, name, &other), 0);
    assert_int_equal(own, other);
    close_pair(&loop, ends);
}

static void a_waiting_listener_can_be_closed(void **state)
{
    struct probe waiting = {0};
    uv_loop_t loop;
    int status;

    (void)state;
    uv_loop_init(&loop);
    struct ty_listener *listener = ty_listener_new(&loop, "::1", 0, &status);
    assert_non_null(listener);
    assert_true(ty_listener_port(listener) > 0);
    assert_int_equal(ty_listener_wait(listener, on_waiting, &waiting), 0);
    assert_int_equal(ty_listener_wait(listener, on_waiting, &waiting), UV_EBUSY);
    ty_listener_close(listener);
    finish(&loop);

    assert_int_equal(waiting.calls, 1);
    assert_int_equal(waiting.status, UV_ECANCELED);
}

static void a_taken_port_is_refused(void **state)
{
    uv_loop_t loop;
    int status;

    (void)state;
    uv_loop_init(&loop);
    struct ty_listener *first = ty_listener_new(&loop, "127.0.0.1", 0, &status);
    assert_non_null(first);
    assert_null(ty_listener_new(&loop, "127.0.0.1", ty_listener_port(first), &status));
    assert_int_equal(status, UV_EADDRINUSE);
    assert_null(ty_listener_new(&loop, "no address", 1, &status));
    assert_int_equal(status, UV_EINVAL);
    ty_listener_close(first);
    finish(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_as_they_were_sent),
        cmocka_unit_test(a_delimiter_ends_a_read),
        cmocka_unit_test(a_line_that_is_too_long_is_reported),
        cmocka_unit_test(the_end_is_told_from_a_broken_off_message),
        cmocka_unit_test(a_large_write_is_done_when_the_peer_has_room),
        cmocka_unit_test(closing_ends_what_is_running),
        cmocka_unit_test(a_read_that_was_stopped_can_be_started_again),
        cmocka_unit_test(a_reset_is_seen_as_one),
        cmocka_unit_test(a_stopped_write_breaks_the_stream),
        cmocka_unit_test(what_cannot_be_reached_is_said),
        cmocka_unit_test(closing_while_connecting_ends_it),
        cmocka_unit_test(pipes_and_unix_sockets_are_streams_too),
        cmocka_unit_test(both_sides_have_names),
        cmocka_unit_test(a_waiting_listener_can_be_closed),
        cmocka_unit_test(a_taken_port_is_refused),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
