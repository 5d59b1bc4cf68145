#include "pool_server.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_statement_opens_a_connection_and_the_next_one_finds_it(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    world_open(&world, &options);
    start(&world, &task, "select 1");
    go_on(&world);
    assert_int_equal(task.calls, 1);
    assert_int_equal(task.op.status, 0);

    start(&world, &task, "select 2");
    go_on(&world);
    assert_int_equal(task.calls, 1);
    assert_int_equal(fake.opened, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void fast_statements_share_connections(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task task[2 * FAKE_DEPTH];
    struct world world;

    (void)state;
    world_open(&world, &options);
    for (int i = 0; i < 2 * FAKE_DEPTH; i++)
        start(&world, &task[i], "select 1");
    for (int i = 0; i < 10; i++) { /* connections open, nothing is answered */
        for (unsigned at = 0; at < fake.count; at++)
            fake_settle(fake.conns[at]);
        turn(&world);
    }

    assert_int_equal(fake.opened, 2); /* as many as `pipelines` says */
    for (int i = 0; i < 2 * FAKE_DEPTH; i++)
        assert_non_null(conn_of(&task[i]));
    go_on(&world);
    for (int i = 0; i < 2 * FAKE_DEPTH; i++)
        assert_int_equal(task[i].calls, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void nobody_is_put_behind_a_slow_statement(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task slow, fast[3];
    struct world world;

    (void)state;
    world_open(&world, &options);
    start(&world, &fast[0], "select 1");
    go_on(&world);
    start(&world, &slow, "slow");
    struct fake_conn *conn = conn_of(&slow);
    assert_non_null(conn);
    for (int i = 0; i < 3; i++)
        start(&world, &fast[i], "select 1");
    for (int i = 0; i < 10; i++) { /* all answer but the slow one */
        for (unsigned at = 0; at < fake.count; at++) {
            struct fake_conn *other = fake.conns[at];

            fake_settle(other);
            if (other == conn)
                continue;
            fake_run(other);
            fake_answer(other);
        }
        turn(&world);
    }

    for (int i = 0; i < 3; i++)
        assert_int_equal(fast[i].calls, 1);
    assert_int_equal(slow.calls, 0);
    assert_int_equal(conn->base.in_flight, 1);
    assert_int_equal(world_leave(&world), 0);
    assert_int_equal(slow.calls, 1);
}

static void nobody_is_put_behind_what_turns_out_to_be_slow(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task first, second;
    struct world world;

    (void)state;
    options.pool_max = 2;
    world_open(&world, &options);
    start(&world, &first, "select 1");
    go_on(&world);
    start(&world, &first, "select 1");
    wait_ms(&world, 2 * POOL_YOUNG_MS);
    start(&world, &second, "select 2");

    assert_true(conn_of(&second) != conn_of(&first));
    go_on(&world);
    assert_int_equal(second.calls, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void a_changed_session_is_reset_before_anybody_else_gets_it(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task set, next;
    struct world world;

    (void)state;
    options.pool_max = 1;
    world_open(&world, &options);
    start(&world, &set, "set x");
    start(&world, &next, "select 1"); /* the server asserts that nothing is left */
    go_on(&world);

    assert_int_equal(set.calls, 1);
    assert_int_equal(next.calls, 1);
    assert_int_equal(fake.resets, 1);
    assert_int_equal(fake.opened, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void those_who_wait_are_served_in_their_order(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task task[20];
    struct world world;
    int done = 0;

    (void)state;
    options.pool_max = 2;
    world_open(&world, &options);
    for (int i = 0; i < 20; i++)
        start(&world, &task[i], i % 3 == 0 ? "slow" : "set x");
    for (int round = 0; round < 200 && done < 20; round++) {
        unsigned at = (unsigned)round % 2;

        if (at < fake.count) {
            fake_settle(fake.conns[at]);
            fake_run(fake.conns[at]);
            fake_answer(fake.conns[at]);
        }
        turn(&world);
        done = 0;
        for (int i = 0; i < 20; i++) {
            done += task[i].calls;
            for (int j = 0; j < i - 2; j++) /* two run at once */
                assert_true(task[j].calls >= task[i].calls);
        }
    }

    assert_int_equal(done, 20);
    assert_int_equal(world_leave(&world), 0);
}

static void a_transaction_gets_its_turn_although_statements_keep_coming(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task task[100], begin;
    struct world world;
    int started = 0;

    (void)state;
    options.pool_max = 1;
    world_open(&world, &options);
    for (; started < 3; started++)
        start(&world, &task[started], "select 1");
    task_init(&begin, "");
    assert_null(ty_sql_begin(world.db, &begin.op));
    for (; started < 100 && !begin.calls; started++) {
        start(&world, &task[started], "select 1");
        fake_settle(fake.conns[0]);
        fake_run(fake.conns[0]);
        fake_answer(fake.conns[0]);
        turn(&world);
    }

    assert_int_equal(begin.calls, 1);
    assert_true(started < 20);
    ty_sql_tx_drop(begin.op.tx);
    go_on(&world);
    for (int i = 0; i < started; i++)
        assert_int_equal(task[i].calls, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void a_transaction_does_not_wait_for_the_slow_while_others_share(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task slow, begin, task[200];
    struct world world;
    int started = 0;

    (void)state;
    options.pool_max = 2;
    options.pipelines = 1;
    world_open(&world, &options);
    start(&world, &slow, "slow");
    start(&world, &task[started++], "select 1");
    go_on(&world);
    start(&world, &slow, "slow"); /* takes for ever */
    start(&world, &task[started++], "select 1");
    struct fake_conn *conn = conn_of(&task[1]);
    task_init(&begin, "");
    assert_null(ty_sql_begin(world.db, &begin.op));
    for (; started < 200 && !begin.calls; started++) {
        start(&world, &task[started], "select 1"); /* the one before is not answered yet */
        fake_run(conn);
        fake_answer(conn);
        wait_ms(&world, 2);
    }

    assert_int_equal(begin.calls, 1);
    assert_int_equal(begin.op.status, 0);
    ty_sql_tx_drop(begin.op.tx);
    assert_int_equal(world_leave(&world), 0);
}

static void who_waits_for_too_long_is_told(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task holder, waiter;
    struct world world;

    (void)state;
    options.pool_max = 1;
    options.wait_ms = 100;
    world_open(&world, &options);
    start(&world, &waiter, "select 1");
    go_on(&world);
    task_init(&holder, "");
    struct ty_sql_tx *tx = ty_sql_begin(world.db, &holder.op);
    assert_non_null(tx);
    task_init(&waiter, ""); /* a second one, inside of the first: nested */
    assert_null(ty_sql_begin(world.db, &waiter.op));
    uint64_t began = uv_hrtime();
    while (!waiter.calls)
        uv_run(&world.loop, UV_RUN_ONCE);

    assert_true(uv_hrtime() - began >= 99 * 1000000ULL);
    assert_int_equal(waiter.op.status, -1);
    assert_int_equal(waiter.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_string_equal(waiter.op.error.detail, "pool.timeout");
    ty_sql_tx_drop(tx);
    assert_int_equal(world_leave(&world), 0);
}

static void the_line_has_an_end(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task task[4];
    struct world world;

    (void)state;
    options.pool_max = 1;
    options.queue_max = 3;
    world_open(&world, &options);
    for (int i = 0; i < 4; i++)
        start(&world, &task[i], "slow");
    turn(&world);

    assert_int_equal(task[3].calls, 1);
    assert_string_equal(task[3].op.error.detail, "pool.queue");
    go_on(&world);
    assert_int_equal(task[2].op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void connections_end_when_they_are_old_or_nobody_needs_them(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    options.lifetime_ms = 60;
    world_open(&world, &options);
    start(&world, &task, "select 1");
    go_on(&world);
    assert_int_equal(fake.count, 1);
    for (int i = 0; i < 100 && fake.count; i++) {
        wait_ms(&world, 10);
        go_on(&world);
    }
    assert_int_equal(fake.count, 0);
    assert_int_equal(world_leave(&world), 0);

    options = fake_options();
    options.idle_ms = 50;
    options.pool_min = 1;
    world_open(&world, &options);
    start(&world, &task, "slow");
    struct task other;
    start(&world, &other, "slow");
    go_on(&world);
    assert_int_equal(fake.count, 2);
    for (int i = 0; i < 30; i++) {
        wait_ms(&world, 10);
        go_on(&world);
    }
    assert_int_equal(fake.count, 1); /* the minimum stays */
    assert_int_equal(world_leave(&world), 0);
}

static void the_minimum_is_kept_when_idle_connections_die(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    options.pool_min = 3;
    world_open(&world, &options);
    start(&world, &task, "select 1");
    for (int i = 0; i < 50 && fake.count < 3; i++) {
        go_on(&world);
        wait_ms(&world, 10);
    }
    go_on(&world);
    assert_int_equal(fake.count, 3);
    for (unsigned i = 0; i < 3; i++)
        fake_die(fake.conns[i], false);
    start(&world, &task, "insert");
    go_on(&world);
    for (int i = 0; i < 100 && fake.count < 3; i++) {
        wait_ms(&world, 10);
        go_on(&world);
    }

    assert_int_equal(task.op.status, 0); /* nobody was told */
    assert_int_equal(fake.count, 3);
    assert_int_equal(world_leave(&world), 0);
}

/* Another worker, which has nothing and wants something, as long as it lives. */
static pid_t want_beside(void)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (struct pool_ledger *ledger = pool_ledger_open("test", 4);;) {
        pool_ledger_want(ledger);
        usleep(10000);
    }
}

static void another_worker_gets_its_share_and_no_more(void **state)
{
    struct ty_sql_options options = fake_options();
    int fd = ty_sql_ledger_create();
    struct task task[4];
    struct world world;

    (void)state;
    assert_int_equal(ty_sql_ledger_attach(fd), 0);
    world_open(&world, &options);
    for (int i = 0; i < 4; i++)
        start(&world, &task[i], "slow");
    go_on(&world);
    assert_int_equal(fake.count, 4);
    pid_t pid = want_beside();
    for (int i = 0; i < 40; i++) {
        wait_ms(&world, 10);
        for (int j = 0; j < 4; j++) /* they are needed here as well */
            start(&world, &task[j], "slow");
        go_on(&world);
        assert_true(fake.count >= 2);
    }

    assert_int_equal(fake.count, 2);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(world_leave(&world), 0);
    ty_sql_ledger_detach();
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_opens_a_connection_and_the_next_one_finds_it),
        cmocka_unit_test(fast_statements_share_connections),
        cmocka_unit_test(nobody_is_put_behind_a_slow_statement),
        cmocka_unit_test(nobody_is_put_behind_what_turns_out_to_be_slow),
        cmocka_unit_test(a_changed_session_is_reset_before_anybody_else_gets_it),
        cmocka_unit_test(those_who_wait_are_served_in_their_order),
        cmocka_unit_test(a_transaction_gets_its_turn_although_statements_keep_coming),
        cmocka_unit_test(a_transaction_does_not_wait_for_the_slow_while_others_share),
        cmocka_unit_test(who_waits_for_too_long_is_told),
        cmocka_unit_test(the_line_has_an_end),
        cmocka_unit_test(connections_end_when_they_are_old_or_nobody_needs_them),
        cmocka_unit_test(the_minimum_is_kept_when_idle_connections_die),
        cmocka_unit_test(another_worker_gets_its_share_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
