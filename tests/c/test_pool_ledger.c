#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "sql/pool_ledger.h"
#include "support/figure.h"
#include "tycho/clock.h"

static void nap(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

static void a_ledger_gives_no_more_places_than_there_are(void **state)
{
    struct pool_ledger *ledger = pool_ledger_open("test", 3);

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_ledger_claim(ledger), i);
    assert_int_equal(pool_ledger_claim(ledger), POOL_NO_PLACE);
    assert_int_equal(pool_ledger_used(ledger), 3);
    pool_ledger_close(ledger);
}

static void a_place_is_free_a_moment_after_its_connection_was_closed(void **state)
{
    struct pool_ledger *ledger = pool_ledger_open("test", 1);

    (void)state;
    assert_int_equal(pool_ledger_claim(ledger), 0);
    uint64_t began = ty_now_ms();
    pool_ledger_release(ledger, 0, POOL_CLOSED_MS);
    while (pool_ledger_claim(ledger) == POOL_NO_PLACE)
        nap(1);
    assert_in_range(ty_now_ms() - began, POOL_CLOSED_MS, at_most_ms(POOL_CLOSED_MS + 1000));
    pool_ledger_close(ledger);
}

static void databases_are_counted_by_name(void **state)
{
    int fd = ty_sql_ledger_create();

    (void)state;
    assert_true(ty_sql_ledger_is_one(fd));
    assert_int_equal(ty_sql_ledger_attach(fd), 0);
    struct pool_ledger *a = pool_ledger_open("a", 1), *again = pool_ledger_open("a", 1),
                       *b = pool_ledger_open("b", 1);
    assert_int_equal(pool_ledger_claim(a), 0);
    assert_int_equal(pool_ledger_claim(again), POOL_NO_PLACE);
    assert_int_equal(pool_ledger_claim(b), 0);
    pool_ledger_close(a);
    pool_ledger_close(again);
    pool_ledger_close(b);
    ty_sql_ledger_detach();
    close(fd);
}

static void something_else_is_not_taken_for_a_ledger(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_false(ty_sql_ledger_is_one(fds[0]));
    assert_int_equal(ty_sql_ledger_attach(fds[0]), UV_EINVAL);
    assert_int_equal(ty_sql_ledger_attach(-1), UV_EINVAL);
    close(fds[0]);
    close(fds[1]);
}

/* ---- with others */

/* In another process, which dies with us. */
static pid_t beside(void (*run)(void *arg), void *arg)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    run(arg);
    _exit(0);
}

static void hold_one(void *arg)
{
    struct pool_ledger *ledger = pool_ledger_open("test", 2);
    int *fds = arg, place = pool_ledger_claim(ledger);

    if (write(fds[1], &place, sizeof(place)) != sizeof(place))
        _exit(1);
    for (;;)
        pause();
}

static void what_the_dead_held_is_free_when_the_server_has_noticed(void **state)
{
    int fd = ty_sql_ledger_create(), fds[2], place = POOL_NO_PLACE;

    (void)state;
    assert_int_equal(ty_sql_ledger_attach(fd), 0);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = beside(hold_one, fds);
    assert_int_equal(read(fds[0], &place, sizeof(place)), sizeof(place));
    struct pool_ledger *ledger = pool_ledger_open("test", 2);
    assert_int_equal(pool_ledger_claim(ledger), 1);
    pool_ledger_sweep(ledger); /* it is alive */
    assert_int_equal(pool_ledger_claim(ledger), POOL_NO_PLACE);

    uint64_t killed = ty_now_ms();
    kill(pid, SIGKILL);
    while (pool_ledger_claim(ledger) != place) { /* a zombie is dead as well */
        pool_ledger_sweep(ledger);
        nap(5);
    }
    assert_in_range(ty_now_ms() - killed, POOL_GRACE_MS, at_most_ms(POOL_GRACE_MS + 2000));
    waitpid(pid, NULL, 0);
    pool_ledger_close(ledger);
    ty_sql_ledger_detach();
    close(fd);
    close(fds[0]);
    close(fds[1]);
}

