#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "tycho/clock.h"

static void the_date_is_the_one_of_rfc_9110(void **state)
{
    char date[TY_HTTP_DATE_LEN + 1];

    (void)state;
    ty_http_date(784111777, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    ty_http_date(1709164800, date);
    assert_string_equal(date, "Thu, 29 Feb 2024 00:00:00 GMT");
}

static void a_timestamp_has_microseconds_and_z(void **state)
{
    char text[TY_RFC3339_MAX];

    (void)state;
    assert_int_equal(ty_rfc3339(1767323045678901, text), 27);
    assert_string_equal(text, "2026-01-02T03:04:05.678901Z");
}

static void a_time_before_1970_counts_down(void **state)
{
    char text[TY_RFC3339_MAX];

    (void)state;
    ty_rfc3339(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
}

static void monotonic_time_never_goes_back(void **state)
{
    uint64_t before = ty_now_ns();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = ty_now_ns();

        assert_true(now >= before);
        before = now;
    }
    assert_true(ty_now_ms() - before / 1000000 < 10000);
}

static void wall_time_is_that_of_time(void **state)
{
    int64_t before = time(NULL);
    int64_t wall = ty_wall_us() / 1000000;

    (void)state;
    assert_true(wall >= before - 1 && wall <= time(NULL) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_date_is_the_one_of_rfc_9110),
        cmocka_unit_test(a_timestamp_has_microseconds_and_z),
        cmocka_unit_test(a_time_before_1970_counts_down),
        cmocka_unit_test(monotonic_time_never_goes_back),
        cmocka_unit_test(wall_time_is_that_of_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
