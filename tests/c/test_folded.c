#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tycho/folded.h"

static void add(struct ty_folded *folded, const char *stack, uint64_t count)
{
    ty_folded_add(folded, stack, strlen(stack), count);
}

static void assert_rendered(const struct ty_folded *folded, const char *expected)
{
    struct ty_buf out = {0};

    ty_folded_render(folded, &out);
    assert_string_equal(ty_buf_cstr(&out), expected);
    ty_buf_close(&out);
}

static void the_same_stack_is_added_up(void **state)
{
    struct ty_folded *folded = ty_folded_new();

    (void)state;
    add(folded, "worker;b", 1);
    add(folded, "worker;a", 2);
    add(folded, "worker;b", 3);

    assert_rendered(folded, "worker;a 2\nworker;b 4\n");
    assert_int_equal(ty_folded_total(folded), 6);
    assert_int_equal(ty_folded_lost(folded), 0);
    ty_folded_free(folded);
}

static void what_was_rendered_can_be_merged(void **state)
{
    static const char text[] = "worker;list app.lua:3 5\nworker;loop 1\nnonsense\n 4\nlast 7";
    struct ty_folded *folded = ty_folded_new();

    (void)state;
    add(folded, "worker;loop", 10);
    ty_folded_merge(folded, text, sizeof(text) - 1);

    assert_rendered(folded, "last 7\nworker;list app.lua:3 5\nworker;loop 11\n");
    ty_folded_free(folded);
}

static void what_is_beyond_the_bound_is_counted_as_lost(void **state)
{
    struct ty_folded *folded = ty_folded_new();
    char stack[32];

    (void)state;
    for (int i = 0; i < TY_FOLDED_MAX + 100; i++) {
        snprintf(stack, sizeof(stack), "worker;%d", i);
        add(folded, stack, 2);
    }
    add(folded, "worker;0", 1);

    assert_int_equal(ty_folded_lost(folded), 200);
    assert_int_equal(ty_folded_total(folded), 2 * (TY_FOLDED_MAX + 100) + 1);
    ty_folded_free(folded);
}

static void long_stacks_are_bounded_in_bytes(void **state)
{
    struct ty_folded *folded = ty_folded_new();
    static char stack[100000];

    (void)state;
    memset(stack, 'x', sizeof(stack));
    for (int i = 0; i < 100; i++) {
        snprintf(stack, 16, "%015d", i);
        stack[15] = 'x';
        ty_folded_add(folded, stack, sizeof(stack), 1);
    }

    assert_in_range(ty_folded_lost(folded), 58, 59);
    ty_folded_free(folded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_stack_is_added_up),
        cmocka_unit_test(what_was_rendered_can_be_merged),
        cmocka_unit_test(what_is_beyond_the_bound_is_counted_as_lost),
        cmocka_unit_test(long_stacks_are_bounded_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
