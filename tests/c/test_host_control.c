#define _GNU_SOURCE /* prlimit */
#include "support/server.h"

#include <sys/resource.h>
#include <sys/un.h>

static void a_command_that_is_none_is_refused(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    assert_int_equal(command(server, "{\"command\":\"fly\"}"), 1);
    assert_true(said(server, "\\\"fly\\\" is no command"));
    assert_int_equal(command(server, "{\"command\":7}"), 1);
    assert_int_equal(command(server, "[]"), 1);
    assert_int_equal(command(server, "not json"), 1);
    assert_int_equal(command(server, ""), 1);
    assert_int_equal(get(server, server->port, "/"), 200);
}

static void a_server_that_is_not_there_cannot_be_reached(void **state)
{
    struct server *server = *state;

    assert_int_equal(command(server, "{\"command\":\"status\"}"), 3);
}

static void status_says_what_is_going_on(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    assert_int_equal(command(server, "{\"command\":\"status\"}"), 0);
    assert_true(said(server, "\"state\":\"serving\""));
    assert_true(said(server, "\"ready\":true"));
    assert_int_equal(number_at(server, "/pid"), server->pid);
    assert_int_equal(number_at(server, "/workers/1/slot"), 2);
    assert_int_equal(number_at(server, "/workers/1/restarts"), 0);
    assert_int_equal(number_at(server, "/workers/2/slot"), -1);
}

static void ps_asks_every_worker(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    assert_int_equal(command(server, "{\"command\":\"ps\"}"), 0);
    assert_int_equal(
        number_at(server, "/workers/0/worker") + number_at(server, "/workers/1/worker"), 3);
    assert_true(said(server, "\"fibers\":[{\"owner\":\"one\"}]"));
    assert_true(said(server, "\"silent\":[]"));
}

static void ps_names_workers_that_do_not_answer(void **state)
{
    struct server *server = *state;
    uint64_t before;

    server_start(server, "workers=2");
    assert_int_equal(command(server, "{\"command\":\"status\"}"), 0);
    int pid = (int)number_at(server, "/workers/1/pid");
    kill(pid, SIGSTOP);
    before = ty_now_ms();
    assert_int_equal(command(server, "{\"command\":\"ps\"}"), 0);
    kill(pid, SIGCONT);

    assert_in_range(ty_now_ms() - before, 1900, at_most_ms(4000));
    assert_int_equal(number_at(server, "/silent/0"), 2);
    assert_int_equal(number_at(server, "/workers/0/worker"), 1);
}

static void routes_come_from_one_worker(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    assert_int_equal(command(server, "{\"command\":\"routes\"}"), 0);
    assert_true(said(server, "\"routes\":[{\"owner\":\"one\"}]"));
    assert_int_equal(number_at(server, "/workers/1/worker"), -1);
}

static void config_tells_no_secrets(void **state)
{
    struct server *server = *state;

    server_start(server, "databases.default.url=sqlite:very-secret.db");
    assert_int_equal(command(server, "{\"command\":\"config\"}"), 0);
    assert_true(said(server, "\"heartbeat_timeout\":5"));
    assert_false(said(server, "very-secret"));
}

static void a_level_holds_in_every_process_and_in_later_ones(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    assert_int_equal(command(server, "{\"command\":\"log_level\",\"level\":\"loud\"}"), 1);
    assert_int_equal(
        command(server, "{\"command\":\"log_level\",\"module\":\"access\",\"level\":\"error\"}"),
        0);
    long pid = status_of(server, "/workers/0/pid");
    kill((int)pid, SIGKILL);
    wait_for(status_of(server, "/workers/0/pid") != pid && said(server, "\"ready\":true"));
    assert_int_equal(get(server, server->port, "/quiet"), 200);
    assert_int_equal(
        command(server, "{\"command\":\"log_level\",\"module\":\"access\",\"level\":\"info\"}"), 0);
    assert_int_equal(get(server, server->port, "/loud"), 200);

    wait_for(strstr(get_file(server, "err"), "/loud"));
    assert_null(strstr(server->last, "/quiet"));
}

