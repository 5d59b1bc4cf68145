#include "postgres_place.h"
#include "support/figure.h"

static struct ty_sql_value integer(int64_t number)
{
    return (struct ty_sql_value){.type = TY_SQL_INTEGER, .integer = number};
}

static void assert_text(struct ty_sql_value value, const char *wanted)
{
    assert_int_equal(value.type, TY_SQL_TEXT);
    assert_int_equal(value.bytes.len, strlen(wanted));
    assert_memory_equal(value.bytes.data, wanted, strlen(wanted));
}

static void a_statement_answers_rows(void **state)
{
    (void)state;
    struct place place;
    struct task task;
    struct ty_sql_cursor cursor = {0};

    place_open(&place);
    start(&place, &task, "select 7 as n, 'x' as t, null as nothing union all select 8, 'y', null");
    finish(&place, &task);
    done_well(&task);

    assert_int_equal(task.op.row_count, 2);
    assert_int_equal(task.op.column_count, 3);
    assert_true(ty_slice_is(ty_sql_name(&task.op, &cursor), "n"));
    assert_true(ty_slice_is(ty_sql_name(&task.op, &cursor), "t"));
    assert_int_equal(cell_at(&task.op, 1, 0).integer, 8);
    assert_text(cell_at(&task.op, 0, 1), "x");
    assert_int_equal(cell_at(&task.op, 0, 2).type, TY_SQL_NULL);
    ty_sql_op_close(&task.op);
    assert_string_equal(ty_sql_system(place.db), "postgresql");
    assert_int_equal(place_leave(&place), 0);
}

static void no_more_rows_than_wanted_are_told(void **state)
{
    (void)state;
    struct place place;
    struct task task = {.op = {.sql = "select generate_series(1, 10)", .done = on_task}};

    place_open(&place);
    task.op.sql_len = strlen(task.op.sql);
    task.op.rows_max = 3;
    ty_sql_start(place.db, &task.op);
    finish(&place, &task);

    assert_int_equal(task.op.row_count, 3);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void changes_are_counted(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    run(&place, "drop table if exists changes");
    run(&place, "create table changes(n int)");
    start(&place, &task, "insert into changes select generate_series(1, 5) returning n");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 5);
    assert_int_equal(task.op.row_count, 5);
    ty_sql_op_close(&task.op);
    start(&place, &task, "update changes set n = n + 1 where n > 3");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 2);
    ty_sql_op_close(&task.op);
    start(&place, &task, "select * from changes");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 0);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void assert_names(struct place *place, const char *sql, const char *detail,
                         const char *constraint, const char *table, const char *column)
{
    struct task task;

    start(place, &task, sql);
    finish(place, &task);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_CONFLICT);
    assert_string_equal(task.op.error.detail, detail);
    assert_string_equal(task.op.constraint, constraint);
    assert_string_equal(task.op.table, table);
    assert_string_equal(task.op.column, column);
    assert_null(strstr(task.op.error.message, "secret@example.org"));
    ty_sql_op_close(&task.op);
}

static void what_a_constraint_refuses_is_named(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    run(&place, "drop table if exists people");
    run(&place, "create table people(id int primary key, email text unique, age int not null,"
                " boss int references people, constraint grown check (age > 17))");
    run(&place, "insert into people values (1, 'secret@example.org', 20)");
    assert_names(&place, "insert into people values (2, 'secret@example.org', 20)", "23505",
                 "people_email_key", "people", "email");
    assert_names(&place, "insert into people values (2, 'a', null)", "23502", "people.age",
                 "people", "age");
    assert_names(&place, "insert into people values (2, 'a', 3)", "23514", "grown", "people", "");
    assert_names(&place, "insert into people values (2, 'a', 20, 9)", "23503", "people_boss_fkey",
                 "people", "boss");
    assert_int_equal(place_leave(&place), 0);
}

