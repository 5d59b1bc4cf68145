/* PgBouncer in transaction mode: sessions are not ours, and several statements at once are not kept
 * apart. */
#include "postgres_place.h"
#include "support/figure.h"

static struct database bouncer;

static int start_both(void **state)
{
    static char upstream[32];
    static const char *words[] = {upstream, "default_pool_size=3", NULL};

    if (start_server(state) != 0)
        return -1;
    snprintf(upstream, sizeof(upstream), "upstream=%d", the_server.port);
    return database_start(&bouncer, "pgbouncer", words);
}

static int remove_both(void **state)
{
    database_remove(&bouncer);
    return remove_server(state);
}

static void place_open_behind(struct place *place, enum ty_sql_prepare prepare)
{
    place_make(place, bouncer.port);
    struct ty_sql_options options = place_options(place);
    options.prepare = prepare;
    options.pool_max = 10;
    place_open_with(place, &options);
}

static void many_statements_get_their_own_answers(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    static struct task tasks[COUNT];
    static struct ty_sql_value params[COUNT];
    struct place place;

    place_open_behind(&place, TY_SQL_PREPARE_AUTO);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < COUNT; i++) {
            params[i] = (struct ty_sql_value){.type = TY_SQL_INTEGER, .integer = i};
            start_with(&place, &tasks[i], i % 7 ? "select $1::int + 1" : "select $1::int / 0 + 1",
                       &params[i], 1);
        }
        for (int i = 0; i < COUNT; i++) {
            finish(&place, &tasks[i]);
            if (i % 7) {
                done_well(&tasks[i]);
                assert_int_equal(cell_at(&tasks[i].op, 0, 0).integer, i + 1);
            } else {
                assert_string_equal(tasks[i].op.error.detail, "22012");
            }
            ty_sql_op_close(&tasks[i].op);
        }
    }
    assert_int_equal(number_of(&place, "select count(*) from pg_prepared_statements"), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void transactions_and_batches_work(void **state)
{
    (void)state;
    struct place place;
    struct task first, second;

    place_open_behind(&place, TY_SQL_PREPARE_AUTO);
    run(&place, "drop table if exists t");
    run(&place, "create table t(n int primary key)");
    for (int i = 0; i < 30; i++) {
        struct ty_sql_tx *one = begin(&place), *two = begin(&place);
        char sql[64];

        snprintf(sql, sizeof(sql), "insert into t values (%d)", i);
        assert_int_equal(done_in(&place, one, TY_SQL_RUN, sql), 0);
        assert_int_equal(done_in(&place, two, TY_SQL_RUN, "insert into t values (1000)"), 0);
        assert_int_equal(done_at(&place, two, TY_SQL_SAVEPOINT, 1), 0);
        assert_int_equal(done_in(&place, two, TY_SQL_RUN, "select 1/0"), -1);
        assert_int_equal(done_at(&place, two, TY_SQL_ROLLBACK_TO, 1), 0);
        assert_int_equal(done_in(&place, one, TY_SQL_COMMIT, NULL), 0);
        assert_int_equal(done_in(&place, two, TY_SQL_ROLLBACK, NULL), 0);
    }
    assert_int_equal(number_of(&place, "select count(*) from t"), 30);

    first = (struct task){.op = {.sql = "insert into t values (99)", .done = on_task}};
    second = (struct task){.op = {.sql = "insert into t values (1)", .done = on_task}};
    first.op.sql_len = strlen(first.op.sql);
    second.op.sql_len = strlen(second.op.sql);
    first.op.batch = &second.op;
    ty_sql_start(place.db, &first.op);
    finish(&place, &first);
    assert_int_equal(second.op.status, -1);
    ty_sql_op_close(&first.op);
    assert_int_equal(number_of(&place, "select count(*) from t"), 30);
    assert_int_equal(place_leave(&place), 0);
}

static void rows_come_in_pieces_and_by_copy(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open_behind(&place, TY_SQL_PREPARE_AUTO);
    run(&place, "drop table if exists t");
    run(&place, "create table t(n int)");
    struct ty_sql_tx *tx = begin(&place);
    task = (struct task){
        .op = {.verb = TY_SQL_COPY_PUT, .data = TY_SLICE("1\n2\n3\n"), .done = on_task}};
    assert_int_equal(done_in(&place, tx, TY_SQL_COPY_IN, "copy t from stdin"), 0);
    ty_sql_tx_start(tx, &task.op);
    finish(&place, &task);
    done_well(&task);
    assert_int_equal(done_in(&place, tx, TY_SQL_COPY_END, NULL), 0);
    task = (struct task){.op = {.verb = TY_SQL_OPEN,
                                .level = 1,
                                .sql = "select n from t",
                                .sql_len = 15,
                                .done = on_task}};
    ty_sql_tx_start(tx, &task.op);
    finish(&place, &task);
    done_well(&task);
    ty_sql_op_close(&task.op);
    task = (struct task){.op = {.verb = TY_SQL_FETCH, .level = 1, .rows_max = 10, .done = on_task}};
    ty_sql_tx_start(tx, &task.op);
    finish(&place, &task);
    assert_int_equal(task.op.row_count, 3);
    ty_sql_op_close(&task.op);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void cancelling_works_through_it(void **state)
{
    (void)state;
    struct place place;
    struct task tasks[3];

    place_open_behind(&place, TY_SQL_PREPARE_AUTO);
    for (int i = 0; i < 10; i++) {
        for (int t = 0; t < 3; t++)
            start(&place, &tasks[t], t == 1 ? "select pg_sleep(30)" : "select pg_sleep(0.02)");
        uint64_t began = ty_now_ms();
        while (ty_now_ms() - began < 10)
            uv_run(&place.loop, UV_RUN_NOWAIT);
        ty_sql_cancel(&tasks[1].op);
        for (int t = 0; t < 3; t++) {
            finish(&place, &tasks[t]);
            assert_int_equal(tasks[t].op.status, t == 1 ? UV_ECANCELED : 0);
            ty_sql_op_close(&tasks[t].op);
        }
        assert_true(ty_now_ms() - began < at_most_ms(5000));
    }
    assert_int_equal(place_leave(&place), 0);
}

static void times_are_in_utc_whoever_used_the_session_before(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    database_sql(&the_server, NULL, "alter system set timezone = 'Asia/Tokyo'");
    database_sql(&the_server, NULL, "select pg_reload_conf()");
    place_open_behind(&place, TY_SQL_PREPARE_AUTO);
    for (int i = 0; i < 10; i++) {
        start(&place, &task, "select '2026-11-21 16:00:00.5Z'::timestamptz");
        finish(&place, &task);
        done_well(&task);
        assert_true(ty_slice_is(cell_at(&task.op, 0, 0).bytes, "2026-11-21T16:00:00.500000Z"));
        ty_sql_op_close(&task.op);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void statements_are_prepared_nowhere_when_told_so(void **state)
{
    (void)state;
    struct place place;

    place_make(&place, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.prepare = TY_SQL_PREPARE_NEVER;
    options.pool_max = 1;
    place_open_with(&place, &options);
    for (int i = 0; i < 5; i++)
        assert_int_equal(number_of(&place, "select count(*) from pg_prepared_statements"), 0);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_statements_get_their_own_answers),
        cmocka_unit_test(transactions_and_batches_work),
        cmocka_unit_test(rows_come_in_pieces_and_by_copy),
        cmocka_unit_test(cancelling_works_through_it),
        cmocka_unit_test(times_are_in_utc_whoever_used_the_session_before),
        cmocka_unit_test(statements_are_prepared_nowhere_when_told_so),
    };

    return cmocka_run_group_tests_name("postgres_pooler", tests, start_both, remove_both);
}
