#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"

#define HOLD "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

/* Sends a request that the site holds, and returns it. */
static struct ty_request *held(struct fixture *f, int fd, const char *request)
{
    say(f, fd, request);
    WAIT_FOR(f, f->held_count);
    return f->held[--f->held_count];
}

static void pieces_of_unknown_length_are_chunked(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, HOLD HELLO);

    assert_int_equal(ty_request_begin(req, 200, NULL, 0, -1), 0);
    assert_int_equal(ty_request_write(req, TY_SLICE("hello, ")), 0);
    assert_int_equal(ty_request_write(req, TY_SLICE("")), 0);
    pump(&f, -1, 0);
    assert_int_equal(ty_request_write(req, TY_SLICE("a piece at a time")), 0);
    ty_request_end(req, false);
    struct answer answer = await_answer(&f, fd, &in, 0), next = await_answer(&f, fd, &in, 0);

    assert_string_equal(field(&answer, "Transfer-Encoding"), "chunked");
    assert_string_equal(field(&answer, "Content-Length"), "");
    assert_string_equal(answer.body, "hello, a piece at a time");
    assert_int_equal(next.status, 200);
    answer_close(&answer);
    answer_close(&next);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void pieces_of_known_length_are_sent_as_they_are(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, HOLD HELLO);

    ty_request_begin(req, 200, NULL, 0, 6);
    assert_int_equal(ty_request_write(req, TY_SLICE("abc")), 0);
    assert_int_equal(ty_request_write(req, TY_SLICE("def")), 0);
    ty_request_end(req, false);
    struct answer answer = await_answer(&f, fd, &in, 0), next = await_answer(&f, fd, &in, 0);

    assert_string_equal(field(&answer, "Content-Length"), "6");
    assert_string_equal(answer.body, "abcdef");
    assert_int_equal(next.status, 200);
    answer_close(&answer);
    answer_close(&next);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void more_than_the_declared_length_is_cut_off(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, HOLD);

    ty_request_begin(req, 200, NULL, 0, 5);
    assert_int_equal(ty_request_write(req, TY_SLICE("abc")), 0);
    assert_int_equal(ty_request_write(req, TY_SLICE("def")), TY_HTTP_E_LENGTH);
    ty_request_end(req, false);
    await_close(&f, fd, &in);

    assert_non_null(memmem(in.data, in.len, "\r\n\r\nabcde", 9));
    assert_memory_equal(in.data + in.len - 5, "abcde", 5);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void less_than_the_declared_length_cuts_the_connection(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, HOLD);

    ty_request_begin(req, 200, NULL, 0, 5);
    ty_request_write(req, TY_SLICE("abc"));
    ty_request_end(req, false);
    await_close(&f, fd, &in);

    assert_memory_equal(in.data + in.len - 3, "abc", 3);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void a_failed_answer_does_not_end_like_a_good_one(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, HOLD HELLO);

    ty_request_begin(req, 200, NULL, 0, -1);
    ty_request_write(req, TY_SLICE("abc"));
    ty_request_end(req, true);
    await_close(&f, fd, &in);

    assert_null(memmem(in.data, in.len, "\r\n0\r\n", 5));
    assert_non_null(memmem(in.data, in.len, "3\r\nabc\r\n", 8));
    close(fd);
    ty_buf_close(&in);

    fd = dial(&f);
    req = held(&f, fd, "GET /hold HTTP/1.0\r\n\r\n");
    ty_request_begin(req, 200, NULL, 0, -1);
    ty_request_write(req, TY_SLICE("abc"));
    ty_request_end(req, true);
    char byte;
    ssize_t n;

    while ((n = recv(fd, &byte, 1, 0)) > 0)
        ;
    assert_int_equal(n, -1); /* reset: an end would look like a complete answer */
    close(fd);
    stop(&f);
}

