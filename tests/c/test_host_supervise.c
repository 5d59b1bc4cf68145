#include "support/figure.h"
#include "support/load.h"

static long pid_of_worker(struct server *server, int index)
{
    char pointer[32];

    snprintf(pointer, sizeof(pointer), "/workers/%d/pid", index);
    return status_of(server, pointer);
}

static bool is_serving_worker(struct server *server, int index, long not_pid)
{
    char text[64];
    long pid = pid_of_worker(server, index);

    snprintf(text, sizeof(text), "\"pid\":%ld,\"state\":\"serving\"", pid);
    return pid > 0 && pid != not_pid && said(server, text);
}

/* On a new server each time: a second death is answered with a pause. */
static uint64_t ms_until_back(struct server *server)
{
    if (server->pid)
        server_stop(server);
    server_start(server, "workers=2");
    long pid = pid_of_worker(server, 0);
    uint64_t before = ty_now_ms();
    assert_int_equal(kill((int)pid, SIGKILL), 0);
    wait_for(is_serving_worker(server, 0, pid));
    return ty_now_ms() - before;
}

static void a_killed_worker_is_back_within_a_second(void **state)
{
    struct server *server = *state;
    uint64_t took = ms_until_back(server);

    for (int i = 0; took >= 1000 && i < 4; i++) /* other work on the machine is no fault of it */
        took = ms_until_back(server);
    assert_in_range(took, 0, at_most_ms(999));
    status_of(server, "");
    assert_int_equal(number_at(server, "/workers/0/restarts"), 1);
    assert_non_null(strstr(get_file(server, "err"), "was killed by signal 9"));
    assert_int_equal(get(server, server->admin_port, "/metrics"), 200);
    assert_true(said(server, "tycho_worker_restarts_total{worker=\"1\"} 1\n"));
}

static void nobody_is_refused_while_workers_are_killed(void **state)
{
    struct server *server = *state;
    struct load load;

    server_start(server, "workers=2");
    load_start(&load, server->port, "/");
    for (int i = 0; i < 2; i++) {
        long pid = pid_of_worker(server, i);
        kill((int)pid, SIGKILL);
        wait_for(is_serving_worker(server, i, pid));
    }
    struct tally tally = load_stop_after(&load, 100);

    assert_int_equal(tally.refused, 0);
    assert_in_range(tally.failed, 0, CLIENTS * 2); /* what those had accepted */
}

static void one_worker_alone_refuses_nobody_either(void **state)
{
    struct server *server = *state;
    struct load load;

    server_start(server, "workers=1");
    load_start(&load, server->port, "/");
    long pid = pid_of_worker(server, 0);
    kill((int)pid, SIGKILL);
    wait_for(is_serving_worker(server, 0, pid));
    struct tally tally = load_stop_after(&load, 100);

    assert_int_equal(tally.refused, 0);
    assert_in_range(tally.failed, 0, CLIENTS);
}

static void neighbours_accept_for_a_stopped_worker(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    long pid = pid_of_worker(server, 0);
    kill((int)pid, SIGSTOP);
    /* connections are spread over both sockets: twenty cannot all be the other one's */
    for (int i = 0; i < 20; i++)
        assert_int_equal(get(server, server->port, "/"), 200);
    kill((int)pid, SIGCONT);
    assert_int_equal(pid_of_worker(server, 0), pid);
}

static void a_silent_worker_is_killed_and_named(void **state)
{
    struct server *server = *state;
    int fd;

    server_start(server, "workers=1", "host.heartbeat_timeout=1s", "lua.slice_max=500ms",
                 "reload.load_timeout=10ms");
    long pid = pid_of_worker(server, 0);
    fd = dial(server->port);
    ask_http(fd, "/spin");
    wait_for(is_serving_worker(server, 0, pid));

    const char *why = strstr(get_file(server, "err"), "has not answered for ");
    assert_non_null(why);
    assert_in_range(atoi(why + strlen("has not answered for ")), 1000, LIMIT_MS);
    assert_int_equal(get(server, server->port, "/"), 200);
    close(fd);
}

static void a_worker_that_keeps_dying_is_started_less_often(void **state)
{
    struct server *server = *state;
    uint64_t before = 0;

    server_start(server, "workers=1");
    for (int i = 0; i < 3; i++) { /* at once, after 1 s, after 2 s */
        long pid = pid_of_worker(server, 0);
        before = ty_now_ms();
        kill((int)pid, SIGKILL);
        wait_for(is_serving_worker(server, 0, pid));
    }

    assert_in_range(ty_now_ms() - before, 2000, LIMIT_MS);
    assert_non_null(strstr(get_file(server, "err"), "keeps dying: next start in 2 s"));
}

static void a_worker_told_to_stop_finishes_and_is_replaced(void **state)
{
    struct server *server = *state;
    struct load load;

    server_start(server, "workers=2");
    load_start(&load, server->port, "/slow?20");
    long pid = pid_of_worker(server, 0);
    kill((int)pid, SIGTERM);
    wait_for(is_serving_worker(server, 0, pid));
    struct tally tally = load_stop_after(&load, 100);

    assert_int_equal(tally.failed, 0);
    assert_int_equal(tally.refused, 0);
}

