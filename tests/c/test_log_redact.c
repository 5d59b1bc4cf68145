#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <string.h>

#include "tycho/log.h"

/* As it would be logged; static memory. */
static const char *cleaned(const char *text)
{
    static char out[1024];
    struct ty_buf buf = {0};

    ty_log_add_string(&buf, text, strlen(text));
    assert_in_range(buf.len, 2, sizeof(out));
    memcpy(out, buf.data + 1, buf.len - 2); /* without the quotes */
    out[buf.len - 2] = '\0';
    ty_buf_close(&buf);
    return out;
}

static void secrets_are_taken_out_of_texts(void **state)
{
    static const char *const messages[] = {
        "GET /a?x=1&token=CANARY&y=2 HTTP/1.1",
        "GET /a?access_token=CANARY",
        "GET /a?API_KEY=CANARY#f",
        "GET /a?password=it's(CANARY),CANARY;CANARY&x=1",
        "GET /a?x=1&password='CANARY'CANARY",
        "GET /a?user[password]=CANARY",
        "GET /a?user[0][pwd]=CANARY&x=1",
        "cannot reach postgres://user:CANARY@db:5432/shop?sslmode=off",
        "cannot reach redis://:CAN@ARY@cache",
        "host=db password=CANARY user=x",
        "host=db password='CANA RY CANARY' user=x",
        "Authorization: Bearer CANARY",
        "authorization: Basic CANARYCANARY==",
        "Proxy-Authorization: Basic CANARY",
        "Cookie: sid=CANARY; other=CANARY",
        "Set-Cookie: sid=CANARY; Path=/",
        "X-Api-Key: CANARY",
        "sent \"Bearer CANARY-CANARY\"",
        "body was {\"user\":\"a\",\"password\":\"CANARY\",\"n\":1}",
        "body was {\"password\": \"x\\\"CANARY\"}",
        "body was {\"clientSecret\" : \"CANARY\"}",
        "body was \"{\\\"password\\\":\\\"CANARY\\\"}\"",
        "password=CANARY",
        "webhook_secret = CANARY",
        "GET /a?session=CANARY&x=1",
        "GET /a?x=1&sid=CANARY",
        "GET /a?session_id=CANARY",
        "X-Session-Id: CANARY",
        "X-Auth-Token: CANARY",
        "PHPSESSID=CANARY; Path=/",
        "connect.sid=CANARY",
        "body was {\"session\":\"CANARY\",\"n\":1}",
        "GET /a?password[0]=CANARY",
        "GET /a?sid[]=CANARY&x[y]=2",
        "GET /a?token[a][b]=CANARY",
        "GET /a?user%5Bpwd%5D=CANARY",
        "GET /a?%73%65ssion[password]=CANARY",
        "body was {\"tokens\":[\"CANARY\",\"CANARY]\"],\"n\":1}",
        "body was {\"secret\": {\"a\":[{\"b\":\"CANARY\\\"}\"}],\"c\":\"CANARY\"}}",
        "body was \"{\\\"tokens\\\":[\\\"CANARY\\\"]}\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
        const char *clean = cleaned(messages[i]);

        if (strstr(clean, "CANARY"))
            fail_msg("leaked: %s", clean);
        assert_non_null(strstr(clean, "[redacted]"));
    }
}

static void what_is_around_a_secret_stays(void **state)
{
    (void)state;
    assert_string_equal(cleaned("GET /a?token=x&y=2 HTTP/1.1"),
                        "GET /a?token=[redacted]&y=2 HTTP/1.1");
    assert_string_equal(cleaned("GET /a?token=x,y&z=2#3 HTTP/1.1"),
                        "GET /a?token=[redacted]&z=2#3 HTTP/1.1");
    assert_string_equal(cleaned("fetched 'https://a/b?token=x' twice"),
                        "fetched 'https://a/b?token=[redacted] twice");
    assert_string_equal(cleaned("to postgres://u:p@db:5432/shop?a=b!"),
                        "to postgres://[redacted]@db:5432/shop?a=b!");
    assert_string_equal(cleaned("{'password':'x','n':1}"), "{'password':'[redacted]','n':1}");
    assert_string_equal(cleaned("password='a b' user=x"), "password='[redacted]' user=x");
    assert_string_equal(cleaned("token="), "token=");
    assert_string_equal(cleaned("GET /a?sid[0]=x&y[1]=2"), "GET /a?sid[0]=[redacted]&y[1]=2");
    assert_string_equal(cleaned("{'tokens':['a',['b']],'n':1}"), "{'tokens':[redacted],'n':1}");
}

static void what_is_no_secret_stays(void **state)
{
    static const char *const harmless[] = {
        "orders.lua:12: unexpected token: '}' near x",
        "https://h/p?page=2&q=a@b",
        "basic auth, user=a",
        "if token == nil",
        "at 10:00:00 a=b c:d",
        "the session: it ended; sid: none",
        "sessions=3 session_count=2 target_session_attrs=any side=left obsession=1",
        "a[b]: token[ x]=4 [y]=5 ]=6 %5D=7 %5Ba%5D=8",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
        assert_string_equal(cleaned(harmless[i]), harmless[i]);
}

static void names_of_secrets_are_known_in_any_spelling(void **state)
{
    static const char *const secret[] = {"password",  "PASSWORD", "user.password", "api-key",
                                         "apiKey",    "Cookie",   "refreshToken",  "client_secret",
                                         "x-api-key", "pwd",      "jwt",           "Set-Cookie",
                                         "session",   "SID",      "sessionId",     "PHPSESSID",
                                         "user[pwd]", "sid[]",    "a[session][0]", "connect.sid"};
    static const char *const open[] = {"user",       "order_no", "passenger",
                                       "author",     "key",      "status",
                                       "sessions",   "side",     "target_session_attrs",
                                       "user[name]", "[]",       "]",
                                       "a["};

    (void)state;
    for (size_t i = 0; i < sizeof(secret) / sizeof(*secret); i++)
        assert_true(ty_log_is_secret(secret[i], strlen(secret[i])));
    for (size_t i = 0; i < sizeof(open) / sizeof(*open); i++)
        assert_false(ty_log_is_secret(open[i], strlen(open[i])));
}

static void broken_texts_do_no_harm(void **state)
{
    static const char *const broken[] = {"token",
                                         "=",
                                         ":",
                                         "://",
                                         "password=\"",
                                         "password:\\\"",
                                         "\"password\":\"a\\",
                                         "x://@",
                                         "bearer ",
                                         "password= ",
                                         "\\\"token\\\":\\\"",
                                         "token:[",
                                         "token:{\"",
                                         "token:[\"a\\",
                                         "]=",
                                         "%5D=",
                                         "a[]]=",
                                         "%=1"};

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
        assert_non_null(cleaned(broken[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_taken_out_of_texts),
        cmocka_unit_test(what_is_around_a_secret_stays),
        cmocka_unit_test(what_is_no_secret_stays),
        cmocka_unit_test(names_of_secrets_are_known_in_any_spelling),
        cmocka_unit_test(broken_texts_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
