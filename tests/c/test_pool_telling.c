#include "pool_server.h"

/* Who is told of something, and closes the database for it. */
struct closer {
    struct task task;
    struct world *world;
};

static void close_now(struct ty_sql_op *op)
{
    struct closer *closer = (struct closer *)op;

    closer->task.calls++;
    ty_sql_close(closer->world->db, on_closed, closer->world);
}

/* Until the database has closed. */
static void wait_closed(struct world *world)
{
    for (int i = 0; i < 100 && !world->closed; i++)
        go_on(world);
    assert_int_equal(world->closed, 1);
    uv_close((uv_handle_t *)&world->alive, NULL);
    turn(world);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

static void a_transaction_granted_while_the_database_closes_is_none(void **state)
{
    struct ty_sql_options options = fake_options();
    struct closer closer = {.task = {.op = {.done = close_now}}};
    struct task opening = {.op = {.done = on_task}};
    struct world world;

    (void)state;
    options.pool_max = 1;
    world_open(&world, &options);
    closer.world = &world;
    assert_null(ty_sql_begin(world.db, &closer.task.op));
    assert_null(ty_sql_begin(world.db, &opening.op));
    ty_sql_cancel(&closer.task.op);
    fake_settle(fake.conns[0]); /* it is open: both are told in one go */
    assert_non_null(opening.op.tx);
    wait_closed(&world);

    assert_int_equal(closer.task.calls, 1);
    assert_int_equal(opening.calls, 1);
    assert_null(opening.op.tx);
    assert_string_equal(opening.op.error.detail, "pool.closed");
}

/* An operation that is started again as soon as it has failed. */
static void start_again(struct ty_sql_op *op)
{
    enum { ENOUGH = 1000 };
    struct task *task = (struct task *)op;
    struct ty_sql *db = op->db;
    int calls = task->calls + 1;

    task_init(task, "select 1");
    task->op.done = start_again;
    task->calls = calls;
    if (calls < ENOUGH)
        ty_sql_start(db, &task->op);
}

static void who_tries_again_at_once_leaves_time_for_others(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task eager;
    struct world world;

    (void)state;
    options.query_ms = 0;
    world_open(&world, &options);
    task_init(&eager, "select 1");
    eager.op.done = start_again;
    ty_sql_start(world.db, &eager.op);
    fake_die(fake.conns[0], false);
    assert_false(ty_sql_is_up(world.db));
    while (!eager.calls)
        uv_run(&world.loop, UV_RUN_NOWAIT);

    assert_in_range(eager.calls, 1, 3);
    for (int i = 0; i < 100; i++) /* the server is back: there was time to find out */
        wait_ms(&world, 1), go_on(&world);
    assert_true(ty_sql_is_up(world.db));
    assert_int_equal(world_leave(&world), 0);
}

/* Starts one in each turn of the loop, until the database is gone. */
struct stubborn {
    struct task task;
    uv_check_t check;
    struct world *world;
    int started, told;
};

static void on_refused(struct ty_sql_op *op)
{
    struct stubborn *stubborn = (struct stubborn *)op;

    assert_string_equal(op->error.detail, "pool.closed");
    stubborn->told++;
}

static void start_one(uv_check_t *check)
{
    struct stubborn *stubborn = check->data;

    if (stubborn->world->closed || stubborn->told < stubborn->started)
        return;
    stubborn->task = (struct task){.op = {.sql = "select 1", .done = on_refused}};
    stubborn->started++;
    ty_sql_start(stubborn->world->db, &stubborn->task.op);
}

static void whoever_comes_while_it_closes_is_told(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct stubborn stubborn = {.world = &world};

    (void)state;
    world_open(&world, &options);
    uv_check_init(&world.loop, &stubborn.check);
    stubborn.check.data = &stubborn;
    uv_check_start(&stubborn.check, start_one);
    ty_sql_close(world.db, on_closed, &world);
    while (!world.closed)
        turn(&world);
    uv_close((uv_handle_t *)&stubborn.check, NULL);
    wait_closed(&world);

    assert_true(stubborn.started > 0);
    assert_int_equal(stubborn.told, stubborn.started);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_granted_while_the_database_closes_is_none),
        cmocka_unit_test(who_tries_again_at_once_leaves_time_for_others),
        cmocka_unit_test(whoever_comes_while_it_closes_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
