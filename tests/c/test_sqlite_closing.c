#include "sqlite_place.h"

#include "closing_storm.h"

static void it_can_be_closed_at_any_moment(void **state)
{
    static const struct storm_texts texts = {
        .slow = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)"
                " select max(i) from n",
        .sets = "pragma foreign_keys = off", /* refused */
        .writes = "insert into t values (1)",
        .reads = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20)"
                 " select i from n",
    };
    struct place place;

    (void)state;
    for (unsigned seed = 1; seed <= 30; seed++) {
        place_open(&place);
        assert_int_equal(ask(&place, "create table t(n)", NULL), 0);
        storm_run(&place, &texts, seed, 600);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_can_be_closed_at_any_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
