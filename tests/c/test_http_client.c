#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tycho/log.h"

#define ZEROS "00000000000000000000000000000000"
#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

/* Sends one request that the site holds, asks what the site sees, and finishes it. */
struct seen {
    char client[INET6_ADDRSTRLEN];
    bool secure;
    char id[TY_REQUEST_ID_MAX + 1];
    struct ty_trace trace;
    char state[1024];
    struct answer answer;
};

static struct seen see(struct fixture *f, const char *fields)
{
    struct seen seen = {0};
    struct ty_buf in = {0};
    int fd = dial(f);

    say(f, fd, "GET /hold HTTP/1.1\r\nHost: a\r\n");
    say(f, fd, fields);
    say(f, fd, "\r\n");
    WAIT_FOR(f, f->held_count);
    struct ty_request *req = f->held[--f->held_count];

    ty_request_client(req, seen.client);
    seen.secure = ty_request_is_secure(req);
    memcpy(seen.id, req->id, sizeof(seen.id));
    seen.trace = req->trace;
    snprintf(seen.state, sizeof(seen.state), "%.*s", (int)req->trace.state.len,
             req->trace.state.data ? req->trace.state.data : "");
    ty_request_respond(req, 200, NULL, 0, TY_SLICE(""));
    seen.answer = await_answer(f, fd, &in, 0);
    close(fd);
    ty_buf_close(&in);
    return seen;
}

