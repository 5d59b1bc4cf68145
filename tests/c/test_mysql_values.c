#include <math.h>

#include "mysql_place.h"

enum { ROUNDS = 3000 };

static uint64_t seed = 88172645463325252u;

static uint64_t any(void) /* xorshift */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static const char table[] =
    "create table all_types(id int primary key, tiny tinyint, tinyu tinyint unsigned,"
    " small smallint, medium mediumint, plain int, plainu int unsigned, big bigint,"
    " bigu bigint unsigned, flag boolean, narrow float, wide double, exact decimal(40, 10),"
    " name varchar(200), long_name longtext, raw varbinary(200), long_raw longblob,"
    " at datetime(6), stamp timestamp(6) null, day date, clock time(6), y year, doc json,"
    " bits bit(64), choice enum('a', 'b'), some set('x', 'y'), code uuid, address inet6)";

static struct ty_sql_value integer(int64_t number)
{
    return (struct ty_sql_value){.type = TY_SQL_INTEGER, .integer = number};
}

static struct ty_sql_value text(const char *chars)
{
    return (struct ty_sql_value){.type = TY_SQL_TEXT, .bytes = {chars, strlen(chars)}};
}

static void assert_same(const struct ty_sql_value *sent, const struct ty_sql_value *got)
{
    if (sent->type == TY_SQL_NULL) {
        assert_int_equal(got->type, TY_SQL_NULL);
        return;
    }
    if (sent->type == TY_SQL_REAL) {
        assert_int_equal(got->type, TY_SQL_REAL);
        assert_memory_equal(&got->real, &sent->real, sizeof(got->real));
        return;
    }
    if (sent->type <= TY_SQL_UNSIGNED) {
        assert_int_equal(got->type, sent->type);
        assert_true(got->integer == sent->integer);
        return;
    }
    assert_int_equal(got->type, sent->type == TY_SQL_TIMESTAMP ? TY_SQL_TEXT : sent->type);
    assert_int_equal(got->bytes.len, sent->bytes.len);
    if (got->bytes.len)
        assert_memory_equal(got->bytes.data, sent->bytes.data, got->bytes.len);
}

/* A value that goes into a column of this type comes back as it was. */
static void round_trip(struct place *place, const char *column, const struct ty_sql_value *value)
{
    char sql[160];
    struct task task;
    struct ty_sql_value values[2] = {*value, *value};

    snprintf(sql, sizeof(sql), "update all_types set %s = $1 where id = 1", column);
    start_with(place, &task, sql, values, 1);
    finish(place, &task);
    if (task.op.status)
        fprintf(stderr, "%s: %.*s\n", column,
                value->type >= TY_SQL_TEXT ? (int)value->bytes.len : 0, value->bytes.data);
    say_error(&task);
    assert_int_equal(task.op.status, 0);
    assert_int_equal(task.op.changes, 1);
    ty_sql_op_close(&task.op);

    snprintf(sql, sizeof(sql), "select %s from all_types where id = 1", column);
    start(place, &task, sql);
    finish(place, &task);
    assert_int_equal(task.op.status, 0);
    struct ty_sql_value got = cell(&task.op, 0, 0);
    assert_same(value, &got);
    ty_sql_op_close(&task.op);
}

static void open_table(struct place *place)
{
    struct ty_sql_options options = place_options(place);

    options.statements = 200;
    place_open_with(place, &options);
    ask(place, table);
    ask(place, "insert into all_types(id) values (1)");
}

static int leave_table(struct place *place)
{
    ask(place, "drop table all_types");
    return place_leave(place);
}

static void integers_keep_every_bit(void **state)
{
    static const struct {
        const char *column;
        int64_t min, max;
    } columns[] = {
        {"tiny", INT8_MIN, INT8_MAX},
        {"tinyu", 0, UINT8_MAX},
        {"small", INT16_MIN, INT16_MAX},
        {"medium", -8388608, 8388607},
        {"plain", INT32_MIN, INT32_MAX},
        {"plainu", 0, UINT32_MAX},
        {"big", INT64_MIN, INT64_MAX},
        {"bigu", 0, INT64_MAX},
        {"y", 1901, 2155},
        {"bits", 0, INT64_MAX},
    };
    struct place place;

    (void)state;
    open_table(&place);
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        uint64_t span = (uint64_t)columns[i].max - (uint64_t)columns[i].min;
        struct ty_sql_value value = integer(columns[i].min);

        round_trip(&place, columns[i].column, &value);
        value = integer(columns[i].max);
        round_trip(&place, columns[i].column, &value);
        for (int round = 0; round < 50; round++) {
            uint64_t off = span == UINT64_MAX ? any() : any() % (span + 1);
            value = integer((int64_t)((uint64_t)columns[i].min + off));
            round_trip(&place, columns[i].column, &value);
        }
    }
    struct ty_sql_value huge = {.type = TY_SQL_UNSIGNED, .natural = UINT64_MAX};
    round_trip(&place, "bigu", &huge);
    round_trip(&place, "bits", &huge);
    huge.natural = (uint64_t)INT64_MAX + 1;
    round_trip(&place, "bigu", &huge);
    for (int flag = 0; flag < 2; flag++) {
        struct ty_sql_value value = {.type = TY_SQL_BOOLEAN, .integer = flag};
        round_trip(&place, "flag", &value);
    }
    assert_int_equal(leave_table(&place), 0);
}

