#include "postgres_place.h"
#include "support/figure.h"

enum { TASKS = 64 };

static unsigned random_below(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % below;
}

static bool runs_long(void)
{
    const char *text = getenv("TYCHO_TEST_LONG");

    return text && *text == '1';
}

/* ---- cancelling */

struct query {
    struct task task;
    struct ty_sql_op second; /* of a batch */
    struct ty_sql_value params[2];
    int64_t number;
    bool running, was_cancelled;
};

static const char *const query_texts[] = {
    "select $1::int8 + 1",
    "select $1::int8 + 1 from pg_sleep(0.002)",
    "insert into effects values ($1::int8) returning n + 1",
    "select $1::int8 + 1 from generate_series(1, 20000) g limit 1 offset 19000",
};

struct storm {
    unsigned done, cancelled, failed;
    unsigned effects;
};

static void take_answer(struct query *query, struct storm *storm)
{
    struct ty_sql_op *op = &query->task.op;

    query->running = false;
    storm->done++;
    if (op->status == 0 && op->batch)
        assert_int_equal(op->batch->status, 0);
    if (op->status == 0) {
        assert_int_equal(op->row_count, 1);
        assert_int_equal(cell_at(op, 0, 0).integer, query->number + 1);
        storm->effects += op->sql == query_texts[2];
    } else if (op->status == UV_ECANCELED) {
        assert_true(query->was_cancelled); /* nobody sees the cancellation of somebody else */
        storm->cancelled++;
    } else if (strcmp(op->error.detail, "connection.closed") == 0) {
        storm->failed++; /* the machine was too busy to end one before it in time */
    } else {
        fail_msg("%s (%s)", op->error.message, op->error.detail);
    }
    ty_sql_op_close(op);
}

static void start_query(struct place *place, struct query *query, unsigned *seed)
{
    query->number = random_below(seed, 1000000);
    query->params[0] = (struct ty_sql_value){.type = TY_SQL_INTEGER, .integer = query->number};
    query->running = true;
    query->was_cancelled = false;
    query->second = (struct ty_sql_op){.sql = "select pg_sleep(0.001)", .sql_len = 22};
    query->task = (struct task){.op = {.done = on_task, .params = query->params}};
    query->task.op.sql = query_texts[random_below(seed, 4)];
    query->task.op.sql_len = strlen(query->task.op.sql);
    query->task.op.param_count = 1;
    query->task.op.batch = random_below(seed, 5) ? NULL : &query->second;
    ty_sql_start(place->db, &query->task.op);
}

static void step(struct place *place, struct query *queries, struct storm *storm, unsigned *seed)
{
    for (int i = 0; i < TASKS; i++) {
        struct query *query = &queries[i];

        if (query->running && query->task.calls)
            take_answer(query, storm);
        if (!query->running && random_below(seed, 3) == 0)
            start_query(place, query, seed);
        else if (query->running && !query->was_cancelled && random_below(seed, 8) == 0) {
            query->was_cancelled = true;
            ty_sql_cancel(&query->task.op);
        }
    }
    uv_run(&place->loop, UV_RUN_ONCE);
}

static void a_cancellation_hits_nobody_else(void **state)
{
    (void)state;
    static struct query queries[TASKS];
    unsigned seed = 42, wanted = runs_long() ? 100000 : 3000;
    struct storm storm = {0};
    struct place place;

    place_open(&place);
    run(&place, "drop table if exists effects");
    run(&place, "create table effects(n int8)");
    while (storm.cancelled < wanted)
        step(&place, queries, &storm, &seed);
    for (int i = 0; i < TASKS; i++) {
        if (!queries[i].running)
            continue;
        finish(&place, &queries[i].task);
        take_answer(&queries[i], &storm);
    }
    assert_true(storm.failed * 50 <= storm.done);
    /* What was told to have happened did; what was cancelled may not have been undone in time. */
    assert_in_range(number_of(&place, "select count(*) from effects"), storm.effects,
                    storm.effects + storm.cancelled + storm.failed);
    assert_true(number_of(&place, "select count(*) from pg_stat_activity"
                                  " where application_name = 'tycho'") <= 6);
    assert_int_equal(number_of(&place, "select count(*) from pg_stat_activity where"
                                       " application_name = 'tycho' and state <> 'idle'"
                                       " and pid <> pg_backend_pid()"),
                     0);
    assert_int_equal(place_leave(&place), 0);
}

