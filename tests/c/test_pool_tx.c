#include "pool_server.h"

/* A transaction on a connection that is open already. */
static struct ty_sql_tx *begin(struct world *world)
{
    struct task task;
    struct ty_sql_tx *tx;

    start(world, &task, "select 1");
    go_on(world);
    task_init(&task, "");
    tx = ty_sql_begin(world->db, &task.op);
    assert_non_null(tx);
    return tx;
}

static void a_commit_keeps_and_a_rollback_undoes(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert, end;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    go_on(&world);
    assert_int_equal(insert.calls, 1);
    assert_int_equal(insert.effects, 0);
    start_in(tx, &end, TY_SQL_COMMIT, "");
    go_on(&world);
    assert_int_equal(end.op.status, 0);
    assert_int_equal(insert.effects, 1);

    tx = begin(&world);
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    start_in(tx, &end, TY_SQL_ROLLBACK, "");
    go_on(&world);
    assert_int_equal(end.op.status, 0);
    assert_int_equal(insert.effects, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void begin_leaves_with_the_first_statement_and_not_before(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert, end;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    assert_int_equal(fake.conns[0]->sent_count, 0);
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    assert_int_equal(fake.conns[0]->sent_count, 2);
    go_on(&world);
    start_in(tx, &end, TY_SQL_COMMIT, "");
    go_on(&world);

    tx = begin(&world); /* nothing in it: nothing is sent */
    start_in(tx, &end, TY_SQL_COMMIT, "");
    assert_int_equal(fake.conns[0]->sent_count, 0);
    go_on(&world);
    assert_int_equal(end.calls, 1);
    assert_int_equal(end.op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void a_transaction_that_did_not_begin_runs_nothing_unnoticed(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert, next, end;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    fake.fails_begin = true;
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    insert.in_tx = false; /* that is what it comes to */
    start_in(tx, &next, TY_SQL_RUN, "insert");
    start_in(tx, &end, TY_SQL_COMMIT, "");
    fake_run(fake.conns[0]);
    fake_run(fake.conns[0]);
    fake_answer(fake.conns[0]);
    fake_answer(fake.conns[0]);
    turn(&world);

    assert_int_equal(insert.op.error.kind, TY_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(next.op.status, -1);
    assert_int_equal(next.effects, 0);
    assert_int_equal(end.op.status, -1);
    fake.conns[0]->in_tx = true; /* so that the fake takes the ROLLBACK */
    go_on(&world);
    assert_int_equal(fake.count, 0); /* that connection is not used again */
    assert_int_equal(world_leave(&world), 0);
}

static void after_an_error_only_undoing_works(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert, fail, commit;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &fail, TY_SQL_RUN, "insert, and fail");
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    start_in(tx, &commit, TY_SQL_COMMIT, "");
    go_on(&world);

    assert_int_equal(fail.op.error.kind, TY_ERR_INVALID);
    assert_string_equal(insert.op.error.detail, "transaction.rolled_back");
    assert_string_equal(commit.op.error.detail, "transaction.rolled_back");
    assert_int_equal(insert.effects, 0);
    assert_false(fake.conns[0]->in_tx);
    assert_int_equal(fake.opened, 1); /* the connection is as good as new */
    assert_int_equal(world_leave(&world), 0);
}

static void what_is_dropped_is_cancelled_and_rolled_back(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task first, running, queued, next;
    struct world world;

    (void)state;
    options.pool_max = 1;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &first, TY_SQL_RUN, "insert");
    go_on(&world);
    start_in(tx, &running, TY_SQL_RUN, "insert");
    start_in(tx, &queued, TY_SQL_RUN, "insert");
    ty_sql_tx_drop(tx);
    assert_int_equal(fake.cancels, 1);
    start(&world, &next, "insert"); /* the server asserts that it is in no transaction */
    go_on(&world);

    assert_int_equal(running.op.status, UV_ECANCELED);
    assert_int_equal(queued.op.status, UV_ECANCELED);
    assert_int_equal(first.effects + running.effects + queued.effects, 0);
    assert_int_equal(next.effects, 1);
    assert_int_equal(world_leave(&world), 0);
}

static uint64_t until_it_is_closed(void)
{
    struct ty_sql_options options = fake_options();
    struct task first;
    struct world world;

    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &first, TY_SQL_RUN, "insert");
    go_on(&world);
    uint64_t began = uv_hrtime();
    ty_sql_tx_drop(tx); /* and the server says nothing */
    while (!fake.conns[0]->closing)
        uv_run(&world.loop, UV_RUN_ONCE);

    uint64_t took = (uv_hrtime() - began) / 1000000;
    assert_int_equal(world_leave(&world), 0);
    return took;
}

static void what_cannot_be_rolled_back_in_a_second_is_closed(void **state)
{
    (void)state;
    assert_in_range(best_of(until_it_is_closed, 1200), 950, 1200);
}

static void a_commit_that_runs_is_not_disturbed(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert, commit;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    go_on(&world);
    start_in(tx, &commit, TY_SQL_COMMIT, "");
    ty_sql_cancel(&commit.op);
    wait_ms(&world, 50);
    assert_int_equal(fake.cancels, 0);
    go_on(&world);

    assert_int_equal(commit.op.status, 0);
    assert_int_equal(insert.effects, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void the_outcome_of_a_commit_without_an_answer_is_unknown(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert, commit;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    go_on(&world);
    start_in(tx, &commit, TY_SQL_COMMIT, "");
    fake_run(fake.conns[0]); /* it was done, but nobody will hear of it */
    fake_die(fake.conns[0], false);
    turn(&world);

    assert_int_equal(commit.calls, 1);
    assert_int_equal(commit.op.error.kind, TY_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(insert.effects, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void a_transaction_whose_connection_dies_is_undone(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert, next, commit, rollback;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    go_on(&world);
    fake_die(fake.conns[0], false); /* while it waits for nothing */
    start_in(tx, &next, TY_SQL_RUN, "insert");
    start_in(tx, &commit, TY_SQL_COMMIT, "");
    go_on(&world);
    assert_int_equal(next.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_int_equal(commit.op.error.kind, TY_ERR_UNAVAILABLE); /* it was never sent */
    assert_int_equal(insert.effects, 0);

    tx = begin(&world);
    start_in(tx, &insert, TY_SQL_RUN, "select 1"); /* reads, but is not sent again elsewhere */
    fake_die(fake.conns[0], false);
    start_in(tx, &rollback, TY_SQL_ROLLBACK, "");
    go_on(&world);
    assert_int_equal(insert.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_int_equal(rollback.op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void closing_rolls_back_what_is_open(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task insert;
    struct world world;

    (void)state;
    world_open(&world, &options);
    struct ty_sql_tx *tx = begin(&world);
    start_in(tx, &insert, TY_SQL_RUN, "insert");
    go_on(&world);

    assert_int_equal(world_leave(&world), 0);
    assert_int_equal(insert.effects, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_keeps_and_a_rollback_undoes),
        cmocka_unit_test(begin_leaves_with_the_first_statement_and_not_before),
        cmocka_unit_test(a_transaction_that_did_not_begin_runs_nothing_unnoticed),
        cmocka_unit_test(after_an_error_only_undoing_works),
        cmocka_unit_test(what_is_dropped_is_cancelled_and_rolled_back),
        cmocka_unit_test(what_cannot_be_rolled_back_in_a_second_is_closed),
        cmocka_unit_test(a_commit_that_runs_is_not_disturbed),
        cmocka_unit_test(the_outcome_of_a_commit_without_an_answer_is_unknown),
        cmocka_unit_test(a_transaction_whose_connection_dies_is_undone),
        cmocka_unit_test(closing_rolls_back_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