static void errors_say_what_can_be_done(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    assert_fails(&place, "select nothing from nowhere", TY_ERR_INTERNAL, "42P01");
    assert_fails(&place, "select 1/0", TY_ERR_INVALID, "22012");
    assert_fails(&place, "select 'x'::int", TY_ERR_INVALID, "22P02");
    assert_fails(&place, "select 1; select 2", TY_ERR_INTERNAL, "42601");
    assert_fails(&place, "", TY_ERR_INTERNAL, "42601");
    assert_fails(&place, "begin", TY_ERR_INTERNAL, "refused");
    assert_fails(&place, "/* x */ Commit", TY_ERR_INTERNAL, "refused");
    assert_fails(&place, "copy people to stdout", TY_ERR_INTERNAL, "refused");
    start(&place, &task, "select 1 as a, wrong_name from pg_class");
    finish(&place, &task);
    assert_non_null(strstr(task.op.error.message, "wrong_name from pg_class"));
    ty_sql_op_close(&task.op);
    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void a_neighbour_that_fails_hurts_nobody(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct place place;
    static struct task tasks[COUNT];

    place_open(&place);
    run(&place, "drop table if exists divisors");
    run(&place, "create table divisors(n int)");
    for (int i = 0; i < 3; i++)
        number_of(&place, "select 10 / (select coalesce(max(n), 1) from divisors)");
    static struct ty_sql_value params[COUNT];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            params[i] = integer(i % 3);
            start_with(&place, &tasks[i], "select 6 / $1::int", &params[i], 1);
        }
        for (int i = 0; i < COUNT; i++) {
            finish(&place, &tasks[i]);
            assert_int_equal(tasks[i].op.status, i % 3 ? 0 : -1);
            if (i % 3)
                assert_int_equal(cell_at(&tasks[i].op, 0, 0).integer, 6 / (i % 3));
            else
                assert_string_equal(tasks[i].op.error.detail, "22012");
            ty_sql_op_close(&tasks[i].op);
        }
    }
    assert_int_equal(place_leave(&place), 0);
}

