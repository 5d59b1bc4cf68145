#include "postgres_place.h"

/* One connection, so that whoever comes next gets the same. */
static void open_one(struct place *place)
{
    place_make(place, the_server.port);
    struct ty_sql_options options = place_options(place);
    options.pool_max = 1;
    place_open_with(place, &options);
}

static int64_t locks(struct place *place)
{
    return number_of(place, "select count(*) from pg_locks where locktype = 'advisory'");
}

static void what_changes_a_session_is_seen(void **state)
{
    (void)state;
    static const char *const plain[] = {"select 1",
                                        "set local timezone to 'UTC'",
                                        "update t set a = 1",
                                        "select temperature from weather",
                                        "select pg_advisory_xact_lock(1)",
                                        "insert into settings(name) values ($1)",
                                        "delete from locks"};
    static const char *const others[] = {"set timezone to 'Asia/Tokyo'",
                                         " /* x */ SET ROLE a",
                                         "create temp table t(a int)",
                                         "Create TEMPORARY view v as select 1",
                                         "select pg_advisory_lock(1)",
                                         "select set_config('a.b', 'c', false)",
                                         "listen x",
                                         "/* a /* b */ c */ set timezone to 'Asia/Tokyo'",
                                         "-- a\rset timezone to 'Asia/Tokyo'",
                                         "create table pg_temp.t(a int)",
                                         "prepare p as select 1",
                                         "do $$ begin end $$",
                                         "reset all"};
    struct place place;

    place_open(&place);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        struct ty_sql_op op = {.sql = plain[i], .sql_len = strlen(plain[i]), .db = place.db};
        if (ty_pg_changes_session(&op))
            fail_msg("%s", plain[i]);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct ty_sql_op op = {.sql = others[i], .sql_len = strlen(others[i]), .db = place.db};
        if (!ty_pg_changes_session(&op))
            fail_msg("%s", others[i]);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void what_a_statement_set_is_gone_afterwards(void **state)
{
    (void)state;
    struct place place;

    open_one(&place);
    run(&place, "set timezone to 'Asia/Tokyo'");
    run(&place, "create temp table leftover(a int)");
    run(&place, "select pg_advisory_lock(42)");
    assert_int_equal(number_of(&place, "select (current_setting('TimeZone') = 'UTC')::int"), 1);
    assert_int_equal(locks(&place), 0);
    assert_fails(&place, "select * from leftover", TY_ERR_INTERNAL, "42P01");
    assert_int_equal(place_leave(&place), 0);
}

static void what_a_transaction_left_is_gone_however_it_was_read(void **state)
{
    static const struct {
        enum ty_sql_verb verb, next;
        const char *sql;
    } cases[] = {
        {TY_SQL_RUN, TY_SQL_SHUT, "select pg_advisory_lock(1)"},
        {TY_SQL_OPEN, TY_SQL_FETCH, "select pg_advisory_lock(2)"},
        {TY_SQL_COPY_OUT, TY_SQL_COPY_GET, "copy (select pg_advisory_lock(3)) to stdout"},
    };
    struct place place;

    (void)state;
    open_one(&place);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ty_sql_tx *tx = begin(&place);

        assert_int_equal(done_in(&place, tx, cases[i].verb, cases[i].sql), 0);
        if (cases[i].next != TY_SQL_SHUT)
            assert_int_equal(done_in(&place, tx, cases[i].next, NULL), 0);
        assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
        assert_int_equal(locks(&place), 0);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void transactions_are_refused_behind_any_comment(void **state)
{
    static const char *const texts[] = {
        "begin",
        "/* x */ Commit",
        "/* a /* b */ c */ begin",
        "-- a\rbegin",
        "; ;\nrollback",
        "-- a\n/**/ -- b\n\tend",
        "/* a */-- b\r\nprepare transaction 'x'",
    };
    struct place place;

    (void)state;
    open_one(&place);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_fails(&place, texts[i], TY_ERR_INTERNAL, "refused");
    assert_int_equal(number_of(&place, "/* a /* b */ c */ select 7"), 7);
    assert_int_equal(number_of(&place, "-- begin\rselect 8"), 8);
    assert_int_equal(place_leave(&place), 0);
}

/* An operation that is started again as soon as it was refused. */
static void start_again(struct ty_sql_op *op)
{
    enum { ENOUGH = 1000 };
    struct task *task = (struct task *)op;
    struct ty_sql *db = op->db;
    int calls = task->calls + 1;

    *task = (struct task){.op = {.sql = "begin", .sql_len = 5, .done = start_again}};
    task->calls = calls;
    if (calls < ENOUGH)
        ty_sql_start(db, &task->op);
}

static void who_is_refused_and_tries_again_leaves_time_for_others(void **state)
{
    struct place place;
    struct task eager = {.op = {.sql = "begin", .sql_len = 5, .done = start_again}};

    (void)state;
    open_one(&place);
    run(&place, "select 1");
    ty_sql_start(place.db, &eager.op);
    while (!eager.calls)
        uv_run(&place.loop, UV_RUN_NOWAIT);

    assert_in_range(eager.calls, 1, 3);
    while (eager.calls < 1000)
        uv_run(&place.loop, UV_RUN_ONCE);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changes_a_session_is_seen),
        cmocka_unit_test(what_a_statement_set_is_gone_afterwards),
        cmocka_unit_test(what_a_transaction_left_is_gone_however_it_was_read),
        cmocka_unit_test(transactions_are_refused_behind_any_comment),
        cmocka_unit_test(who_is_refused_and_tries_again_leaves_time_for_others),
    };

    return cmocka_run_group_tests_name("postgres_session", tests, start_server, remove_server);
}
