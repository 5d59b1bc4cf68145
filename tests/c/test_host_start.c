#include "support/server.h"

#include <sys/un.h>

/* ---- what is in the way of a start */

static void refused(struct server *server, const char *text)
{
    assert_int_equal(server_wait(server), 1);
    if (!strstr(get_file(server, "err"), text))
        fail_msg("\"%s\" is not in: %s", text, server->last);
    assert_int_not_equal(access(".tycho/control.sock", F_OK), 0);
}

static void it_serves_and_stops(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    assert_int_equal(get(server, server->port, "/"), 200);
    assert_true(said(server, "one "));
    assert_int_equal(server_stop(server), 0);
    assert_int_not_equal(access(".tycho/control.sock", F_OK), 0);
    assert_int_equal(dial(server->port), -1);
}

static void a_port_in_use_is_named(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct server *server = *state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    socklen_t len = sizeof(address);
    char setting[64], text[64];

    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)); /* even so */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&address, &len);
    snprintf(setting, sizeof(setting), "http.port=%d", ntohs(address.sin_port));
    snprintf(text, sizeof(text), "cannot listen on 127.0.0.1:%d: the port is in use",
             ntohs(address.sin_port));

    server_spawn(server, setting, NULL);
    refused(server, text);
    assert_int_equal(strlen(strchr(server->last, '\n')), 1); /* one line */

    snprintf(setting, sizeof(setting), "admin.port=%d", ntohs(address.sin_port));
    server_spawn(server, setting, NULL);
    refused(server, text);
    assert_true(said(server, "admin.port"));
    close(fd);
}

static void a_host_that_is_not_ours_is_named(void **state)
{
    struct server *server = *state;

    server_spawn(server, "http.host=192.0.2.1", NULL);
    refused(server, "cannot listen on 192.0.2.1:0: Cannot assign requested address (http.host");
}

static void a_missing_script_folder_is_named(void **state)
{
    struct server *server = *state;

    server_spawn(server, "scripts.path=nowhere", NULL);
    refused(server, "nowhere: No such file or directory (scripts.path");
}

static void faults_of_the_scripts_are_printed_as_they_are(void **state)
{
    struct server *server = *state;

    put_file("scripts/app/b.lua", "answer x\nerror unexpected symbol\n");
    server_spawn(server, NULL, NULL);
    refused(server, "app/b.lua:2: unexpected symbol\n");
    assert_int_equal(strlen(strchr(server->last, '\n')), 1); /* and nothing else */
}

static void a_fault_in_the_workers_only_ends_the_start(void **state)
{
    struct server *server = *state;

    put_file("scripts/app/b.lua", "error-in web\n");
    server_spawn(server, NULL, NULL);
    refused(server, "app/b.lua:1: in web");
}

static void a_worker_that_dies_ends_the_start(void **state)
{
    struct server *server = *state;

    put_file("scripts/app/b.lua", "crash-in web\n");
    server_spawn(server, NULL, NULL);
    refused(server, "a web worker died while starting");
}

static void a_trial_that_dies_ends_the_start(void **state)
{
    struct server *server = *state;

    put_file("scripts/app/b.lua", "crash-in trial\n");
    server_spawn(server, NULL, NULL);
    refused(server, "the process that tried the scripts was killed by signal 6");
}

static void a_trial_that_hangs_ends_the_start(void **state)
{
    struct server *server = *state;

    put_file("scripts/app/b.lua", "hang-in trial\n");
    server_spawn(server, "reload.load_timeout=10ms", "reload.check_timeout=10ms", NULL);
    refused(server, "the scripts did not load in time");
}

static void nothing_is_left_of_a_start_that_failed(void **state)
{
    struct server *server = *state;
    char text[64];

    put_file("scripts/app/b.lua", "error x\n");
    server_spawn(server, "workers=3", NULL);
    snprintf(text, sizeof(text), "pgrep -g %d -f 'tycho: (web|trial)' >/dev/null", getpgrp());
    refused(server, "app/b.lua:1: x");

    assert_int_not_equal(system(text), 0);
}

