#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"
#include "support/figure.h"

#define H "Host: a\r\n"
#define CHUNKED "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

static double met(const char *limit)
{
    char labels[64];

    snprintf(labels, sizeof(labels), "limit=\"%s\"", limit);
    return ty_metrics_value("tycho_http_limits_total", labels);
}

static void repeat(struct ty_buf *out, const char *text, size_t times)
{
    while (times--)
        ty_buf_adds(out, text);
}

/* Sends, and expects one answer of that status; a refusal also closes and counts. */
static void expect(struct fixture *f, struct ty_buf *out, int status, const char *limit)
{
    struct ty_buf in = {0};
    int fd = dial(f);
    double before = limit ? met(limit) : 0;

    transmit(f, fd, out->data, out->len);
    struct answer answer = await_answer(f, fd, &in, 0);

    if (answer.status != status)
        fail_msg("%d instead of %d for %.60s", answer.status, status, ty_buf_cstr(out));
    if (limit) {
        await_close(f, fd, &in);
        assert_true(met(limit) == before + 1);
    }
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    ty_buf_close(out);
}

static void the_request_target_is_bounded(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t extra = 0; extra < 2; extra++) {
        struct ty_buf out = {0};

        ty_buf_adds(&out, "GET /hello?");
        repeat(&out, "x", 8192 - 7 + extra);
        ty_buf_adds(&out, " HTTP/1.1\r\n" H "\r\n");
        expect(&f, &out, extra ? 414 : 200, extra ? "target" : NULL);
    }
    struct ty_buf out = {0};

    ty_buf_adds(&out, "GET /");
    repeat(&out, "x", 1000000); /* refused long before it is complete */
    expect(&f, &out, 414, "target");
    stop(&f);
}

static void the_header_section_is_bounded(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t big = 0; big < 2; big++) {
        struct ty_buf out = {0};

        ty_buf_adds(&out, "GET /hello HTTP/1.1\r\n" H);
        for (int i = 0; i < 4; i++) {
            ty_buf_addf(&out, "X-%d: ", i);
            repeat(&out, "y", big ? 8180 : 8100);
            ty_buf_adds(&out, "\r\n");
        }
        if (big)
            ty_buf_adds(&out, "X-Last: 123456789\r\n");
        ty_buf_adds(&out, "\r\n");
        expect(&f, &out, big ? 431 : 200, big ? "header" : NULL);
    }
    struct ty_buf out = {0};

    ty_buf_adds(&out, "GET /hello HTTP/1.1\r\n" H "X:");
    repeat(&out, " ", 200000); /* no field grows from this, the section does */
    expect(&f, &out, 431, "header");
    stop(&f);
}

static void one_field_is_bounded(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t extra = 0; extra < 2; extra++) {
        struct ty_buf out = {0};

        ty_buf_adds(&out, "GET /hello HTTP/1.1\r\n" H "X: ");
        repeat(&out, "y", 8191 + extra);
        ty_buf_adds(&out, "\r\n\r\n");
        expect(&f, &out, extra ? 431 : 200, extra ? "field" : NULL);
    }
    struct ty_buf out = {0};

    ty_buf_adds(&out, "GET /hello HTTP/1.1\r\n" H);
    repeat(&out, "n", 9000); /* a name */
    expect(&f, &out, 431, "field");
    stop(&f);
}

static void the_number_of_fields_is_bounded(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t extra = 0; extra < 2; extra++) {
        struct ty_buf out = {0};

        ty_buf_adds(&out, "GET /hello HTTP/1.1\r\n" H);
        repeat(&out, "X: y\r\n", 99 + extra);
        ty_buf_adds(&out, "\r\n");
        expect(&f, &out, extra ? 431 : 200, extra ? "count" : NULL);
    }
    struct ty_buf out = {0};

    ty_buf_adds(&out, CHUNKED "0\r\n");
    repeat(&out, "X: y\r\n", 99); /* trailers count as well */
    ty_buf_adds(&out, "\r\n");
    expect(&f, &out, 431, "count");
    stop(&f);
}

static void trailers_are_bounded(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    struct ty_buf out = {0};

    ty_buf_adds(&out, CHUNKED "0\r\n");
    for (int i = 0; i < 5; i++) {
        ty_buf_adds(&out, "X: ");
        repeat(&out, "y", 8000);
        ty_buf_adds(&out, "\r\n");
    }
    expect(&f, &out, 431, "header");
    ty_buf_adds(&out, CHUNKED "0\r\nX: ");
    repeat(&out, "y", 8300);
    expect(&f, &out, 431, "field");
    stop(&f);
}

