#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/log.h"

/* A record in the readable form, behind the time; static memory. */
static const char *shown(const char *message, const struct ty_log_context *context)
{
    static char text[4096];
    char path[] = "/tmp/tycho-log-XXXXXX";
    int fd = mkstemp(path);
    struct ty_log_options options = {.path = path, .pretty = true};

    assert_true(fd >= 0);
    assert_int_equal(ty_log_open(&options), 0);
    ty_log_text(TY_LOG_INFO, "app", context, message, strlen(message));
    ty_log_close();
    ssize_t len = read(fd, text, sizeof(text) - 1);
    assert_true(len > 0);
    text[len] = '\0';
    close(fd);
    unlink(path);
    return text + sizeof("10:03:07.123");
}

static const char *with_fields(const char *fields)
{
    const struct ty_log_context context = {.fields = fields, .fields_len = strlen(fields)};

    return shown("hello", &context);
}

static void a_message_stands_alone(void **state)
{
    (void)state;
    assert_string_equal(shown("hello", NULL), "INFO  app: hello\n");
}

static void fields_are_names_and_values(void **state)
{
    (void)state;
    assert_string_equal(
        with_fields("\"n\":1,\"path\":\"/a\",\"list\":[1,\"]\",{\"x\":2}],\"b\":true"),
        "INFO  app: hello  n=1 path=/a list=[1,\"]\",{\"x\":2}] b=true\n");
}

static void texts_have_quotes_where_their_end_could_be_missed(void **state)
{
    (void)state;
    assert_string_equal(with_fields("\"a\":\"x y\",\"b\":\"\",\"c\":\"p=1\",\"d\":\"q\\\"r\""),
                        "INFO  app: hello  a=\"x y\" b=\"\" c=\"p=1\" d=\"q\\\"r\"\n");
}

static void a_traceback_has_lines_of_its_own_at_the_end(void **state)
{
    const char fields[] = "\"traceback\":\"stack:\\n\\ta.lua:1: in \\\"f\\\"\",\"n\":1";
    const struct ty_log_context context = {
        .request_id = "id-1", .fields = fields, .fields_len = sizeof(fields) - 1};

    (void)state;
    assert_string_equal(shown("hello", &context), "INFO  app: hello  n=1 request=id-1\n"
                                                  "    | traceback=stack:\n"
                                                  "    |   a.lua:1: in \"f\"\n");
}

static void what_is_escaped_stays_escaped(void **state)
{
    (void)state;
    assert_string_equal(with_fields("\"a\":\"x\\u001b[31m\\ny\\u0007\""),
                        "INFO  app: hello \n    | a=x\\u001b[31m\n    | y\\u0007\n");
}

static void fields_that_are_cut_off_do_no_harm(void **state)
{
    static const char *const broken[] = {"\"a",         "\"a\"", "\"a\":",          "\"a\":\"x",
                                         "\"a\":\"x\\", "a",     "\"a\":]],\"b\":1"};

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
        assert_non_null(strstr(with_fields(broken[i]), "app: hello"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_stands_alone),
        cmocka_unit_test(fields_are_names_and_values),
        cmocka_unit_test(texts_have_quotes_where_their_end_could_be_missed),
        cmocka_unit_test(a_traceback_has_lines_of_its_own_at_the_end),
        cmocka_unit_test(what_is_escaped_stays_escaped),
        cmocka_unit_test(fields_that_are_cut_off_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