/* ---- the control socket and the pid file */

static void the_control_socket_is_for_its_owner(void **state)
{
    struct server *server = *state;
    struct stat st;

    server_start(server, "workers=1");
    assert_int_equal(stat(".tycho/control.sock", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(".tycho", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void a_stale_control_socket_is_replaced(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    kill(server->pid, SIGKILL);
    server_wait(server);
    assert_int_equal(access(".tycho/control.sock", F_OK), 0);

    server_start(server, "workers=1");
    assert_int_equal(status_of(server, "/pid"), server->pid);
}

static void two_servers_do_not_share_a_control_socket(void **state)
{
    struct server *server = *state, second = {0};

    server_start(server, "workers=1");
    server_spawn(&second, "workers=1", NULL);
    assert_int_equal(server_wait(&second), 1);
    assert_non_null(strstr(get_file(server, "err"), "another tycho is running here"));
    assert_int_equal(status_of(server, "/pid"), server->pid);
}

static void a_control_socket_with_too_long_a_name_is_refused(void **state)
{
    struct server *server = *state;
    char setting[200];

    snprintf(setting, sizeof(setting), "host.socket=%0*d", 150, 1);
    server_spawn(server, setting, NULL);
    refused(server, "the name is too long for a socket");
}

static void the_pid_file_comes_and_goes(void **state)
{
    struct server *server = *state;

    server_start(server, "host.pid_file=pid");
    assert_int_equal(atoi(get_file(server, "pid")), server->pid);
    assert_int_equal(server_stop(server), 0);
    assert_int_not_equal(access("pid", F_OK), 0);
}

/* ---- those who watch */

static void the_service_manager_is_told(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "notify"};
    struct server *server = *state;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {LIMIT_MS / 1000, 0};
    char path[128], text[256] = "";

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    snprintf(path, sizeof(path), "%s/notify", server->folder);
    setenv("NOTIFY_SOCKET", path, 1);
    server_spawn(server, "workers=1", NULL);
    unsetenv("NOTIFY_SOCKET");

    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "READY=1");
    kill(server->pid, SIGHUP);
    memset(text, 0, sizeof(text));
    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
    assert_memory_equal(text, "RELOADING=1\nMONOTONIC_USEC=", 27);
    memset(text, 0, sizeof(text));
    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "READY=1");
    kill(server->pid, SIGTERM);
    memset(text, 0, sizeof(text));
    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "STOPPING=1");
    assert_int_equal(server_wait(server), 0);
    close(fd);
}

static void a_stop_is_the_last_that_the_service_manager_is_told(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "notify"};
    struct server *server = *state;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char path[128], text[256] = "";

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    snprintf(path, sizeof(path), "%s/notify", server->folder);
    setenv("NOTIFY_SOCKET", path, 1);
    server_start(server, "workers=1");
    unsetenv("NOTIFY_SOCKET");
    put_file("scripts/app/b.lua", "hang-in trial\n");
    kill(server->pid, SIGHUP);
    wait_for(command(server, "{\"command\":\"status\"}") == 0 &&
             said(server, "\"reloading\":true"));
    kill(server->pid, SIGTERM);
    assert_int_equal(server_wait(server), 0);

    for (ssize_t n; (n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0;)
        text[n] = '\0';
    assert_string_equal(text, "STOPPING=1");
    close(fd);
}

static void a_dependency_that_is_down_makes_it_unready_only(void **state)
{
    struct server *server = *state;

    put_file("scripts/app/b.lua", "need there\n");
    server_start(server, "workers=2");
    assert_int_equal(get(server, server->port, "/livez"), 200);
    assert_int_equal(get(server, server->port, "/readyz"), 503);
    assert_true(said(server, "{\"name\":\"fake\",\"ok\":false}"));
    assert_int_equal(get(server, server->admin_port, "/livez"), 200);
    assert_int_equal(get(server, server->admin_port, "/readyz"), 503);
    assert_true(said(server, "{\"name\":\"fake\",\"ok\":false}"));

    put_file("there", "");
    uint64_t before = ty_now_ms();
    wait_for(get(server, server->admin_port, "/readyz") == 200);
    assert_true(ty_now_ms() - before <= at_most_ms(2000));
    assert_int_equal(get(server, server->port, "/readyz"), 200);
}

