#include "sqlite_place.h"

#include <signal.h>
#include <sys/wait.h>

/* The children start threads of their own; the thread sanitizer wants to be told. */
const char *__tsan_default_options(void); /* NOLINT(bugprone-reserved-identifier) */
const char *__tsan_default_options(void)  /* NOLINT(bugprone-reserved-identifier) */
{
    return "die_after_fork=0";
}

static int count_up(const char *folder, int times)
{
    struct place place = {0};
    int failures = 0;

    snprintf(place.url, sizeof(place.url), "sqlite:%s/test.db", folder);
    uv_loop_init(&place.loop);
    struct ty_sql_options options = place_options(&place);
    place.db = ty_sql_new(&place.loop, &options, NULL);
    failures += ask(&place, "create table if not exists c(n)", NULL) != 0;
    for (int i = 0; i < times; i++) {
        struct ty_sql_tx *tx = begin(&place);

        failures += done_in(&place, tx, TY_SQL_RUN,
                            "insert into c select 0 where not exists (select 1 from c)") != 0;
        failures += done_in(&place, tx, TY_SQL_RUN, "update c set n = n + 1") != 0;
        failures += done_in(&place, tx, TY_SQL_COMMIT, NULL) != 0;
    }
    place_shut(&place);
    return failures;
}

static void processes_take_turns(void **state)
{
    (void)state;
    enum { PROCESSES = 3, TIMES = 100 };
    struct place place;
    pid_t children[PROCESSES];

    place_make(&place);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(count_up(place.folder, TIMES));
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        waitpid(children[i], &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    struct ty_sql_options options = place_options(&place);
    place.db = ty_sql_new(&place.loop, &options, NULL);

    assert_int_equal(number_of(&place, "select n from c"), PROCESSES * TIMES);
    assert_int_equal(place_leave(&place), 0);
}

static void busy_for_too_long_is_unavailable(void **state)
{
    (void)state;
    struct place one, two;
    struct task task;

    place_open(&one);
    make_table(&one);
    place_make(&two);
    memcpy(two.url, one.url, sizeof(one.url));
    struct ty_sql_options options = place_options(&two);
    options.busy_ms = 50;
    two.db = ty_sql_new(&two.loop, &options, NULL);
    struct ty_sql_tx *tx = begin(&one);
    assert_int_equal(done_in(&one, tx, TY_SQL_RUN, "insert into t values (1)"), 0);
    start(&two, &task, "insert into t values (2)");
    finish(&two, &task);

    assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_string_equal(task.op.error.detail, "SQLITE_BUSY");
    assert_int_equal(done_in(&one, tx, TY_SQL_COMMIT, NULL), 0);
    assert_int_equal(ask(&two, "insert into t values (2)", NULL), 0);
    assert_int_equal(place_leave(&two), 0);
    assert_int_equal(place_leave(&one), 0);
}

/* Commits n = 1, 2, ... and tells each, until it is killed in the middle of one. */
static void write_until_killed(const char *folder, int told)
{
    struct place place = {0};

    snprintf(place.url, sizeof(place.url), "sqlite:%s/test.db", folder);
    uv_loop_init(&place.loop);
    struct ty_sql_options options = place_options(&place);
    place.db = ty_sql_new(&place.loop, &options, NULL);
    for (int n = 1;; n++) {
        struct ty_sql_tx *tx = begin(&place);
        char sql[64];

        snprintf(sql, sizeof(sql), "insert into t values (%d)", n);
        done_in(&place, tx, TY_SQL_RUN, sql);
        done_in(&place, tx, TY_SQL_RUN, "insert into big values (randomblob(100000))");
        done_in(&place, tx, TY_SQL_COMMIT, NULL);
        if (write(told, &n, sizeof(n)) != sizeof(n))
            _exit(1);
    }
}

static void what_a_killed_process_committed_is_there_and_nothing_else(void **state)
{
    (void)state;
    struct place place;
    int ends[2], n = 0, last = 0;

    place_open(&place);
    make_table(&place);
    assert_int_equal(ask(&place, "create table big(b)", NULL), 0);
    place_shut(&place);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0)
            write_until_killed(place.folder, ends[1]);
        close(ends[1]);
        do {
            assert_int_equal(read(ends[0], &n, sizeof(n)), sizeof(n));
        } while (n < 5);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(ends[0], &n, sizeof(n)) == sizeof(n))
            ;
        close(ends[0]);
        last = n;

        struct ty_sql_options options = place_options(&place);
        place.closed = 0;
        place.db = ty_sql_new(&place.loop, &options, NULL);
        assert_int_equal(
            number_of(&place, "select integrity_check = 'ok' from pragma_integrity_check"), 1);
        assert_in_range(rows(&place), last, last + 1); /* one may be committed but not told */
        assert_int_equal(number_of(&place, "select count(*) from big"), rows(&place));
        assert_int_equal(ask(&place, "delete from t", NULL), 0);
        assert_int_equal(ask(&place, "delete from big", NULL), 0);
        place_shut(&place);
    }
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_take_turns),
        cmocka_unit_test(busy_for_too_long_is_unavailable),
        cmocka_unit_test(what_a_killed_process_committed_is_there_and_nothing_else),
    };
    return cmocka_run_group_tests_name("sqlite_processes", tests, NULL, NULL);
}
