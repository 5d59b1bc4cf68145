#include "sqlite_place.h"
#include "support/figure.h"

/* Takes minutes, unless it is stopped. */
static const char endless[] = "with recursive n(i) as (select 1 union all select i + 1 from n)"
                              " select count(*) from n where i < 0";

static void a_commit_keeps_and_a_rollback_undoes(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(rows(&place), 0); /* nobody else sees it yet */
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(rows(&place), 1);

    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    assert_int_equal(rows(&place), 1);

    tx = begin(&place); /* nothing in it: no statement is sent */
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static int done_at(struct place *place, struct ty_sql_tx *tx, enum ty_sql_verb verb, unsigned level)
{
    struct task task = {.op = {.verb = verb, .level = level, .done = on_task}};

    ty_sql_tx_start(tx, &task.op);
    finish(place, &task);
    return task.op.status;
}

static void levels_are_undone_on_their_own(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_SAVEPOINT, 1), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)"), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_SAVEPOINT, 2), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (3)"), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_RELEASE, 2), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_ROLLBACK_TO, 1), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (4)"), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_RELEASE, 1), -1); /* there is none */
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);

    assert_int_equal(number_of(&place, "select sum(n) from t"), 5);
    assert_int_equal(place_leave(&place), 0);
}

static void a_level_takes_those_inside_along(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_at(&place, tx, TY_SQL_SAVEPOINT, 1), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_SAVEPOINT, 2), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)"), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_ROLLBACK_TO, 1), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);

    assert_int_equal(rows(&place), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_commit_that_breaks_a_constraint_undoes_all(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    make_table(&place);
    assert_int_equal(
        ask(&place, "create table c(n references t deferrable initially deferred)", NULL), 0);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into c values (9)"), 0);
    struct task task;
    start_in(tx, &task, TY_SQL_COMMIT, NULL);
    finish(&place, &task);

    assert_int_equal(task.op.status, -1);
    assert_string_equal(task.op.error.detail, "SQLITE_CONSTRAINT_FOREIGNKEY");
    assert_int_equal(number_of(&place, "select count(*) from c"), 0);
    assert_int_equal(ask(&place, "insert into t values (1)", NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_reading_transaction_sees_one_state_and_does_not_write(void **state)
{
    (void)state;
    struct place place;
    struct task task = {.op = {.read_only = true, .done = on_task}};

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = ty_sql_begin(place.db, &task.op);
    assert_non_null(tx);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "select * from t"), 0);
    assert_int_equal(ask(&place, "insert into t values (1)", NULL), 0);
    start_in(tx, &task, TY_SQL_RUN, "select * from t");
    finish(&place, &task);
    assert_int_equal(task.op.row_count, 0);
    ty_sql_op_close(&task.op);
    start_in(tx, &task, TY_SQL_RUN, "insert into t values (2)");
    finish(&place, &task);

    assert_int_equal(task.op.status, -1);
    assert_string_equal(task.op.error.detail, "SQLITE_READONLY");
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(rows(&place), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void the_same_holds_in_memory(void **state)
{
    (void)state;
    struct place place;
    struct task task = {.op = {.read_only = true, .done = on_task}};

    place_make(&place);
    struct ty_sql_options options = place_options(&place);
    options.url = "sqlite::memory:";
    place.db = ty_sql_new(&place.loop, &options, NULL);
    make_table(&place);
    struct ty_sql_tx *tx = ty_sql_begin(place.db, &task.op);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);

    assert_int_equal(ask(&place, "insert into t values (1)", NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void run_a_little(struct place *place)
{
    uint64_t start = ty_now_ms();

    while (ty_now_ms() - start < 50)
        uv_run(&place->loop, UV_RUN_NOWAIT);
}

static void a_statement_stops_when_it_is_cancelled(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    start(&place, &task, endless);
    run_a_little(&place);
    assert_int_equal(task.calls, 0);
    uint64_t cancelled = ty_now_ms();
    ty_sql_cancel(&task.op);
    finish(&place, &task);

    assert_int_equal(task.op.status, UV_ECANCELED);
    assert_true(ty_now_ms() - cancelled < at_most_ms(1000));
    for (int i = 0; i < 4; i++) /* and the connection works as before */
        assert_int_equal(rows(&place), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_cancelled_write_leaves_nothing(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    start(&place, &task,
          "insert into t with recursive n(i) as (select 1 union all select i + 1 from n)"
          " select i from n");
    run_a_little(&place);
    ty_sql_cancel(&task.op);
    finish(&place, &task);

    assert_int_equal(task.op.status, UV_ECANCELED);
    assert_int_equal(rows(&place), 0);
    assert_int_equal(ask(&place, "insert into t values (1)", NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_dropped_transaction_is_undone_whatever_it_does(void **state)
{
    (void)state;
    struct place place;
    struct task write, read, waiting;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    start_in(tx, &write, TY_SQL_RUN, "insert into t values (1)");
    start_in(tx, &read, TY_SQL_RUN, endless);
    finish(&place, &write);
    start_in(tx, &waiting, TY_SQL_RUN, "insert into t values (2)");
    ty_sql_tx_drop(tx);
    finish(&place, &read);
    finish(&place, &waiting);

    assert_int_equal(write.op.status, 0);
    assert_int_equal(read.op.status, UV_ECANCELED);
    assert_int_equal(waiting.op.status, UV_ECANCELED);
    assert_int_equal(ask(&place, "insert into t values (3)", NULL), 0);
    assert_int_equal(number_of(&place, "select sum(n) from t"), 3);
    assert_int_equal(place_leave(&place), 0);
}

static void an_error_that_rolls_back_is_noticed(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert or rollback into t values (1)"), -1);
    start_in(tx, &task, TY_SQL_RUN, "insert into t values (2)");
    finish(&place, &task);
    assert_string_equal(task.op.error.detail, "transaction.rolled_back");
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), -1);

    assert_int_equal(rows(&place), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void who_waits_too_long_is_told(void **state)
{
    (void)state;
    struct place place;
    struct task first, second;

    place_make(&place);
    struct ty_sql_options options = place_options(&place);
    options.wait_ms = 400;
    options.queue_max = 2;
    place.db = ty_sql_new(&place.loop, &options, NULL);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    uint64_t begun = ty_now_ms();
    struct task third = {.op = {.done = on_task}};
    start(&place, &first, "insert into t values (1)");
    start(&place, &second, "insert into t values (2)");
    assert_null(ty_sql_begin(place.db, &third.op)); /* no place in the line */
    finish(&place, &third);
    assert_string_equal(third.op.error.detail, "pool.queue");
    assert_true(ty_now_ms() - begun < at_most_ms(350));
    finish(&place, &first);
    finish(&place, &second);

    assert_int_equal(first.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_string_equal(first.op.error.detail, "pool.timeout");
    assert_true(ty_now_ms() - begun >= 390);
    assert_true(ty_now_ms() - begun < at_most_ms(2000));
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(rows(&place), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void readers_and_the_writer_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct place place;
    struct task slow[2], third;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(rows(&place), 0);
    start(&place, &slow[0], endless);
    start(&place, &slow[1], endless);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    start(&place, &third, "select count(*) from t"); /* both readers are busy: in line */
    run_a_little(&place);
    assert_int_equal(third.calls, 0);
    ty_sql_cancel(&slow[0].op);
    finish(&place, &third);
    assert_int_equal(third.op.status, 0);
    ty_sql_op_close(&third.op);
    ty_sql_cancel(&slow[1].op);
    finish(&place, &slow[0]);
    finish(&place, &slow[1]);
    assert_int_equal(place_leave(&place), 0);
}

static void a_statement_that_writes_after_all_finds_the_writer(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    assert_true(ty_sql_reads("with x as (values (1)) insert into t select * from x"));
    start(&place, &task, "with x as (values (1)) insert into t select * from x returning n");
    finish(&place, &task);

    assert_int_equal(task.op.status, 0);
    assert_int_equal(task.op.row_count, 1);
    ty_sql_op_close(&task.op);
    assert_int_equal(rows(&place), 1);
    assert_int_equal(place_leave(&place), 0);
}

/* Another process writes meanwhile. */
static void who_could_not_begin_without_keys_leaves_them_on(void **state)
{
    (void)state;
    struct place place, other;

    place_make(&place);
    struct ty_sql_options options = place_options(&place);
    options.busy_ms = 10;
    place.db = ty_sql_new(&place.loop, &options, NULL);
    other = (struct place){0};
    uv_loop_init(&other.loop);
    other.db = ty_sql_new(&other.loop, &options, NULL);
    assert_int_equal(ask(&place, "create table a(id integer primary key)", NULL), 0);
    assert_int_equal(ask(&place, "create table b(a references a)", NULL), 0);
    struct ty_sql_tx *writer = begin(&other);
    assert_int_equal(done_in(&other, writer, TY_SQL_RUN, "insert into a values (1)"), 0);

    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "pragma foreign_keys = off"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    assert_int_equal(done_in(&other, writer, TY_SQL_ROLLBACK, NULL), 0);

    assert_fails(&place, "insert into b values (7)", TY_ERR_CONFLICT,
                 "SQLITE_CONSTRAINT_FOREIGNKEY", "");
    place_shut(&other);
    uv_run(&other.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&other.loop), 0);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_keeps_and_a_rollback_undoes),
        cmocka_unit_test(levels_are_undone_on_their_own),
        cmocka_unit_test(a_level_takes_those_inside_along),
        cmocka_unit_test(a_commit_that_breaks_a_constraint_undoes_all),
        cmocka_unit_test(a_reading_transaction_sees_one_state_and_does_not_write),
        cmocka_unit_test(the_same_holds_in_memory),
        cmocka_unit_test(a_statement_stops_when_it_is_cancelled),
        cmocka_unit_test(a_cancelled_write_leaves_nothing),
        cmocka_unit_test(a_dropped_transaction_is_undone_whatever_it_does),
        cmocka_unit_test(an_error_that_rolls_back_is_noticed),
        cmocka_unit_test(who_waits_too_long_is_told),
        cmocka_unit_test(readers_and_the_writer_do_not_wait_for_each_other),
        cmocka_unit_test(a_statement_that_writes_after_all_finds_the_writer),
        cmocka_unit_test(who_could_not_begin_without_keys_leaves_them_on),
    };
    return cmocka_run_group_tests_name("sqlite_tx", tests, NULL, NULL);
}
