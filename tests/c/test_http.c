#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"

#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static void an_answer_has_the_fields_that_http_asks_for(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    f.options.server_name = "tycho";
    f.options.generation_header = "X-Generation";
    f.options.trace_header = true;
    start(&f);
    struct answer answer = ask(&f, HELLO);

    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "hello");
    assert_memory_equal(answer.head, "HTTP/1.1 200 OK\r\n", 17);
    assert_string_equal(field(&answer, "Content-Length"), "5");
    assert_string_equal(field(&answer, "Content-Type"), "text/plain");
    assert_string_equal(field(&answer, "Server"), "tycho");
    assert_string_equal(field(&answer, "X-Generation"), "abcdef012345");
    assert_string_equal(field(&answer, "Connection"), "");
    assert_int_equal(strlen(field(&answer, "Date")), TY_HTTP_DATE_LEN);
    assert_int_equal(strlen(field(&answer, "X-Request-Id")), 32);
    assert_int_equal(strlen(field(&answer, "traceparent")), 55);
    answer_close(&answer);
    stop(&f);
}

static void a_connection_serves_many_requests(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    for (int i = 0; i < 100; i++) {
        say(&f, fd, HELLO);
        struct answer answer = await_answer(&f, fd, &in, 0);

        assert_int_equal(answer.status, 200);
        answer_close(&answer);
    }
    assert_int_equal(ty_http_server_counts(f.server).connections, 1);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void pipelined_requests_are_answered_in_order_whoever_waits(void **state)
{
    struct fixture f;
    struct ty_buf out = {0}, in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    for (int i = 0; i < 64; i++)
        ty_buf_addf(&out, "GET /%s?n%d HTTP/1.1\r\nHost: a\r\n\r\n", i % 3 ? "show" : "later", i);
    int fd = dial(&f);

    assert_true(transmit(&f, fd, out.data, out.len));
    for (int i = 0; i < 64; i++) {
        struct answer answer = await_answer(&f, fd, &in, 0);
        char expected[32];

        snprintf(expected, sizeof(expected), i % 3 ? "query=n%d\n" : "n%d", i);
        assert_int_equal(answer.status, 200);
        assert_non_null(strstr(answer.body, expected));
        answer_close(&answer);
    }
    close(fd);
    ty_buf_close(&in);
    ty_buf_close(&out);
    stop(&f);
}

static void requests_beyond_the_read_buffer_wait_for_a_site_that_yields(void **state)
{
    enum { COUNT = 4000 }; /* some 300 KB */
    struct fixture f;
    struct ty_buf out = {0}, in = {0};
    int answered = 0;

    (void)state;
    prepare(&f);
    start(&f);
    for (int i = 0; i < COUNT; i++)
        ty_buf_addf(&out, "GET /later?n%d HTTP/1.1\r\nHost: a\r\nX-Filler: %040d\r\n\r\n", i, i);
    int fd = dial(&f);
    size_t sent = 0;

    while (answered < COUNT) {
        struct answer answer = {0};
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        assert_true(receive(fd, &in));
        while (parse_answer(&in, 0, 0, &answer)) {
            char expected[16];

            snprintf(expected, sizeof(expected), "n%d", answered++);
            assert_string_equal(answer.body, expected);
            answer_close(&answer);
        }
        pump(&f, fd, POLLIN);
    }
    close(fd);
    ty_buf_close(&in);
    ty_buf_close(&out);
    stop(&f);
}

static void a_request_means_the_same_wherever_it_is_split(void **state)
{
    static const char request[] =
        "\r\nPOST /show/a%20b?q=1&r HTTP/1.1\r\nHost: example.org:80\r\nX-Empty:\r\n"
        "Accept:  text/plain \r\nTransfer-Encoding: chunked\r\n\r\n"
        "5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n"
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    char first_body[1024] = "";
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t cut = 1; cut < sizeof(request) - 1; cut++) {
        struct ty_buf in = {0};
        int fd = dial(&f);

        assert_true(transmit(&f, fd, request, cut));
        pump(&f, -1, 0);
        assert_true(transmit(&f, fd, request + cut, sizeof(request) - 1 - cut));
        struct answer answer = await_answer(&f, fd, &in, 0);
        struct answer next = await_answer(&f, fd, &in, 0);

        if (!first_body[0])
            snprintf(first_body, sizeof(first_body), "%s", answer.body);
        assert_string_equal(answer.body, first_body);
        assert_string_equal(next.body, "hello");
        answer_close(&answer);
        answer_close(&next);
        close(fd);
        ty_buf_close(&in);
    }
    assert_non_null(strstr(first_body, "path=/show/a b\n"));
    assert_non_null(strstr(first_body, "param=a b\n"));
    assert_non_null(strstr(first_body, "query=q=1&r\n"));
    assert_non_null(strstr(first_body, "X-Empty=\n"));
    assert_non_null(strstr(first_body, "Accept=text/plain\n"));
    assert_non_null(strstr(first_body, "body=hello world\n"));
    assert_non_null(strstr(first_body, "trailer X-Sum=7\n"));
    assert_null(strstr(first_body, "trailer Host"));
    stop(&f);
}