static void forwarded_addresses_count_only_from_trusted_proxies(void **state)
{
    static const struct {
        const char *fields, *client;
    } cases[] = {
        {"", "127.0.0.1"},
        {"X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
        {"X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "192.0.2.1"},
        {"X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.2.3\r\n", "192.0.2.1"},
        {"X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 192.0.2.1,10.0.0.1\r\n", "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.0.0.1\r\n", "192.0.2.1"},
        {"X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1"},
        {"X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"},
        {"X-Forwarded-For: 2001:DB8:0::1, fd00::7\r\n", "2001:db8::1"},
        {"X-Forwarded-For: [2001:db8::1]:443\r\n", "2001:db8::1"},
        {"X-Forwarded-For: 192.0.2.1:8080\r\n", "192.0.2.1"},
        {"X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1, unknown\r\n", "127.0.0.1"},
        {"X-Forwarded-For: 192.0.2.1, 10.0.0.1, x\r\n", "127.0.0.1"},
        {"X-Forwarded-For: bad, 192.0.2.1\r\n", "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1,\r\n", "127.0.0.1"},
        {"X-Forwarded-For: 192.0.2.256\r\n", "127.0.0.1"},
        {"X-Forwarded-For: 192.0.2.1:x\r\n", "127.0.0.1"},
        {"X-Forwarded-For: [2001:db8::1\r\n", "127.0.0.1"},
        {"X-Forwarded-For:\r\n", "127.0.0.1"},
    };
    const char *const proxies[] = {"127.0.0.0/8", "10.0.0.0/8", "fd00::/8"};
    struct fixture f;

    (void)state;
    prepare(&f);
    f.options.trusted_proxies = proxies;
    f.options.trusted_proxy_count = 3;
    start(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct seen seen = see(&f, cases[i].fields);

        if (strcmp(seen.client, cases[i].client) != 0)
            fail_msg("%s: %s", cases[i].fields, seen.client);
        answer_close(&seen.answer);
    }
    struct seen secure = see(&f, "X-Forwarded-Proto: http, HTTPS\r\n");
    struct seen plain = see(&f, "X-Forwarded-Proto: https, http\r\n");

    assert_true(secure.secure);
    assert_false(plain.secure);
    answer_close(&secure.answer);
    answer_close(&plain.answer);
    stop(&f);
}

static void without_trusted_proxies_nobody_speaks_for_others(void **state)
{
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    struct seen seen = see(&f, "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n");

    assert_string_equal(seen.client, "127.0.0.1");
    assert_false(seen.secure);
    answer_close(&seen.answer);
    stop(&f);
}

static void a_valid_request_id_is_kept_and_any_other_replaced(void **state)
{
    static const struct {
        const char *fields;
        bool kept;
    } cases[] = {
        {"X-Request-Id: a\r\n", true},
        {"x-request-ID: Az09-_.\r\n", true},
        {"X-Request-Id: 0123456789012345678901234567890123456789012345678901234567890123\r\n",
         true},
        {"X-Request-Id: 01234567890123456789012345678901234567890123456789012345678901234\r\n",
         false},
        {"X-Request-Id: a b\r\n", false},
        {"X-Request-Id: a\"b\r\n", false},
        {"X-Request-Id: \r\n", false},
        {"", false},
    };
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct seen seen = see(&f, cases[i].fields);

        assert_string_equal(field(&seen.answer, "X-Request-Id"), seen.id);
        if (cases[i].kept)
            assert_non_null(strstr(cases[i].fields, seen.id));
        else
            assert_int_equal(strspn(seen.id, "0123456789abcdef"), 32);
        answer_close(&seen.answer);
    }
    stop(&f);
}

static void a_valid_traceparent_is_continued_and_any_other_restarts_the_trace(void **state)
{
    static const struct {
        const char *fields;
        int flags; /* -1: restarted */
    } cases[] = {
        {"traceparent: 00-" TRACE "-" SPAN "-01\r\n", 1},
        {"TraceParent: \t00-" TRACE "-" SPAN "-00 \r\n", 0},
        {"traceparent: 00-" TRACE "-" SPAN "-03\r\n", 3},
        {"traceparent: 00-" TRACE "-" SPAN "-ff\r\n", 3},
        {"traceparent: cc-" TRACE "-" SPAN "-01\r\n", 1},
        {"traceparent: cc-" TRACE "-" SPAN "-01-more\r\n", 1},
        {"traceparent: 00-" TRACE "-" SPAN "-01\r\ntraceparent: 00-" TRACE "-" SPAN "-01\r\n", -1},
        {"traceparent: 00-" TRACE "-" SPAN "-01.\r\n", -1},
        {"traceparent: 00-" TRACE "-" SPAN "-01-extra\r\n", -1},
        {"traceparent: cc-" TRACE "-" SPAN "-01.extra\r\n", -1},
        {"traceparent: ff-" TRACE "-" SPAN "-01\r\n", -1},
        {"traceparent: 00-" ZEROS "-" SPAN "-01\r\n", -1},
        {"traceparent: 00-" TRACE "-0000000000000000-01\r\n", -1},
        {"traceparent: 00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01\r\n", -1},
        {"traceparent: 00-" TRACE "-" SPAN "-0g\r\n", -1},
        {"traceparent: 00-" TRACE "-" SPAN "-1\r\n", -1},
        {"traceparent: 0-" TRACE "-" SPAN "-01\r\n", -1},
        {"traceparent: 00_" TRACE "-" SPAN "-01\r\n", -1},
        {"trace-parent: 00-" TRACE "-" SPAN "-01\r\n", -1},
        {"trace.parent: 00-" TRACE "-" SPAN "-01\r\n", -1},
        {"", -1},
    };
    struct fixture f;

    (void)state;
    prepare(&f);
    f.options.trace_header = true;
    start(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct seen seen = see(&f, cases[i].fields);
        bool is_continued = strcmp(seen.trace.trace_id, TRACE) == 0;
        char expected[64];

        if (is_continued != (cases[i].flags >= 0))
            fail_msg("%s: %s", cases[i].fields, seen.trace.trace_id);
        assert_string_equal(seen.trace.parent_id, is_continued ? SPAN : "");
        assert_int_equal(seen.trace.flags, is_continued ? cases[i].flags : 1);
        assert_int_equal(strspn(seen.trace.span_id, "0123456789abcdef"), 16);
        assert_string_not_equal(seen.trace.span_id, SPAN);
        snprintf(expected, sizeof(expected), "00-%s-%s-0%d", seen.trace.trace_id,
                 seen.trace.span_id, seen.trace.flags);
        assert_string_equal(field(&seen.answer, "traceparent"), expected);
        answer_close(&seen.answer);
    }
    stop(&f);
}

static void a_tracestate_is_taken_whole_or_not_at_all(void **state)
{
    static const struct {
        const char *fields, *state;
    } cases[] = {
        {"tracestate: foo=1,bar=2\r\n", "foo=1,bar=2"},
        {"tracestate: foo=1\r\ntracestate: bar=2\r\n", "foo=1,bar=2"},
        {"tracestate: foo=1 \t,\t bar=2, \r\n", "foo=1 \t,\t bar=2,"},
        {"tracestate: 0a_-*/@b=1\r\n", "0a_-*/@b=1"},
        {"tracestate: foo=1,foo=2\r\n", "foo=1,foo=2"},
        {"tracestate: foo =1\r\n", ""},
        {"tracestate: FOO=1\r\n", ""},
        {"tracestate: foo.bar=1\r\n", ""},
        {"tracestate: @foo=1\r\n", ""},
        {"tracestate: foo=bar=baz\r\n", ""},
        {"tracestate: foo=\r\n", ""},
        {"tracestate: foo=1,bad\r\n", ""},
        {"tracestate:\r\n", ""},
        {"tracestate: a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,"
         "a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1\r\n",
         ""},
    };
    struct fixture f;

    (void)state;
    prepare(&f);
    start(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char fields[1024];

        snprintf(fields, sizeof(fields), "traceparent: 00-" TRACE "-" SPAN "-01\r\n%s",
                 cases[i].fields);
        struct seen seen = see(&f, fields);

        assert_string_equal(seen.state, cases[i].state);
        answer_close(&seen.answer);
    }
    struct seen orphan = see(&f, "tracestate: foo=1\r\n");

    assert_string_equal(orphan.state, "");
    answer_close(&orphan.answer);
    stop(&f);
}

static void generated_ids_differ(void **state)
{
    struct fixture f;
    char last[TY_REQUEST_ID_MAX + 1] = "";

    (void)state;
    prepare(&f);
    start(&f);
    for (int i = 0; i < 20; i++) {
        struct seen seen = see(&f, "");

        assert_string_not_equal(seen.id, last);
        memcpy(last, seen.id, sizeof(last));
        answer_close(&seen.answer);
    }
    stop(&f);
}

static void the_access_log_has_a_record_of_each_answer_without_secrets(void **state)
{
    char path[] = "/tmp/tycho-access-XXXXXX";
    const struct ty_log_options log = {.path = path, .level = TY_LOG_INFO, .role = "test"};
    struct fixture f;
    struct ty_buf text = {0};

    (void)state;
    close(mkstemp(path));
    assert_int_equal(ty_log_open(&log), 0);
    prepare(&f);
    f.options.access_log = true;
    start(&f);
    struct answer first =
        ask(&f, "GET /show/7?a=1&token=canary1&%74oken=canary2&%73id=canary4&u%5Bpwd%5D=canary5&b"
                " HTTP/1.1\r\nHost: a\r\nX-Request-Id: r-1\r\nAuthorization: canary3\r\n\r\n");
    struct answer second = ask(&f, "GET /hello HTTP/1.1\r\n\r\n");

    stop(&f);
    ty_log_close();
    int fd = open(path, O_RDONLY);

    text.len = (size_t)read(fd, ty_buf_reserve(&text, 65536), 65536);
    ty_buf_cstr(&text);
    assert_null(strstr(text.data, "canary"));
    assert_non_null(strstr(text.data, "\"module\":\"access\""));
    assert_non_null(strstr(text.data, "\"method\":\"GET\""));
    assert_non_null(strstr(text.data, "/show/7?a=1&token=[redacted]&%74oken=[redacted]"
                                      "&%73id=[redacted]&u%5Bpwd%5D=[redacted]&b\""));
    assert_non_null(strstr(text.data, "\"status\":200"));
    assert_non_null(strstr(text.data, "\"route\":\"/show/{id}\""));
    assert_non_null(strstr(text.data, "\"client\":\"127.0.0.1\""));
    assert_non_null(strstr(text.data, "\"request_id\":\"r-1\""));
    assert_non_null(strstr(text.data, "\"generation\":\"abcdef012345\""));
    assert_non_null(strstr(text.data, "\"status\":400"));
    close(fd);
    unlink(path);
    answer_close(&first);
    answer_close(&second);
    ty_buf_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwarded_addresses_count_only_from_trusted_proxies),
        cmocka_unit_test(without_trusted_proxies_nobody_speaks_for_others),
        cmocka_unit_test(a_valid_request_id_is_kept_and_any_other_replaced),
        cmocka_unit_test(a_valid_traceparent_is_continued_and_any_other_restarts_the_trace),
        cmocka_unit_test(a_tracestate_is_taken_whole_or_not_at_all),
        cmocka_unit_test(generated_ids_differ),
        cmocka_unit_test(the_access_log_has_a_record_of_each_answer_without_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
