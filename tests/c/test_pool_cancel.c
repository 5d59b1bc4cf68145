#include "pool_server.h"

/* What the tick would do; without waiting for it. */
static void tick(struct world *world)
{
    pool_on_tick(&pool_in(world)->state->tick);
}

static void warm_up(struct world *world)
{
    struct task task;

    start(world, &task, "select 1");
    go_on(world);
    assert_int_equal(task.op.status, 0);
}

static void a_cancelled_statement_ends_and_its_connection_lives(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task slow, next;
    struct world world;

    (void)state;
    world_open(&world, &options);
    warm_up(&world);
    start(&world, &slow, "slow");
    ty_sql_cancel(&slow.op);
    assert_int_equal(fake.cancels, 1); /* at once */
    start(&world, &next, "insert");
    go_on(&world);

    assert_int_equal(slow.op.status, UV_ECANCELED);
    assert_int_equal(slow.effects, 0);
    assert_int_equal(next.op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void what_waits_in_line_is_cancelled_without_the_server(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task holder, waiter, begin;
    struct world world;

    (void)state;
    options.pool_max = 1;
    world_open(&world, &options);
    start(&world, &holder, "slow");
    start(&world, &waiter, "insert");
    task_init(&begin, "");
    assert_null(ty_sql_begin(world.db, &begin.op));
    ty_sql_cancel(&waiter.op);
    ty_sql_cancel(&begin.op);
    turn(&world);

    assert_int_equal(waiter.op.status, UV_ECANCELED);
    assert_int_equal(begin.op.status, UV_ECANCELED);
    assert_int_equal(fake.cancels, 0);
    go_on(&world);
    assert_int_equal(holder.op.status, 0);
    assert_int_equal(world_leave(&world), 0);
}

static void a_late_request_hits_nobody_else(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task first, second, third;
    struct world world;

    (void)state;
    options.pool_max = options.pipelines = 1;
    world_open(&world, &options);
    warm_up(&world);
    start(&world, &first, "insert");
    start(&world, &second, "insert");
    struct fake_conn *conn = conn_of(&second);
    ty_sql_cancel(&first.op);
    assert_int_equal(fake.cancels, 0); /* most fast ones end by themselves */
    tick(&world);
    assert_int_equal(fake.cancels, 1);
    start(&world, &third, "insert");
    assert_int_equal(conn->sent_count, 2); /* nothing is sent behind a request */

    fake_run(conn); /* it was done before the request came, which hits the second one */
    fake_cancel_arrives(conn);
    go_on(&world);

    assert_int_equal(first.op.status, 0);
    assert_int_equal(second.op.status, 0);
    assert_int_equal(second.effects, 1);
    assert_int_equal(second.op.tries, 1);
    assert_int_equal(third.effects, 1);
    assert_int_equal(world_leave(&world), 0);
}

static void a_cancellation_by_somebody_else_is_told_as_what_it_is(void **state)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    (void)state;
    world_open(&world, &options);
    warm_up(&world);
    start(&world, &task, "insert");
    struct fake_conn *conn = conn_of(&task);
    conn->sent[0].is_done = conn->sent[0].is_cancelled = conn->sent[0].is_clean = true;
    go_on(&world);

    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_CANCELLED);
    assert_string_equal(task.op.error.detail, "57014");
    assert_int_equal(world_leave(&world), 0);
}

static uint64_t until_late_is_cancelled(void)
{
    struct ty_sql_options options = fake_options();
    struct world world;
    struct task task;

    options.query_ms = 60;
    world_open(&world, &options);
    warm_up(&world);
    start(&world, &task, "slow");
    uint64_t began = uv_hrtime();
    while (!fake.cancels)
        uv_run(&world.loop, UV_RUN_ONCE);
    uint64_t took = (uv_hrtime() - began) / 1000000;
    go_on(&world);

    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_TIMEOUT);
    assert_int_equal(fake.opened, 1);
    assert_int_equal(world_leave(&world), 0);
    return took;
}

static void what_takes_too_long_is_ended_on_the_server(void **state)
{
    (void)state;
    assert_in_range(best_of(until_late_is_cancelled, 160), 55, 160);
}

