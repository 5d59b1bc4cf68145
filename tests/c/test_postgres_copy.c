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

static int put(struct place *place, struct ty_sql_tx *tx, const char *bytes, size_t len)
{
    struct task task = {.op = {.verb = TY_SQL_COPY_PUT, .data = {bytes, len}, .done = on_task}};

    ty_sql_tx_start(tx, &task.op);
    finish(place, &task);
    ty_sql_op_close(&task.op);
    return task.op.status;
}

static void rows_are_copied_in(void **state)
{
    (void)state;
    struct place place;
    struct task task;
    struct ty_buf lines = {0};

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_COPY_IN, "copy t from stdin"), 0);
    for (unsigned i = 0; i < 200000; i++) {
        ty_buf_addf(&lines, "%u\n", i);
        if (lines.len > 100000 || i == 199999) {
            assert_int_equal(put(&place, tx, lines.data, lines.len), 0);
            lines.len = 0;
        }
    }
    start_in(tx, &task, TY_SQL_COPY_END, NULL);
    finish(&place, &task);
    done_well(&task);
    assert_int_equal(task.op.changes, 200000);
    ty_sql_op_close(&task.op);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "delete from t where n > 99"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(rows(&place), 100);
    ty_buf_close(&lines);
    assert_int_equal(place_leave(&place), 0);
}

static void a_copy_that_fails_is_told_at_its_end(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    make_table(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_COPY_IN, "copy t from stdin"), 0);
    put(&place, tx, "1\nx\n", 4);
    start_in(tx, &task, TY_SQL_COPY_END, NULL);
    finish(&place, &task);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_INVALID);
    assert_string_equal(task.op.error.detail, "22P02");
    ty_sql_op_close(&task.op);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);

    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_COPY_IN, "copy nowhere from stdin"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_COPY_IN, "copy t to stdout"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_COPY_IN, "select 1"), -1);
    assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
    assert_int_equal(rows(&place), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void rows_are_copied_out(void **state)
{
    (void)state;
    struct place place;
    struct task task;
    size_t lines = 0, got = 1;

    place_open(&place);
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(
        done_in(&place, tx, TY_SQL_COPY_OUT, "copy (select generate_series(1, 300000)) to stdout"),
        0);
    while (got) {
        start_in(tx, &task, TY_SQL_COPY_GET, NULL);
        finish(&place, &task);
        done_well(&task);
        got = task.op.rows.len;
        assert_true(got < 80000);
        for (size_t i = 0; i < got; i++)
            lines += task.op.rows.data[i] == '\n';
        ty_sql_op_close(&task.op);
    }
    assert_int_equal(lines, 300000);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "select 1"), 0);
    assert_int_equal(done_in(&place, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_copy_may_be_given_up_at_any_point(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_make(&place, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.pool_max = 2;
    place_open_with(&place, &options);
    make_table(&place);
    for (int i = 0; i < 12; i++) {
        struct ty_sql_tx *tx = begin(&place);
        bool in = i % 2, drops = i % 4 < 2;

        if (in) {
            assert_int_equal(done_in(&place, tx, TY_SQL_COPY_IN, "copy t from stdin"), 0);
            assert_int_equal(put(&place, tx, "1\n", 2), 0);
        } else {
            assert_int_equal(done_in(&place, tx, TY_SQL_COPY_OUT,
                                     "copy (select generate_series(1, 100000000)) to stdout"),
                             0);
            start_in(tx, &task, TY_SQL_COPY_GET, NULL);
            finish(&place, &task);
            ty_sql_op_close(&task.op);
        }
        uint64_t began = ty_now_ms();
        if (drops)
            ty_sql_tx_drop(tx);
        else
            assert_int_equal(done_in(&place, tx, TY_SQL_ROLLBACK, NULL), 0);
        assert_int_equal(rows(&place), 0);
        assert_true(ty_now_ms() - began < at_most_ms(3000));
    }
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_copied_in),
        cmocka_unit_test(a_copy_that_fails_is_told_at_its_end),
        cmocka_unit_test(rows_are_copied_out),
        cmocka_unit_test(a_copy_may_be_given_up_at_any_point),
    };

    return cmocka_run_group_tests_name("postgres_copy", tests, start_server, remove_server);
}