static void want_one(void *arg)
{
    struct pool_ledger *ledger = pool_ledger_open("test", 4);

    (void)arg;
    for (;;) {
        pool_ledger_want(ledger);
        nap(10);
    }
}

static void who_has_more_than_its_share_is_asked_for_it(void **state)
{
    int fd = ty_sql_ledger_create();

    (void)state;
    assert_int_equal(ty_sql_ledger_attach(fd), 0);
    struct pool_ledger *ledger = pool_ledger_open("test", 4);
    for (int i = 0; i < 4; i++)
        pool_ledger_claim(ledger);
    pool_ledger_want(ledger);
    assert_false(pool_ledger_is_wanted(ledger)); /* not by others */
    pid_t pid = beside(want_one, NULL);
    while (!pool_ledger_is_wanted(ledger))
        nap(1);
    assert_true(pool_ledger_is_greedy(ledger, 4));
    assert_true(pool_ledger_is_greedy(ledger, 3));
    assert_false(pool_ledger_is_greedy(ledger, 2)); /* two of four for each */

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (pool_ledger_is_wanted(ledger)) /* who is gone wants nothing */
        nap(5);
    pool_ledger_close(ledger);
    ty_sql_ledger_detach();
    close(fd);
}

static void tell(void *arg)
{
    struct pool_ledger *ledger = pool_ledger_open("test", 4);
    int *fds = arg, tells = pool_ledger_tells(ledger);

    if (write(fds[1], &tells, sizeof(tells)) != sizeof(tells))
        _exit(1);
    for (;;)
        pause();
}

static void one_process_tells_what_is_the_same_for_all(void **state)
{
    int fd = ty_sql_ledger_create(), fds[2], tells = 0;

    (void)state;
    assert_int_equal(ty_sql_ledger_attach(fd), 0);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = beside(tell, fds);
    assert_int_equal(read(fds[0], &tells, sizeof(tells)), sizeof(tells));
    assert_true(tells);
    struct pool_ledger *ledger = pool_ledger_open("test", 4);
    pool_ledger_sweep(ledger);
    assert_false(pool_ledger_tells(ledger));

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    pool_ledger_sweep(ledger);
    assert_true(pool_ledger_tells(ledger));
    pool_ledger_close(ledger);
    ty_sql_ledger_detach();
    close(fd);
    close(fds[0]);
    close(fds[1]);
}

/* ---- processes that are killed at any moment */

enum { STORM_MAX = 7, STORM_PROCESSES = 6 };

/* What a server would count: a connection is there until a while after its owner's end. */
static struct storm {
    _Atomic unsigned holders[STORM_MAX]; /* who uses the place now: must be one, or nobody */
    _Atomic uint64_t left_ms[STORM_MAX]; /* when a living one left it */
    _Atomic unsigned mistakes, claims;
} * storm;

static void use(struct pool_ledger *ledger, unsigned place)
{
    unsigned me = (unsigned)getpid(), before = atomic_exchange(&storm->holders[place], me);

    /* Whoever was there is dead: for so long that the server has noticed. The parent clears those
     * that it has killed only then. */
    if (before != 0)
        atomic_fetch_add(&storm->mistakes, 1);
    atomic_fetch_add(&storm->claims, 1);
    nap((unsigned)(random() % 4));
    atomic_store(&storm->holders[place], 0);
    pool_ledger_release(ledger, place, 0);
}

static void come_and_go(void *arg)
{
    struct pool_ledger *ledger = pool_ledger_open("test", STORM_MAX);

    (void)arg;
    srandom((unsigned)getpid());
    for (;;) {
        int place = pool_ledger_claim(ledger);

        if (place >= STORM_MAX)
            atomic_fetch_add(&storm->mistakes, 1);
        else if (place != POOL_NO_PLACE)
            use(ledger, (unsigned)place);
        else
            nap(1);
        if (random() % 16 == 0)
            pool_ledger_sweep(ledger);
    }
}

