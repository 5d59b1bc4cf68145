#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../core/metrics/registry.h"
#include "tycho/metrics.h"

enum { SLOTS = 4 };

static const struct ty_metric requests = {
    .name = "test_requests_total", .help = "Requests \\ of a\ntest.", .type = TY_COUNTER};
static const struct ty_metric active = {.name = "test_active", .help = "Active.", .type = TY_GAUGE};
static const struct ty_metric duration = {
    .name = "test_duration_seconds", .help = "Duration.", .type = TY_HISTOGRAM};

/* Fresh shared memory, this process in slot 0. */
static void *fresh(void)
{
    size_t size = ty_metrics_size(SLOTS);
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    ty_metrics_format(memory, SLOTS);
    ty_metrics_attach(memory, 0);
    return memory;
}

static void drop(void *memory)
{
    munmap(memory, ty_metrics_size(SLOTS));
}

static char *scrape(int openmetrics)
{
    struct ty_buf out = {0};

    ty_metrics_render(&out, openmetrics);
    ty_buf_cstr(&out);
    return out.data;
}

/* Runs `body` as the process of `slot`; returns its wait status. */
static int in_child(void *memory, unsigned slot, void (*body)(void *memory))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        ty_metrics_attach(memory, slot);
        body(memory);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void count_three(void *memory)
{
    (void)memory;
    ty_counter_add(ty_metrics_series(&requests, "code=\"200\""), 3);
    ty_gauge_set(ty_metrics_series(&active, NULL), 5);
}

static void a_private_registry_works_without_attaching(void **state)
{
    (void)state;
    ty_counter_add(ty_metrics_series(&requests, NULL), 2);
    ty_counter_add(ty_metrics_series(&requests, NULL), 0.5);

    assert_true(ty_metrics_value("test_requests_total", NULL) == 2.5);
    assert_true(ty_metrics_value("test_requests_total", "a=\"b\"") == 0);
}

static void a_series_is_found_again_by_name_and_labels(void **state)
{
    void *memory = fresh();

    (void)state;
    struct ty_series *a = ty_metrics_series(&requests, "code=\"200\"");
    assert_ptr_equal(ty_metrics_series(&requests, "code=\"200\""), a);
    assert_ptr_not_equal(ty_metrics_series(&requests, "code=\"404\""), a);
    drop(memory);
}

static void a_scrape_adds_up_what_all_processes_counted(void **state)
{
    void *memory = fresh();

    (void)state;
    count_three(memory);
    for (unsigned slot = 1; slot < SLOTS; slot++)
        assert_int_equal(in_child(memory, slot, count_three), 0);

    assert_true(ty_metrics_value("test_requests_total", "code=\"200\"") == 3 * SLOTS);
    assert_true(ty_metrics_value("test_active", NULL) == 5 * SLOTS);
    drop(memory);
}

static void a_replaced_process_counts_on_and_its_gauges_start_at_zero(void **state)
{
    void *memory = fresh();

    (void)state;
    in_child(memory, 1, count_three);
    assert_true(ty_metrics_value("test_active", NULL) == 5);
    ty_metrics_attach(memory, 1);
    assert_true(ty_metrics_value("test_active", NULL) == 0);
    ty_counter_add(ty_metrics_series(&requests, "code=\"200\""), 4);

    assert_true(ty_metrics_value("test_requests_total", "code=\"200\"") == 7);
    drop(memory);
}

static void die_with_the_lock(void *memory)
{
    struct ty_metric_registry *registry = memory;

    pthread_mutex_lock(&registry->lock);
    /* half a series and half a family, as at the worst moment */
    uint32_t count = atomic_load(&registry->series_count);
    memset(&registry->series[count], 0xAB, sizeof(registry->series[count]) / 2);
    memset(&registry->families[atomic_load(&registry->family_count)], 0xAB, 64);
    registry->hashes[count] = 0xABABABAB;
    kill(getpid(), SIGKILL);
}

