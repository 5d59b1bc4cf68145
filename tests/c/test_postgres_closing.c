#include "postgres_place.h"

#include "closing_storm.h"

static void it_can_be_closed_at_any_moment(void **state)
{
    static const struct storm_texts texts = {
        .slow = "select pg_sleep(0.02)",
        .sets = "set timezone to 'Asia/Tokyo'",
        .writes = "insert into t values (1)",
        .reads = "select * from generate_series(1, 20)",
    };
    struct place place;

    (void)state;
    place_open(&place);
    run(&place, "drop table if exists t");
    run(&place, "create table t(n int)");
    assert_int_equal(place_leave(&place), 0);
    for (unsigned seed = 1; seed <= 60; seed++) {
        place_open(&place);
        storm_run(&place, &texts, seed, 600);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_can_be_closed_at_any_moment),
    };

    return cmocka_run_group_tests_name("postgres_closing", tests, start_server, remove_server);
}
