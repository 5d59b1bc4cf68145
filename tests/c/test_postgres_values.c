/* Values, there and back. */
#include "postgres_place.h"

static struct ty_sql_value text(const char *bytes)
{
    return (struct ty_sql_value){.type = TY_SQL_TEXT, .bytes = {bytes, strlen(bytes)}};
}

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

/* What `select $1::type` makes of a value; the caller closes task->op. */
static struct ty_sql_value there_and_back(struct place *place, struct task *task, const char *type,
                                          struct ty_sql_value value)
{
    static char sql[128];
    static struct ty_sql_value param;

    snprintf(sql, sizeof(sql), "select $1::%s", type);
    param = value;
    start_with(place, task, sql, &param, 1);
    finish(place, task);
    done_well(task);
    return cell_at(&task->op, 0, 0);
}

static void assert_same_text(struct place *place, const char *type, const char *in, const char *out)
{
    struct task task;

    assert_text(there_and_back(place, &task, type, text(in)), out);
    ty_sql_op_close(&task.op);
}

static void texts_dates_and_decimals_come_back(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    assert_same_text(&place, "text", "", "");
    assert_same_text(&place, "text", "gr\xc3\xbc\xc3\x9f' \" \\ \n",
                     "gr\xc3\xbc\xc3\x9f' \" \\ \n");
    assert_same_text(&place, "numeric", "12.30", "12.30");
    assert_same_text(&place, "numeric", "123456789012345678901234567890.5",
                     "123456789012345678901234567890.5");
    assert_same_text(&place, "numeric", "NaN", "NaN");
    assert_same_text(&place, "date", "2026-11-21", "2026-11-21");
    assert_same_text(&place, "timestamptz", "2026-11-21T16:00:00.123456Z",
                     "2026-11-21T16:00:00.123456Z");
    assert_same_text(&place, "timestamptz", "2026-11-21T18:00:00.5+02:00",
                     "2026-11-21T16:00:00.500000Z");
    assert_same_text(&place, "timestamp", "2026-11-21 16:00:00", "2026-11-21T16:00:00.000000");
    assert_same_text(&place, "timestamptz", "infinity", "infinity");
    assert_same_text(&place, "date", "0044-03-15 BC", "0044-03-15 BC");
    assert_same_text(&place, "uuid", "0B0E5F3C-7D5C-4D7B-9E0C-0123456789AB",
                     "0b0e5f3c-7d5c-4d7b-9e0c-0123456789ab");
    assert_same_text(&place, "interval", "1 day 2 hours", "1 day 02:00:00");
    assert_int_equal(place_leave(&place), 0);
}

static void numbers_come_back(void **state)
{
    (void)state;
    static const int64_t integers[] = {0, -1, INT64_MAX, INT64_MIN, 9007199254740993};
    static const double reals[] = {0.1, -1e308, 5e-324, 1.0 / 3, 1e21, 123456789.125};
    struct place place;
    struct task task;

    place_open(&place);
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        struct ty_sql_value got = there_and_back(&place, &task, "int8", integer(integers[i]));

        assert_int_equal(got.type, TY_SQL_INTEGER);
        assert_true(got.integer == integers[i]);
        ty_sql_op_close(&task.op);
    }
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        struct ty_sql_value value = {.type = TY_SQL_REAL, .real = reals[i]};
        struct ty_sql_value got = there_and_back(&place, &task, "float8", value);

        assert_int_equal(got.type, TY_SQL_REAL);
        assert_memory_equal(&got.real, &reals[i], sizeof(double));
        ty_sql_op_close(&task.op);
    }
    struct ty_sql_value nan = {.type = TY_SQL_REAL, .real = __builtin_nan("")};
    assert_true(__builtin_isnan(there_and_back(&place, &task, "float8", nan).real));
    ty_sql_op_close(&task.op);
    struct ty_sql_value yes = {.type = TY_SQL_BOOLEAN, .integer = 1};
    struct ty_sql_value got = there_and_back(&place, &task, "bool", yes);
    assert_int_equal(got.type, TY_SQL_BOOLEAN);
    assert_int_equal(got.integer, 1);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void bytes_documents_and_arrays_come_back(void **state)
{
    (void)state;
    struct place place;
    struct task task;
    char bytes[256];

    place_open(&place);
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    struct ty_sql_value blob = {.type = TY_SQL_BLOB, .bytes = {bytes, sizeof(bytes)}};
    struct ty_sql_value got = there_and_back(&place, &task, "bytea", blob);
    assert_int_equal(got.type, TY_SQL_BLOB);
    assert_int_equal(got.bytes.len, sizeof(bytes));
    assert_memory_equal(got.bytes.data, bytes, sizeof(bytes));
    ty_sql_op_close(&task.op);

    struct ty_sql_value json = {.type = TY_SQL_JSON, .bytes = TY_SLICE("{\"a\": [1, null]}")};
    got = there_and_back(&place, &task, "jsonb", json);
    assert_int_equal(got.type, TY_SQL_JSON);
    assert_true(ty_slice_is(got.bytes, "{\"a\": [1, null]}"));
    ty_sql_op_close(&task.op);

    struct ty_sql_value array = {.type = TY_SQL_ARRAY, .bytes = TY_SLICE("{1,NULL,3}")};
    got = there_and_back(&place, &task, "int8[]", array);
    assert_int_equal(got.type, TY_SQL_ARRAY);
    assert_int_equal(got.element, TY_SQL_INTEGER);
    assert_true(ty_slice_is(got.bytes, "{1,NULL,3}"));
    ty_sql_op_close(&task.op);

    struct ty_sql_value null = {.type = TY_SQL_NULL};
    assert_int_equal(there_and_back(&place, &task, "int8", null).type, TY_SQL_NULL);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_dates_and_decimals_come_back),
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(bytes_documents_and_arrays_come_back),
    };

    return cmocka_run_group_tests_name("postgres_values", tests, start_server, remove_server);
}
