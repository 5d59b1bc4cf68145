#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"
#include "support/figure.h"

#include <sys/resource.h>

#define HOLD "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static void leave(int fd, bool reset)
{
    const struct linger linger = {.l_onoff = 1};

    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static void a_client_that_goes_is_noticed_at_once(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (int reset = 0; reset < 2; reset++) {
        double before = ty_metrics_value("tycho_http_aborted_total", NULL);
        int fd = dial(&f);

        f.aborted = 0;
        say(&f, fd, HOLD HELLO);
        WAIT_FOR(&f, f.held_count);
        struct ty_request *req = f.held[--f.held_count];
        uint64_t since = ty_now_ms();

        leave(fd, reset);
        WAIT_FOR(&f, f.aborted);
        assert_true(ty_now_ms() - since < at_most_ms(100));
        assert_true(req->aborted);
        assert_int_equal(ty_http_server_counts(f.server).requests, 1);
        assert_int_equal(ty_request_respond(req, 200, NULL, 0, TY_SLICE("nobody")), 0);
        assert_int_equal(ty_http_server_counts(f.server).requests, 0);
        for (int i = 0; i < 10; i++)
            pump(&f, -1, 0);
        assert_int_equal(f.aborted, 1);
        assert_int_equal(f.handled, reset + 1); /* what was pipelined behind is not run */
        assert_true(ty_metrics_value("tycho_http_aborted_total", NULL) == before + 1);
    }
    stop(&f);
}

static void finish_at_once(struct ty_request *req)
{
    fixture_of(req)->aborted++;
    ty_request_respond(req, 499, NULL, 0, TY_SLICE(""));
}

static void a_site_may_finish_inside_on_abort(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, HOLD);
    WAIT_FOR(&f, f.held_count);
    f.held[--f.held_count]->on_abort = finish_at_once;
    close(fd);
    WAIT_FOR(&f, f.aborted);
    WAIT_FOR(&f, ty_http_server_counts(f.server).connections == 0);
    assert_int_equal(ty_http_server_counts(f.server).requests, 0);
    stop(&f);
}

static void a_client_that_goes_in_the_middle_of_a_request_leaves_nothing(void **state)
{
    static const char *const pieces[] = {
        "",
        "\r",
        "GET",
        "GET /hello HTTP/1.1\r\nHost: a\r\nX: ",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    };
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t i = 0; i < 2 * sizeof(pieces) / sizeof(pieces[0]); i++) {
        int fd = dial(&f);

        say(&f, fd, pieces[i / 2]);
        WAIT_FOR(&f, ty_http_server_counts(f.server).connections);
        pump(&f, -1, 0);
        leave(fd, i % 2);
        WAIT_FOR(&f, ty_http_server_counts(f.server).connections == 0);
    }
    assert_int_equal(f.handled, 0);
    assert_int_equal(f.site.requests, 0);
    stop(&f);
}

