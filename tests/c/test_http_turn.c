/* A worker, simulated: requests arrive at random, each that is let in takes its time, each that is
 * refused a little, and time is a number. */
#include "../../core/http/turn.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka.h needs those above */
#include <cmocka.h>

enum { LAG_MS = 50, SECONDS = 40, HALF = SECONDS / 2, ARRIVALS_MAX = 2000 * SECONDS };

static const uint64_t SECOND = 1000000000, MS = 1000000, REFUSAL = 20000;

struct worker {
    struct ty_turn turn;
    uint64_t now, random;
    uint64_t service; /* ns of one request */
    uint64_t burn;    /* what the next one takes longer */
    double rate;      /* requests a second */
    bool is_even;     /* they come one by one at equal intervals, not at random */
    uint64_t next;    /* arrival */

    uint64_t waits[ARRIVALS_MAX]; /* of those let in */
    size_t let_in, refused;
};

static double random_share(struct worker *w)
{
    w->random = w->random * 6364136223846793005U + 1442695040888963407U;
    return (double)((w->random >> 11) + 1) / 9007199254740993.0;
}

static uint64_t next_arrival(struct worker *w)
{
    double mean = (double)SECOND / w->rate;

    return w->next + (uint64_t)(w->is_even ? mean : -log(random_share(w)) * mean);
}

/* One turn: all that had arrived when it began. */
static void turn(struct worker *w)
{
    ty_turn_end(&w->turn, w->now);
    if (w->now < w->next)
        w->now = w->next; /* the loop waits */

    uint64_t began = w->now;

    ty_turn_begin(&w->turn, began / MS);
    while (w->next <= began) {
        bool is_late = ty_turn_waited(&w->turn, w->now) > w->turn.limit_ns;

        if (is_late && ty_turn_refuses(&w->turn, w->now)) {
            w->refused++;
            w->now += REFUSAL;
        } else {
            assert_true(w->let_in < ARRIVALS_MAX);
            w->turn.let_in++;
            w->now += w->service + w->burn;
            w->burn = 0;
            w->waits[w->let_in++] = w->now - w->next;
        }
        w->next = next_arrival(w);
    }
}

static void run(struct worker *w, double seconds)
{
    uint64_t until = w->now + (uint64_t)(seconds * (double)SECOND);

    while (w->now < until)
        turn(w);
}

static struct worker *new_worker(double service_ms, double load, bool is_even)
{
    struct worker *w = calloc(1, sizeof(*w));

