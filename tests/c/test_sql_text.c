#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tycho/sql.h"

static void what_only_reads_is_known_by_its_words(void **state)
{
    static const char *const reads[] = {
        "select 1",
        " /* insert */ SELECT * from t -- delete",
        "values (1), (2)",
        "with x as (select 1) select * from x",
        "explain select * from t",
        "select 'insert into t', \"update\", `delete` from t where a = 'it''s into'",
        "select inserted, update_at, my_into from deletes",
        "select 'no end",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        assert_true(ty_sql_only_reads(reads[i]));
}

static void what_writes_is_known_however_it_begins(void **state)
{
    static const char *const writes[] = {
        "insert into t values (1)",
        "with x as (values (1)) Insert into t select * from x",
        "with gone as (delete from t returning *) select * from gone",
        "explain analyze update t set a = 1",
        "select * into copy from t",
        "select * from t for update",
        "select nextval('s')",
        "select 1; delete from t",
        "create table t (a int)",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        assert_false(ty_sql_only_reads(writes[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_only_reads_is_known_by_its_words),
        cmocka_unit_test(what_writes_is_known_however_it_begins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