static void a_process_killed_inside_the_lock_blocks_nobody(void **state)
{
    void *memory = fresh();

    (void)state;
    alarm(20); /* a lock that is never released must fail the test, not hang it */
    count_three(memory);
    int status = in_child(memory, 1, die_with_the_lock);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    ty_counter_add(ty_metrics_series(&requests, "code=\"500\""), 1);
    ty_histogram_observe(ty_metrics_series(&duration, NULL), 0.2);
    assert_int_equal(in_child(memory, 1, count_three), 0);
    alarm(0);

    assert_true(ty_metrics_value("test_requests_total", "code=\"500\"") == 1);
    assert_true(ty_metrics_value("test_requests_total", "code=\"200\"") == 6);
    char *text = scrape(0);
    assert_null(strchr(text, (char)0xAB));
    free(text);
    drop(memory);
}

static void processes_that_register_at_once_agree(void **state)
{
    void *memory = fresh();
    pid_t children[SLOTS - 1];

    (void)state;
    for (unsigned slot = 1; slot < SLOTS; slot++) {
        children[slot - 1] = fork();
        if (children[slot - 1] == 0) {
            ty_metrics_attach(memory, slot);
            for (int i = 0; i < 300; i++) {
                char labels[32];

                snprintf(labels, sizeof(labels), "n=\"%d\"", i);
                ty_counter_add(ty_metrics_series(&requests, labels), 1);
            }
            _exit(0);
        }
    }
    for (unsigned i = 0; i < SLOTS - 1; i++)
        waitpid(children[i], NULL, 0);

    for (int i = 0; i < 300; i++) {
        char labels[32];

        snprintf(labels, sizeof(labels), "n=\"%d\"", i);
        assert_true(ty_metrics_value("test_requests_total", labels) == SLOTS - 1);
    }
    drop(memory);
}

static void series_beyond_the_bound_are_dropped_and_counted(void **state)
{
    void *memory = fresh();
    size_t lines = 0;

    (void)state;
    for (int i = 0; i < TY_METRIC_SERIES_MAX + 100; i++) {
        char labels[32];

        snprintf(labels, sizeof(labels), "n=\"%d\"", i);
        ty_counter_add(ty_metrics_series(&requests, labels), 1);
    }

    assert_true(ty_metrics_value("tycho_metrics_dropped_series_total", NULL) == 101);
    char *text = scrape(0);
    for (char *at = text; (at = strstr(at, "\ntest_requests_total{")); at++)
        lines++;
    assert_int_equal(lines, TY_METRIC_SERIES_MAX - 1);
    free(text);
    drop(memory);
}

static void a_metric_that_contradicts_another_is_dropped(void **state)
{
    static const struct ty_metric impostor = {
        .name = "test_active", .help = "", .type = TY_HISTOGRAM};
    void *memory = fresh();

    (void)state;
    ty_gauge_set(ty_metrics_series(&active, NULL), 1);
    ty_histogram_observe(ty_metrics_series(&impostor, NULL), 100);
    ty_histogram_observe(ty_metrics_series(&impostor, "a=\"b\""), 100);

    assert_true(ty_metrics_value("test_active", NULL) == 1);
    assert_true(ty_metrics_value("tycho_metrics_dropped_series_total", NULL) == 2);
    drop(memory);
}

static void the_text_format_is_that_of_prometheus(void **state)
{
    static const double bounds[] = {0.5, 1, 2.5};
    static const struct ty_metric small = {.name = "test_size_bytes",
                                           .help = "Sizes.",
                                           .type = TY_HISTOGRAM,
                                           .bounds = bounds,
                                           .bound_count = 3};
    struct ty_buf labels = {0};
    void *memory = fresh();

    (void)state;
    ty_metrics_add_label(&labels, "path", "a\"b\\c\nd", 7);
    ty_metrics_add_label(&labels, "code", "200", 3);
    ty_counter_add(ty_metrics_series(&requests, ty_buf_cstr(&labels)), 1);
    ty_buf_close(&labels);
    ty_gauge_set(ty_metrics_series(&active, NULL), -0.1);
    ty_counter_add(ty_metrics_series(&requests, NULL), 9007199254740991.0);
    for (int i = 0; i < 4; i++)
        ty_histogram_observe(ty_metrics_series(&small, "a=\"b\""), i);
    char *text = scrape(0);

    assert_string_equal(
        text, "# TYPE tycho_metrics_dropped_series_total counter\n"
              "# HELP tycho_metrics_dropped_series_total Series that were not registered because "
              "there was no room for them.\n"
              "tycho_metrics_dropped_series_total 0\n"
              "# TYPE test_requests_total counter\n"
              "# HELP test_requests_total Requests \\\\ of a\\ntest.\n"
              "test_requests_total{path=\"a\\\"b\\\\c\\nd\",code=\"200\"} 1\n"
              "test_requests_total 9007199254740991\n"
              "# TYPE test_active gauge\n"
              "# HELP test_active Active.\n"
              "test_active -0.1\n"
              "# TYPE test_size_bytes histogram\n"
              "# HELP test_size_bytes Sizes.\n"
              "test_size_bytes_bucket{a=\"b\",le=\"0.5\"} 1\n"
              "test_size_bytes_bucket{a=\"b\",le=\"1\"} 2\n"
              "test_size_bytes_bucket{a=\"b\",le=\"2.5\"} 3\n"
              "test_size_bytes_bucket{a=\"b\",le=\"+Inf\"} 4\n"
              "test_size_bytes_sum{a=\"b\"} 6\n"
              "test_size_bytes_count{a=\"b\"} 4\n");
    free(text);
    drop(memory);
}

