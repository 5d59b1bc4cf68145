#include "mysql_place.h"
#include "support/figure.h"

static uint64_t seed = 88172645463325252u;

static uint64_t any(void) /* xorshift */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint64_t now_ms(void)
{
    return ty_now_ns() / 1000000;
}

static int64_t running(struct place *place)
{
    return ask(place, "select count(*) from information_schema.processlist"
                      " where info like '%sleep(%' and info not like '%processlist%'");
}

static int64_t sessions(struct place *place)
{
    return ask(place, "select count(*) from information_schema.processlist where user = 'tycho'");
}

static void a_cancelled_statement_ends_on_the_server_too(void **state)
{
    struct place place;
    struct task task;
    uint64_t start_ms = now_ms();

    (void)state;
    place_open(&place);
    ask(&place, "select 1");
    start(&place, &task, "select sleep(30)");
    while (running(&place) == 0)
        ;
    ty_sql_cancel(&task.op);
    finish(&place, &task);
    assert_int_equal(task.op.status, UV_ECANCELED);
    ty_sql_op_close(&task.op);
    while (running(&place) > 0)
        ;
    assert_true(now_ms() - start_ms < at_most_ms(10000));
    assert_int_equal(place_leave(&place), 0);
}

static void a_statement_that_takes_too_long_is_ended(void **state)
{
    struct place place;
    struct ty_sql_options options = place_options(&place);

    (void)state;
    options.query_ms = 300;
    place_open_with(&place, &options);
    assert_fails(&place, "select seq, sleep(0.1) from seq_1_to_1000", TY_ERR_TIMEOUT,
                 "query_timeout", "");
    while (running(&place) > 0)
        ;
    assert_int_equal(ask(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void a_cancelled_statement_leaves_its_transaction_alone(void **state)
{
    struct place place;
    struct task task;

    (void)state;
    place_open(&place);
    ask(&place, "create table kept(n int)");
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into kept values (1)"), 0);
    start_in(tx, &task, TY_SQL_RUN, "select sleep(30)");
    while (running(&place) == 0)
        ;
    ty_sql_cancel(&task.op);
    finish(&place, &task);
    assert_int_not_equal(task.op.status, 0);
    ty_sql_op_close(&task.op);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into kept values (2)"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(ask(&place, "select count(*) from kept"), 2);
    ask(&place, "drop table kept");
    assert_int_equal(place_leave(&place), 0);
}

/* One of those that are cancelled now and then, and what it asks for. */
struct runner {
    struct task task;
    int64_t number;
    bool cancelled;
    char sql[96];
};

static void start_runner(struct place *place, struct runner *runner)
{
    runner->number = (int64_t)(any() % 1000000);
    runner->cancelled = false;
    if (any() % 3 == 0)
        snprintf(runner->sql, sizeof(runner->sql), "select %lld + sleep(0.0%llu)",
                 (long long)runner->number, (unsigned long long)(any() % 100));
    else
        snprintf(runner->sql, sizeof(runner->sql), "select %lld", (long long)runner->number);
    start(place, &runner->task, runner->sql);
}

/* Its answer is its own, or it was cancelled, by us: no request ever hits another statement. */
static void check_runner(struct runner *runner, unsigned *hits)
{
    struct ty_sql_op *op = &runner->task.op;

    if (op->status == 0) {
        int64_t number = cell(op, 0, 0).integer; /* a sleep that is cut short may say 1 instead */
        assert_true(number == runner->number + (number != runner->number && runner->cancelled));
    } else {
        if (op->status != UV_ECANCELED)
            say_error(&runner->task);
        assert_int_equal(op->status, UV_ECANCELED);
        assert_true(runner->cancelled);
        (*hits)++;
    }
    ty_sql_op_close(op);
}

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

static void no_request_hits_another_statement(void **state)
{
    enum { RUNNERS = 12 };
    struct place place;
    struct runner runners[RUNNERS];
    unsigned rounds = getenv("TYCHO_TEST_LONG") ? 100000 : 4000, cancels = 0, hits = 0, done = 0;
    uv_timer_t turns;

    (void)state;
    place_open(&place);
    uv_timer_init(&place.loop, &turns);
    uv_timer_start(&turns, on_turn, 1, 1);
    for (int i = 0; i < RUNNERS; i++)
        start_runner(&place, &runners[i]);
    while (cancels < rounds) {
        uv_run(&place.loop, UV_RUN_ONCE);
        for (int i = 0; i < RUNNERS; i++) {
            struct runner *runner = &runners[i];

            if (runner->task.calls) {
                assert_int_equal(runner->task.calls, 1);
                check_runner(runner, &hits);
                done++;
                start_runner(&place, runner);
            } else if (!runner->cancelled && any() % 3 == 0) {
                runner->cancelled = true;
                cancels++;
                ty_sql_cancel(&runner->task.op);
            }
        }
    }
    for (int i = 0; i < RUNNERS; i++) {
        finish(&place, &runners[i].task);
        check_runner(&runners[i], &hits);
    }
    assert_true(hits > rounds / 10);
    assert_true(done > rounds / 4);
    uv_close((uv_handle_t *)&turns, NULL);

    /* The four of the pool, and the one that the requests go out on. The server takes a moment to
     * notice that others were closed; one that leaked would stay. */
    for (uint64_t start_ms = now_ms(); sessions(&place) > 5;)
        assert_true(now_ms() - start_ms < at_most_ms(10000));
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_statement_ends_on_the_server_too),
        cmocka_unit_test(a_statement_that_takes_too_long_is_ended),
        cmocka_unit_test(a_cancelled_statement_leaves_its_transaction_alone),
        cmocka_unit_test(no_request_hits_another_statement),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
