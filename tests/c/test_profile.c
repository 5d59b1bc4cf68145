#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tycho/profile.h"
#include "tycho/symbols.h"

static volatile unsigned sink;

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

__attribute__((noinline)) static void innermost(double seconds)
{
    double until = cpu_seconds() + seconds;

    while (cpu_seconds() < until)
        for (unsigned i = 0; i < 100000; i++)
            sink += i;
}

__attribute__((noinline)) static void middle(double seconds)
{
    innermost(seconds);
    sink++;
}

__attribute__((noinline)) static void outermost(double seconds)
{
    middle(seconds);
    sink++;
}

static bool no_script(void)
{
    return false;
}

static bool has_frames(struct ty_symbols *symbols, const struct ty_sample *sample)
{
    static const char *const names[] = {"innermost", "middle", "outermost"};
    size_t at = 0;
    char name[TY_SYMBOL_MAX];

    for (unsigned i = 0; i < sample->depth && at < 3; i++)
        if (ty_symbols_name(symbols, sample->stack[i] - (i > 0), name) &&
            strcmp(name, names[at]) == 0)
            at++;
    return at == 3;
}

static void samples_count_cpu_time_and_hold_the_stack(void **state)
{
    struct ty_symbols *symbols = ty_symbols_new();
    struct ty_sample sample;
    unsigned total = 0, whole = 0;

    (void)state;
    assert_int_equal(ty_profile_start(100, no_script), 0);
    outermost(1);
    while (ty_profile_take(&sample)) {
        total += sample.weight;
        whole += has_frames(symbols, &sample) ? sample.weight : 0;
        assert_false(sample.in_script);
    }
    ty_profile_stop();

    assert_in_range(total, 90, 110);
    /* the thread sanitizer runs handlers later, with the context of then */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    assert_true(whole > total * 8 / 10);
#endif
    assert_true(whole <= total);
    ty_symbols_free(symbols);
}

static void waiting_is_not_sampled(void **state)
{
    struct timespec pause = {.tv_nsec = 200000000};
    struct ty_sample sample;
    unsigned total = 0;

    (void)state;
    assert_int_equal(ty_profile_start(100, no_script), 0);
    while (nanosleep(&pause, &pause) != 0)
        ;
    while (ty_profile_take(&sample))
        total += sample.weight;
    ty_profile_stop();

    assert_in_range(total, 0, 1);
}

static void there_is_one_at_a_time(void **state)
{
    struct ty_sample sample;

    (void)state;
    assert_int_equal(ty_profile_start(100, no_script), 0);
    assert_int_equal(ty_profile_start(100, no_script), -EBUSY);
    ty_profile_stop();
    ty_profile_stop();

    assert_false(ty_profile_take(&sample));
    assert_int_equal(ty_profile_start(100, no_script), 0);
    ty_profile_stop();
}

/* The signals are the test's own: how many of its own a busy machine's kernel finds time for is not
 * the question. */
static void what_nobody_takes_is_counted_as_lost(void **state)
{
    enum { ROOM = 1024, MORE = 5 };
    struct ty_sample sample;
    unsigned total = 0;

    (void)state;
    assert_int_equal(ty_profile_start(1, no_script), 0);
    for (int i = 0; i < ROOM; i++)
        raise(SIGPROF);
    assert_int_equal(ty_profile_lost(), 0);
    for (int i = 0; i < MORE; i++)
        raise(SIGPROF);
    assert_int_equal(ty_profile_lost(), MORE);
    while (ty_profile_take(&sample))
        total += sample.weight;
    ty_profile_stop();

    assert_int_equal(total, ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_count_cpu_time_and_hold_the_stack),
        cmocka_unit_test(waiting_is_not_sampled),
        cmocka_unit_test(there_is_one_at_a_time),
        cmocka_unit_test(what_nobody_takes_is_counted_as_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