static void signals_for_the_terminal_leave_workers_alone(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    long pid = pid_of_worker(server, 0);
    kill((int)pid, SIGINT);
    kill((int)pid, SIGHUP);
    kill((int)pid, SIGUSR1);
    assert_int_equal(get(server, server->port, "/"), 200);
    assert_int_equal(pid_of_worker(server, 0), pid);
}

static void workers_die_with_the_master(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    long pid = pid_of_worker(server, 0);
    kill(server->pid, SIGKILL);
    server_wait(server);

    wait_for(kill((int)pid, 0) != 0);
}

/* ---- stopping */

static void sigterm_under_load_fails_no_request(void **state)
{
    struct server *server = *state;
    struct load load;

    server_start(server, "workers=2");
    load_start(&load, server->port, "/slow?5");
    wait_for(load_tally(&load).answered > 50);
    assert_int_equal(server_stop(server), 0);
    struct tally tally = load_stop(&load);

    assert_int_equal(tally.failed, 0);
}

static void sigterm_lets_a_request_finish(void **state)
{
    struct server *server = *state;
    int fd;

    server_start(server, "workers=2");
    fd = dial(server->port);
    ask_http(fd, "/slow?500");
    wait_for(status_of(server, "/workers/0/requests") + number_at(server, "/workers/1/requests") ==
             1);
    kill(server->pid, SIGTERM);
    wait_for(get(server, server->admin_port, "/readyz") == 503 || has_ended(server));

    assert_int_equal(read_http(server, fd), 200);
    assert_int_equal(server_wait(server), 0);
}

static void what_the_kernel_accepted_before_sigterm_is_answered(void **state)
{
    struct server *server = *state;
    int fds[40];

    server_start(server, "workers=2");
    long first = pid_of_worker(server, 0), second = pid_of_worker(server, 1);
    kill((int)first, SIGSTOP);
    kill((int)second, SIGSTOP);
    for (int i = 0; i < 40; i++) {
        fds[i] = dial(server->port);
        ask_http(fds[i], "/");
    }
    kill(server->pid, SIGTERM);
    kill((int)first, SIGCONT);
    kill((int)second, SIGCONT);

    for (int i = 0; i < 40; i++)
        assert_int_equal(read_http(server, fds[i]), 200);
    assert_int_equal(server_wait(server), 0);
}

static void the_queue_of_a_stuck_worker_is_answered_by_the_others_at_the_end(void **state)
{
    struct server *server = *state;
    int fds[20];

    server_start(server, "workers=2", "host.shutdown_timeout=2s");
    kill((int)pid_of_worker(server, 0), SIGSTOP);
    for (int i = 0; i < 20; i++) {
        fds[i] = dial(server->port);
        ask_http(fds[i], "/");
    }
    kill(server->pid, SIGTERM);

    for (int i = 0; i < 20; i++)
        assert_int_equal(read_http(server, fds[i]), 200);
    assert_int_equal(server_wait(server), 0);
}

static void requests_that_take_too_long_are_cut(void **state)
{
    struct server *server = *state;
    uint64_t before;
    int fd;

    server_start(server, "workers=1", "host.shutdown_timeout=300ms");
    fd = dial(server->port);
    ask_http(fd, "/slow?60000");
    wait_for(status_of(server, "/workers/0/requests") == 1);
    before = ty_now_ms();
    assert_int_equal(server_stop(server), 0);

    assert_in_range(ty_now_ms() - before, 300, at_most_ms(LIMIT_MS / 2));
    assert_int_equal(read_http(server, fd), 0);
}

static void a_second_signal_kills(void **state)
{
    struct server *server = *state;
    int fd;

    server_start(server, "workers=1");
    fd = dial(server->port);
    ask_http(fd, "/slow?60000");
    wait_for(status_of(server, "/workers/0/requests") == 1);
    kill(server->pid, SIGINT);
    wait_for(get(server, server->admin_port, "/readyz") == 503);
    kill(server->pid, SIGINT);

    assert_int_equal(server_wait(server), 1);
    close(fd);
}

static int host_tests(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_killed_worker_is_back_within_a_second),
        WITH_FOLDER(nobody_is_refused_while_workers_are_killed),
        WITH_FOLDER(one_worker_alone_refuses_nobody_either),
        WITH_FOLDER(neighbours_accept_for_a_stopped_worker),
        WITH_FOLDER(a_silent_worker_is_killed_and_named),
        WITH_FOLDER(a_worker_that_keeps_dying_is_started_less_often),
        WITH_FOLDER(a_worker_told_to_stop_finishes_and_is_replaced),
        WITH_FOLDER(signals_for_the_terminal_leave_workers_alone),
        WITH_FOLDER(workers_die_with_the_master),
        WITH_FOLDER(sigterm_under_load_fails_no_request),
        WITH_FOLDER(sigterm_lets_a_request_finish),
        WITH_FOLDER(what_the_kernel_accepted_before_sigterm_is_answered),
        WITH_FOLDER(the_queue_of_a_stuck_worker_is_answered_by_the_others_at_the_end),
        WITH_FOLDER(requests_that_take_too_long_are_cut),
        WITH_FOLDER(a_second_signal_kills),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_as(argc, argv, host_tests);
}