static void the_other_format_is_openmetrics(void **state)
{
    void *memory = fresh();

    (void)state;
    ty_counter_add(ty_metrics_series(&requests, NULL), 1);
    ty_histogram_observe(ty_metrics_series(&duration, NULL), 3);
    char *text = scrape(1);

    assert_non_null(strstr(text, "# TYPE test_requests counter\n"));
    assert_non_null(strstr(text, "\ntest_requests_total 1\n"));
    assert_non_null(strstr(text, "# TYPE test_duration_seconds histogram\n"
                                 "# UNIT test_duration_seconds seconds\n# HELP"));
    assert_non_null(strstr(text, "le=\"0.005\"} 0\n"));
    assert_non_null(strstr(text, "le=\"5.0\"} 1\n"));
    assert_non_null(strstr(text, "le=\"10.0\"} 1\n"));
    assert_string_equal(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
    free(text);
    drop(memory);
}

static void a_value_on_a_bound_is_inside_it(void **state)
{
    void *memory = fresh();

    (void)state;
    ty_histogram_observe(ty_metrics_series(&duration, NULL), 0.005);
    char *text = scrape(0);

    assert_non_null(strstr(text, "le=\"0.005\"} 1\n"));
    assert_true(ty_metrics_value("test_duration_seconds", NULL) == 1);
    free(text);
    drop(memory);
}

static void buckets_are_told_apart(void **state)
{
    static const double bounds[] = {1, 2};
    static const struct ty_metric metric = {"test_buckets_seconds", "Help.", TY_HISTOGRAM, bounds,
                                            2};
    void *memory = fresh();
    struct ty_series *series = ty_metrics_series(&metric, NULL);
    double most[TY_METRIC_BUCKETS_MAX + 1], counts[TY_METRIC_BUCKETS_MAX + 1];

    (void)state;
    ty_histogram_observe(series, 0.5);
    ty_histogram_observe(series, 1.5);
    ty_histogram_observe(series, 1.5);
    ty_histogram_observe(series, 9);

    assert_int_equal(ty_metrics_buckets("test_buckets_seconds", NULL, most, counts), 3);
    assert_float_equal(most[1], 2, 0);
    assert_float_equal(counts[0], 1, 0);
    assert_float_equal(counts[1], 2, 0);
    assert_float_equal(counts[2], 1, 0);
    assert_int_equal(ty_metrics_buckets("test_no_such_seconds", NULL, most, counts), 0);
    drop(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_private_registry_works_without_attaching),
        cmocka_unit_test(buckets_are_told_apart),
        cmocka_unit_test(a_series_is_found_again_by_name_and_labels),
        cmocka_unit_test(a_scrape_adds_up_what_all_processes_counted),
        cmocka_unit_test(a_replaced_process_counts_on_and_its_gauges_start_at_zero),
        cmocka_unit_test(a_process_killed_inside_the_lock_blocks_nobody),
        cmocka_unit_test(processes_that_register_at_once_agree),
        cmocka_unit_test(series_beyond_the_bound_are_dropped_and_counted),
        cmocka_unit_test(a_metric_that_contradicts_another_is_dropped),
        cmocka_unit_test(the_text_format_is_that_of_prometheus),
        cmocka_unit_test(the_other_format_is_openmetrics),
        cmocka_unit_test(a_value_on_a_bound_is_inside_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
