#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../core/host/strikes.h"
#include "tycho/shm.h"

static const struct strikes_rule three_a_minute = {3, 60000};

static unsigned closed(const struct strikes *strikes, uint64_t now)
{
    const struct struck_route *route = NULL;
    unsigned count = 0;

    while ((route = ty_strikes_closed(strikes, route, now)))
        count++;
    return count;
}

static void the_last_strike_within_the_window_closes(void **state)
{
    struct strikes strikes = {0};

    (void)state;
    assert_false(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 1000));
    assert_false(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 2000));
    assert_false(ty_strikes_add(&strikes, "GET /b", &three_a_minute, 3000));
    assert_int_equal(closed(&strikes, 3000), 0);
    assert_true(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 61000));
    assert_int_equal(closed(&strikes, 61000), 1);
    assert_string_equal(ty_strikes_closed(&strikes, NULL, 61000)->name, "GET /a");
    ty_strikes_clear(&strikes);
}

static void the_window_slides(void **state)
{
    struct strikes strikes = {0};

    (void)state;
    for (uint64_t now = 1; now < 1000000; now += 30001) /* never three in a minute */
        assert_false(ty_strikes_add(&strikes, "GET /a", &three_a_minute, now));
    ty_strikes_clear(&strikes);
}

static void it_opens_by_itself_and_begins_anew(void **state)
{
    struct strikes strikes = {0};
    const struct strikes_rule rule = {1, 1000};

    (void)state;
    assert_true(ty_strikes_add(&strikes, "GET /a", &rule, 500));
    assert_false(ty_strikes_add(&strikes, "GET /a", &rule, 600)); /* what ran when it was closed */
    assert_int_equal(closed(&strikes, 1499), 1);
    assert_int_equal(closed(&strikes, 1500), 0);
    assert_true(ty_strikes_add(&strikes, "GET /a", &rule, 1600));
    ty_strikes_clear(&strikes);

    assert_false(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 100));
    assert_false(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 200));
    assert_true(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 300));
    assert_false(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 60301));
    assert_false(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 60302));
    assert_true(ty_strikes_add(&strikes, "GET /a", &three_a_minute, 60303));
    ty_strikes_clear(&strikes);
}

static void nothing_closes_when_the_limit_is_0(void **state)
{
    struct strikes strikes = {0};
    const struct strikes_rule never = {0, 60000};

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_false(ty_strikes_add(&strikes, "GET /a", &never, i));
    assert_int_equal(closed(&strikes, 1000), 0);
    assert_null(strikes.routes);
}

static void clearing_opens_all(void **state)
{
    struct strikes strikes = {0};
    const struct strikes_rule rule = {1, 60000};

    (void)state;
    ty_strikes_add(&strikes, "GET /a", &rule, 1);
    ty_strikes_add(&strikes, "GET /b", &rule, 1);
    assert_int_equal(closed(&strikes, 2), 2);
    ty_strikes_clear(&strikes);
    assert_int_equal(closed(&strikes, 2), 0);
    assert_true(ty_strikes_add(&strikes, "GET /a", &rule, 3));
    ty_strikes_clear(&strikes);
}

static void another_limit_counts_from_nothing(void **state)
{
    struct strikes strikes = {0};
    const struct strikes_rule two = {2, 60000};

    (void)state;
    ty_strikes_add(&strikes, "GET /a", &three_a_minute, 1);
    ty_strikes_add(&strikes, "GET /a", &three_a_minute, 2);
    assert_false(ty_strikes_add(&strikes, "GET /a", &two, 3));
    assert_true(ty_strikes_add(&strikes, "GET /a", &two, 4));
    ty_strikes_clear(&strikes);
}

/* The table is full of routes that were struck once; the closed one is not what goes. */
static void of_too_many_routes_the_quietest_open_one_is_forgotten(void **state)
{
    struct strikes strikes = {0};
    const struct strikes_rule two = {2, 60000};
    char name[32];

    (void)state;
    ty_strikes_add(&strikes, "GET /closed", &two, 1);
    assert_true(ty_strikes_add(&strikes, "GET /closed", &two, 1));
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "GET /%u", i);
        assert_false(ty_strikes_add(&strikes, name, &two, 10 + i));
    }
    assert_int_equal(strikes.count, STRIKES_ROUTES_MAX);
    assert_int_equal(closed(&strikes, 2000), 1);
    assert_true(ty_strikes_add(&strikes, "GET /999", &two, 2000));
    assert_false(ty_strikes_add(&strikes, "GET /1", &two, 2000));
    ty_strikes_clear(&strikes);
}

static void a_name_that_is_too_long_is_no_route(void **state)
{
    struct strikes strikes = {0};
    const struct strikes_rule one = {1, 60000};
    char name[STRIKES_NAME_MAX + 1];

    (void)state;
    memset(name, 'a', sizeof(name));
    name[STRIKES_NAME_MAX] = '\0';
    assert_false(ty_strikes_add(&strikes, name, &one, 1));
    name[STRIKES_NAME_MAX - 1] = '\0';
    assert_true(ty_strikes_add(&strikes, name, &one, 1));
    ty_strikes_clear(&strikes);
}

/* ---- which route a worker was running */

static void the_route_is_what_stands_before_the_line(void **state)
{
    static const char *const texts[][2] = {
        {"GET /a/{id}", "GET /a/{id}"},
        {"GET /a scripts/app/a.lua:3", "GET /a"},
        {"GET, POST / app/a.lua:3", "GET, POST /"},
        {"GET /", "GET /"},
        {"checks", ""},
        {"checks app/a.lua:3", ""},
        {"", ""},
        {"/a", ""},
    };
    struct ty_slot slot = {0};
    char route[sizeof(slot.running)];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        strcpy(slot.running, texts[i][0]);
        ty_slot_route(&slot, route, sizeof(route));
        assert_string_equal(route, texts[i][1]);
    }
    memset(slot.running, '/', sizeof(slot.running)); /* no end: the worker may be writing */
    slot.running[0] = ' ';
    ty_slot_route(&slot, route, sizeof(route));
    assert_int_equal(strlen(route), sizeof(route) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_strike_within_the_window_closes),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(it_opens_by_itself_and_begins_anew),
        cmocka_unit_test(nothing_closes_when_the_limit_is_0),
        cmocka_unit_test(clearing_opens_all),
        cmocka_unit_test(another_limit_counts_from_nothing),
        cmocka_unit_test(of_too_many_routes_the_quietest_open_one_is_forgotten),
        cmocka_unit_test(a_name_that_is_too_long_is_no_route),
        cmocka_unit_test(the_route_is_what_stands_before_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
