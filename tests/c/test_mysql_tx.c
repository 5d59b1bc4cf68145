#include "mysql_place.h"

static int make_table(void **state)
{
    if (start_server(state) != 0)
        return -1;
    database_sql(&server, "app", "create table t(n int primary key)");
    return 0;
}

static int64_t rows(struct place *place)
{
    return ask(place, "select count(*) from t");
}

static void a_transaction_is_all_or_nothing(void **state)
{
    struct place place;
    struct ty_sql_tx *tx;

    (void)state;
    place_open(&place);
    ask(&place, "delete from t");
    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(rows(&place), 0); /* on another connection */
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(rows(&place), 1);

    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    assert_int_equal(rows(&place), 1);

    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (3)"), 0);
    ty_sql_tx_drop(tx);
    assert_int_equal(rows(&place), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void a_failed_statement_leaves_the_transaction_as_it_was(void **state)
{
    struct place place;
    struct ty_sql_tx *tx;

    (void)state;
    place_open(&place);
    ask(&place, "delete from t");
    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2), (1)"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (3)"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(rows(&place), 2);
    assert_int_equal(place_leave(&place), 0);
}

static void at_level(struct place *place, struct ty_sql_tx *tx, enum ty_sql_verb verb,
                     unsigned level)
{
    struct task task;

    task_init(&task, verb, NULL);
    task.op.level = level;
    ty_sql_tx_start(tx, &task.op);
    finish(place, &task);
    assert_int_equal(task.op.status, 0);
}

static void levels_are_undone_alone(void **state)
{
    struct place place;
    struct ty_sql_tx *tx;

    (void)state;
    place_open(&place);
    ask(&place, "delete from t");
    tx = begin(&place);
    done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)");
    at_level(&place, tx, TY_SQL_SAVEPOINT, 1);
    done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)");
    at_level(&place, tx, TY_SQL_SAVEPOINT, 2);
    done_in(&place, tx, TY_SQL_RUN, "insert into t values (3)");
    at_level(&place, tx, TY_SQL_ROLLBACK_TO, 2);
    at_level(&place, tx, TY_SQL_RELEASE, 1);
    at_level(&place, tx, TY_SQL_SAVEPOINT, 1);
    done_in(&place, tx, TY_SQL_RUN, "insert into t values (4)");
    at_level(&place, tx, TY_SQL_ROLLBACK_TO, 1);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(ask(&place, "select cast(sum(n) as signed) from t"), 3);
    assert_int_equal(place_leave(&place), 0);
}

static void what_would_commit_in_between_is_an_error(void **state)
{
    struct place place;
    struct ty_sql_tx *tx;

    (void)state;
    place_open(&place);
    ask(&place, "delete from t");
    tx = begin(&place);
    done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)");
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "create table u(n int)"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "commit"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    assert_int_equal(rows(&place), 0);

    /* Seen too late, but seen. */
    tx = begin(&place);
    done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)");
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "analyze table t"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)"), -1);
    ty_sql_tx_drop(tx);
    assert_int_equal(place_leave(&place), 0);
}

