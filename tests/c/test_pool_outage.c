#include "pool_server.h"
#include "support/figure.h"

#include "tycho/clock.h"

static bool is_open(struct world *world)
{
    return !ty_sql_is_up(world->db);
}

/* The server refuses whoever connects. */
static void refuse_all(bool fatal)
{
    for (unsigned i = fake.count; i-- > 0;) {
        if (fake.conns[i]->closing)
            fake_settle(fake.conns[i]);
        else if (fake.conns[i]->base.state == TY_POOL_CONNECTING)
            fake_die(fake.conns[i], fatal);
    }
}

static void an_idle_connection_that_died_is_nobodys_error(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task task[3];
    struct world world;

    (void)state;
    world_open(&world, &options);
    for (int i = 0; i < 3; i++)
        start(&world, &task[i], "slow");
    go_on(&world);
    assert_int_equal(fake.count, 3);
    for (unsigned i = 0; i < 3; i++)
        fake_die(fake.conns[i], false);
    for (int i = 0; i < 3; i++)
        start(&world, &task[i], "insert");
    for (int i = 0; i < 20; i++) {
        go_on(&world);
        wait_ms(&world, 10);
    }

    for (int i = 0; i < 3; i++)
        assert_int_equal(task[i].op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void a_read_on_a_connection_that_dies_as_it_wakes_goes_elsewhere(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task read, write;
    struct world world;

    (void)state;
    options.pipelines = 1;
    world_open(&world, &options);
    start(&world, &read, "select 1");
    go_on(&world);
    start(&world, &read, "select 1");
    start(&world, &write, "insert");
    assert_ptr_equal(conn_of(&read), conn_of(&write));
    fake_die(fake.conns[0], false);
    go_on(&world);

    assert_int_equal(read.op.status, 0);
    assert_int_equal(write.op.error.kind, TY_ERR_UNKNOWN_OUTCOME);
    assert_int_equal(write.effects, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void a_read_that_may_have_run_is_not_repeated(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task first, second;
    struct world world;

    (void)state;
    options.pipelines = 1;
    world_open(&world, &options);
    start(&world, &first, "select 1");
    go_on(&world);
    start(&world, &first, "select 1");
    start(&world, &second, "select 2");
    fake_run(fake.conns[0]);
    fake_answer(fake.conns[0]); /* so the server was at work */
    assert_int_equal(first.calls, 1);
    fake_die(fake.conns[0], false);
    go_on(&world);

    assert_int_equal(second.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_int_equal(world_leave(&world), 0);
}

static void while_the_server_is_away_nobody_waits(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    world_open(&world, &options);
    assert_false(is_open(&world));
    start(&world, &task, "select 1");
    refuse_all(false);
    turn(&world);
    assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_non_null(strstr(task.op.error.message, "127.0.0.1:1"));
    assert_true(is_open(&world));

    unsigned opened = fake.opened;
    for (int i = 0; i < 100; i++) { /* they are told at once, and nobody connects for them */
        start(&world, &task, "select 1");
        turn(&world);
        assert_int_equal(task.calls, 1);
        assert_int_equal(task.op.status, -1);
    }
    assert_in_range(fake.opened, opened, opened + 2);
    assert_int_equal(world_leave(&world), 0);
}

static void one_at_a_time_asks_whether_the_server_is_back(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    world_open(&world, &options);
    start(&world, &task, "select 1");
    uint64_t end = ty_now_ms() + 1500;
    while (ty_now_ms() < end) {
        unsigned alive = 0;

        for (unsigned i = 0; i < fake.count; i++)
            alive += !fake.conns[i]->gone;
        assert_true(alive <= 1);
        if (ty_now_ms() % 50 < 10) /* it takes a while to say no */
            refuse_all(false);
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    assert_in_range(fake.opened, 4, 12); /* pauses of 50, 100, 200, 400, 800 ms, or half of that */

    uint64_t began = ty_now_ms();
    while (is_open(&world)) {
        go_on(&world);
        wait_ms(&world, 5);
    }
    assert_true(ty_now_ms() - began <= at_most_ms(2000));
    start(&world, &task, "select 1");
    go_on(&world);
    assert_int_equal(task.op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void what_somebody_has_to_mend_is_asked_for_seldom(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    world_open(&world, &options);
    start(&world, &task, "select 1");
    uint64_t end = ty_now_ms() + 1200;
    while (ty_now_ms() < end) {
        refuse_all(true);
        uv_run(&world.loop, UV_RUN_ONCE);
    }

    assert_in_range(fake.opened, 2, 3);
    assert_int_equal(world_leave(&world), 0);
}

static void one_that_cannot_be_opened_while_others_work_stops_nobody(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task first, second;
    struct world world;

    (void)state;
    world_open(&world, &options);
    start(&world, &first, "select 1");
    go_on(&world);
    start(&world, &first, "slow");
    start(&world, &second, "slow"); /* needs another one */
    refuse_all(false);              /* such as: too many connections */
    turn(&world);
    assert_false(is_open(&world));
    assert_int_equal(second.calls, 0);
    go_on(&world);

    assert_int_equal(first.op.status, 0);
    assert_int_equal(second.op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void reconnecting_is_done_a_few_at_a_time(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task task[30];
    struct world world;

    (void)state;
    options.pool_max = 30;
    world_open(&world, &options);
    for (int i = 0; i < 30; i++)
        start(&world, &task[i], "set x");
    assert_int_equal(fake.count, POOL_CONNECTING_MAX);
    go_on(&world);
    for (int i = 0; i < 30; i++)
        assert_int_equal(task[i].op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void a_server_that_does_not_answer_when_it_is_closed_is_left(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    world_open(&world, &options);
    start(&world, &task, "select 1"); /* connecting, for ever */
    assert_int_equal(world_leave(&world), 0);
    assert_int_equal(task.op.status, -1);
    assert_string_equal(task.op.error.detail, "pool.closed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_connection_that_died_is_nobodys_error),
        cmocka_unit_test(a_read_on_a_connection_that_dies_as_it_wakes_goes_elsewhere),
        cmocka_unit_test(a_read_that_may_have_run_is_not_repeated),
        cmocka_unit_test(while_the_server_is_away_nobody_waits),
        cmocka_unit_test(one_at_a_time_asks_whether_the_server_is_back),
        cmocka_unit_test(what_somebody_has_to_mend_is_asked_for_seldom),
        cmocka_unit_test(one_that_cannot_be_opened_while_others_work_stops_nobody),
        cmocka_unit_test(reconnecting_is_done_a_few_at_a_time),
        cmocka_unit_test(a_server_that_does_not_answer_when_it_is_closed_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
