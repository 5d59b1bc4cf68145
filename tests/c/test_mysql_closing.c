#include "mysql_place.h"

#include "closing_storm.h"

static void it_can_be_closed_at_any_moment(void **state)
{
    static const struct storm_texts texts = {
        .slow = "select sleep(0.02)",
        .sets = "set @a = 1",
        .writes = "insert into t values (1)",
        .reads = "select seq from seq_1_to_20",
    };
    struct place place;

    (void)state;
    place_open(&place);
    ask(&place, "create table t(n int)");
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

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