static void a_level_of_all_outlives_a_reload(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    assert_int_equal(command(server, "{\"command\":\"log_level\",\"level\":\"error\"}"), 0);
    assert_int_equal(command(server, "{\"command\":\"reload\",\"force\":true}"), 0);
    assert_int_equal(get(server, server->port, "/quiet"), 200);
    assert_int_equal(command(server, "{\"command\":\"log_level\",\"level\":\"info\"}"), 0);
    assert_int_equal(get(server, server->port, "/loud"), 200);

    wait_for(strstr(get_file(server, "err"), "/loud"));
    assert_null(strstr(server->last, "/quiet"));
}

static void logs_are_reopened_in_every_process(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1", "log.path=log");
    assert_int_equal(get(server, server->port, "/before"), 200);
    wait_for(strstr(get_file(server, "log"), "/before"));
    assert_int_equal(rename("log", "log.1"), 0);
    kill(server->pid, SIGUSR1);
    wait_for(access("log", F_OK) == 0);
    assert_int_equal(command(server, "{\"command\":\"reopen\"}"), 0); /* the same by command */
    wait_for(get(server, server->port, "/after") == 200 &&
             strstr(get_file(server, "log"), "/after"));
}

static void stop_stops(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    assert_int_equal(command(server, "{\"command\":\"stop\"}"), 0);
    assert_int_equal(server_wait(server), 0);
}

/* ---- clients that do not behave */

static int dial_control(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = ".tycho/control.sock"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void who_asked_for_a_reload_may_go(void **state)
{
    static const char message[] = "\x14\0\0\0{\"command\":\"reload\"}";
    struct server *server = *state;
    int fd;

    server_start(server, "workers=2");
    put_file("scripts/app/a.lua", "answer two\n");
    fd = dial_control();
    assert_int_equal(write(fd, message, sizeof(message) - 1), sizeof(message) - 1);
    close(fd);

    wait_for(get(server, server->port, "/") == 200 && said(server, "two "));
    assert_int_equal(command(server, "{\"command\":\"ps\"}"), 0);
}

static void connections_are_bounded(void **state)
{
    struct server *server = *state;
    int fds[40];
    char byte;

    server_start(server, "workers=1");
    for (int i = 0; i < 40; i++)
        fds[i] = dial_control();
    assert_int_equal(read(fds[39], &byte, 1), 0); /* refused */
    for (int i = 0; i < 40; i++)
        close(fds[i]);

    wait_for(status_of(server, "/pid") == server->pid);
}

/* The lowest number that none of its descriptors has. */
static unsigned free_descriptor(int pid)
{
    char path[64];
    unsigned fd = 0;

    do
        snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
    while (access(path, F_OK) == 0 && ++fd);
    return fd;
}

static void a_client_waits_while_no_descriptor_is_free(void **state)
{
    struct server *server = *state;
    struct rlimit before, none;

    server_start(server, "workers=1");
    assert_int_equal(prlimit(server->pid, RLIMIT_NOFILE, NULL, &before), 0);
    none = (struct rlimit){free_descriptor(server->pid), before.rlim_max};
    assert_int_equal(prlimit(server->pid, RLIMIT_NOFILE, &none, NULL), 0);
    int fd = dial_control();
    wait_for(strstr(get_file(server, "err"), "accepting pauses: Too many open files"));
    assert_int_equal(prlimit(server->pid, RLIMIT_NOFILE, &before, NULL), 0);

    assert_int_equal(command(server, "{\"command\":\"status\"}"), 0);
    close(fd);
}

static int host_tests(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_command_that_is_none_is_refused),
        WITH_FOLDER(a_server_that_is_not_there_cannot_be_reached),
        WITH_FOLDER(status_says_what_is_going_on),
        WITH_FOLDER(ps_asks_every_worker),
        WITH_FOLDER(ps_names_workers_that_do_not_answer),
        WITH_FOLDER(routes_come_from_one_worker),
        WITH_FOLDER(config_tells_no_secrets),
        WITH_FOLDER(a_level_holds_in_every_process_and_in_later_ones),
        WITH_FOLDER(a_level_of_all_outlives_a_reload),
        WITH_FOLDER(logs_are_reopened_in_every_process),
        WITH_FOLDER(stop_stops),
        WITH_FOLDER(who_asked_for_a_reload_may_go),
        WITH_FOLDER(connections_are_bounded),
        WITH_FOLDER(a_client_waits_while_no_descriptor_is_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_as(argc, argv, host_tests);
}
