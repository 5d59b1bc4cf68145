#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <uv.h>

#include "tycho/symbols.h"

static int a_static_function(int x)
{
    return x + 1;
}

static void the_name_of(struct ty_symbols *symbols, uintptr_t address, const char *expected)
{
    char name[TY_SYMBOL_MAX] = "";

    assert_int_equal(ty_symbols_name(symbols, address, name), strlen(expected));
    assert_string_equal(name, expected);
}

static void static_functions_of_the_program_have_names(void **state)
{
    struct ty_symbols *symbols = ty_symbols_new();

    (void)state;
    the_name_of(symbols, (uintptr_t)a_static_function, "a_static_function");
    the_name_of(symbols, (uintptr_t)a_static_function + 2, "a_static_function");
    ty_symbols_free(symbols);
}

static void exported_functions_of_a_library_have_names(void **state)
{
    struct ty_symbols *symbols = ty_symbols_new();
    int (*volatile run)(uv_loop_t *, uv_run_mode) = uv_run;

    (void)state;
    the_name_of(symbols, (uintptr_t)run + 1, "uv_run");
    ty_symbols_free(symbols);
}

static void an_address_in_no_file_has_none(void **state)
{
    struct ty_symbols *symbols = ty_symbols_new();
    char name[TY_SYMBOL_MAX];

    (void)state;
    assert_int_equal(ty_symbols_name(symbols, 0, name), 0);
    assert_int_equal(ty_symbols_name(symbols, (uintptr_t)name, name), 0);
    assert_int_equal(ty_symbols_name(symbols, UINTPTR_MAX, name), 0);
    ty_symbols_free(symbols);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_functions_of_the_program_have_names),
        cmocka_unit_test(exported_functions_of_a_library_have_names),
        cmocka_unit_test(an_address_in_no_file_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