static void what_is_cancelled_ends_on_the_server(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    for (int i = 0; i < 5; i++) {
        start(&place, &task, "select pg_sleep(60)");
        while (number_of(&place, "select count(*) from pg_stat_activity"
                                 " where query = 'select pg_sleep(60)' and state = 'active'") == 0)
            ;
        uint64_t began = ty_now_ms();
        ty_sql_cancel(&task.op);
        finish(&place, &task);
        assert_int_equal(task.op.status, UV_ECANCELED);
        assert_true(ty_now_ms() - began < at_most_ms(1000));
        ty_sql_op_close(&task.op);
        assert_int_equal(number_of(&place, "select count(*) from pg_stat_activity"
                                           " where query = 'select pg_sleep(60)'"
                                           " and state = 'active'"),
                         0);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void a_statement_that_takes_too_long_is_ended(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_make(&place, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.query_ms = 200;
    place_open_with(&place, &options);
    uint64_t began = ty_now_ms();
    start(&place, &task, "select pg_sleep(60)");
    finish(&place, &task);
    assert_int_equal(task.op.error.kind, TY_ERR_TIMEOUT);
    assert_true(ty_now_ms() - began < at_most_ms(1500));
    ty_sql_op_close(&task.op);
    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

/* ---- servers that go away */

static void connections_that_were_ended_are_not_given_out(void **state)
{
    (void)state;
    static const char left[] = "select count(*) from pg_stat_activity where state = 'idle'"
                               " and application_name = 'tycho' and query ~ '^select .*[1)]$'";
    struct place place;

    place_open(&place);
    for (int i = 0; i < 20; i++) {
        struct task tasks[6];
        for (int t = 0; t < 6; t++)
            start(&place, &tasks[t], "select pg_sleep(0.001)");
        for (int t = 0; t < 6; t++) {
            finish(&place, &tasks[t]);
            done_well(&tasks[t]);
            ty_sql_op_close(&tasks[t].op);
        }
        database_sql(&the_server, NULL,
                     "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle'"
                     " and application_name = 'tycho' and query ~ '^select .*[1)]$'");
        if (i % 2) {
            assert_int_equal(number_of(&place, "select 1"), 1);
            continue;
        }
        while (strcmp(database_sql(&the_server, NULL, left), "0") != 0)
            ;
        struct ty_sql_tx *tx = begin(&place); /* the loop has not seen yet that they are gone */
        assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "select 1"), 0);
        assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void a_commit_without_an_answer_is_not_known(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    run(&place, "drop table if exists slow");
    run(&place, "create table slow(n int)");
    run(&place, "create or replace function wait() returns trigger language plpgsql as"
                " 'begin perform pg_sleep(60); return null; end'");
    run(&place, "create constraint trigger waits after insert on slow"
                " deferrable initially deferred for each row execute function wait()");
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into slow values (1)"), 0);
    start_in(tx, &task, TY_SQL_COMMIT, NULL);
    while (number_of(&place, "select count(*) from pg_stat_activity"
                             " where query = 'commit' and state = 'active'") == 0)
        ;
    database_sql(&the_server, NULL,
                 "select pg_terminate_backend(pid) from pg_stat_activity where query = 'commit'");
    finish(&place, &task);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_UNKNOWN_OUTCOME);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void a_server_that_was_killed_is_found_again(void **state)
{
    (void)state;
    struct database server;
    struct place place;
    struct task task;

    assert_int_equal(database_start(&server, "postgres", NULL), 0);
    place_make(&place, server.port);
    struct ty_sql_options options = place_options(&place);
    options.wait_ms = 1000;
    place_open_with(&place, &options);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(number_of(&place, "select 1"), 1);
        start(&place, &task, "select pg_sleep(60)");
        uv_run(&place.loop, UV_RUN_NOWAIT);
        database_kill(&server);
        finish(&place, &task);
        assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
        ty_sql_op_close(&task.op);
        start(&place, &task, "select 1"); /* errors meanwhile, no hanging */
        uint64_t began = ty_now_ms();
        finish(&place, &task);
        assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
        assert_true(ty_now_ms() - began < at_most_ms(1500));
        ty_sql_op_close(&task.op);
        assert_int_equal(database_launch(&server), 0);
        began = ty_now_ms();
        do {
            start(&place, &task, "select 1");
            finish(&place, &task);
            ty_sql_op_close(&task.op);
            uv_run(&place.loop, UV_RUN_NOWAIT);
            assert_true(ty_now_ms() - began < at_most_ms(4000));
        } while (task.op.status != 0);
    }
    assert_int_equal(place_leave(&place), 0);
    database_remove(&server);
}

static void a_server_that_only_reads_by_now_is_left(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_make(&place, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.pool_max = 1;
    place_open_with(&place, &options);
    run(&place, "drop table if exists t");
    run(&place, "create table t(n int)");
    int64_t first = number_of(&place, "select pg_backend_pid()");
    run(&place, "alter system set default_transaction_read_only = on");
    run(&place, "select pg_reload_conf()");
    do {
        start(&place, &task, "insert into t values (1)");
        finish(&place, &task);
        ty_sql_op_close(&task.op);
    } while (task.op.status == 0);
    assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_string_equal(task.op.error.detail, "25006");
    assert_true(number_of(&place, "select pg_backend_pid()") != first);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "set transaction read write"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    database_sql(&the_server, NULL, "alter system reset default_transaction_read_only");
    database_sql(&the_server, NULL, "select pg_reload_conf()");
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancellation_hits_nobody_else),
        cmocka_unit_test(what_is_cancelled_ends_on_the_server),
        cmocka_unit_test(a_statement_that_takes_too_long_is_ended),
        cmocka_unit_test(connections_that_were_ended_are_not_given_out),
        cmocka_unit_test(a_commit_without_an_answer_is_not_known),
        cmocka_unit_test(a_server_that_was_killed_is_found_again),
        cmocka_unit_test(a_server_that_only_reads_by_now_is_left),
    };

    return cmocka_run_group_tests_name("postgres_faults", tests, start_server, remove_server);
}
