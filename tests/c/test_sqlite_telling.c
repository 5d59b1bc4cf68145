#include "sqlite_place.h"

static void closing_waits_for_what_runs_and_undoes_what_is_open(void **state)
{
    (void)state;
    struct place place;
    struct task running, queued, late;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    start(&place, &running, "select count(*) from t");
    start(&place, &queued, "insert into t values (2)");
    ty_sql_close(place.db, on_place_closed, &place);
    assert_int_equal(place.closed, 0);
    start(&place, &late, "select 1");
    while (!place.closed)
        uv_run(&place.loop, UV_RUN_ONCE);
    place.db = NULL;

    assert_int_equal(running.op.status, 0);
    ty_sql_op_close(&running.op);
    assert_string_equal(queued.op.error.detail, "pool.closed");
    assert_string_equal(late.op.error.detail, "pool.closed");
    place.closed = 0;
    struct ty_sql_options options = place_options(&place);
    place.db = ty_sql_new(&place.loop, &options, NULL);
    assert_int_equal(rows(&place), 0);
    assert_int_equal(place_leave(&place), 0);
}

/* Who is told that something has failed, and closes the database for it. */
struct closer {
    struct task task;
    struct place *place;
};

static void close_now(struct ty_sql_op *op)
{
    struct closer *closer = (struct closer *)op;

    closer->task.calls++;
    ty_sql_close(closer->place->db, on_place_closed, closer->place);
}

static void a_transaction_granted_while_the_database_closes_is_none(void **state)
{
    (void)state;
    struct place place;
    struct closer closer = {.task = {.op = {.done = close_now}}, .place = &place};
    struct task opening = {.op = {.done = on_task}};

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_null(ty_sql_begin(place.db, &closer.task.op));
    assert_null(ty_sql_begin(place.db, &opening.op));
    ty_sql_cancel(&closer.task.op); /* both are told in one go */
    ty_sql_tx_drop(tx);
    while (!place.closed)
        uv_run(&place.loop, UV_RUN_ONCE);
    place.db = NULL;

    assert_int_equal(closer.task.calls, 1);
    assert_int_equal(opening.calls, 1);
    assert_null(opening.op.tx);
    assert_string_equal(opening.op.error.detail, "pool.closed");
    assert_int_equal(place_leave(&place), 0);
}

/* An operation that is started again as soon as it has failed. */
static void start_again(struct ty_sql_op *op)
{
    enum { ENOUGH = 1000 };
    struct task *task = (struct task *)op;
    struct ty_sql *db = op->db;
    int calls = task->calls + 1;

    ty_sql_op_close(op);
    *task = (struct task){.op = {.sql = "select 1", .sql_len = 8, .done = start_again}};
    task->calls = calls;
    if (calls < ENOUGH)
        ty_sql_start(db, &task->op);
}

static void who_tries_again_at_once_leaves_time_for_others(void **state)
{
    (void)state;
    struct place place;
    struct task busy, eager = {.op = {.sql = "select 1", .sql_len = 8, .done = start_again}};

    place_make(&place);
    struct ty_sql_options options = place_options(&place);
    options.queue_max = 0;
    options.readers = 0;
    place.db = ty_sql_new(&place.loop, &options, NULL);
    start(&place, &busy,
          "with recursive n(i) as (select 1 union all select i + 1 from n"
          " where i < 100000) select count(*) from n");
    ty_sql_start(place.db, &eager.op);
    while (!eager.calls)
        uv_run(&place.loop, UV_RUN_NOWAIT);

    assert_in_range(eager.calls, 1, 3);
    finish(&place, &busy);
    ty_sql_op_close(&busy.op);
    while (place.db && uv_loop_alive(&place.loop) && eager.op.place)
        uv_run(&place.loop, UV_RUN_ONCE);
    ty_sql_op_close(&eager.op);
    assert_int_equal(place_leave(&place), 0);
}

/* Starts one in each turn of the loop, until the database is gone. */
struct stubborn {
    struct task task;
    uv_check_t check;
    struct place *place;
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

    if (stubborn->place->closed || stubborn->told < stubborn->started)
        return;
    stubborn->task = (struct task){.op = {.sql = "select 1", .done = on_refused}};
    stubborn->started++;
    ty_sql_start(stubborn->place->db, &stubborn->task.op);
}

static void whoever_comes_while_it_closes_is_told(void **state)
{
    (void)state;
    struct place place;
    struct stubborn stubborn = {.place = &place};

    place_open(&place);
    make_table(&place);
    uv_check_init(&place.loop, &stubborn.check);
    stubborn.check.data = &stubborn;
    ty_sql_close(place.db, on_place_closed, &place);
    uv_check_start(&stubborn.check, start_one);
    while (!place.closed)
        uv_run(&place.loop, UV_RUN_ONCE);
    place.db = NULL;
    uv_close((uv_handle_t *)&stubborn.check, NULL);

    assert_true(stubborn.started > 0);
    assert_int_equal(stubborn.told, stubborn.started);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_waits_for_what_runs_and_undoes_what_is_open),
        cmocka_unit_test(a_transaction_granted_while_the_database_closes_is_none),
        cmocka_unit_test(whoever_comes_while_it_closes_is_told),
        cmocka_unit_test(who_tries_again_at_once_leaves_time_for_others),
    };
    return cmocka_run_group_tests_name("sqlite_telling", tests, NULL, NULL);
}