static void a_client_that_only_shuts_its_side_gets_what_is_ready(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    assert_int_equal(send(fd, HELLO HELLO, sizeof(HELLO HELLO) - 1, 0), sizeof(HELLO HELLO) - 1);
    shutdown(fd, SHUT_WR);
    await_close(&f, fd, &in);
    struct answer answer = {0};

    for (int i = 0; i < 2; i++) {
        assert_true(parse_answer(&in, 0, 1, &answer));
        assert_int_equal(answer.status, 200);
        answer_close(&answer);
    }
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void on_drained(void *arg)
{
    (*(int *)arg)++;
}

static void draining_finishes_what_runs_and_closes_the_rest(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};
    int drained = 0;

    (void)state;
    prepare(&f);
    start(&f);
    int idle = dial(&f), busy = dial(&f), partial = dial(&f), queued = dial(&f);

    say(&f, idle, HELLO);
    struct answer answer = await_answer(&f, idle, &in, 0);

    answer_close(&answer);
    say(&f, busy, HOLD HELLO);
    say(&f, partial, "GET /hello HTTP/1.1\r\nHos");
    WAIT_FOR(&f, f.held_count);
    assert_int_equal(send(queued, HELLO, sizeof(HELLO) - 1, 0), sizeof(HELLO) - 1);

    ty_http_server_drain(f.server, on_drained, &drained);
    assert_int_equal(drained, 0); /* never from inside */
    await_close(&f, idle, &in);
    answer = await_answer(&f, queued, &in, 0);
    assert_int_equal(answer.status, 200);
    assert_string_equal(field(&answer, "Connection"), "close");
    answer_close(&answer);

    in.len = 0;
    ty_request_respond(f.held[--f.held_count], 200, NULL, 0, TY_SLICE("done"));
    answer = await_answer(&f, busy, &in, 0);
    assert_string_equal(answer.body, "done");
    assert_string_equal(field(&answer, "Connection"), "close");
    await_close(&f, busy, &in);
    assert_int_equal(in.len, 0); /* the client was told: it asks elsewhere */
    answer_close(&answer);

    assert_int_equal(drained, 0);
    say(&f, partial, "t: a\r\n\r\n");
    answer = await_answer(&f, partial, &in, 0);
    assert_int_equal(answer.status, 200);
    assert_string_equal(field(&answer, "Connection"), "close");
    answer_close(&answer);
    close(idle);
    close(busy);
    close(partial);
    close(queued);
    WAIT_FOR(&f, drained);
    assert_int_equal(drained, 1);
    ty_buf_close(&in);
    stop(&f);
}

static void a_request_that_comes_while_draining_begins_is_answered(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};
    int drained = 0;

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, HELLO);
    struct answer answer = await_answer(&f, fd, &in, 0);

    answer_close(&answer);
    ty_http_server_drain(f.server, on_drained, &drained);
    pump(&f, -1, 0);
    say(&f, fd, HELLO); /* it cannot have known */
    answer = await_answer(&f, fd, &in, 0);
    assert_int_equal(answer.status, 200);
    assert_string_equal(field(&answer, "Connection"), "close");
    answer_close(&answer);
    close(fd);
    WAIT_FOR(&f, drained);
    ty_buf_close(&in);
    stop(&f);
}

static void draining_an_idle_server_ends_at_once(void **state)
{
    struct fixture f;
    int drained = 0;

    (void)state;
    prepare(&f);
    start(&f);
    ty_http_server_drain(f.server, on_drained, &drained);
    assert_int_equal(drained, 0);
    pump(&f, -1, 0);
    assert_int_equal(drained, 1);
    stop(&f);
}

static void closing_waits_for_requests_with_their_site(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f), other = dial(&f);

    say(&f, fd, HOLD);
    say(&f, other, "GET /hello HTTP/1.1\r\nHost");
    WAIT_FOR(&f, f.held_count);
    ty_http_server_close(f.server, on_closed, &f);
    f.server = NULL;
    await_close(&f, fd, &in);
    await_close(&f, other, &in);
    for (int i = 0; i < 10; i++)
        pump(&f, -1, 0);
    assert_int_equal(f.aborted, 1);
    assert_int_equal(f.closed, 0);

    f.closed = 0;
    ty_request_respond(f.held[--f.held_count], 200, NULL, 0, TY_SLICE("late"));
    assert_int_equal(f.closed, 1);
    close(fd);
    close(other);
    ty_buf_close(&in);
    stop(&f);
}

