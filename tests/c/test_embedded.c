#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <string.h>

#include "tycho/embedded.h"

static void every_file_is_found_by_its_name(void **state)
{
    (void)state;
    assert_true(ty_embedded_count > 0);

    for (size_t i = 0; i < ty_embedded_count; i++)
        assert_ptr_equal(ty_embedded_find(ty_embedded_files[i].name), &ty_embedded_files[i]);
}

static void an_unknown_name_is_not_found(void **state)
{
    (void)state;
    assert_null(ty_embedded_find("lib/tycho/no-such-file.lua"));
    assert_null(ty_embedded_find(""));
}

static void data_ends_in_a_nul_after_its_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < ty_embedded_count; i++)
        assert_int_equal(ty_embedded_files[i].data[ty_embedded_files[i].len], 0);
}

static void a_walk_over_a_prefix_meets_exactly_its_files(void **state)
{
    size_t expected = 0, met = 0;

    (void)state;
    for (size_t i = 0; i < ty_embedded_count; i++)
        expected += strncmp(ty_embedded_files[i].name, "lib/", 4) == 0;

    for (const struct ty_embedded *f = NULL; (f = ty_embedded_next("lib/", f)); met++)
        assert_memory_equal(f->name, "lib/", 4);
    assert_int_equal(met, expected);
}

static void the_version_is_three_numbers(void **state)
{
    (void)state;
    assert_int_equal(strspn(ty_version, "0123456789."), strlen(ty_version));
    assert_non_null(strchr(ty_version, '.'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_found_by_its_name),
        cmocka_unit_test(an_unknown_name_is_not_found),
        cmocka_unit_test(data_ends_in_a_nul_after_its_length),
        cmocka_unit_test(a_walk_over_a_prefix_meets_exactly_its_files),
        cmocka_unit_test(the_version_is_three_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
