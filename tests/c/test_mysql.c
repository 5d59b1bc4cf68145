#include "mysql_place.h"

static void a_statement_is_answered(void **state)
{
    struct place place;

    (void)state;
    place_open(&place);
    assert_int_equal(ask(&place, "select 1 + 1"), 2);
    assert_says(&place, "select 'sch\xc3\xb6n'", "sch\xc3\xb6n");
    assert_true(ty_sql_is_up(place.db));
    assert_int_equal(place_leave(&place), 0);
}

static void placeholders_are_numbers_and_may_repeat(void **state)
{
    static const struct ty_sql_value values[] = {
        {.type = TY_SQL_INTEGER, .integer = 5},
        {.type = TY_SQL_INTEGER, .integer = 7},
    };
    struct place place;
    struct task task;

    (void)state;
    place_open(&place);
    for (int i = 0; i < 3; i++) {
        start_with(&place, &task, "select $2 * 100 + $1 * 10 + $2, '$3' -- $9", values, 2);
        finish(&place, &task);
        assert_int_equal(task.op.status, 0);
        assert_int_equal(cell(&task.op, 0, 0).integer, 757);
        assert_string_equal(text_of(&task.op, 0, 1), "$3");
        ty_sql_op_close(&task.op);
    }
    assert_int_equal(place_leave(&place), 0);
}

