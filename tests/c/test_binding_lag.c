#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include "lag.h"

/* The table belongs to the process: the tests below share it, in their order. */

static yyjson_doc *described(void)
{
    struct ty_buf json = {0};
    yyjson_doc *doc;

    ty_lag_describe(&json);
    doc = yyjson_read(json.data, json.len, 0);
    assert_non_null(doc);
    ty_buf_close(&json);
    return doc;
}

static const char *text_of(yyjson_val *line, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(line, name));
}

static double number_of(yyjson_val *line, const char *name)
{
    return yyjson_get_num(yyjson_obj_get(line, name));
}

static void nothing_has_held_the_loop_at_first(void **state)
{
    yyjson_doc *doc = described();

    (void)state;
    assert_int_equal(yyjson_arr_size(yyjson_doc_get_root(doc)), 0);
    yyjson_doc_free(doc);
}

static void a_line_that_comes_back_is_added_up(void **state)
{
    (void)state;
    ty_lag_note("GET /slow", "scripts/app/slow.lua:3", 60);
    ty_lag_note("GET /slow", "scripts/app/slow.lua:3", 80);

    yyjson_doc *doc = described();
    yyjson_val *line = yyjson_arr_get_first(yyjson_doc_get_root(doc));
    assert_string_equal(text_of(line, "route"), "GET /slow");
    assert_string_equal(text_of(line, "line"), "scripts/app/slow.lua:3");
    assert_int_equal((int)number_of(line, "count"), 2);
    assert_float_equal(number_of(line, "total"), 0.14, 1e-6);
    assert_float_equal(number_of(line, "max"), 0.08, 1e-6);
    assert_true(number_of(line, "last") < 60);
    yyjson_doc_free(doc);
}

static void the_dearest_line_comes_first(void **state)
{
    (void)state;
    ty_lag_note("GET /slower", NULL, 500);

    yyjson_doc *doc = described();
    yyjson_val *line = yyjson_arr_get_first(yyjson_doc_get_root(doc));
    assert_string_equal(text_of(line, "route"), "GET /slower");
    assert_string_equal(text_of(line, "line"), "");
    yyjson_doc_free(doc);
}

static void the_cheapest_line_makes_room_when_there_are_too_many(void **state)
{
    char line[32];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof(line), "scripts/app/x.lua:%d", i);
        ty_lag_note("GET /many", line, 51);
    }

    yyjson_doc *doc = described();
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_int_equal(yyjson_arr_size(root), 64);
    assert_string_equal(text_of(yyjson_arr_get(root, 0), "route"), "GET /slower");
    assert_string_equal(text_of(yyjson_arr_get(root, 1), "route"), "GET /slow");
    yyjson_doc_free(doc);
}

static void names_that_are_too_long_are_cut(void **state)
{
    char name[1000];

    (void)state;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ty_lag_note(name, name, 9999);
    ty_lag_note(name, name, 1);

    yyjson_doc *doc = described();
    yyjson_val *line = yyjson_arr_get_first(yyjson_doc_get_root(doc));
    assert_int_equal(strlen(text_of(line, "route")), 95);
    assert_int_equal((int)number_of(line, "count"), 2);
    yyjson_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_held_the_loop_at_first),
        cmocka_unit_test(a_line_that_comes_back_is_added_up),
        cmocka_unit_test(the_dearest_line_comes_first),
        cmocka_unit_test(the_cheapest_line_makes_room_when_there_are_too_many),
        cmocka_unit_test(names_that_are_too_long_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