static uint64_t until_a_connection_is_lost(void)
{
    struct ty_sql_options options = fake_options();
    struct task first, second;
    struct world world;

    options.query_ms = 60;
    options.pipelines = 1;
    world_open(&world, &options);
    warm_up(&world);
    start(&world, &first, "insert");
    start(&world, &second, "insert");
    assert_ptr_equal(conn_of(&first), conn_of(&second));
    uint64_t began = uv_hrtime();
    while (!first.calls || !second.calls)
        uv_run(&world.loop, UV_RUN_ONCE);

    uint64_t took = (uv_hrtime() - began) / 1000000;
    assert_int_equal(first.op.error.kind, TY_ERR_TIMEOUT);
    assert_int_equal(second.op.error.kind, TY_ERR_UNKNOWN_OUTCOME); /* it may have been done */
    assert_int_equal(world_leave(&world), 0);
    return took;
}

/* At most half a second after its time. */
static void a_server_that_ends_nothing_loses_the_connection(void **state)
{
    (void)state;
    assert_in_range(best_of(until_a_connection_is_lost, 560), 450, 560);
}

/* Its COMMIT was not cancelled: a cancelled one leaves the transaction to its owner. */
static void a_commit_behind_what_could_not_be_ended_fails(void **state)
{
    struct ty_sql_options options = fake_options();
    struct task begin, slow, commit;
    struct world world;

    (void)state;
    world_open(&world, &options);
    warm_up(&world);
    task_init(&begin, "");
    struct ty_sql_tx *tx = ty_sql_begin(world.db, &begin.op);
    start_in(tx, &slow, TY_SQL_RUN, "slow");
    fake_run(fake.conns[0]); /* BEGIN */
    fake_answer(fake.conns[0]);
    ty_sql_cancel(&slow.op);
    start_in(tx, &commit, TY_SQL_COMMIT, "");
    while (!slow.calls || !commit.calls) /* and the server says nothing */
        uv_run(&world.loop, UV_RUN_ONCE);

    assert_int_equal(slow.op.error.kind, TY_ERR_CANCELLED);
    assert_int_equal(commit.op.status, -1);
    assert_int_equal(commit.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_int_equal(world_leave(&world), 0);
}

/* ---- everything at once, in every order */

enum { TASKS = 40, TXS = 6, TX_TASKS = 4, STEPS = 250 };

struct story {
    struct task begin, task[TX_TASKS], end;
    struct ty_sql_tx *tx;
    int count;
    bool asked, ended, dropped;
};

static struct storm {
    struct world world;
    uint64_t random;
    struct task task[TASKS];
    struct story story[TXS];
    int started, stories, deaths;
    uint64_t seed;
} storm;

static unsigned any(unsigned below)
{
    storm.random ^= storm.random << 13;
    storm.random ^= storm.random >> 7;
    storm.random ^= storm.random << 17;
    return (unsigned)((storm.random >> 11) % below);
}

static void start_any(void)
{
    static const char *const texts[] = {"insert", "insert", "insert",          "slow",
                                        "select", "set x",  "insert, and fail"};

    if (storm.started < TASKS)
        start(&storm.world, &storm.task[storm.started++], texts[any(7)]);
}

static void cancel_any(void)
{
    struct task *task = storm.started ? &storm.task[any((unsigned)storm.started)] : NULL;

    if (task && !task->calls)
        ty_sql_cancel(&task->op);
}

static void begin_any(void)
{
    struct story *story;

    if (storm.stories == TXS)
        return;
    story = &storm.story[storm.stories++];
    task_init(&story->begin, "");
    story->asked = true;
    story->tx = ty_sql_begin(storm.world.db, &story->begin.op);
}

static void go_on_with_any(void)
{
    struct story *story = storm.stories ? &storm.story[any((unsigned)storm.stories)] : NULL;
    unsigned what = any(10);

    if (story && story->asked && !story->tx && story->begin.calls && !story->begin.op.status)
        story->tx = story->begin.op.tx;
    if (!story || !story->tx || story->ended)
        return;
    if (what < 6 && story->count < TX_TASKS) {
        start_in(story->tx, &story->task[story->count++], TY_SQL_RUN,
                 any(8) ? "insert" : "insert, and fail");
    } else if (what == 6 && story->count && !story->task[story->count - 1].calls) {
        ty_sql_cancel(&story->task[story->count - 1].op);
    } else if (what == 7) {
        story->ended = story->dropped = true;
        ty_sql_tx_drop(story->tx);
    } else if (what > 7) {
        story->ended = true;
        start_in(story->tx, &story->end, any(4) ? TY_SQL_COMMIT : TY_SQL_ROLLBACK, "");
    }
}

static void happen(struct fake_conn *conn)
{
    switch (any(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        fake_run(conn);
        break;
    case 4:
    case 5:
    case 6:
        fake_answer(conn);
        break;
    case 7:
    case 8:
        fake_settle(conn);
        break;
    case 9:
    case 10:
        fake_cancel_arrives(conn);
        break;
    default:
        if (storm.deaths < 5 && any(12) == 0) {
            storm.deaths++;
            fake_die(conn, false);
        }
    }
}

static void step(void)
{
    switch (any(8)) {
    case 0:
        start_any();
        break;
    case 1:
        if (any(2))
            cancel_any();
        break;
    case 2:
        if (any(4) == 0)
            begin_any();
        break;
    case 3:
        go_on_with_any();
        break;
    case 4:
        pool_in(&storm.world)->state->circuit.next_ns = 0; /* nobody waits for real time here */
        tick(&storm.world);
        break;
    default:
        if (fake.count)
            happen(fake.conns[any(fake.count)]);
    }
    turn(&storm.world);
}

static bool was_told_cancelled(const struct task *task)
{
    return task->op.status == UV_ECANCELED ||
           (task->op.status && task->op.error.kind == TY_ERR_CANCELLED);
}

static void check_single(const struct task *task)
{
    bool reads = strcmp(task->op.sql, "select") == 0;

    assert_int_equal(task->calls, 1);
    if (was_told_cancelled(task)) { /* nobody is told of somebody else's cancellation */
        assert_true(atomic_load(&task->op.cancelled));
        assert_true(reads || task->effects == 0);
    } else if (task->op.status == 0) {
        assert_true(reads || task->effects == 1);
    }
    assert_true(reads || task->effects <= 1);
}

static void check_story(const struct story *story)
{
    const struct task *end = &story->end;
    bool committed = end->calls && end->op.verb == TY_SQL_COMMIT && end->op.status == 0;
    bool unknown = end->calls && end->op.error.kind == TY_ERR_UNKNOWN_OUTCOME;
    int done = 0, effects = 0;

    for (int i = 0; i < story->count; i++) {
        const struct task *task = &story->task[i];

        assert_int_equal(task->calls, 1);
        if (task->op.status) /* one that was not sent yet may be cancelled alone */
            assert_true(!committed || was_told_cancelled(task));
        done += task->op.status == 0;
        effects += task->effects;
    }
    if (unknown)
        assert_true(effects == 0 || effects == done);
    else
        assert_int_equal(effects, committed ? done : 0);
    assert_int_equal(end->calls, story->ended && !story->dropped);
}

static void ride_out(uint64_t seed)
{
    struct ty_sql_options options = fake_options();

    memset(&storm, 0, sizeof(storm));
    storm.seed = seed;
    storm.random = seed * 0x9e3779b97f4a7c15ULL + 1;
    options.pool_max = 3 + (unsigned)(seed % 10);
    options.pipelines = 1 + (unsigned)(seed % 3);
    fake_driver.depth = seed % 5 ? FAKE_DEPTH : 1; /* some cannot pipeline */
    world_open(&storm.world, &options);
    for (int i = 0; i < STEPS; i++)
        step();
    assert_int_equal(world_leave(&storm.world), 0);
    for (int i = 0; i < storm.started; i++)
        check_single(&storm.task[i]);
    for (int i = 0; i < storm.stories; i++)
        check_story(&storm.story[i]);
    fake_driver.depth = FAKE_DEPTH;
}

static void whatever_happens_nobody_pays_for_somebody_else(void **state)
{
    const char *asked = getenv("TYCHO_TEST_LONG"), *one = getenv("TYCHO_TEST_SEED");
    uint64_t seeds = asked && *asked == '1' ? 50000 : 1000;

    (void)state;
    ty_log_set_level(TY_LOG_OFF);
    for (uint64_t seed = one ? strtoull(one, NULL, 10) : 0; seed < seeds; seed++) {
        if (one)
            seeds = seed;
        ride_out(seed);
    }
    ty_log_set_level(TY_LOG_INFO);
}

/* TYCHO_TEST_SEED runs one of them alone. */
static int tell_seed(void **state)
{
    (void)state;
    print_message("the last seed: %llu\n", (unsigned long long)storm.seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_statement_ends_and_its_connection_lives),
        cmocka_unit_test(what_waits_in_line_is_cancelled_without_the_server),
        cmocka_unit_test(a_late_request_hits_nobody_else),
        cmocka_unit_test(a_cancellation_by_somebody_else_is_told_as_what_it_is),
        cmocka_unit_test(what_takes_too_long_is_ended_on_the_server),
        cmocka_unit_test(a_server_that_ends_nothing_loses_the_connection),
        cmocka_unit_test(a_commit_behind_what_could_not_be_ended_fails),
        cmocka_unit_test_teardown(whatever_happens_nobody_pays_for_somebody_else, tell_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