static void reals_keep_every_bit(void **state)
{
    struct place place;
    struct ty_sql_value value = {.type = TY_SQL_REAL};

    (void)state;
    open_table(&place);
    for (int i = 0; i < ROUNDS / 10; i++) {
        uint64_t bits = any();

        memcpy(&value.real, &bits, sizeof(bits));
        if (!isfinite(value.real) || fabs(value.real) < 2.3e-308)
            continue;
        round_trip(&place, "wide", &value);
    }
    for (int i = 0; i < 200; i++) { /* what a float can hold is written as short as it can be */
        value.real = (double)(any() % 2000000) / 100000;
        char text_of_it[32];
        snprintf(text_of_it, sizeof(text_of_it), "%.6g", value.real);
        value.real = strtod(text_of_it, NULL);
        round_trip(&place, "narrow", &value);
    }
    value.real = (double)NAN;
    struct task task;
    start_with(&place, &task, "select $1", &value, 1);
    finish(&place, &task);
    assert_int_equal(task.op.error.kind, TY_ERR_INVALID);
    ty_sql_op_close(&task.op);
    assert_int_equal(leave_table(&place), 0);
}

static void decimals_are_texts_and_exact(void **state)
{
    struct place place;
    char digits[64];

    (void)state;
    open_table(&place);
    for (int i = 0; i < 200; i++) {
        snprintf(digits, sizeof(digits), "%s%llu.%010llu", i % 2 ? "-" : "",
                 (unsigned long long)(1 + any() % 1000000000000000000u),
                 (unsigned long long)(any() % 10000000000u));
        struct ty_sql_value value = text(digits);
        round_trip(&place, "exact", &value);
    }
    assert_says(&place, "select cast(0.1 as decimal(3,2)) + cast(0.2 as decimal(3,2))", "0.30");
    assert_int_equal(leave_table(&place), 0);
}

/* Any text, of characters of one to four bytes, and any bytes, with and without NUL. */
static void texts_and_bytes_are_kept_as_they_are(void **state)
{
    static const char *const letters[] = {
        "a", "\\", "'",  "\"", "%", "\xc3\xb6", "\xe2\x82\xac", "\xf0\x9f\x90\x98",
        " ", "\n", "$1", "?"};
    static const size_t lengths[] = {0, 1, 50, 250, 251, 252, 70000};
    struct place place;

    (void)state;
    open_table(&place);
    for (int round = 0; round < 200; round++) {
        struct ty_buf chars = {0}, bytes = {0};
        size_t max = lengths[round % 7];
        const char *suffix = max > 200 ? "long_name" : "name";

        while (chars.len + 4 < max || (chars.len < max && max < 4))
            ty_buf_adds(&chars, letters[any() % 12]);
        for (size_t i = 0; i < max; i++)
            ty_buf_addc(&bytes, (char)any());
        if (max <= 50 || max > 200) {
            struct ty_sql_value value = {.type = TY_SQL_TEXT, .bytes = {chars.data, chars.len}};
            round_trip(&place, suffix, &value);
            value = (struct ty_sql_value){.type = TY_SQL_BLOB, .bytes = {bytes.data, bytes.len}};
            round_trip(&place, max > 200 ? "long_raw" : "raw", &value);
        }
        ty_buf_close(&chars);
        ty_buf_close(&bytes);
    }
    assert_int_equal(leave_table(&place), 0);
}

static void times_are_utc_with_six_digits(void **state)
{
    struct place place;
    char moment[64];

    (void)state;
    open_table(&place);
    for (int i = 0; i < 200; i++) {
        bool is_stamp = i % 2;
        unsigned year = (unsigned)(is_stamp ? 1971 + any() % 60 : 1000 + any() % 9000);
        snprintf(moment, sizeof(moment), "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", year,
                 (unsigned)(1 + any() % 12), (unsigned)(1 + any() % 28), (unsigned)(any() % 24),
                 (unsigned)(any() % 60), (unsigned)(any() % 60),
                 i % 5 ? (unsigned)(any() % 1000000) : 0);
        struct ty_sql_value value = text(moment);
        value.type = TY_SQL_TIMESTAMP;
        round_trip(&place, is_stamp ? "stamp" : "at", &value);
        moment[10] = '\0';
        value = text(moment);
        round_trip(&place, "day", &value);
    }
    assert_says(&place, "select cast('2026-11-21 16:00:00' as datetime)",
                "2026-11-21T16:00:00.000000Z");
    assert_says(&place, "select cast('2026-11-21' as datetime)", "2026-11-21T00:00:00.000000Z");
    assert_says(&place, "select cast('-100:00:01.5' as time(1))", "-100:00:01.500000");
    assert_says(&place, "select cast('08:30:00' as time)", "08:30:00");
    ask(&place, "update all_types set stamp = from_unixtime(0.5) where id = 1");
    assert_says(&place, "select stamp from all_types", "1970-01-01T00:00:00.500000Z");

    static const char *const wrong[] = {"", "now", "2026-11-21", "2026-11-21T16:00:00+01:00"};
    for (size_t i = 0; i < 4; i++) {
        struct ty_sql_value value = text(wrong[i]);
        struct task task;

        value.type = TY_SQL_TIMESTAMP;
        start_with(&place, &task, "select $1", &value, 1);
        finish(&place, &task);
        assert_int_equal(task.op.error.kind, TY_ERR_INVALID);
        ty_sql_op_close(&task.op);
    }
    assert_int_equal(leave_table(&place), 0);
}