/* Statements mean the same here as on other databases. */
static void sessions_speak_standard_sql(void **state)
{
    struct place place;

    (void)state;
    place_open(&place);
    assert_says(&place, "select 'a' || 'b' as \"joined\"", "ab");
    assert_int_equal(ask(&place, "select length('\\n')"), 2);
    assert_says(&place, "select 'it''s'", "it's");
    assert_says(&place, "select 'a\\' as \"a\\\", '$1'", "a\\");
    assert_says(&place, "select @@time_zone", "+00:00");
    assert_says(&place, "select @@character_set_client || @@character_set_results",
                "utf8mb4utf8mb4");
    assert_int_equal(ask(&place, "create table strict(n tinyint not null)"), 0);
    assert_fails(&place, "insert into strict values (1000)", TY_ERR_INVALID, "22003", "");
    assert_int_equal(ask(&place, "drop table strict"), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void wrong_statements_are_the_programs_fault(void **state)
{
    struct place place;

    (void)state;
    place_open(&place);
    assert_fails(&place, "selec 1", TY_ERR_INTERNAL, "42000", "");
    assert_fails(&place, "select \"no such column\"", TY_ERR_INTERNAL, "42S22", "");
    assert_fails(&place, "select * from nowhere", TY_ERR_INTERNAL, "42S02", "");
    assert_fails(&place, "", TY_ERR_INTERNAL, "42000", "");
    assert_fails(&place, " -- nothing", TY_ERR_INTERNAL, "42000", "");
    assert_fails(&place, "select 1; select 2", TY_ERR_INTERNAL, "42000", "");
    assert_fails(&place, "select ?", TY_ERR_INTERNAL, "placeholder", "");
    assert_fails(&place, "select $1", TY_ERR_INTERNAL, "placeholder", "");
    assert_int_equal(ask(&place, "select 1; -- fine"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void a_constraint_is_named(void **state)
{
    struct place place;

    (void)state;
    place_open(&place);
    ask(&place, "create table users(id bigint auto_increment primary key, email varchar(99) not"
                " null, age integer, constraint adult check (age >= 18), unique key mail (email))");
    ask(&place, "create table pets(owner bigint, constraint owned foreign key (owner)"
                " references users(id))");
    ask(&place, "insert into users(email, age) values ('a''b', 20)");

    assert_fails(&place, "insert into users(email, age) values ('a''b', 20)", TY_ERR_CONFLICT,
                 "23000", "mail");
    assert_fails(&place, "insert into users(id, email) values (1, 'c')", TY_ERR_CONFLICT, "23000",
                 "PRIMARY");
    assert_fails(&place, "insert into users(email, age) values ('c', 2)", TY_ERR_CONFLICT, "23000",
                 "adult");
    assert_fails(&place, "insert into users(email) values (null)", TY_ERR_CONFLICT, "23000", "");
    assert_fails(&place, "insert into pets values (7)", TY_ERR_CONFLICT, "23000", "owned");
    ask(&place, "insert into pets values (1)");
    assert_fails(&place, "delete from users", TY_ERR_CONFLICT, "23000", "owned");

    struct task task;
    start(&place, &task, "insert into users(email) values (null)");
    finish(&place, &task);
    assert_string_equal(task.op.column, "email");
    ty_sql_op_close(&task.op);
    start(&place, &task, "insert into pets values (7)");
    finish(&place, &task);
    assert_string_equal(task.op.table, "pets");
    assert_string_equal(task.op.column, "owner");
    ty_sql_op_close(&task.op);
    ask(&place, "drop table pets, users");
    assert_int_equal(place_leave(&place), 0);
}

static void changes_are_rows_that_were_found(void **state)
{
    struct place place;
    struct task task;

    (void)state;
    place_open(&place);
    ask(&place, "create table counted(id bigint auto_increment primary key, n int)");
    start(&place, &task, "insert into counted(n) values (1), (2), (3)");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 3);
    assert_int_equal(task.op.last_id, 1);
    ty_sql_op_close(&task.op);
    assert_int_equal(ask(&place, "update counted set n = 1 where n < 3"), 2);
    start(&place, &task, "insert into counted(n) values (4), (5) returning id, n");
    finish(&place, &task);
    assert_int_equal(task.op.status, 0);
    assert_int_equal(task.op.changes, 2);
    assert_int_equal(cell(&task.op, 1, 0).integer, 5);
    ty_sql_op_close(&task.op);
    assert_int_equal(ask(&place, "delete from counted where n = 1"), 2);
    ask(&place, "drop table counted");
    start(&place, &task, "show databases");
    finish(&place, &task);
    assert_true(task.op.row_count > 0);
    assert_int_equal(task.op.changes, 0);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void results_have_a_limit(void **state)
{
    struct place place;
    struct task task;

    (void)state;
    place_open(&place);
    assert_fails(&place, "select repeat('a', 100) from seq_1_to_100000", TY_ERR_TOO_LARGE,
                 "result_max", "");
    assert_fails(&place, "select repeat('a', 2000000)", TY_ERR_TOO_LARGE, "result_max", "");
    assert_int_equal(ask(&place, "select 5"), 5); /* the rest of it was read away */

    task_init(&task, TY_SQL_RUN, "select seq from seq_1_to_100000");
    task.op.rows_max = 3;
    ty_sql_start(place.db, &task.op);
    finish(&place, &task);
    assert_int_equal(task.op.row_count, 3);
    assert_int_equal(cell(&task.op, 2, 0).integer, 3);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static int64_t status_of(struct place *place, const char *name)
{
    struct task task;
    char sql[128];

    snprintf(sql, sizeof(sql),
             "select cast(variable_value as unsigned) from information_schema.session_status"
             " where variable_name = '%s'",
             name);
    start(place, &task, sql);
    finish(place, &task);
    assert_int_equal(task.op.status, 0);
    int64_t number = cell(&task.op, 0, 0).integer;
    ty_sql_op_close(&task.op);
    return number;
}

static void statements_are_prepared_once_and_the_oldest_forgotten(void **state)
{
    struct place place;
    struct ty_sql_options options = place_options(&place);
    char sql[64];

    (void)state;
    options.pool_max = 1;
    place_open_with(&place, &options);
    status_of(&place, "com_stmt_prepare");
    int64_t before = status_of(&place, "com_stmt_prepare");
    for (int i = 0; i < 20; i++)
        ask(&place, "select 1");
    assert_int_equal(status_of(&place, "com_stmt_prepare") - before, 1);

    for (int i = 0; i < 100; i++) {
        snprintf(sql, sizeof(sql), "select %d", i);
        assert_int_equal(ask(&place, sql), i);
    }
    int64_t open = status_of(&place, "com_stmt_prepare") - status_of(&place, "com_stmt_close");
    assert_in_range(open, 1, 11);
    for (int i = 0; i < 100; i++) {
        snprintf(sql, sizeof(sql), "select %d", i % 12);
        assert_int_equal(ask(&place, sql), i % 12);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void nothing_is_kept_when_nothing_shall_be_prepared(void **state)
{
    struct place place;
    struct ty_sql_options options = place_options(&place);

    (void)state;
    options.pool_max = 1;
    options.prepare = TY_SQL_PREPARE_NEVER;
    place_open_with(&place, &options);
    for (int i = 0; i < 20; i++)
        ask(&place, "select 1");
    int64_t open = status_of(&place, "com_stmt_prepare") - status_of(&place, "com_stmt_close");
    assert_in_range(open, 0, 1);
    assert_int_equal(place_leave(&place), 0);
}

/* The same text, on the same connection, before and after. */
static void prepared_statements_survive_changes_of_their_tables(void **state)
{
    struct place place;
    struct ty_sql_options options = place_options(&place);
    struct task task;

    (void)state;
    options.pool_max = 1;
    place_open_with(&place, &options);
    ask(&place, "create table changing(a int)");
    ask(&place, "insert into changing values (1)");
    assert_int_equal(ask(&place, "select * from changing"), 1);
    ask(&place, "alter table changing add column b text default 'new' first");
    for (int i = 0; i < 2; i++) {
        start(&place, &task, "select * from changing");
        finish(&place, &task);
        say_error(&task);
        assert_int_equal(task.op.status, 0);
        assert_int_equal(task.op.column_count, 2);
        assert_string_equal(text_of(&task.op, 0, 0), "new");
        assert_int_equal(cell(&task.op, 0, 1).integer, 1);
        ty_sql_op_close(&task.op);
    }
    ask(&place, "update changing set b = '2026-11-21'");
    ask(&place, "alter table changing modify column b date");
    assert_says(&place, "select * from changing", "2026-11-21");

    for (unsigned i = 0; i < 2; i++) { /* what writes runs once */
        start(&place, &task, "insert into changing(a) values (2) returning *");
        finish(&place, &task);
        say_error(&task);
        assert_int_equal(task.op.status, 0);
        assert_int_equal(task.op.column_count, 2 + i);
        ty_sql_op_close(&task.op);
        assert_int_equal(ask(&place, "select count(*) from changing"), 2 + i);
        ask(&place, i ? "select 1" : "alter table changing add column c int");
    }
    ask(&place, "drop table changing");
    assert_says(&place, "select 'still there'", "still there");
    assert_int_equal(place_leave(&place), 0);
}

static void procedures_give_their_first_result(void **state)
{
    struct place place;
    struct task task;

    (void)state;
    place_open(&place);
    start(&place, &task, "create procedure twice(in n int) begin select n; select n * 2; end");
    finish(&place, &task);
    say_error(&task);
    assert_int_equal(task.op.status, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(&place, "call twice(21)"), 21);
        assert_int_equal(ask(&place, "select 3"), 3);
    }
    ask(&place, "drop procedure twice");
    assert_int_equal(place_leave(&place), 0);
}

/* An operation that is started again as soon as it was refused. */
static void start_again(struct ty_sql_op *op)
{
    enum { ENOUGH = 1000 };
    struct task *task = (struct task *)op;
    struct ty_sql *db = op->db;
    int calls = task->calls + 1;

    task_init(task, TY_SQL_RUN, "begin");
    task->op.done = start_again;
    task->calls = calls;
    if (calls < ENOUGH)
        ty_sql_start(db, &task->op);
}

static void who_is_refused_and_tries_again_leaves_time_for_others(void **state)
{
    struct place place;
    struct task eager;

    (void)state;
    place_open(&place);
    assert_int_equal(ask(&place, "select 1"), 1);
    task_init(&eager, TY_SQL_RUN, "begin");
    eager.op.done = start_again;
    ty_sql_start(place.db, &eager.op);
    while (!eager.calls)
        uv_run(&place.loop, UV_RUN_NOWAIT);

    assert_in_range(eager.calls, 1, 3);
    while (eager.calls < 1000)
        uv_run(&place.loop, UV_RUN_ONCE);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_is_answered),
        cmocka_unit_test(placeholders_are_numbers_and_may_repeat),
        cmocka_unit_test(sessions_speak_standard_sql),
        cmocka_unit_test(wrong_statements_are_the_programs_fault),
        cmocka_unit_test(a_constraint_is_named),
        cmocka_unit_test(changes_are_rows_that_were_found),
        cmocka_unit_test(results_have_a_limit),
        cmocka_unit_test(statements_are_prepared_once_and_the_oldest_forgotten),
        cmocka_unit_test(nothing_is_kept_when_nothing_shall_be_prepared),
        cmocka_unit_test(prepared_statements_survive_changes_of_their_tables),
        cmocka_unit_test(procedures_give_their_first_result),
        cmocka_unit_test(who_is_refused_and_tries_again_leaves_time_for_others),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
