#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <string.h>

#include "tycho/error.h"

static void setting_fills_everything_and_returns_minus_one(void **state)
{
    struct ty_error error;

    (void)state;
    assert_int_equal(ty_error_set(&error, TY_ERR_CONFLICT, "23505", "%s %d", "taken", 7), -1);

    assert_int_equal(error.kind, TY_ERR_CONFLICT);
    assert_string_equal(error.detail, "23505");
    assert_string_equal(error.message, "taken 7");
}

static void without_detail_it_is_empty(void **state)
{
    struct ty_error error = {.detail = "old"};

    (void)state;
    ty_error_set(&error, TY_ERR_INVALID, NULL, "no");
    assert_string_equal(error.detail, "");
}

static void nobody_has_to_ask(void **state)
{
    (void)state;
    assert_int_equal(ty_error_set(NULL, TY_ERR_INVALID, NULL, "no"), -1);
}

static void too_long_texts_are_cut(void **state)
{
    struct ty_error error;
    char text[3000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ty_error_set(&error, TY_ERR_INTERNAL, text, "%s", text);

    assert_int_equal(strlen(error.detail), TY_ERROR_DETAIL_MAX - 1);
    assert_int_equal(strlen(error.message), TY_ERROR_MESSAGE_MAX - 1);
}

static void every_kind_has_a_name_and_an_error_status(void **state)
{
    (void)state;
#define X(symbol, text, http)                                       \
    assert_string_equal(ty_error_kind_name(TY_ERR_##symbol), text); \
    assert_int_equal(ty_error_kind_status(TY_ERR_##symbol), http);  \
    assert_in_range(http, 400, 599);
    TY_ERRORS(X)
#undef X
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_fills_everything_and_returns_minus_one),
        cmocka_unit_test(without_detail_it_is_empty),
        cmocka_unit_test(nobody_has_to_ask),
        cmocka_unit_test(too_long_texts_are_cut),
        cmocka_unit_test(every_kind_has_a_name_and_an_error_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
