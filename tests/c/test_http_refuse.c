#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"

#define H "Host: a\r\n"
#define GET "GET /hello HTTP/1.1\r\n"
#define POST "POST /echo HTTP/1.1\r\n" H
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

struct hostile {
    const char *what;
    const char *bytes;
    size_t len; /* 0: strlen(bytes) */
    int status;
    bool stays_open;
};

#define BAD(what, bytes)                           \
    {                                              \
        what, bytes, sizeof(bytes) - 1, 400, false \
    }
#define REFUSED(what, status, bytes)                  \
    {                                                 \
        what, bytes, sizeof(bytes) - 1, status, false \
    }
#define FINE(what, bytes)                         \
    {                                             \
        what, bytes, sizeof(bytes) - 1, 200, true \
    }

static const struct hostile framing[] = {
    BAD("CL and TE", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("TE and CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    BAD("TE without chunked last", POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    BAD("chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    BAD("TE repeated",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("TE repeated, unlike",
        POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("TE xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    BAD("TE identity", POST "Transfer-Encoding: identity\r\n\r\n"),
    BAD("TE with A0", POST "Transfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n"),
    BAD("TE empty element", POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    BAD("TE with 0x0b", POST "Transfer-Encoding: \x0b"
                             "chunked\r\n\r\n0\r\n\r\n"),
    REFUSED("TE gzip, chunked", 501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    BAD("TE on 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("TE and CL on 1.0", "POST /echo HTTP/1.0\r\nContent-Length: 1\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("CL and TE with a tab",
        POST "Content-Length: 3\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n"),
    BAD("TE with a tab inside", POST "Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n"),
    FINE("TE with a tab behind it",
         POST "Transfer-Encoding: chunked \t\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    FINE("TE in capitals", POST "Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    FINE("TE name in capitals", POST "TRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n"),
    BAD("CL empty", POST "Content-Length: \r\n\r\n"),
    BAD("CL signed", POST "Content-Length: +3\r\n\r\nabc"),
    BAD("CL negative", POST "Content-Length: -3\r\n\r\nabc"),
    BAD("CL hex", POST "Content-Length: 0x3\r\n\r\nabc"),
    BAD("CL underscore", POST "Content-Length: 1_0\r\n\r\nabc"),
    BAD("CL list", POST "Content-Length: 3, 3\r\n\r\nabc"),
    BAD("CL repeated", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    BAD("CL twice, different", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    BAD("CL 2^64", POST "Content-Length: 18446744073709551616\r\n\r\n"),
    REFUSED("CL 2^63", 413, POST "Content-Length: 9223372036854775808\r\n\r\n"),
    REFUSED("CL 2^64 - 1", 413, POST "Content-Length: 18446744073709551615\r\n\r\n"),
    REFUSED("CL over the limit", 413, POST "Content-Length: 1048577\r\n\r\n"),
    REFUSED("CL over the limit, expecting", 413,
            POST "Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n"),
    FINE("CL 003", POST "Content-Length: 003\r\n\r\nabc"),
    FINE("Content_Length is another field", GET H "Content_Length: 5\r\n\r\n"),
    BAD("chunk 0x", CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"),
    BAD("chunk +", CHUNKED "+3\r\nabc\r\n0\r\n\r\n"),
    BAD("chunk -", CHUNKED "-3\r\nabc\r\n0\r\n\r\n"),
    BAD("chunk _", CHUNKED "0_3\r\nabc\r\n0\r\n\r\n"),
    BAD("chunk space", CHUNKED " 3\r\nabc\r\n0\r\n\r\n"),
    BAD("chunk empty", CHUNKED "\r\nabc\r\n0\r\n\r\n"),
    BAD("chunk 65 bits", CHUNKED "10000000000000000\r\nabc\r\n0\r\n\r\n"),
    REFUSED("chunk 64 bits", 413, CHUNKED "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    REFUSED("chunk over the limit", 413, CHUNKED "100001\r\n"),
    BAD("chunk longer than it says", CHUNKED "3\r\nabcd\r\n0\r\n\r\n"),
    BAD("chunk with bare LF", CHUNKED "3\nabc\r\n0\r\n\r\n"),
    BAD("CL in trailers", CHUNKED "0\r\nContent-Length: 3\r\n\r\n"),
    BAD("TE in trailers", CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    FINE("chunk extension", CHUNKED "3;a=\"b\"\r\nabc\r\n0;x\r\n\r\n"),
    FINE("body on GET", GET H "Content-Length: 3\r\n\r\nabc"),
};

static const struct hostile lines[] = {
    BAD("bare LF", "GET /hello HTTP/1.1\nHost: a\n\n"),
    BAD("bare LF after a field", GET "Host: a\n\r\n"),
    BAD("bare CR", GET "Host: a\rX: b\r\n\r\n"),
    BAD("CR CR LF", GET "Host: a\r\r\n\r\n"),
    BAD("NUL in a value", GET H "X: a\0b\r\n\r\n"),
    BAD("DEL in a value", GET H "X: a\x7f\r\n\r\n"),
    BAD("control in a value", GET H "X: a\x01\r\n\r\n"),
    BAD("space before the colon", GET H "X : a\r\n\r\n"),
    BAD("tab before the colon", GET H "X\t: a\r\n\r\n"),
    BAD("space before the name", GET " Host: a\r\n\r\n"),
    BAD("empty name", GET H ": a\r\n\r\n"),
    BAD("no colon", GET H "X\r\n\r\n"),
    BAD("8-bit name", GET H "X\xe4: a\r\n\r\n"),
    BAD("separator in a name", GET H "X(: a\r\n\r\n"),
    BAD("obs-fold", GET H "X: a\r\n b\r\n\r\n"),
    FINE("obs-text in a value", GET H "X: \xe4\xf6\r\n\r\n"),
    BAD("lower-case method", "get /hello HTTP/1.1\r\n" H "\r\n"),
    BAD("unknown method", "FETCH /hello HTTP/1.1\r\n" H "\r\n"),
    BAD("tab in the request line", "GET\t/hello HTTP/1.1\r\n" H "\r\n"),
    BAD("two spaces after the method", "GET  /hello HTTP/1.1\r\n" H "\r\n"),
    BAD("two spaces after the target", "GET /hello  HTTP/1.1\r\n" H "\r\n"),
    BAD("two spaces after the target on 1.0", "GET /hello  HTTP/1.0\r\n\r\n"),
    BAD("space at the end", "GET /hello HTTP/1.1 \r\n" H "\r\n"),
    BAD("space in the target", "GET /hel lo HTTP/1.1\r\n" H "\r\n"),
    BAD("NUL in the target", "GET /hel\0lo HTTP/1.1\r\n" H "\r\n"),
    BAD("8-bit target", "GET /hell\xf6 HTTP/1.1\r\n" H "\r\n"),
    BAD("backslash first", "GET \\hello HTTP/1.1\r\n" H "\r\n"),
    BAD("fragment", "GET /hello#x HTTP/1.1\r\n" H "\r\n"),
    BAD("asterisk with GET", "GET * HTTP/1.1\r\n" H "\r\n"),
    BAD("relative target", "GET hello HTTP/1.1\r\n" H "\r\n"),
    BAD("bad escape", "GET /hello%zz HTTP/1.1\r\n" H "\r\n"),
    BAD("escaped NUL", "GET /hello%00 HTTP/1.1\r\n" H "\r\n"),
    BAD("two empty lines before", "\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n"),
    BAD("LF before", "\nGET /hello HTTP/1.1\r\n" H "\r\n"),
    BAD("CR before", "\rGET /hello HTTP/1.1\r\n" H "\r\n"),
    FINE("one empty line before", "\r\nGET /hello HTTP/1.1\r\n" H "\r\n"),
    BAD("HTTP/0.9", "GET /hello\r\n"),
    BAD("HTTP/0.9 with a field", "GET /hello\r\n" H "\r\n"),
    BAD("HTTP/0.9 named", "GET /hello HTTP/0.9\r\n\r\n"),
    REFUSED("HTTP/2.0", 505, "GET /hello HTTP/2.0\r\n" H "\r\n"),
    REFUSED("HTTP/1.2", 505, "GET /hello HTTP/1.2\r\n" H "\r\n"),
    REFUSED("HTTP/3.0", 505, "GET /hello HTTP/3.0\r\n" H "\r\n"),
    REFUSED("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    BAD("HTTP/x", "GET /hello HTTP/x\r\n" H "\r\n"),
    BAD("http/1.1", "GET /hello http/1.1\r\n" H "\r\n"),
    BAD("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    REFUSED("CONNECT", 501, "CONNECT a:443 HTTP/1.1\r\n" H "\r\n"),
    REFUSED("TRACE", 501, "TRACE / HTTP/1.1\r\n" H "\r\n"),
    REFUSED("PROPFIND", 501, "PROPFIND / HTTP/1.1\r\n" H "\r\n"),
    REFUSED("another expectation", 417, GET H "Expect: 200-ok\r\n\r\n"),

};

static const struct hostile hosts[] = {
    BAD("no Host", GET "\r\n"),
    BAD("two Hosts", GET H H "\r\n"),
    BAD("Host with a space", GET "Host: a b\r\n\r\n"),
    BAD("Host with userinfo", GET "Host: u@a\r\n\r\n"),
    BAD("Host with a bad port", GET "Host: a:b\r\n\r\n"),
    BAD("Host with a huge port", GET "Host: a:65536\r\n\r\n"),
    BAD("Host with a long port", GET "Host: a:000000080\r\n\r\n"),
    BAD("Host empty", GET "Host: \r\n\r\n"),
    BAD("Host list", GET "Host: a, b\r\n\r\n"),
    BAD("Host with a path", GET "Host: a/b\r\n\r\n"),
    BAD("Host with open bracket", GET "Host: [::1\r\n\r\n"),
    BAD("Host with a bad address", GET "Host: [zz]\r\n\r\n"),
    BAD("Host with bare IPv6", GET "Host: ::1\r\n\r\n"),
    BAD("Host with an escape", GET "Host: a%2\r\n\r\n"),
    FINE("Host with a port", GET "Host: a.example:8080\r\n\r\n"),
    FINE("Host IPv6", GET "Host: [::1]:80\r\n\r\n"),
    FINE("Host empty port", GET "Host: a:\r\n\r\n"),
    BAD("absolute-form without Host", "GET http://a/hello HTTP/1.1\r\n\r\n"),
    BAD("absolute-form with userinfo", "GET http://u@a/hello HTTP/1.1\r\n" H "\r\n"),
    BAD("absolute-form of another scheme", "GET ftp://a/hello HTTP/1.1\r\n" H "\r\n"),
    BAD("absolute-form without a host", "GET http:///hello HTTP/1.1\r\n" H "\r\n"),
    FINE("absolute-form", "GET HTTP://b/hello HTTP/1.1\r\n" H "\r\n"),
};

static void probe(struct fixture *f, const struct hostile *h, int fd, struct ty_buf *in)
{
    say(f, fd, GET H "\r\n");
    struct answer answer = await_answer(f, fd, in, 0);

    if (answer.status != 200 || strcmp(answer.body, "hello") != 0)
        fail_msg("%s: the next request got %d", h->what, answer.status);
    answer_close(&answer);
}

static void check(struct fixture *f, const struct hostile *h)
{
    struct ty_buf in = {0};
    int fd = dial(f);
    size_t handled = f->handled;

    transmit(f, fd, h->bytes, h->len ? h->len : strlen(h->bytes));
    struct answer answer = await_answer(f, fd, &in, 0);

    if (answer.status != h->status)
        fail_msg("%s: %d instead of %d", h->what, answer.status, h->status);
    if (h->stays_open) {
        probe(f, h, fd, &in);
    } else {
        assert_string_equal(field(&answer, "Content-Type"), "application/problem+json");
        assert_string_equal(field(&answer, "Connection"), "close");
        await_close(f, fd, &in);
        if (in.len || f->handled != handled)
            fail_msg("%s: something came after the refusal", h->what);
    }
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
}

static void check_all(const struct hostile *list, size_t count)
{
    struct fixture f;

    prepare(&f);
    start(&f);
    for (size_t i = 0; i < count; i++)
        check(&f, &list[i]);
    WAIT_FOR(&f, ty_http_server_counts(f.server).connections == 0);
    stop(&f);
}

static void a_refusal_behind_a_HEAD_request_has_a_body(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "HEAD /show HTTP/1.1\r\n" H "\r\n");
    struct answer answer = await_answer(&f, fd, &in, 1);
    answer_close(&answer);
    say(&f, fd, "\x01");
    answer = await_answer(&f, fd, &in, 0);
    assert_int_equal(answer.status, 400);
    assert_non_null(strstr(answer.body, "request_id"));
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

#define CHECK_ALL(list) check_all(list, sizeof(list) / sizeof((list)[0]))

static void ambiguous_framing_ends_the_connection(void **state)
{
    (void)state;
    CHECK_ALL(framing);
}

static void malformed_lines_end_the_connection(void **state)
{
    (void)state;
    CHECK_ALL(lines);
}

static void the_host_is_present_single_and_valid(void **state)
{
    (void)state;
    CHECK_ALL(hosts);
}

static void every_refusal_is_the_same_wherever_its_bytes_are_split(void **state)
{
    static const struct {
        const struct hostile *list;
        size_t count;
    } all[] = {
        {framing, sizeof(framing) / sizeof(framing[0])},
        {lines, sizeof(lines) / sizeof(lines[0])},
        {hosts, sizeof(hosts) / sizeof(hosts[0])},
    };
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < all[i].count; k++) {
            const struct hostile *h = &all[i].list[k];
            struct ty_buf in = {0};
            int fd = dial(&f);

            for (size_t n = 0; n < h->len && transmit(&f, fd, h->bytes + n, 1); n++)
                ;
            struct answer answer = await_answer(&f, fd, &in, 0);

            if (answer.status != h->status)
                fail_msg("%s, byte by byte: %d instead of %d", h->what, answer.status, h->status);
            answer_close(&answer);
            close(fd);
            ty_buf_close(&in);
        }
    }
    stop(&f);
}

static void a_refusal_says_nothing_about_the_server(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    struct answer answer = ask(&f, "GET /hello HTTP/1.1\r\nX-Request-Id: r-1\r\n\r\n");

    assert_string_equal(answer.body,
                        "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,"
                        "\"detail\":\"The Host field is missing, repeated or malformed.\","
                        "\"request_id\":\"r-1\"}");
    assert_string_equal(field(&answer, "X-Request-Id"), "r-1");
    answer_close(&answer);
    stop(&f);
}

static void a_refused_head_has_no_body(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, "HEAD /hello HTTP/1.1\r\n\r\n");
    struct answer answer = await_answer(&f, fd, &in, 1);

    await_close(&f, fd, &in);
    assert_int_equal(answer.status, 400);
    assert_int_equal(in.len, 0);
    answer_close(&answer);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void requests_before_a_refused_one_are_answered(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare(&f);
    start(&f);
    int fd = dial(&f);

    say(&f, fd, GET H "\r\nGET /later?x HTTP/1.1\r\n" H "\r\n" GET "\r\n" GET H "\r\n");
    for (int i = 0; i < 3; i++) {
        struct answer answer = await_answer(&f, fd, &in, 0);

        assert_int_equal(answer.status, i == 2 ? 400 : 200);
        answer_close(&answer);
    }
    await_close(&f, fd, &in);
    assert_int_equal(in.len, 0);
    assert_int_equal(f.handled, 2);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void absolute_form_overrides_the_host(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    struct answer answer = ask(&f, "GET http://b.example:1?q HTTP/1.1\r\nHost: a\r\n\r\n");
    struct answer shown = ask(&f, "GET https://b.example:1/show?q HTTP/1.1\r\nHost: a\r\n\r\n");

    assert_int_equal(answer.status, 404); /* "/" */
    assert_non_null(strstr(shown.body, "host=b.example:1\n"));
    assert_non_null(strstr(shown.body, "path=/show\nquery=q\n"));
    answer_close(&answer);
    answer_close(&shown);
    stop(&f);
}

static void forbidden_trailers_are_dropped(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    struct answer answer = ask(&f, "POST /show HTTP/1.1\r\nHost: a\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n0\r\n"
                                   "Cookie: c\r\nAUTHORIZATION: x\r\nX-Ok: 1\r\nhost: b\r\n\r\n");

    assert_non_null(strstr(answer.body, "trailer X-Ok=1\n"));
    assert_null(strcasestr(answer.body, "trailer Cookie"));
    assert_null(strcasestr(answer.body, "trailer Authorization"));
    assert_null(strcasestr(answer.body, "trailer Host"));
    assert_non_null(strstr(answer.body, "host=a\n"));
    answer_close(&answer);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ambiguous_framing_ends_the_connection),
        cmocka_unit_test(a_refusal_behind_a_HEAD_request_has_a_body),
        cmocka_unit_test(malformed_lines_end_the_connection),
        cmocka_unit_test(the_host_is_present_single_and_valid),
        cmocka_unit_test(every_refusal_is_the_same_wherever_its_bytes_are_split),
        cmocka_unit_test(a_refusal_says_nothing_about_the_server),
        cmocka_unit_test(a_refused_head_has_no_body),
        cmocka_unit_test(requests_before_a_refused_one_are_answered),
        cmocka_unit_test(absolute_form_overrides_the_host),
        cmocka_unit_test(forbidden_trailers_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