static void an_old_client_reads_until_the_end(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, "GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");

    ty_request_begin(req, 200, NULL, 0, -1);
    ty_request_write(req, TY_SLICE("abc"));
    ty_request_end(req, false);
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_string_equal(field(&answer, "Connection"), "close");
    assert_string_equal(field(&answer, "Transfer-Encoding"), "");
    assert_string_equal(answer.body, "abc");
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void head_of_a_stream_has_no_body(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, "HEAD /hold HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);

    ty_request_begin(req, 200, NULL, 0, -1);
    ty_request_write(req, TY_SLICE("abc"));
    ty_request_end(req, false);
    struct answer answer = await_answer(&f, fd, &in, 1), next = await_answer(&f, fd, &in, 0);

    assert_string_equal(field(&answer, "Transfer-Encoding"), "chunked");
    assert_string_equal(next.body, "hello");
    answer_close(&answer);
    answer_close(&next);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void a_stream_of_a_status_without_content_is_empty(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    for (int64_t length = -1; length <= 3; length += 4) {
        int fd = dial(&f);
        struct ty_request *req = held(&f, fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);

        ty_request_begin(req, 205, NULL, 0, length);
        ty_request_write(req, TY_SLICE("abc"));
        ty_request_end(req, false);
        struct answer answer = await_answer(&f, fd, &in, 0), next = await_answer(&f, fd, &in, 0);

        assert_string_equal(field(&answer, "Transfer-Encoding"), "");
        assert_string_equal(field(&answer, "Content-Length"), "0");
        assert_string_equal(next.body, "hello");
        answer_close(&answer);
        answer_close(&next);
        close(fd);
        ty_buf_close(&in);
    }
    stop(&f);
}

static void a_slow_reader_holds_the_writer_back(void **state)
{
    enum { PIECE = 64 * 1024 };
    static char piece[PIECE];
    struct fixture f;
    struct ty_buf in = {0};
    size_t written = 0;
    int rc;

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, HOLD);

    memset(piece, 'p', sizeof(piece));
    ty_request_begin(req, 200, NULL, 0, -1);
    do {
        rc = ty_request_write(req, (struct ty_slice){piece, PIECE});
        assert_in_range(rc, 0, 1);
        written += PIECE;
        assert_true(written < 64 * 1024 * 1024);
        pump(&f, -1, 0);
    } while (rc == 0);
    assert_int_equal(f.drained, 0);

    for (uint64_t give_up = ty_now_ms() + PATIENCE_MS; !f.drained; pump(&f, fd, POLLIN)) {
        assert_true(receive(fd, &in));
        assert_true(ty_now_ms() < give_up);
    }
    assert_int_equal(f.drained, 1);
    assert_int_equal(ty_request_write(req, TY_SLICE("end")), 0);
    ty_request_end(req, false);
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_int_equal(answer.body_len, written + 3);
    assert_memory_equal(answer.body + written, "end", 3);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void a_large_answer_to_a_slow_reader_arrives_whole_and_in_order(void **state)
{
    enum { SIZE = 8 * 1024 * 1024 };
    struct fixture f;
    struct ty_buf in = {0};
    char *body = ty_alloc(SIZE);

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)('a' + i * 7 % 26);
    prepare(&f);
    start(&f);
    int fd = dial(&f);
    struct ty_request *req = held(&f, fd, HOLD HELLO);

    ty_request_respond(req, 200, NULL, 0, (struct ty_slice){body, SIZE});
    struct answer answer = await_answer(&f, fd, &in, 0), next = await_answer(&f, fd, &in, 0);

    assert_int_equal(answer.body_len, SIZE);
    assert_memory_equal(answer.body, body, SIZE);
    assert_string_equal(next.body, "hello");
    answer_close(&answer);
    answer_close(&next);
    free(body);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void a_client_that_sends_but_does_not_read_is_not_served_on(void **state)
{
    enum { BODY = 100000, COUNT = 200 };
    struct fixture f;
    struct ty_buf out = {0}, in = {0};
    size_t sent = 0;

    (void)state;
    prepare(&f);
    start(&f);
    for (int i = 0; i < COUNT; i++) {
        ty_buf_addf(&out, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
        memset(ty_buf_reserve(&out, BODY), 'b', BODY);
        out.len += BODY;
    }
    int fd = dial(&f);
    uint64_t quiet_since = ty_now_ms();

    while (ty_now_ms() < quiet_since + 100) { /* until neither side moves any more */
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            sent += (size_t)n;
            quiet_since = ty_now_ms();
        }
        pump(&f, -1, 0);
    }
    assert_true(f.handled < COUNT);
    for (int i = 0; i < COUNT;) {
        struct answer answer = {0};
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        assert_true(receive(fd, &in));
        for (; parse_answer(&in, 0, 0, &answer); i++) {
            assert_int_equal(answer.body_len, BODY);
            answer_close(&answer);
        }
        pump(&f, fd, POLLIN);
    }
    close(fd);
    ty_buf_close(&in);
    ty_buf_close(&out);
    stop(&f);
}

static void a_reader_that_stops_is_cut_off(void **state)
{
    enum { SIZE = 32 * 1024 * 1024 };
    struct fixture f;
    char *body = ty_zalloc(SIZE);
    double before = ty_metrics_value("tycho_http_limits_total", "limit=\"send_timeout\"");

    (void)state;
    prepare(&f);
    f.options.limits.send_timeout_ms = 200;
    start(&f);
    int fd = dial(&f), streaming = dial(&f);

    ty_request_respond(held(&f, fd, HOLD), 200, NULL, 0, (struct ty_slice){body, SIZE});
    struct ty_request *req = held(&f, streaming, HOLD);

    ty_request_begin(req, 200, NULL, 0, SIZE);
    assert_int_equal(ty_request_write(req, (struct ty_slice){body, SIZE}), 1);
    WAIT_FOR(&f, ty_http_server_counts(f.server).connections == 0);
    assert_true(ty_metrics_value("tycho_http_limits_total", "limit=\"send_timeout\"") ==
                before + 2);
    assert_int_equal(f.aborted, 1); /* the answer that was not complete */
    assert_int_equal(ty_request_write(req, TY_SLICE("x")), UV_ECANCELED);
    ty_request_end(req, false);
    close(fd);
    close(streaming);
    free(body);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_unknown_length_are_chunked),
        cmocka_unit_test(pieces_of_known_length_are_sent_as_they_are),
        cmocka_unit_test(more_than_the_declared_length_is_cut_off),
        cmocka_unit_test(less_than_the_declared_length_cuts_the_connection),
        cmocka_unit_test(a_failed_answer_does_not_end_like_a_good_one),
        cmocka_unit_test(an_old_client_reads_until_the_end),
        cmocka_unit_test(head_of_a_stream_has_no_body),
        cmocka_unit_test(a_stream_of_a_status_without_content_is_empty),
        cmocka_unit_test(a_slow_reader_holds_the_writer_back),
        cmocka_unit_test(a_large_answer_to_a_slow_reader_arrives_whole_and_in_order),
        cmocka_unit_test(a_client_that_sends_but_does_not_read_is_not_served_on),
        cmocka_unit_test(a_reader_that_stops_is_cut_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