static void accepting_can_be_stopped_and_started(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    ty_http_server_unaccept(f.server, f.listener);
    int fd = dial(&f);

    assert_int_equal(send(fd, HELLO, sizeof(HELLO) - 1, 0), sizeof(HELLO) - 1);
    for (int i = 0; i < 20; i++)
        pump(&f, -1, 0);
    assert_int_equal(ty_http_server_counts(f.server).connections, 0);
    assert_int_equal(ty_http_server_accept(f.server, f.listener), 0);
    assert_int_equal(ty_http_server_accept(f.server, f.listener), 0); /* again is no harm */
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_int_equal(answer.status, 200);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void running_out_of_descriptors_is_survived(void **state)
{
    enum { CLIENTS = 40 };
    struct fixture f;
    struct rlimit old, few;
    struct ty_buf in = {0};
    int fds[CLIENTS];

    (void)state;
    prepare(&f);
    start(&f);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial(&f);
    getrlimit(RLIMIT_NOFILE, &old);
    few = (struct rlimit){(rlim_t)fds[CLIENTS - 1] + 33 + 10, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);

    for (int i = 0; i < 50; i++)
        pump(&f, -1, 0);
    size_t accepted = ty_http_server_counts(f.server).connections;

    assert_in_range(accepted, 9, CLIENTS - 1); /* some descriptors are left to others */
    setrlimit(RLIMIT_NOFILE, &old);
    WAIT_FOR(&f, ty_http_server_counts(f.server).connections == CLIENTS);
    say(&f, fds[CLIENTS - 1], HELLO);
    struct answer answer = await_answer(&f, fds[CLIENTS - 1], &in, 0);

    assert_int_equal(answer.status, 200);
    answer_close(&answer);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    ty_buf_close(&in);
    stop(&f);
}

static void every_answer_is_counted_once(void **state)
{
    static const char hello[] = "http_request_method=\"GET\",http_route=\"/hello\","
                                "http_response_status_class=\"2xx\"";
    static const char none[] = "http_request_method=\"GET\",http_route=\"(none)\","
                               "http_response_status_class=\"4xx\"";
    static const char name[] = "http_server_request_duration_seconds";
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    double hello_before = ty_metrics_value(name, hello), none_before = ty_metrics_value(name, none);
    int fd = dial(&f);

    say(&f, fd,
        HELLO HELLO "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" HELLO
                    "GET /hello HTTP/1.1\r\n\r\n"); /* no Host */
    await_close(&f, fd, &in);
    assert_true(ty_metrics_value(name, hello) == hello_before + 3);
    assert_true(ty_metrics_value(name, none) == none_before + 2);
    assert_true(ty_metrics_value("http_server_active_requests", NULL) == 0);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void new_options_hold_from_now_on(void **state)
{
    const char *const bad[] = {"10.0.0.0/33"};
    struct fixture f;
    struct ty_error error;

    (void)state;
    prepare(&f);
    start(&f);
    f.options.server_name = "other";
    assert_int_equal(ty_http_server_configure(f.server, &f.options, &error), 0);
    struct answer answer = ask(&f, HELLO);

    assert_string_equal(field(&answer, "Server"), "other");
    answer_close(&answer);

    f.options.trusted_proxies = bad;
    f.options.trusted_proxy_count = 1;
    f.options.server_name = NULL;
    assert_int_equal(ty_http_server_configure(f.server, &f.options, &error), -1);
    assert_non_null(strstr(error.message, "10.0.0.0/33"));
    answer = ask(&f, HELLO);
    assert_string_equal(field(&answer, "Server"), "other"); /* all or nothing */
    answer_close(&answer);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_goes_is_noticed_at_once),
        cmocka_unit_test(a_site_may_finish_inside_on_abort),
        cmocka_unit_test(a_client_that_goes_in_the_middle_of_a_request_leaves_nothing),
        cmocka_unit_test(a_client_that_only_shuts_its_side_gets_what_is_ready),
        cmocka_unit_test(draining_finishes_what_runs_and_closes_the_rest),
        cmocka_unit_test(a_request_that_comes_while_draining_begins_is_answered),
        cmocka_unit_test(draining_an_idle_server_ends_at_once),
        cmocka_unit_test(closing_waits_for_requests_with_their_site),
        cmocka_unit_test(accepting_can_be_stopped_and_started),
        cmocka_unit_test(running_out_of_descriptors_is_survived),
        cmocka_unit_test(every_answer_is_counted_once),
        cmocka_unit_test(new_options_hold_from_now_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