static void a_body_may_be_as_large_as_its_route_allows(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    f.options.limits.body_max = 100;
    start(&f);
    f.routes[1].body_max = 200000; /* /echo */
    struct ty_buf out = {0};

    ty_buf_adds(&out, "POST /echo HTTP/1.1\r\n" H "Content-Length: 200000\r\n\r\n");
    repeat(&out, "z", 200000);
    expect(&f, &out, 200, NULL);
    ty_buf_adds(&out, "POST /show HTTP/1.1\r\n" H "Content-Length: 101\r\n\r\n");
    expect(&f, &out, 413, "body");
    ty_buf_adds(&out, "POST /nowhere HTTP/1.1\r\n" H "Content-Length: 101\r\n\r\n");
    expect(&f, &out, 413, "body");
    ty_buf_adds(&out, "POST /show HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
    repeat(&out, "32\r\n01234567890123456789012345678901234567890123456789\r\n", 2);
    ty_buf_adds(&out, "1\r\n");
    expect(&f, &out, 413, "body");
    stop(&f);
}

static void large_bodies_arrive_whole(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (int chunked = 0; chunked < 2; chunked++) {
        struct ty_buf out = {0}, body = {0}, in = {0};
        int fd = dial(&f);

        for (int i = 0; body.len < 1000000; i++)
            ty_buf_addf(&body, "%d,", i);
        if (chunked) {
            ty_buf_adds(&out, CHUNKED);
            for (size_t at = 0; at < body.len; at += 999) {
                size_t len = body.len - at < 999 ? body.len - at : 999;

                ty_buf_addf(&out, "%zx\r\n", len);
                ty_buf_add(&out, body.data + at, len);
                ty_buf_adds(&out, "\r\n");
            }
            ty_buf_adds(&out, "0\r\n\r\n");
        } else {
            ty_buf_addf(&out, "POST /echo HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n", body.len);
            ty_buf_add(&out, body.data, body.len);
        }
        assert_true(transmit(&f, fd, out.data, out.len));
        struct answer answer = await_answer(&f, fd, &in, 0);

        assert_int_equal(answer.body_len, body.len);
        assert_memory_equal(answer.body, body.data, body.len);
        answer_close(&answer);
        close(fd);
        ty_buf_close(&in);
        ty_buf_close(&out);
        ty_buf_close(&body);
    }
    stop(&f);
}

static void chunk_metadata_is_bounded(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    struct ty_buf out = {0};

    ty_buf_adds(&out, CHUNKED);
    repeat(&out, "0", 10000);
    ty_buf_adds(&out, "3\r\nabc\r\n0\r\n\r\n");
    expect(&f, &out, 400, "chunk");

    ty_buf_adds(&out, CHUNKED);
    repeat(&out, "0", 10000); /* the last one */
    ty_buf_adds(&out, "\r\n\r\n");
    expect(&f, &out, 400, "chunk");

    ty_buf_adds(&out, CHUNKED);
    repeat(&out, "0", 2000); /* and the line does not even end */
    expect(&f, &out, 400, "chunk");

    ty_buf_adds(&out, CHUNKED "3;");
    repeat(&out, "e", 2000);
    ty_buf_adds(&out, "\r\nabc\r\n0\r\n\r\n");
    expect(&f, &out, 400, "chunk");

    ty_buf_adds(&out, CHUNKED);
    for (int i = 0; i < 20; i++) {
        ty_buf_adds(&out, "1;");
        repeat(&out, "e", 500); /* 10 KB of them in all */
        ty_buf_adds(&out, "\r\nx\r\n");
    }
    ty_buf_adds(&out, "0\r\n\r\n");
    expect(&f, &out, 400, "chunk");

    ty_buf_adds(&out, CHUNKED "3;");
    repeat(&out, "e", 900);
    ty_buf_adds(&out, "\r\nabc\r\n0\r\n\r\n");
    expect(&f, &out, 200, NULL);
    stop(&f);
}

static void an_early_refusal_reaches_a_client_that_is_still_sending(void **state)
{
    struct fixture f;
    struct ty_buf out = {0}, in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    ty_buf_adds(&out, "POST /echo HTTP/1.1\r\n" H "Content-Length: 10000000\r\n\r\n");
    repeat(&out, "0123456789", 20000); /* 200 KB, less than linger_max */
    int fd = dial(&f);

    assert_true(transmit(&f, fd, out.data, out.len));
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_int_equal(answer.status, 413);
    await_close(&f, fd, &in);
    assert_true(ty_http_server_counts(f.server).connections == 1); /* lingers till we close */
    close(fd);
    WAIT_FOR(&f, ty_http_server_counts(f.server).connections == 0);
    answer_close(&answer);
    ty_buf_close(&in);
    ty_buf_close(&out);
    stop(&f);
}

static void lingering_ends(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    f.options.limits.linger_ms = 100;
    f.options.limits.linger_max = 1000;
    start(&f);
    int idle = dial(&f), busy = dial(&f);

    say(&f, idle, "nonsense\r\n\r\n");
    say(&f, busy, "nonsense\r\n\r\n");
    await_close(&f, busy, &in);
    for (int i = 0; i < 1000; i++) /* it will not listen for ever */
        transmit(&f, busy, "0123456789012345678901234567890123456789", 40);
    WAIT_FOR(&f, ty_http_server_counts(f.server).connections == 0);
    close(idle);
    close(busy);
    ty_buf_close(&in);
    stop(&f);
}

static void slow_headers_get_408(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};
    double before = met("header_timeout");
    uint64_t last = 0;

    (void)state;
    prepare(&f);
    f.options.limits.header_timeout_ms = 300;
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    while (receive(fd, &in) && in.len == 0) {
        if (ty_now_ms() > last + 20) { /* going on sending does not help */
            last = ty_now_ms();
            transmit(&f, fd, "X: y\r\n", 6);
        }
        pump(&f, fd, POLLIN);
    }
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_int_equal(answer.status, 408);
    await_close(&f, fd, &in);
    assert_true(met("header_timeout") == before + 1);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void a_connection_that_says_nothing_is_closed(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    f.options.limits.header_timeout_ms = 100;
    start(&f);
    int fd = dial(&f);

    await_close(&f, fd, &in);
    assert_int_equal(in.len, 0);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void an_idle_connection_is_closed(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};
    double before = met("keepalive");

    (void)state;
    prepare(&f);
    f.options.limits.keepalive_timeout_ms = 200;
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    struct answer answer = await_answer(&f, fd, &in, 0);
    uint64_t since = ty_now_ms();

    await_close(&f, fd, &in);
    assert_int_equal(answer.status, 200);
    assert_int_equal(in.len, 0);
    assert_in_range(ty_now_ms() - since, 190, at_most_ms(2000));
    assert_true(met("keepalive") == before + 1);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void slow_bodies_get_408_and_fast_enough_ones_do_not(void **state)
{
    static const char head[] = "POST /echo HTTP/1.1\r\n" H "Content-Length: 3000\r\n\r\n";
    char piece[500];
    struct fixture f;
    struct ty_buf in = {0};
    double before = met("body_timeout");
    uint64_t next = 0;

    (void)state;
    memset(piece, 'x', sizeof(piece));
    prepare(&f);
    f.options.limits.body_timeout_ms = 300;
    start(&f);
    int slow = dial(&f), steady = dial(&f);

    say(&f, slow, head);
    say(&f, steady, head);
    for (int i = 0; i < 6;) { /* 500 bytes every 150 ms are more than 1 KiB/s */
        pump(&f, -1, 0);
        if (ty_now_ms() >= next) {
            next = ty_now_ms() + 150;
            i++;
            assert_true(transmit(&f, steady, piece, sizeof(piece)));
            transmit(&f, slow, piece, 10);
        }
    }
    struct answer good = await_answer(&f, steady, &in, 0);

    assert_int_equal(good.status, 200);
    in.len = 0;
    struct answer bad = await_answer(&f, slow, &in, 0);

    assert_int_equal(bad.status, 408);
    assert_true(met("body_timeout") == before + 1);
    answer_close(&good);
    answer_close(&bad);
    close(slow);
    close(steady);
    ty_buf_close(&in);
    stop(&f);
}

static void a_body_that_came_in_pieces_leaves_no_deadline_behind(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};
    double before = met("keepalive");

    (void)state;
    prepare(&f);
    f.options.limits.body_timeout_ms = 100;
    f.options.limits.keepalive_timeout_ms = 400;
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nab");
    say(&f, fd, "cd");
    struct answer answer = await_answer(&f, fd, &in, 0);
    uint64_t since = ty_now_ms();

    await_close(&f, fd, &in);
    assert_int_equal(in.len, 0);
    assert_in_range(ty_now_ms() - since, 390, at_most_ms(2000));
    assert_true(met("keepalive") == before + 1);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void what_is_pipelined_behind_a_waiting_request_is_bounded(void **state)
{
    struct fixture f;
    struct ty_buf out = {0}, in = {0};
    double before = met("pending");
    size_t sent = 0;

    (void)state;
    prepare(&f);
    start(&f);
    ty_buf_adds(&out, "GET /hold HTTP/1.1\r\n" H "\r\n");
    repeat(&out, "GET /hello HTTP/1.1\r\n" H "\r\n", 400000);
    int fd = dial(&f);

    while (met("pending") == before) {
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        pump(&f, -1, 0);
    }
    for (int i = 0; i < 50; i++) { /* now the socket's own buffers fill, and that is it */
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        pump(&f, -1, 0);
    }
    assert_true(sent < out.len);
    assert_int_equal(f.held_count, 1);
    assert_int_equal(f.handled, 1);

    f.held_count = 0;
    ty_request_respond(f.held[0], 200, NULL, 0, TY_SLICE("held"));
    for (int i = 0; i < 1000; i++) {
        struct answer answer = await_answer(&f, fd, &in, 0);

        assert_string_equal(answer.body, i ? "hello" : "held");
        answer_close(&answer);
    }
    close(fd);
    ty_buf_close(&in);
    ty_buf_close(&out);
    stop(&f);
}

static void accepting_pauses_at_the_limit_of_connections(void **state)
{
    struct fixture f;
    int fds[6];

    (void)state;
    prepare(&f);
    f.options.limits.connection_max = 4;
    start(&f);
    for (int i = 0; i < 6; i++)
        fds[i] = dial(&f); /* the kernel takes them */
    WAIT_FOR(&f, ty_http_server_counts(f.server).connections == 4);
    for (int i = 0; i < 20; i++)
        pump(&f, -1, 0);
    assert_int_equal(ty_http_server_counts(f.server).connections, 4);

    close(fds[0]);
    close(fds[1]);
    struct ty_buf in = {0};

    say(&f, fds[5], "GET /hello HTTP/1.1\r\n" H "\r\n");
    struct answer answer = await_answer(&f, fds[5], &in, 0);

    assert_int_equal(answer.status, 200);
    answer_close(&answer);
    for (int i = 2; i < 6; i++)
        close(fds[i]);
    ty_buf_close(&in);
    stop(&f);
}

static void a_request_without_memory_for_its_body_is_refused(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "POST /echo HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
    pump(&f, -1, 0);
    ty_memory_fail_nth(1);
    say(&f, fd, "abc");
    struct answer answer = await_answer(&f, fd, &in, 0);

    ty_memory_fail_nth(0);
    assert_int_equal(answer.status, 503);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_target_is_bounded),
        cmocka_unit_test(the_header_section_is_bounded),
        cmocka_unit_test(one_field_is_bounded),
        cmocka_unit_test(the_number_of_fields_is_bounded),
        cmocka_unit_test(trailers_are_bounded),
        cmocka_unit_test(a_body_may_be_as_large_as_its_route_allows),
        cmocka_unit_test(large_bodies_arrive_whole),
        cmocka_unit_test(chunk_metadata_is_bounded),
        cmocka_unit_test(an_early_refusal_reaches_a_client_that_is_still_sending),
        cmocka_unit_test(lingering_ends),
        cmocka_unit_test(slow_headers_get_408),
        cmocka_unit_test(a_connection_that_says_nothing_is_closed),
        cmocka_unit_test(an_idle_connection_is_closed),
        cmocka_unit_test(slow_bodies_get_408_and_fast_enough_ones_do_not),
        cmocka_unit_test(a_body_that_came_in_pieces_leaves_no_deadline_behind),
        cmocka_unit_test(what_is_pipelined_behind_a_waiting_request_is_bounded),
        cmocka_unit_test(accepting_pauses_at_the_limit_of_connections),
        cmocka_unit_test(a_request_without_memory_for_its_body_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