static void a_required_dependency_that_is_down_ends_the_start(void **state)
{
    struct server *server = *state;

    put_file("scripts/app/b.lua", "need there\n");
    server_spawn(server, "--require", "host.start_timeout=1s", NULL);
    refused(server,
            "a required dependency is down (--require): [{\"name\":\"fake\",\"ok\":false}]");
}

static void the_admin_listener_can_be_switched_off(void **state)
{
    struct server *server = *state;

    server_spawn(server, "admin.host=", NULL);
    wait_for(strstr(get_file(server, "out"), "serves http://"));
    assert_null(strstr(server->last, "metrics and health"));
    assert_int_equal(server_stop(server), 0);
}

static void metrics_come_in_both_forms(void **state)
{
    struct server *server = *state;
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                  "Accept: application/openmetrics-text; version=1.0.0\r\n\r\n";

    server_start(server, "workers=2");
    assert_int_equal(get(server, server->admin_port, "/metrics"), 200);
    assert_true(said(server, "# TYPE tycho_worker_restarts_total counter\n"));
    assert_true(said(server, "tycho_workers 2\n"));
    assert_true(said(server, "tycho_reloads_total{result=\"committed\"} 1\n"));
    assert_true(said(server, "tycho_loop_lag_seconds_count "));

    int fd = dial(server->admin_port);
    assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    assert_int_equal(read_http(server, fd), 200);
    assert_true(said(server, "# TYPE tycho_worker_restarts counter\n"));
    assert_string_equal(server->last + strlen(server->last) - 6, "# EOF\n");
    assert_int_equal(get(server, server->admin_port, "/other"), 404);
}

static void a_leaked_variable_makes_nobody_a_child(void **state)
{
    (void)state;
    setenv("TYCHO_CHILD", "web:1:1:1", 1);
    assert_false(ty_host_is_child());
    setenv("TYCHO_CHILD", "nonsense", 1);
    assert_false(ty_host_is_child());
    unsetenv("TYCHO_CHILD");
    assert_false(ty_host_is_child());
}

static int host_tests(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(it_serves_and_stops),
        WITH_FOLDER(a_port_in_use_is_named),
        WITH_FOLDER(a_host_that_is_not_ours_is_named),
        WITH_FOLDER(a_missing_script_folder_is_named),
        WITH_FOLDER(faults_of_the_scripts_are_printed_as_they_are),
        WITH_FOLDER(a_fault_in_the_workers_only_ends_the_start),
        WITH_FOLDER(a_worker_that_dies_ends_the_start),
        WITH_FOLDER(a_trial_that_dies_ends_the_start),
        WITH_FOLDER(a_trial_that_hangs_ends_the_start),
        WITH_FOLDER(nothing_is_left_of_a_start_that_failed),
        WITH_FOLDER(the_control_socket_is_for_its_owner),
        WITH_FOLDER(a_stale_control_socket_is_replaced),
        WITH_FOLDER(two_servers_do_not_share_a_control_socket),
        WITH_FOLDER(a_control_socket_with_too_long_a_name_is_refused),
        WITH_FOLDER(the_pid_file_comes_and_goes),
        WITH_FOLDER(the_service_manager_is_told),
        WITH_FOLDER(a_stop_is_the_last_that_the_service_manager_is_told),
        WITH_FOLDER(a_dependency_that_is_down_makes_it_unready_only),
        WITH_FOLDER(a_required_dependency_that_is_down_ends_the_start),
        WITH_FOLDER(the_admin_listener_can_be_switched_off),
        WITH_FOLDER(metrics_come_in_both_forms),
        WITH_FOLDER(a_leaked_variable_makes_nobody_a_child),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_as(argc, argv, host_tests);
}
