#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tycho/suggest.h"

static const char *nearest(const char *wanted)
{
    static const char *const words[] = {"serve", "dev", "check", "reload", "rollback", "routes"};
    static struct ty_suggest suggest;

    ty_suggest_init(&suggest, wanted);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        ty_suggest_offer(&suggest, words[i]);
    return suggest.best;
}

static void a_slip_of_the_finger_finds_the_word(void **state)
{
    (void)state;
    assert_string_equal(nearest("srve"), "serve");
    assert_string_equal(nearest("relaod"), "reload");
    assert_string_equal(nearest("RELOAD"), "reload");
    assert_string_equal(nearest("chekc"), "check");
}

static void another_word_finds_nothing(void **state)
{
    (void)state;
    assert_string_equal(nearest("elephant"), "");
    assert_string_equal(nearest("x"), "");
    assert_string_equal(nearest(""), "");
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(ty_suggest_distance("", ""), 0);
    assert_int_equal(ty_suggest_distance("abc", ""), 3);
    assert_int_equal(ty_suggest_distance("prot", "port"), 1); /* two swapped */
    assert_int_equal(ty_suggest_distance("kitten", "sitting"), 3);
}

static void an_overlong_word_is_far_from_everything(void **state)
{
    (void)state;
    char text[TY_SUGGEST_MAX + 2];

    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_true(ty_suggest_distance(text, text) == SIZE_MAX);
    assert_string_equal(nearest(text), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slip_of_the_finger_finds_the_word),
        cmocka_unit_test(another_word_finds_nothing),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(an_overlong_word_is_far_from_everything),
    };
    return cmocka_run_group_tests_name("suggest", tests, NULL, NULL);
}
