#include "postgres_place.h"
#include "support/figure.h"

static void make_table(struct place *place)
{
    run(place, "drop table if exists t");
    run(place, "create table t(n int primary key)");
}

static int64_t rows(struct place *place)
{
    return number_of(place, "select count(*) from t");
}

static int64_t idle_in_transaction(struct place *place)
{
    return number_of(place, "select count(*) from pg_stat_activity"
                            " where state like 'idle in transaction%'");
}

static void a_commit_keeps_and_a_rollback_undoes(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    assert_int_equal(rows(&place), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(rows(&place), 1);
    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    assert_int_equal(rows(&place), 1);
    assert_int_equal(place_leave(&place), 0);
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
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (2)"), -1);
    assert_int_equal(done_at(&place, tx, TY_SQL_ROLLBACK_TO, 1), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_SAVEPOINT, 1), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (4)"), 0);
    assert_int_equal(done_at(&place, tx, TY_SQL_RELEASE, 1), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(number_of(&place, "select sum(n)::int from t"), 5);
    assert_int_equal(place_leave(&place), 0);
}

static void a_commit_that_only_rolls_back_is_a_failure(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    run(&place, "drop table if exists later");
    run(&place, "create table later(n int unique deferrable initially deferred)");
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into later values (1), (1)"), 0);
    start_in(tx, &task, TY_SQL_COMMIT, NULL);
    finish(&place, &task);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_CONFLICT);
    assert_string_equal(task.op.error.detail, "23505");
    assert_string_equal(task.op.constraint, "later_n_key");
    ty_sql_op_close(&task.op);
    assert_int_equal(number_of(&place, "select count(*) from later"), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_transaction_that_only_reads_cannot_write(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin_with(&place, true);
    start_in(tx, &task, TY_SQL_RUN, "insert into t values (1)");
    finish(&place, &task);
    assert_string_equal(task.op.error.detail, "25006");
    assert_int_equal(task.op.error.kind, TY_ERR_INTERNAL);
    ty_sql_op_close(&task.op);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void isolation_is_what_was_asked_for(void **state)
{
    (void)state;
    static const char *const names[] = {"read committed", "read committed", "repeatable read",
                                        "serializable"};
    struct place place;
    struct task task;

    place_open(&place);
    for (int i = 0; i < 4; i++) {
        struct task opening = {.op = {.done = on_task, .isolation = (enum ty_sql_isolation)i}};
        struct ty_sql_tx *tx = ty_sql_begin(place.db, &opening.op);

        if (!tx) {
            finish(&place, &opening);
            tx = opening.op.tx;
        }
        start_in(tx, &task, TY_SQL_RUN, "select current_setting('transaction_isolation')");
        finish(&place, &task);
        done_well(&task);
        assert_true(ty_slice_is(cell_at(&task.op, 0, 0).bytes, names[i]));
        ty_sql_op_close(&task.op);
        assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void what_nobody_waits_for_is_undone(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    for (int i = 0; i < 10; i++) {
        struct ty_sql_tx *tx = begin(&place);
        assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
        if (i % 2)
            start_in(tx, &task, TY_SQL_RUN, "select pg_sleep(10)");
        ty_sql_tx_drop(tx);
        if (i % 2) {
            finish(&place, &task);
            if (task.op.status != UV_ECANCELED) /* a machine too busy to end it in time */
                assert_string_equal(task.op.error.detail, "connection.closed");
            ty_sql_op_close(&task.op);
        }
        assert_int_equal(rows(&place), 0);
    }
    uint64_t began = ty_now_ms();
    while (idle_in_transaction(&place))
        assert_true(ty_now_ms() - began < at_most_ms(1000));
    assert_int_equal(place_leave(&place), 0);
}

static void rows_come_in_pieces(void **state)
{
    (void)state;
    static struct ty_sql_value limit = {.type = TY_SQL_INTEGER, .integer = 10};
    struct place place;
    struct task task = {.op = {.verb = TY_SQL_OPEN, .level = 1, .done = on_task}};
    int64_t sum = 0;

    place_open(&place);
    struct ty_sql_tx *tx = begin(&place);
    task.op.sql = "select n from generate_series(1, $1::int) n";
    task.op.sql_len = strlen(task.op.sql);
    task.op.params = &limit;
    task.op.param_count = 1;
    ty_sql_tx_start(tx, &task.op);
    finish(&place, &task);
    done_well(&task);
    ty_sql_op_close(&task.op);
    uint64_t got = 4;
    for (int i = 0; got == 4; i++) {
        task =
            (struct task){.op = {.verb = TY_SQL_FETCH, .level = 1, .rows_max = 4, .done = on_task}};
        ty_sql_tx_start(tx, &task.op);
        finish(&place, &task);
        done_well(&task);
        got = task.op.row_count;
        for (uint64_t row = 0; row < got; row++)
            sum += cell_at(&task.op, row, 0).integer;
        assert_true(i < 3);
        ty_sql_op_close(&task.op);
    }
    assert_int_equal(sum, 55);
    assert_int_equal(done_at(&place, tx, TY_SQL_SHUT, 1), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

/* ---- scripts */

static int script(struct place *place, struct task *task, const char *sql)
{
    *task = (struct task){.op = {.verb = TY_SQL_SCRIPT, .sql = sql, .done = on_task}};
    task->op.sql_len = strlen(sql);
    ty_sql_start(place->db, &task->op);
    finish(place, task);
    ty_sql_op_close(&task->op);
    return task->op.status;
}

static void a_script_is_done_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    assert_int_equal(script(&place, &task,
                            "-- a; comment\ninsert into t values (1);;\n"
                            "create or replace function f() returns int language plpgsql as $x$\n"
                            "begin perform 1; return 2; end $x$;\n"
                            "/* ; /* ; */ */ insert into t select ascii(';');\n"
                            "insert into t values (length(E'\\';')) -- ;\n"),
                     0);
    assert_int_equal(rows(&place), 3);
    assert_int_equal(script(&place, &task,
                            "insert into t values (10);\n\n"
                            "insert into t values (11);\ninsert\n into t values (10);"
                            "insert into t values (12)"),
                     -1);
    assert_string_equal(task.op.error.detail, "23505");
    assert_int_equal(task.op.line, 4);
    assert_int_equal(rows(&place), 3);
    assert_int_equal(script(&place, &task, "insert into t values (20);\ncommit;"), -1);
    assert_string_equal(task.op.error.detail, "refused");
    assert_int_equal(task.op.line, 2);
    assert_int_equal(script(&place, &task, " -- nothing\n ; ;"), 0);
    assert_int_equal(rows(&place), 3);
    assert_int_equal(place_leave(&place), 0);
}

static void a_script_that_is_one_statement_may_be_any(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    assert_int_equal(script(&place, &task, "vacuum t;"), 0);
    assert_int_equal(script(&place, &task, "create index concurrently on t(n)"), 0);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_keeps_and_a_rollback_undoes),
        cmocka_unit_test(levels_are_undone_on_their_own),
        cmocka_unit_test(a_commit_that_only_rolls_back_is_a_failure),
        cmocka_unit_test(a_transaction_that_only_reads_cannot_write),
        cmocka_unit_test(isolation_is_what_was_asked_for),
        cmocka_unit_test(what_nobody_waits_for_is_undone),
        cmocka_unit_test(rows_come_in_pieces),
        cmocka_unit_test(a_script_is_done_as_a_whole_or_not_at_all),
        cmocka_unit_test(a_script_that_is_one_statement_may_be_any),
    };

    return cmocka_run_group_tests_name("postgres_tx", tests, start_server, remove_server);
}