static void bytes_one_at_a_time_are_a_request_too(void **state)
{
    static const char request[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world";
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    for (size_t i = 0; i < sizeof(request) - 1; i++)
        assert_true(transmit(&f, fd, request + i, 1));
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_string_equal(answer.body, "hello world");
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void head_has_the_fields_of_get_and_no_body(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    struct answer get = ask(&f, "GET /hello HTTP/1.1\r\nHost: a\r\nX-Request-Id: x\r\n\r\n");
    struct answer head = ask(&f, "HEAD /hello HTTP/1.1\r\nHost: a\r\nX-Request-Id: x\r\n\r\n"
                                 "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");

    assert_int_equal(head.body_len, 0);
    assert_string_equal(field(&head, "Content-Length"), "5");
    assert_int_equal(strlen(head.head), strlen(get.head));
    answer_close(&get);
    answer_close(&head);
    stop(&f);
}

static void an_old_client_gets_its_connection_closed_or_kept_as_it_asks(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_string_equal(field(&answer, "Connection"), "keep-alive");
    answer_close(&answer);
    say(&f, fd, "GET /hello HTTP/1.0\r\n\r\n");
    answer = await_answer(&f, fd, &in, 0);
    assert_string_equal(field(&answer, "Connection"), "close");
    await_close(&f, fd, &in);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

/* Asks twice with these fields, in one write: is there a second answer? */
static bool is_kept_by(struct fixture *f, const char *version, const char *fields)
{
    struct ty_buf in = {0};
    char text[256];
    int fd = dial(f);

    snprintf(text, sizeof(text), "GET /hello HTTP/%s\r\nHost: a\r\n%s\r\n\r\n", version, fields);
    say(f, fd, text);
    struct answer answer = await_answer(f, fd, &in, 0);
    bool is_kept = strcmp(field(&answer, "Connection"), "close") != 0;

    answer_close(&answer);
    if (is_kept) {
        say(f, fd, text);
        answer = await_answer(f, fd, &in, 0);
        assert_int_equal(answer.status, 200);
        answer_close(&answer);
    } else {
        await_close(f, fd, &in);
        assert_int_equal(in.len, 0);
    }
    close(fd);
    ty_buf_close(&in);
    return is_kept;
}

static void a_client_that_asks_for_the_end_gets_it(void **state)
{
    static const char *const fields[] = {
        "Connection: close",
        "Connection: foo , CLOSE",
        "Connection: close\t",
        "Connection: close \t ",
        "Connection:\tclose\t",
        "Connection: close\t, foo",
        "Connection: keep-alive\t,\tclose\t",
        "Connection: keep-alive, close",
        "Connection: close, keep-alive",
        "Connection: ,, close,",
        "Connection: foo\r\nConnection: close\t",
        "Connection: close\t\r\nConnection: keep-alive",
    };
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (is_kept_by(&f, "1.1", fields[i]) || is_kept_by(&f, "1.0", fields[i]))
            fail_msg("\"%s\" is not taken for a wish to close", fields[i]);
    }
    stop(&f);
}

static void a_client_that_does_not_ask_for_the_end_is_kept(void **state)
{
    static const char *const fields[] = {
        "Connection: closed",
        "Connection: close x",
        "Connection: \"close\"",
        "Connection: close;q=1",
        "Connection: keep-alive\t",
        "Connection: keep-alive, x\t",
        "Connection: x\t,keep-alive ",
        "Proxy-Connection: close\r\n"
        "Connection: keep-alive",
    };
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        bool is_kept = is_kept_by(&f, "1.0", fields[i]);

        if (!is_kept_by(&f, "1.1", fields[i]) || is_kept != (i > 3))
            fail_msg("\"%s\" is misread", fields[i]);
    }
    stop(&f);
}

static void an_upgrade_that_is_not_taken_is_a_request_like_any_other(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd,
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        "Content-Length: 3\r\n\r\nabc" HELLO);
    for (int i = 0; i < 3; i++) {
        struct answer answer = await_answer(&f, fd, &in, 0);

        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, i == 1 ? "abc" : "hello");
        answer_close(&answer);
    }
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void a_client_that_waits_for_100_continue_gets_it_once(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n");
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_int_equal(answer.status, 100);
    answer_close(&answer);
    say(&f, fd, "ab");
    say(&f, fd, "cd");
    answer = await_answer(&f, fd, &in, 0);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "abcd");
    answer_close(&answer);

    say(&f, fd,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nabcd");
    answer = await_answer(&f, fd, &in, 0);
    assert_int_equal(answer.status, 200); /* it did not wait */
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static int status_for(struct ty_request *req, struct ty_header header, int status)
{
    return ty_request_respond(req, status, &header, 1, TY_SLICE("x"));
}

static void malformed_answers_are_refused_and_leave_the_request_open(void **state)
{
    static const struct ty_header bad[] = {
        {{"X", 1}, {"a\r\nY: b", 7}},
        {{"X", 1}, {"a\0b", 3}},
        {{"X", 1}, {"a\x7f", 2}},
        {{"X\r\n", 3}, {"a", 1}},
        {{"X ", 2}, {"a", 1}},
        {{"", 0}, {"a", 1}},
        {{"X:", 2}, {"a", 1}},
        {{"content-length", 14}, {"1", 1}},
        {{"Transfer-Encoding", 17}, {"chunked", 7}},
        {{"Connection", 10}, {"close", 5}},
        {{"DATE", 4}, {"x", 1}},
        {{"x-request-id", 12}, {"x", 1}},
        {{"Traceparent", 11}, {"x", 1}},
    };
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(&f, f.held_count);
    struct ty_request *req = f.held[0];
    const struct ty_header good = {{"X", 1}, {"tab\tand \xe4", 9}};

    f.held_count = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(status_for(req, bad[i], 200), TY_HTTP_E_HEADER);
    assert_int_equal(status_for(req, good, 100), TY_HTTP_E_STATUS);
    assert_int_equal(status_for(req, good, 199), TY_HTTP_E_STATUS);
    assert_int_equal(status_for(req, good, 600), TY_HTTP_E_STATUS);
    assert_int_equal(status_for(req, good, 299), 0);
    struct answer answer = await_answer(&f, fd, &in, 0);

    assert_int_equal(answer.status, 299);
    assert_string_equal(field(&answer, "X"), "tab\tand \xe4");
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void statuses_without_a_body_have_none(void **state)
{
    static const struct {
        int status;
        const char *length;
    } cases[] = {{204, ""}, {304, ""}, {205, "0"}};
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    for (size_t i = 0; i < 3; i++) {
        say(&f, fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);
        WAIT_FOR(&f, f.held_count);
        f.held_count = 0;
        ty_request_respond(f.held[0], cases[i].status, NULL, 0, TY_SLICE("secret"));
        struct answer answer = await_answer(&f, fd, &in, 0);
        struct answer next = await_answer(&f, fd, &in, 0);

        assert_int_equal(answer.status, cases[i].status);
        assert_string_equal(field(&answer, "Content-Length"), cases[i].length);
        assert_string_equal(field(&answer, "Transfer-Encoding"), "");
        assert_int_equal(next.status, 200);
        answer_close(&answer);
        answer_close(&next);
    }
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static int health(bool ready, struct ty_buf *body, void *arg)
{
    ty_buf_adds(body, "{}");
    return ready ? *(int *)arg : 200;
}

static void health_is_answered_before_any_route(void **state)
{
    struct fixture f;
    int ready = 503;

    (void)state;
    prepare(&f);
    f.options.health = health;
    f.options.health_arg = &ready;
    start(&f);
    struct answer live = ask(&f, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    struct answer not_ready = ask(&f, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    struct answer post = ask(&f, "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");

    assert_int_equal(live.status, 200);
    assert_string_equal(field(&live, "Content-Type"), "application/json");
    assert_string_equal(live.body, "{}");
    assert_int_equal(not_ready.status, 503);
    assert_int_equal(post.status, 405);
    assert_string_equal(field(&post, "Allow"), "GET, HEAD");
    assert_int_equal(f.handled, 0);
    answer_close(&live);
    answer_close(&not_ready);
    answer_close(&post);
    stop(&f);
}

static void a_request_keeps_the_site_it_began_with(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    f.options.generation_header = "X-Generation";
    start(&f);
    struct ty_site other = f.site;

    other.refs = 1;
    other.requests = 0;
    snprintf(other.generation, sizeof(other.generation), "new");
    int fd = dial(&f);

    say(&f, fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);
    WAIT_FOR(&f, f.held_count);
    ty_http_server_set_site(f.server, &other);
    assert_int_equal(f.site.requests, 1);
    f.held_count = 0;
    ty_request_respond(f.held[0], 200, NULL, 0, TY_SLICE("old"));
    struct answer old = await_answer(&f, fd, &in, 0);
    struct answer new = await_answer(&f, fd, &in, 0);

    assert_string_equal(field(&old, "X-Generation"), "abcdef012345");
    assert_string_equal(field(&new, "X-Generation"), "new");
    assert_int_equal(f.site.refs, 1);
    ty_http_server_set_site(f.server, &f.site);
    assert_int_equal(other.refs, 1);
    answer_close(&old);
    answer_close(&new);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void without_a_site_the_service_is_not_ready(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    ty_http_server_set_site(f.server, NULL);
    struct answer answer = ask(&f, HELLO);

    assert_int_equal(answer.status, 503);
    assert_string_equal(field(&answer, "Content-Type"), "application/problem+json");
    answer_close(&answer);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_has_the_fields_that_http_asks_for),
        cmocka_unit_test(a_connection_serves_many_requests),
        cmocka_unit_test(pipelined_requests_are_answered_in_order_whoever_waits),
        cmocka_unit_test(requests_beyond_the_read_buffer_wait_for_a_site_that_yields),
        cmocka_unit_test(a_request_means_the_same_wherever_it_is_split),
        cmocka_unit_test(bytes_one_at_a_time_are_a_request_too),
        cmocka_unit_test(head_has_the_fields_of_get_and_no_body),
        cmocka_unit_test(an_old_client_gets_its_connection_closed_or_kept_as_it_asks),
        cmocka_unit_test(a_client_that_asks_for_the_end_gets_it),
        cmocka_unit_test(a_client_that_does_not_ask_for_the_end_is_kept),
        cmocka_unit_test(an_upgrade_that_is_not_taken_is_a_request_like_any_other),
        cmocka_unit_test(a_client_that_waits_for_100_continue_gets_it_once),
        cmocka_unit_test(malformed_answers_are_refused_and_leave_the_request_open),
        cmocka_unit_test(statuses_without_a_body_have_none),
        cmocka_unit_test(health_is_answered_before_any_route),
        cmocka_unit_test(a_request_keeps_the_site_it_began_with),
        cmocka_unit_test(without_a_site_the_service_is_not_ready),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
