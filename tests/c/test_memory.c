#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tycho/memory.h"

static void zeroed_memory_is_zero(void **state)
{
    char *memory = ty_zalloc(64);

    (void)state;
    for (int i = 0; i < 64; i++)
        assert_int_equal(memory[i], 0);
    free(memory);
}

static void a_copy_ends_at_the_given_length(void **state)
{
    char *copy = ty_strndup("abcdef", 3);

    (void)state;
    assert_string_equal(copy, "abc");
    free(copy);
}

static void a_format_gets_as_much_room_as_it_needs(void **state)
{
    char *text = ty_asprintf("%0500d|%s", 7, "end");

    (void)state;
    assert_int_equal(strlen(text), 504);
    assert_string_equal(text + 499, "7|end");
    free(text);
}

static void an_empty_allocation_is_still_memory(void **state)
{
    void *a = ty_alloc(0), *b = ty_realloc(NULL, 0), *c = ty_try_alloc(0);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    free(a);
    free(b);
    free(c);
}

static void the_nth_trying_call_fails_and_only_that(void **state)
{
    (void)state;
    ty_memory_fail_nth(2);

    void *first = ty_try_alloc(8);
    void *second = ty_try_alloc(8);
    void *third = ty_try_realloc(NULL, 8);

    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    free(first);
    free(third);
}

static void out_of_memory_aborts_with_a_message(void **state)
{
    int fds[2], status;
    char said[200];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        volatile size_t huge = SIZE_MAX / 2;

        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        free(ty_alloc(huge));
        _exit(0);
    }
    close(fds[1]);
    ssize_t len = read(fds[0], said, sizeof(said) - 1);
    assert_int_equal(waitpid(child, &status, 0), child);

    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(len > 0);
    said[len] = '\0';
    /* A sanitizer speaks first, in its own words. */
    assert_true(strstr(said, "out of memory") || strstr(said, "AddressSanitizer") ||
                strstr(said, "ThreadSanitizer") || strstr(said, "===="));
    close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(a_copy_ends_at_the_given_length),
        cmocka_unit_test(a_format_gets_as_much_room_as_it_needs),
        cmocka_unit_test(an_empty_allocation_is_still_memory),
        cmocka_unit_test(the_nth_trying_call_fails_and_only_that),
        cmocka_unit_test(out_of_memory_aborts_with_a_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