    w->random = 42;
    w->now = 1000 * SECOND;
    w->next = w->now;
    w->service = (uint64_t)(service_ms * (double)MS);
    w->rate = load * 1000 / service_ms;
    w->is_even = is_even;
    ty_turn_configure(&w->turn, LAG_MS);
    return w;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double p99_ms(struct worker *w)
{
    qsort(w->waits, w->let_in, sizeof(w->waits[0]), compare);
    return (double)w->waits[(size_t)((double)w->let_in * 0.99)] / (double)MS;
}

/* Requests answered, as a share of what the worker can do; and their p99. */
static double goodput(double service_ms, double load, bool is_even, double *p99)
{
    struct worker *w = new_worker(service_ms, load, is_even);

    run(w, 2); /* till it has noticed */
    w->let_in = 0;

    uint64_t from = w->now;

    run(w, HALF);
    double share = (double)w->let_in * (double)w->service / (double)(w->now - from);
    *p99 = p99_ms(w);
    if (getenv("TYCHO_TEST_SHOW"))
        print_message("%g ms at %g: %.1f %%, p99 %.1f ms, refused %zu\n", service_ms, load,
                      share * 100, *p99, w->refused);
    free(w);
    return share;
}

static void goodput_holds_and_those_let_in_are_quick_at_any_load(void **state)
{
    static const double services[] = {1, 3, 4, 5, 20};
    static const double loads[] = {2, 3, 5};
    double calm, p99;

    (void)state;
    for (size_t s = 0; s < sizeof(services) / sizeof(services[0]); s++) {
        goodput(services[s], 0.9, false, &calm);
        for (size_t l = 0; l < sizeof(loads) / sizeof(loads[0]); l++) {
            assert_true(goodput(services[s], loads[l], false, &p99) > 0.9);
            assert_true(p99 < 2 * calm);
            assert_true(goodput(services[s], loads[l], true, &p99) > 0.9);
        }
    }
}

static void the_beginning_of_a_storm_is_short(void **state)
{
    (void)state;
    for (unsigned load = 2; load <= 5; load += 3) {
        struct worker *w = new_worker(4, load, true);

        run(w, 10);
        assert_true(p99_ms(w) < 50);
        free(w);
    }
}

static void below_its_limits_it_refuses_next_to_nobody(void **state)
{
    static const double services[] = {0.1, 4, 20, 100};

    (void)state;
    for (size_t s = 0; s < sizeof(services) / sizeof(services[0]); s++) {
        struct worker *w = new_worker(services[s], 0.6, false);

        run(w, s ? SECONDS : 2);
        assert_int_equal(w->refused, 0);
        free(w);
    }
    struct worker *w = new_worker(4, 0.9, true);

    run(w, SECONDS);
    assert_int_equal(w->refused, 0);
    free(w);

    w = new_worker(4, 0.8, false);
    run(w, SECONDS);
    assert_true(w->refused < w->let_in / 50);
    free(w);
}

static void a_neighbours_long_turn_sheds_nobody(void **state)
{
    (void)state;
    for (int i = 1; i <= 20; i++) {
        struct worker *w = new_worker(4, 0.3, false);

        w->random += (uint64_t)i;
        run(w, 1);
        w->burn = (uint64_t)i * 100 * MS;
        run(w, 5);
        assert_int_equal(w->refused, 0);
        free(w);
    }
}

/* Nor those that the loop had already seen when their neighbour began. */
static void one_slow_request_sheds_nobody_behind_it(void **state)
{
    struct ty_turn t = {0};
    uint64_t now = 1000 * SECOND;

    (void)state;
    ty_turn_configure(&t, LAG_MS);
    for (int turns = 0; turns < 3; turns++) {
        ty_turn_end(&t, now);
        ty_turn_begin(&t, now / MS);
        for (int i = 0; i < 20; i++) {
            bool is_late = ty_turn_waited(&t, now) > t.limit_ns;

            assert_false(is_late && ty_turn_refuses(&t, now));
            t.let_in++;
            now += turns == 0 && i % 10 == 1 ? 400 * MS : MS;
        }
    }
    ty_turn_end(&t, now);
    assert_int_equal(t.late_ns, 0);
}

static void it_stops_refusing_when_the_storm_is_over(void **state)
{
    struct worker *w = new_worker(4, 5, false);

    (void)state;
    run(w, 5);
    assert_true(w->turn.is_shedding);
    w->rate = 0.8 * 250;
    run(w, 2);
    w->refused = 0;
    assert_false(w->turn.is_shedding);
    run(w, 1);
    assert_int_equal(w->refused, 0);
    free(w);
}

static void one_of_each_turn_is_let_in_however_slow_the_worker_is(void **state)
{
    struct worker *w = new_worker(400, 3, false);

    (void)state;
    run(w, SECONDS);
    assert_true(w->let_in >= SECONDS * 2);
    assert_true(w->refused > w->let_in);
    free(w);
}

static void nothing_is_late_without_a_limit(void **state)
{
    struct worker *w = new_worker(4, 3, false);

    (void)state;
    ty_turn_configure(&w->turn, 0);
    run(w, 5);
    assert_int_equal(w->refused, 0);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goodput_holds_and_those_let_in_are_quick_at_any_load),
        cmocka_unit_test(the_beginning_of_a_storm_is_short),
        cmocka_unit_test(below_its_limits_it_refuses_next_to_nobody),
        cmocka_unit_test(a_neighbours_long_turn_sheds_nobody),
        cmocka_unit_test(one_slow_request_sheds_nobody_behind_it),
        cmocka_unit_test(it_stops_refusing_when_the_storm_is_over),
        cmocka_unit_test(one_of_each_turn_is_let_in_however_slow_the_worker_is),
        cmocka_unit_test(nothing_is_late_without_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