static void statements_outlive_changes_of_their_tables(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    run(&place, "drop table if exists changing");
    run(&place, "create table changing(a int)");
    run(&place, "insert into changing values (1)");
    for (int i = 0; i < 5; i++) {
        for (int times = 0; times < 4; times++) {
            start(&place, &task, "select * from changing");
            finish(&place, &task);
            done_well(&task);
            assert_int_equal(task.op.column_count, i + 1);
            ty_sql_op_close(&task.op);
        }
        struct task first = {.op = {.sql = "select 1", .sql_len = 8, .done = on_task}};
        task.op = (struct ty_sql_op){.sql = "select * from changing", .sql_len = 22};
        first.op.batch = &task.op;
        ty_sql_start(place.db, &first.op);
        finish(&place, &first);
        assert_int_equal(first.op.status + task.op.status, 0);
        assert_int_equal(task.op.column_count, i + 1);
        ty_sql_op_close(&first.op);
        char sql[64];
        snprintf(sql, sizeof(sql), "alter table changing add column c%d int", i);
        run(&place, sql);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void prepared_statements_are_bounded(void **state)
{
    (void)state;
    struct place place;
    char sql[64];

    place_make(&place, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.pool_max = 1;
    options.statements = 5;
    place_open_with(&place, &options);
    for (int i = 0; i < 60; i++) {
        snprintf(sql, sizeof(sql), "select %d", i % 20);
        for (int times = 0; times < 3; times++)
            assert_int_equal(number_of(&place, sql), i % 20);
    }
    int64_t count = number_of(&place, "select count(*) from pg_prepared_statements");
    assert_in_range(count, 1, 5);
    assert_int_equal(place_leave(&place), 0);
}

static void a_statement_that_was_dropped_is_prepared_again(void **state)
{
    (void)state;
    struct place place;

    place_make(&place, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.pool_max = 1;
    place_open_with(&place, &options);
    for (int i = 0; i < 3; i++)
        assert_int_equal(number_of(&place, "select 5"), 5);
    run(&place, "create or replace function forget() returns int language plpgsql as"
                " 'begin execute ''deallocate all''; return 1; end'");
    number_of(&place, "select forget()");
    assert_int_equal(number_of(&place, "select 5"), 5);
    assert_int_equal(place_leave(&place), 0);
}

static void a_batch_is_done_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct place place;
    struct task first = {0}, second = {0}, third = {0};
    struct task *all[] = {&first, &second, &third};
    const char *texts[] = {"insert into batches values (1)", "select count(*) from batches",
                           "insert into batches values (2)"};

    place_open(&place);
    run(&place, "drop table if exists batches");
    run(&place, "create table batches(n int primary key)");
    for (int times = 0; times < 2; times++) {
        for (int i = 0; i < 3; i++) {
            *all[i] = (struct task){.op = {.sql = texts[i], .done = on_task}};
            all[i]->op.sql_len = strlen(texts[i]);
            all[i]->op.batch = i < 2 ? &all[i + 1]->op : NULL;
        }
        ty_sql_start(place.db, &first.op);
        finish(&place, &first);
        assert_int_equal(second.calls + third.calls, 0);
        if (times == 0) {
            assert_int_equal(first.op.status + second.op.status + third.op.status, 0);
            assert_int_equal(cell_at(&second.op, 0, 0).integer, 1);
            run(&place, "delete from batches where n = 1");
        } else { /* the third one is there already */
            assert_int_equal(first.op.status, 0);
            assert_int_equal(third.op.status, -1);
            assert_string_equal(third.op.error.detail, "23505");
        }
        ty_sql_op_close(&first.op);
    }
    assert_int_equal(number_of(&place, "select count(*) from batches where n = 1"), 0);
    assert_int_equal(number_of(&place, "select count(*) from batches"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void a_result_that_is_too_large_is_stopped(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    uint64_t began = ty_now_ms();
    start(&place, &task, "select repeat('x', 1000) from generate_series(1, 10000000)");
    finish(&place, &task);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_TOO_LARGE);
    assert_true(ty_now_ms() - began < at_most_ms(5000)); /* all of it would take longer */
    ty_sql_op_close(&task.op);
    start(&place, &task, "select repeat('x', 5000000)");
    finish(&place, &task);
    assert_int_equal(task.op.error.kind, TY_ERR_TOO_LARGE);
    ty_sql_op_close(&task.op);
    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void many_parameters_are_bound(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct place place;
    struct task task;
    static struct ty_sql_value params[COUNT];
    struct ty_buf sql = {0};

    place_open(&place);
    ty_buf_adds(&sql, "select 0");
    for (unsigned i = 0; i < COUNT; i++) {
        params[i] = integer(i);
        ty_buf_addf(&sql, " + $%u::int", i + 1);
    }
    start_with(&place, &task, ty_buf_cstr(&sql), params, COUNT);
    finish(&place, &task);
    done_well(&task);
    assert_int_equal(cell_at(&task.op, 0, 0).integer, COUNT * (COUNT - 1) / 2);
    ty_sql_op_close(&task.op);
    ty_buf_close(&sql);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_answers_rows),
        cmocka_unit_test(no_more_rows_than_wanted_are_told),
        cmocka_unit_test(changes_are_counted),
        cmocka_unit_test(what_a_constraint_refuses_is_named),
        cmocka_unit_test(errors_say_what_can_be_done),
        cmocka_unit_test(a_neighbour_that_fails_hurts_nobody),
        cmocka_unit_test(statements_outlive_changes_of_their_tables),
        cmocka_unit_test(prepared_statements_are_bounded),
        cmocka_unit_test(a_statement_that_was_dropped_is_prepared_again),
        cmocka_unit_test(a_batch_is_done_as_a_whole_or_not_at_all),
        cmocka_unit_test(a_result_that_is_too_large_is_stopped),
        cmocka_unit_test(many_parameters_are_bound),
    };

    return cmocka_run_group_tests_name("postgres", tests, start_server, remove_server);
}