/* The dead one's connections end now, half a second after it: as a server does. */
static void end_of(pid_t pid)
{
    for (unsigned i = 0; i < STORM_MAX; i++) {
        unsigned holder = (unsigned)pid;

        atomic_compare_exchange_strong(&storm->holders[i], &holder, 0);
    }
}

static void there_are_never_too_many_although_processes_are_killed(void **state)
{
    const char *asked = getenv("TYCHO_TEST_LONG");
    uint64_t end = ty_now_ms() + (asked && *asked == '1' ? 60000 : 6000);
    int fd = ty_sql_ledger_create(), kills = 0;
    pid_t pids[STORM_PROCESSES];

    (void)state;
    storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(ty_sql_ledger_attach(fd), 0);
    for (int i = 0; i < STORM_PROCESSES; i++)
        pids[i] = beside(come_and_go, NULL);
    for (; ty_now_ms() < end; kills++) {
        int at = kills % STORM_PROCESSES;

        nap(20);
        kill(pids[at], SIGKILL);
        nap(500);
        end_of(pids[at]);
        waitpid(pids[at], NULL, 0);
        pids[at] = beside(come_and_go, NULL);
    }
    for (int i = 0; i < STORM_PROCESSES; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }

    assert_int_equal(storm->mistakes, 0);
    assert_true(storm->claims > 100);
    struct pool_ledger *ledger = pool_ledger_open("test", STORM_MAX);
    pool_ledger_sweep(ledger);
    nap(POOL_GRACE_MS + 10);
    assert_int_equal(pool_ledger_used(ledger), 0); /* nothing is lost for ever */
    pool_ledger_close(ledger);
    ty_sql_ledger_detach();
    munmap(storm, sizeof(*storm));
    close(fd);
}

/* Who has no descriptor left cannot look anybody up. */
static void who_cannot_see_the_others_takes_nobody_for_dead(void **state)
{
    int fd = ty_sql_ledger_create(), ready[2];
    struct rlimit limit, none;

    (void)state;
    assert_int_equal(ty_sql_ledger_attach(fd), 0);
    struct pool_ledger *ledger = pool_ledger_open("test", 1);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct pool_ledger *own = pool_ledger_open("test", 1);
        bool got = pool_ledger_claim(own) == 0;
        _exit(write(ready[1], &got, 1) == 1 && pause());
    }
    bool got = false;
    assert_int_equal(read(ready[0], &got, 1), 1);
    assert_true(got);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    pool_ledger_sweep(ledger);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

    nap(POOL_GRACE_MS + 100);
    assert_int_equal(pool_ledger_claim(ledger), POOL_NO_PLACE);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    pool_ledger_sweep(ledger);
    nap(POOL_GRACE_MS + 100);
    assert_int_equal(pool_ledger_claim(ledger), 0);
    pool_ledger_close(ledger);
    ty_sql_ledger_detach();
    close(ready[0]);
    close(ready[1]);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ledger_gives_no_more_places_than_there_are),
        cmocka_unit_test(a_place_is_free_a_moment_after_its_connection_was_closed),
        cmocka_unit_test(databases_are_counted_by_name),
        cmocka_unit_test(something_else_is_not_taken_for_a_ledger),
        cmocka_unit_test(what_the_dead_held_is_free_when_the_server_has_noticed),
        cmocka_unit_test(who_has_more_than_its_share_is_asked_for_it),
        cmocka_unit_test(one_process_tells_what_is_the_same_for_all),
        cmocka_unit_test(there_are_never_too_many_although_processes_are_killed),
        cmocka_unit_test(who_cannot_see_the_others_takes_nobody_for_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
