#include "sqlite_place.h"

static void a_value_comes_back_as_it_went_in(void **state)
{
    (void)state;
    static const struct ty_sql_value values[] = {
        {.type = TY_SQL_INTEGER, .integer = INT64_MAX},
        {.type = TY_SQL_INTEGER, .integer = INT64_MIN},
        {.type = TY_SQL_INTEGER, .integer = (INT64_C(1) << 53) + 1},
        {.type = TY_SQL_REAL, .real = 0.1},
        {.type = TY_SQL_TEXT, .bytes = {"sch\xc3\xb6n", 6}},
        {.type = TY_SQL_TEXT, .bytes = {"", 0}},
        {.type = TY_SQL_BLOB, .bytes = {"a\0b", 3}},
        {.type = TY_SQL_BLOB, .bytes = {NULL, 0}},
        {.type = TY_SQL_NULL},
    };
    enum { COUNT = sizeof(values) / sizeof(values[0]) };
    struct place place;
    struct task task = {.op = {.sql = "select $1, $2, $3, $4, $5, $6, $7, $8, $9",
                               .params = values,
                               .param_count = COUNT,
                               .done = on_task}};
    struct ty_sql_cursor cursor = {0};

    place_open(&place);
    task.op.sql_len = strlen(task.op.sql);
    ty_sql_start(place.db, &task.op);
    assert_int_equal(task.calls, 0); /* never from inside */
    finish(&place, &task);

    assert_int_equal(task.op.status, 0);
    assert_int_equal(task.op.column_count, COUNT);
    assert_int_equal(task.op.row_count, 1);
    for (int i = 0; i < COUNT; i++)
        assert_true(ty_sql_name(&task.op, &cursor).len == 2);
    for (int i = 0; i < COUNT; i++) {
        struct ty_sql_value value;

        ty_sql_cell(&task.op, &cursor, &value);
        assert_int_equal(value.type, values[i].type);
        if (value.type == TY_SQL_INTEGER)
            assert_true(value.integer == values[i].integer);
        else if (value.type == TY_SQL_REAL)
            assert_true(value.real == values[i].real);
        else if (value.type != TY_SQL_NULL) {
            assert_int_equal(value.bytes.len, values[i].bytes.len);
            if (value.bytes.len)
                assert_memory_equal(value.bytes.data, values[i].bytes.data, value.bytes.len);
        }
    }
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void placeholders_are_numbers_and_may_repeat(void **state)
{
    (void)state;
    static const struct ty_sql_value values[] = {
        {.type = TY_SQL_INTEGER, .integer = 5},
        {.type = TY_SQL_INTEGER, .integer = 7},
    };
    struct place place;
    struct task task = {.op = {.sql = "select $2 * 100 + $1 * 10 + $2, '$3' -- $9",
                               .params = values,
                               .param_count = 2,
                               .done = on_task}};
    struct ty_sql_cursor cursor = {0};
    struct ty_sql_value value;

    place_open(&place);
    task.op.sql_len = strlen(task.op.sql);
    ty_sql_start(place.db, &task.op);
    finish(&place, &task);
    for (unsigned i = 0; i < task.op.column_count; i++)
        ty_sql_name(&task.op, &cursor);

    ty_sql_cell(&task.op, &cursor, &value);
    assert_int_equal(value.integer, 757);
    ty_sql_cell(&task.op, &cursor, &value);
    assert_memory_equal(value.bytes.data, "$3", 2);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void wrong_statements_are_the_programs_fault(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    assert_fails(&place, "selec 1", TY_ERR_INTERNAL, "SQLITE_ERROR", "");
    assert_fails(&place, "select \"no such column\"", TY_ERR_INTERNAL, "SQLITE_ERROR", "");
    assert_fails(&place, "", TY_ERR_INTERNAL, "SQLITE_ERROR", "");
    assert_fails(&place, " -- nothing", TY_ERR_INTERNAL, "SQLITE_ERROR", "");
    assert_fails(&place, "select 1; select 2", TY_ERR_INTERNAL, "SQLITE_ERROR", "");
    assert_fails(&place, "select ?", TY_ERR_INTERNAL, "placeholder", "");
    assert_fails(&place, "select $1", TY_ERR_INTERNAL, "placeholder", "");
    assert_fails(&place, "select $1::text", TY_ERR_INTERNAL, "placeholder", "");
    assert_fails(&place, "select :name", TY_ERR_INTERNAL, "placeholder", "");
    assert_int_equal(ask(&place, "select 1; -- fine", NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_constraint_is_named(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    assert_int_equal(ask(&place,
                         "create table users(id integer primary key, email text not null unique,"
                         " age integer check (age > 0))",
                         NULL),
                     0);
    assert_int_equal(ask(&place, "create table posts(user_id references users(id))", NULL), 0);
    assert_int_equal(ask(&place, "insert into users values (1, 'a', 1)", NULL), 0);

    assert_fails(&place, "insert into users values (2, 'a', 1)", TY_ERR_CONFLICT,
                 "SQLITE_CONSTRAINT_UNIQUE", "users.email");
    assert_int_equal(ask(&place, "create unique index lowered on users(lower(email))", NULL), 0);
    assert_fails(&place, "insert into users values (2, 'A', 1)", TY_ERR_CONFLICT,
                 "SQLITE_CONSTRAINT_UNIQUE", "lowered");
    assert_fails(&place, "insert into users values (1, 'b', 1)", TY_ERR_CONFLICT,
                 "SQLITE_CONSTRAINT_PRIMARYKEY", "users.id");
    assert_fails(&place, "insert into users values (2, null, 1)", TY_ERR_CONFLICT,
                 "SQLITE_CONSTRAINT_NOTNULL", "users.email");
    assert_fails(&place, "insert into users values (2, 'b', 0)", TY_ERR_CONFLICT,
                 "SQLITE_CONSTRAINT_CHECK", "age > 0");
    assert_fails(&place, "insert into posts values (9)", TY_ERR_CONFLICT,
                 "SQLITE_CONSTRAINT_FOREIGNKEY", "");
    assert_int_equal(place_leave(&place), 0);
}

static void changes_and_the_last_id_are_told(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    assert_int_equal(ask(&place, "create table t(id integer primary key, n)", NULL), 0);
    start(&place, &task, "insert into t(n) values (1), (2), (3)");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 3);
    assert_int_equal(task.op.last_id, 3);

    start(&place, &task, "update t set n = 0 where id > 1");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 2);
    assert_int_equal(task.op.last_id, 0);

    start(&place, &task, "create table other(n)");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 0);

    start(&place, &task, "with x(n) as (values (8)) insert into t(n) select n from x");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 1);
    assert_int_equal(task.op.last_id, 4);

    /* What inserts nothing after all got no number, whoever got one before. */
    start(&place, &task, "insert into t(id, n) values (1, 7) on conflict(id) do update set n = 7");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 1);
    assert_int_equal(task.op.last_id, 0);
    start(&place, &task, "with x(n) as (values (9)) update t set n = (select n from x)");
    finish(&place, &task);
    assert_int_equal(task.op.changes, 4);
    assert_int_equal(task.op.last_id, 0);
    assert_int_equal(place_leave(&place), 0);
}