static void other_types_have_their_own_form(void **state)
{
    struct place place;
    struct ty_sql_value value = text("{\"a\": [1, null]}");

    (void)state;
    open_table(&place);
    value.type = TY_SQL_JSON;
    round_trip(&place, "doc", &value);
    value = text("b");
    round_trip(&place, "choice", &value);
    value = text("x,y");
    round_trip(&place, "some", &value);
    value = text("123e4567-e89b-12d3-a456-426655440000");
    round_trip(&place, "code", &value);
    value = text("2001:db8::ff00:42:8329");
    round_trip(&place, "address", &value);

    value = (struct ty_sql_value){.type = TY_SQL_ARRAY, .other_len = 5};
    value.bytes = (struct ty_slice){"{1,2}[1,2]", 5};
    struct task task;
    start_with(&place, &task, "select $1", &value, 1);
    finish(&place, &task);
    assert_string_equal(text_of(&task.op, 0, 0), "[1,2]");
    ty_sql_op_close(&task.op);
    assert_int_equal(leave_table(&place), 0);
}

static void every_column_may_be_null(void **state)
{
    struct place place;
    struct task task;
    struct ty_sql_value null = {.type = TY_SQL_NULL};

    (void)state;
    open_table(&place);
    round_trip(&place, "big", &null);
    round_trip(&place, "name", &null);
    start(&place, &task, "select * from all_types");
    finish(&place, &task);
    assert_int_equal(task.op.status, 0);
    for (unsigned i = 1; i < task.op.column_count; i++)
        assert_int_equal(cell(&task.op, 0, i).type, TY_SQL_NULL);
    ty_sql_op_close(&task.op);
    start(&place, &task, "select null, 1, null");
    finish(&place, &task);
    assert_int_equal(cell(&task.op, 0, 1).integer, 1);
    assert_int_equal(cell(&task.op, 0, 2).type, TY_SQL_NULL);
    ty_sql_op_close(&task.op);
    assert_int_equal(leave_table(&place), 0);
}

static void what_the_server_would_not_take_is_not_sent(void **state)
{
    struct place place;
    struct task task;
    size_t len = 17 * 1024 * 1024;
    char *large = calloc(1, len);
    struct ty_sql_value value = {.type = TY_SQL_BLOB, .bytes = {large, len}};

    (void)state;
    place_open(&place);
    start_with(&place, &task, "select length($1)", &value, 1);
    finish(&place, &task);
    assert_int_equal(task.op.error.kind, TY_ERR_TOO_LARGE);
    ty_sql_op_close(&task.op);

    value.bytes.len = 15 * 1024 * 1024;
    start_with(&place, &task, "select length($1)", &value, 1);
    finish(&place, &task);
    assert_int_equal(task.op.status, 0);
    assert_int_equal(cell(&task.op, 0, 0).integer, 15 * 1024 * 1024);
    ty_sql_op_close(&task.op);
    free(large);
    assert_int_equal(place_leave(&place), 0);
}

static void a_text_that_the_server_would_not_take_is_not_sent(void **state)
{
    enum { LEN = 20000 };
    struct place place;
    struct task task;
    char sql[LEN + 1];

    (void)state;
    memset(sql, ' ', LEN);
    memcpy(sql, "select 1", 8);
    sql[LEN] = '\0';
    database_sql(&server, NULL, "set global max_allowed_packet = 16384");
    place_open(&place);
    for (int i = 0; i < 2; i++) {
        task_init(&task, i ? TY_SQL_SCRIPT : TY_SQL_RUN, sql);
        ty_sql_start(place.db, &task.op);
        finish(&place, &task);
        assert_int_equal(task.op.error.kind, TY_ERR_TOO_LARGE);
        ty_sql_op_close(&task.op);
    }
    sql[10000] = '\0';
    assert_int_equal(ask(&place, sql), 1);
    assert_int_equal(place_leave(&place), 0);
    database_sql(&server, NULL, "set global max_allowed_packet = 16777216");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_keep_every_bit),
        cmocka_unit_test(reals_keep_every_bit),
        cmocka_unit_test(decimals_are_texts_and_exact),
        cmocka_unit_test(texts_and_bytes_are_kept_as_they_are),
        cmocka_unit_test(times_are_utc_with_six_digits),
        cmocka_unit_test(other_types_have_their_own_form),
        cmocka_unit_test(every_column_may_be_null),
        cmocka_unit_test(what_the_server_would_not_take_is_not_sent),
        cmocka_unit_test(a_text_that_the_server_would_not_take_is_not_sent),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