static void transactions_have_levels_of_isolation(void **state)
{
    static const char *const names[] = {
        [TY_SQL_READ_COMMITTED] = "READ COMMITTED",
        [TY_SQL_REPEATABLE_READ] = "REPEATABLE READ",
        [TY_SQL_SERIALIZABLE] = "SERIALIZABLE",
    };
    struct place place;

    (void)state;
    place_open(&place);
    for (int level = TY_SQL_READ_COMMITTED; level <= TY_SQL_SERIALIZABLE; level++) {
        struct task task = {.op = {.isolation = (enum ty_sql_isolation)level, .done = on_task}};
        struct ty_sql_tx *tx = ty_sql_begin(place.db, &task.op);

        if (!tx) {
            finish(&place, &task);
            tx = task.op.tx;
        }
        start_in(tx, &task, TY_SQL_RUN,
                 "select trx_isolation_level from information_schema.innodb_trx"
                 " where trx_mysql_thread_id = connection_id()");
        finish(&place, &task);
        ty_sql_op_close(&task.op);
        done_in(&place, tx, TY_SQL_RUN, "select * from t");
        start_in(tx, &task, TY_SQL_RUN,
                 "select trx_isolation_level from information_schema.innodb_trx"
                 " where trx_mysql_thread_id = connection_id()");
        finish(&place, &task);
        assert_int_equal(task.op.status, 0);
        if (task.op.row_count) /* the table is refreshed ten times a second */
            assert_string_equal(text_of(&task.op, 0, 0), names[level]);
        ty_sql_op_close(&task.op);
        assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void one_that_only_reads_cannot_write(void **state)
{
    struct place place;
    struct task task = {.op = {.read_only = true, .done = on_task}};

    (void)state;
    place_open(&place);
    struct ty_sql_tx *tx = ty_sql_begin(place.db, &task.op);
    if (!tx) {
        finish(&place, &task);
        tx = task.op.tx;
    }
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "select * from t"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (9)"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

/* The one whom the server ends has lost all of it, and is told so. */
static void a_deadlock_ends_one_of_two(void **state)
{
    struct place place;
    struct task first, second;

    (void)state;
    place_open(&place);
    ask(&place, "delete from t");
    ask(&place, "insert into t values (1), (2)");
    struct ty_sql_tx *one = begin(&place), *two = begin(&place);
    assert_int_equal(done_in(&place, one, TY_SQL_RUN, "update t set n = 10 where n = 1"), 0);
    assert_int_equal(done_in(&place, two, TY_SQL_RUN, "update t set n = 20 where n = 2"), 0);
    start_in(one, &first, TY_SQL_RUN, "update t set n = 11 where n = 2");
    start_in(two, &second, TY_SQL_RUN, "update t set n = 21 where n = 1");
    finish(&place, &first);
    finish(&place, &second);

    struct task *loser = first.op.status ? &first : &second;
    struct ty_sql_tx *lost = loser == &first ? one : two, *won = loser == &first ? two : one;
    assert_int_equal(first.op.status + second.op.status, -1);
    assert_int_equal(loser->op.error.kind, TY_ERR_CONFLICT);
    assert_string_equal(loser->op.error.detail, "40001");
    ty_sql_op_close(&first.op);
    ty_sql_op_close(&second.op);
    /* Nothing of it may run on its own now. */
    assert_int_equal(done_in(&place, lost, TY_SQL_RUN, "insert into t values (30)"), -1);
    assert_int_equal(done_in(&place, lost, TY_SQL_COMMIT, NULL), -1);
    assert_int_equal(done_in(&place, won, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(ask(&place, "select count(*) from t where n = 30"), 0);
    assert_int_equal(rows(&place), 2);
    assert_int_equal(place_leave(&place), 0);
}

static uint64_t fetch(struct place *place, struct ty_sql_tx *tx, unsigned number, uint64_t max,
                      int64_t *sum)
{
    struct task task;

    task_init(&task, TY_SQL_FETCH, NULL);
    task.op.level = number;
    task.op.rows_max = max;
    ty_sql_tx_start(tx, &task.op);
    finish(place, &task);
    say_error(&task);
    assert_int_equal(task.op.status, 0);
    uint64_t count = task.op.row_count;
    struct ty_sql_cursor cursor = {0};
    struct ty_sql_value value;
    assert_int_equal(task.op.column_count, 2);
    ty_sql_name(&task.op, &cursor);
    ty_sql_name(&task.op, &cursor);
    for (uint64_t i = 0; i < 2 * count; i++) {
        ty_sql_cell(&task.op, &cursor, &value);
        *sum += i % 2 == 0 ? value.integer : 0;
    }
    ty_sql_op_close(&task.op);
    return count;
}

static void open_cursor(struct place *place, struct ty_sql_tx *tx, unsigned number, const char *sql)
{
    struct task task;

    task_init(&task, TY_SQL_OPEN, sql);
    task.op.level = number;
    ty_sql_tx_start(tx, &task.op);
    finish(place, &task);
    say_error(&task);
    assert_int_equal(task.op.status, 0);
}

static void results_can_be_read_in_pieces(void **state)
{
    static const char sql[] = "select seq, repeat('a', 100) from seq_1_to_50000";
    struct place place;
    int64_t sum = 0, other = 0;
    uint64_t count = 0, got;

    (void)state;
    place_open(&place); /* which would not hold all of it at once */
    struct ty_sql_tx *tx = begin(&place);
    open_cursor(&place, tx, 1, sql);
    open_cursor(&place, tx, 2, "select seq, 1 from seq_1_to_10");
    do {
        got = fetch(&place, tx, 1, 1000, &sum);
        count += got;
        assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "select 1"), 0); /* in between */
    } while (got == 1000);
    assert_int_equal(count, 50000);
    assert_int_equal(sum, INT64_C(50000) * 50001 / 2);
    assert_int_equal(fetch(&place, tx, 1, 10, &sum), 0);
    assert_int_equal(fetch(&place, tx, 2, 7, &other), 7);
    assert_int_equal(fetch(&place, tx, 2, 7, &other), 3);
    assert_int_equal(other, 55);
    at_level(&place, tx, TY_SQL_SHUT, 1);
    open_cursor(&place, tx, 1, "select seq, 1 from seq_1_to_1"); /* a single row, an empty result */
    assert_int_equal(fetch(&place, tx, 1, 7, &other), 1);
    open_cursor(&place, tx, 3, "select seq, 1 from seq_1_to_1 where seq = 2");
    assert_int_equal(fetch(&place, tx, 3, 7, &other), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(ask(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static struct task script(struct place *place, const char *sql)
{
    struct task task;

    task_init(&task, TY_SQL_SCRIPT, sql);
    ty_sql_start(place->db, &task.op);
    finish(place, &task);
    ty_sql_op_close(&task.op);
    return task;
}

static void a_script_runs_statement_by_statement(void **state)
{
    struct place place;
    struct task task;

    (void)state;
    place_open(&place);
    task = script(&place, "create table s(n int);\n"
                          "insert into s values (1);\n"
                          "select * from s;\n"
                          "create trigger s1 before insert on s for each row\n"
                          "begin\n  set new.n = new.n + 1;\nend;\n"
                          "set @a = 1; insert into s values (2)\n");
    say_error(&task);
    assert_int_equal(task.op.status, 0);
    assert_int_equal(ask(&place, "select cast(sum(n) as signed) from s"), 4);
    assert_says(&place, "select coalesce(@a, 'nothing')", "nothing");

    /* All or nothing, without statements that commit. */
    task = script(&place, "insert into s values (5);\nselect 1;\n\ninsert into nowhere values (1)");
    assert_int_equal(task.op.status, -1);
    assert_string_equal(task.op.error.detail, "42S02");
    assert_int_equal(task.op.line, 4);
    assert_int_equal(ask(&place, "select count(*) from s where n > 4"), 0);
    task = script(&place, "insert into s values (5);\n\nselec 1;");
    assert_int_equal(task.op.line, 3);
    ask(&place, "drop table s");
    assert_fails(&place, "select 1; select 2", TY_ERR_INTERNAL, "42000", ""); /* alone as before */
    assert_int_equal(place_leave(&place), 0);
}

/* Whoever comes next finds a fresh session. */
static void sessions_are_clean_for_the_next_one(void **state)
{
    static const char *const changes[] = {
        "set @a = 1",
        "set sql_mode = ''",
        "set time_zone = '+03:00'",
        "set names latin1",
        "select @a := 1",
        "select get_lock('tycho', 0)",
        "create temporary table session_only(n int)",
        "prepare mine from 'select 1'",
    };
    struct place place;
    struct ty_sql_options options = place_options(&place);

    (void)state;
    options.pool_max = 1;
    place_open_with(&place, &options);
    int64_t id = ask(&place, "select connection_id()");
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        ask(&place, changes[i]);
        struct ty_sql_tx *tx = begin(&place);
        assert_int_equal(done_in(&place, tx, TY_SQL_RUN, changes[i]), 0);
        ty_sql_tx_drop(tx);
        assert_says(&place, "select coalesce(@a, 'nothing')", "nothing");
        assert_says(&place, "select 'a' || @@time_zone", "a+00:00");
        assert_says(&place, "select @@character_set_client", "utf8mb4");
        assert_int_equal(ask(&place, "select is_free_lock('tycho')"), 1);
        assert_fails(&place, "select * from session_only", TY_ERR_INTERNAL, "42S02", "");
    }
    assert_fails(&place, "use mysql", TY_ERR_INTERNAL, "42000", "");
    assert_fails(&place, "begin", TY_ERR_INTERNAL, "42000", "");
    assert_int_equal(ask(&place, "select connection_id()"), id); /* reset, not replaced */

    ask(&place, "create role guests");
    assert_fails(&place, "set role guests", TY_ERR_INTERNAL, "42000", "");
    struct task task = script(&place, "set role guests; use mysql");
    assert_int_equal(task.op.status, 0);
    assert_says(&place, "select coalesce(current_role(), 'nobody')", "nobody");
    assert_says(&place, "select database()", "app");
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_is_all_or_nothing),
        cmocka_unit_test(a_failed_statement_leaves_the_transaction_as_it_was),
        cmocka_unit_test(levels_are_undone_alone),
        cmocka_unit_test(what_would_commit_in_between_is_an_error),
        cmocka_unit_test(transactions_have_levels_of_isolation),
        cmocka_unit_test(one_that_only_reads_cannot_write),
        cmocka_unit_test(a_deadlock_ends_one_of_two),
        cmocka_unit_test(results_can_be_read_in_pieces),
        cmocka_unit_test(a_script_runs_statement_by_statement),
        cmocka_unit_test(sessions_are_clean_for_the_next_one),
    };

    return cmocka_run_group_tests(tests, make_table, stop_server);
}