static void columns_declared_boolean_are(void **state)
{
    (void)state;
    struct place place;
    struct task task;
    struct ty_sql_cursor cursor = {0};
    struct ty_sql_value value;

    place_open(&place);
    assert_int_equal(ask(&place, "create table t(a boolean, b integer)", NULL), 0);
    start(&place, &task, "insert into t values (1, 1) returning a, b");
    finish(&place, &task);
    ty_sql_name(&task.op, &cursor);
    ty_sql_name(&task.op, &cursor);

    ty_sql_cell(&task.op, &cursor, &value);
    assert_int_equal(value.type, TY_SQL_BOOLEAN);
    ty_sql_cell(&task.op, &cursor, &value);
    assert_int_equal(value.type, TY_SQL_INTEGER);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void a_result_has_a_largest_size_and_what_it_wrote_is_undone(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    assert_fails(&place, "select zeroblob(1100000)", TY_ERR_TOO_LARGE, "result_max", "");
    assert_int_equal(ask(&place, "create table t(n)", NULL), 0);
    assert_fails(&place, "insert into t values (zeroblob(600000)), (zeroblob(600000)) returning n",
                 TY_ERR_TOO_LARGE, "result_max", "");

    assert_int_equal(number_of(&place, "select count(*) from t"), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void statements_cannot_change_what_belongs_to_the_connection(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "begin",
        "commit",
        "savepoint x",
        "attach 'x.db' as x",
        "pragma foreign_keys=off",
        "pragma query_only(0)",
        "pragma journal_mode=delete",
        "create temp table t(n)",
        "vacuum into 'copy.db'",
    };
    struct place place;

    place_open(&place);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_fails(&place, refused[i], TY_ERR_INTERNAL, "SQLITE_AUTH", "");

    assert_int_equal(ask(&place, "create table t(n)", NULL), 0);
    assert_int_equal(ask(&place, "pragma table_info(t)", NULL), 0);
    assert_int_equal(number_of(&place, "pragma foreign_keys"), 1);
    assert_int_equal(number_of(&place, "pragma trusted_schema"), 0);
    assert_int_equal(ask(&place, "vacuum", NULL), 0);
    assert_int_equal(ask(&place, "analyze", NULL), 0);
    assert_int_equal(ask(&place, "reindex", NULL), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void a_script_is_done_whole_or_not_at_all(void **state)
{
    (void)state;
    static const char good[] = "create table t(n); insert into t values (1);\n"
                               "create trigger x after insert on t begin delete from t; end; -- .";
    static const char bad[] = "insert into t values (2);\n\n insert into nowhere values (1)";
    struct place place;
    struct task task = {
        .op = {.verb = TY_SQL_SCRIPT, .sql = good, .sql_len = strlen(good), .done = on_task}};

    place_open(&place);
    ty_sql_start(place.db, &task.op);
    finish(&place, &task);
    assert_int_equal(task.op.status, 0);
    task = (struct task){
        .op = {.verb = TY_SQL_SCRIPT, .sql = bad, .sql_len = strlen(bad), .done = on_task}};
    ty_sql_start(place.db, &task.op);
    finish(&place, &task);

    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.line, 3);
    assert_int_equal(number_of(&place, "select count(*) from t"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void prepared_statements_are_kept_in_bounds(void **state)
{
    (void)state;
    struct place place;
    char sql[32];

    place_open(&place);
    assert_int_equal(ask(&place, "create table t(n)", NULL), 0); /* so that readers are used */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++) {
            snprintf(sql, sizeof(sql), "select %d", i);
            assert_int_equal(number_of(&place, sql), i);
        }
    }

    /* sqlite_stmt lists the statements of the connection that is asked. */
    assert_in_range(number_of(&place, "select count(*) from sqlite_stmt"), 1, 10);
    assert_int_equal(place_leave(&place), 0);
}

static void a_cached_statement_notices_a_new_column(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_open(&place);
    assert_int_equal(ask(&place, "create table t(a)", NULL), 0);
    assert_int_equal(ask(&place, "insert into t values (1)", NULL), 0);
    assert_int_equal(ask(&place, "select * from t", NULL), 0);
    assert_int_equal(ask(&place, "alter table t add column b default 2", NULL), 0);
    for (int i = 0; i < 4; i++) { /* on either reader */
        start(&place, &task, "select * from t");
        finish(&place, &task);
        assert_int_equal(task.op.column_count, 2);
        ty_sql_op_close(&task.op);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void a_database_in_memory_is_one_for_all(void **state)
{
    (void)state;
    struct place place;

    place_make(&place);
    struct ty_sql_options options = place_options(&place);
    options.url = "sqlite::memory:";
    place.db = ty_sql_new(&place.loop, &options, NULL);

    assert_int_equal(ask(&place, "create table t(n)", NULL), 0);
    assert_int_equal(ask(&place, "insert into t values (1), (2)", NULL), 0);
    assert_int_equal(number_of(&place, "select count(*) from t"), 2);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_comes_back_as_it_went_in),
        cmocka_unit_test(placeholders_are_numbers_and_may_repeat),
        cmocka_unit_test(wrong_statements_are_the_programs_fault),
        cmocka_unit_test(a_constraint_is_named),
        cmocka_unit_test(changes_and_the_last_id_are_told),
        cmocka_unit_test(columns_declared_boolean_are),
        cmocka_unit_test(a_result_has_a_largest_size_and_what_it_wrote_is_undone),
        cmocka_unit_test(statements_cannot_change_what_belongs_to_the_connection),
        cmocka_unit_test(a_script_is_done_whole_or_not_at_all),
        cmocka_unit_test(prepared_statements_are_kept_in_bounds),
        cmocka_unit_test(a_cached_statement_notices_a_new_column),
        cmocka_unit_test(a_database_in_memory_is_one_for_all),
    };
    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
