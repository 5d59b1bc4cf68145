#include "support/server.h"

#include <poll.h>
#include <sys/un.h>

/* A new master outlives the old one: it becomes ours then, so that no test leaves one behind. */
static int setup(void **state)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? server_folder(state) : -1;
}

static int first_child(void)
{
    char path[64];
    int pid = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    file = fopen(path, "r");
    if (file && fscanf(file, "%d", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    return pid;
}

static int teardown(void **state)
{
    for (int pid; (pid = first_child()) > 0;) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    ((struct server *)*state)->pid = 0;
    return server_remove(state);
}

#define UPGRADE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- programs and commands */

static void put_program(const char *name, const char *text)
{
    put_file(name, text);
    chmod(name, 0755);
}

/* A script that ends in being this program; `before` goes first. */
static void put_script(const char *name, const char *before)
{
    char self[512] = "", text[1024];

    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    snprintf(text, sizeof(text), "#!/bin/sh\n%s\nexec %s \"$@\"\n", before, self);
    put_program(name, text);
}

static void write_command(const struct server *server, const char *name, char *json, size_t size)
{
    snprintf(json, size, "{\"command\":\"upgrade\",\"program\":\"%s%s%s\"}",
             name[0] ? server->folder : "", name[0] ? "/" : "", name);
}

/* Waits for the end of it; the exit code. */
static int upgrade(struct server *server, const char *name)
{
    char json[256];

    write_command(server, name, json, sizeof(json));
    return command(server, json);
}

/* In a process of its own, whose id is returned. */
static int upgrade_beside(struct server *server, const char *name)
{
    int pid = fork();

    if (pid == 0)
        _exit(upgrade(server, name));
    return pid;
}

static int code_of(int pid)
{
    int status = 0;

    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* The new one, once it has the name. */
static int wait_for_heir(struct server *server, int old)
{
    long pid;

    wait_for((pid = status_of(server, "/pid")) > 0 && pid != old);
    return (int)pid;
}

static int wait_for_start(struct server *server)
{
    long pid;

    wait_for((pid = status_of(server, "/upgrade/pid")) > 0);
    return (int)pid;
}

static unsigned count_in(struct server *server, const char *path, const char *text)
{
    unsigned count = 0;

    for (const char *at = get_file(server, path); (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static bool answers_within(int fd, int ms)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms) == 1;
}

/* ---- an upgrade that goes well */

static void the_new_master_has_the_sockets_and_the_names(void **state)
{
    struct server *server = *state;
    int old, port;

    server_start(server, "workers=2", "host.pid_file=pid");
    old = server->pid;
    port = server->port;
    assert_int_equal(upgrade(server, ""), 0);
    assert_int_equal(number_at(server, "/old_pid"), old);
    assert_int_equal(server_wait(server), 0);

    server->pid = (int)status_of(server, "/pid");
    assert_int_equal(atoi(get_file(server, "pid")), server->pid);
    assert_int_equal(get(server, port, "/"), 200);
    assert_int_equal(get(server, server->admin_port, "/readyz"), 200);
    assert_int_equal(server_stop(server), 0);
    assert_int_not_equal(access(".tycho/control.sock", F_OK), 0);
    assert_int_not_equal(access("pid", F_OK), 0);
}

static void a_new_master_accepts_nobody_before_it_is_called(void **state)
{
    struct server *server = *state;
    int command_pid, worker, fd, code;

    server_start(server, "workers=1");
    worker = (int)status_of(server, "/workers/0/pid");
    put_script("late", "sleep 0.3");
    command_pid = upgrade_beside(server, "late");
    wait_for_start(server);
    kill(server->pid, SIGSTOP); /* it will not call */
    kill(worker, SIGSTOP);
    wait_for(count_in(server, "err", "web worker 1 serves") == 2);
    fd = dial(server->port);
    ask_http(fd, "/");
    assert_false(answers_within(fd, 300));

    kill(worker, SIGCONT);
    assert_int_equal(read_http(server, fd), 200);
    assert_non_null(strstr(server->last, "one "));
    assert_int_equal(atoi(server->last + strlen("one ")), worker);
    kill(server->pid, SIGCONT);
    code = code_of(command_pid);
    assert_int_equal(code, 0);
}

static void a_stop_while_the_old_one_drains_is_meant_for_both(void **state)
{
    struct server *server = *state;
    int fd, command_pid, heir;

    server_start(server, "workers=1");
    fd = dial(server->port);
    ask_http(fd, "/slow?500");
    wait_for(status_of(server, "/workers/0/requests") == 1);
    command_pid = upgrade_beside(server, "");
    heir = wait_for_heir(server, server->pid);
    kill(server->pid, SIGTERM);

    assert_int_equal(read_http(server, fd), 200);
    assert_int_equal(server_wait(server), 0);
    assert_int_equal(code_of(command_pid), 0);
    wait_for(waitpid(heir, NULL, WNOHANG) == heir || kill(heir, 0) != 0);
}

/* ---- the service manager */

static int listen_for_notes(struct server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "notify"};
    struct timeval limit = {LIMIT_MS / 1000, 0};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char path[128];

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    snprintf(path, sizeof(path), "%s/notify", server->folder);
    setenv("NOTIFY_SOCKET", path, 1);
    server_spawn(server, "workers=1", NULL);
    unsetenv("NOTIFY_SOCKET");
    return fd;
}

static const char *hear(int fd)
{
    static char text[256];
    ssize_t len = recv(fd, text, sizeof(text) - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    return text;
}

static void the_service_manager_is_told_who_serves(void **state)
{
    struct server *server = *state;
    int fd = listen_for_notes(server), heir, count = 0;
    char mine[64], its[64];

    assert_string_equal(hear(fd), "READY=1");
    put_program("broken", "#!/bin/sh\nexit 1\n");
    assert_int_equal(upgrade(server, "broken"), 1);
    snprintf(mine, sizeof(mine), "MAINPID=%d\nREADY=1", server->pid);
    assert_memory_equal(hear(fd), "RELOADING=1\nMONOTONIC_USEC=", 27);
    assert_string_equal(hear(fd), mine);

    assert_int_equal(upgrade(server, ""), 0);
    heir = (int)number_at(server, "/pid");
    snprintf(its, sizeof(its), "MAINPID=%d\nREADY=1", heir);
    assert_memory_equal(hear(fd), "RELOADING=1\nMONOTONIC_USEC=", 27);
    for (int i = 0; i < 3; i++) { /* both say it: only one of them is believed */
        const char *note = hear(fd);
        if (strcmp(note, "READY=1") == 0)
            count++;
        else
            assert_string_equal(note, its);
    }
    assert_int_equal(count, 1);
    close(fd);
}

/* ---- one that goes wrong */

static void an_old_master_that_dies_first_leaves_the_new_one(void **state)
{
    struct server *server = *state;
    int heir, fd;

    server_start(server, "workers=2");
    put_script("late", "sleep 0.3");
    kill(upgrade_beside(server, "late"), 0);
    heir = wait_for_start(server);
    kill(server->pid, SIGKILL);
    assert_int_equal(server_wait(server), 128 + SIGKILL);
    fd = dial(server->port); /* nobody serves, but the socket is there */
    assert_true(fd >= 0);
    ask_http(fd, "/");

    assert_int_equal(read_http(server, fd), 200);
    wait_for(status_of(server, "/pid") == heir);
    assert_true(said(server, "\"state\":\"serving\""));
    server->pid = heir;
    assert_int_equal(server_stop(server), 0);
}

static void a_new_master_that_dies_while_the_old_one_drains_is_replaced_by_it(void **state)
{
    struct server *server = *state;
    int fd, command_pid, heir;

    server_start(server, "workers=2", "host.pid_file=pid");
    fd = dial(server->port);
    ask_http(fd, "/slow?500");
    wait_for(status_of(server, "/workers/0/requests") + status_of(server, "/workers/1/requests") ==
             1);
    command_pid = upgrade_beside(server, "");
    heir = wait_for_heir(server, server->pid);
    kill(heir, SIGKILL);

    assert_int_equal(code_of(command_pid), 1);
    assert_int_equal(get(server, server->port, "/"), 200);
    assert_int_equal(get(server, server->admin_port, "/livez"), 200);
    assert_int_equal(status_of(server, "/pid"), server->pid);
    assert_int_equal(atoi(get_file(server, "pid")), server->pid);
    assert_int_equal(read_http(server, fd), 200);
    wait_for(status_of(server, "/workers/0/pid") > 0 && said(server, "\"ready\":true"));
    assert_int_equal(upgrade(server, ""), 0); /* all is as it was */
}

static void a_program_that_leaves_somebody_behind_is_given_up_all_the_same(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    put_program("parent", "#!/bin/sh\nsleep 600 &\necho bye >&2\nexit 4\n");
    assert_int_equal(upgrade(server, "parent"), 1);
    assert_true(said(server, "the new program ended with code 4: bye"));
    assert_int_equal(get(server, server->port, "/"), 200);
}

static void a_script_around_the_program_must_end_in_it(void **state)
{
    struct server *server = *state;
    char self[512] = "", text[1024];

    server_start(server, "workers=1");
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    snprintf(text, sizeof(text), "#!/bin/sh\n%s \"$@\"\n", self);
    put_program("parent", text);
    assert_int_equal(upgrade(server, "parent"), 1);
    assert_true(said(server, "a script around it must end in `exec`"));
    wait_for(count_in(server, "err", "told to stop before it served") == 1);

    snprintf(text, sizeof(text), "#!/bin/sh\n(sleep 2; exec %s \"$@\") &\nexit 3\n", self);
    put_program("parent", text);
    assert_int_equal(upgrade(server, "parent"), 1);
    assert_true(said(server, "the new program ended with code 3"));
    wait_for(count_in(server, "err", "goes on") == 1); /* and so the new one does not */
    assert_int_equal(status_of(server, "/pid"), server->pid);
    assert_int_equal(get(server, server->port, "/"), 200);
    assert_int_equal(upgrade(server, ""), 0);
}

static void a_program_that_does_not_know_of_upgrades_is_refused(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    put_script("ancient", "unset TYCHO_UPGRADE");
    assert_int_equal(upgrade(server, "ancient"), 1);
    assert_true(said(server, "another tycho is running here"));
    assert_int_equal(get(server, server->port, "/"), 200);
    assert_int_equal(upgrade(server, ""), 0);
}

static void a_leaked_variable_makes_nobody_an_heir(void **state)
{
    struct server *server = *state;

    setenv("TYCHO_UPGRADE", "1:0:1", 1);
    server_start(server, "workers=1");
    unsetenv("TYCHO_UPGRADE");
    assert_int_equal(get(server, server->port, "/"), 200);
}

static int host_tests(void)
{
    const struct CMUnitTest tests[] = {
        UPGRADE(the_new_master_has_the_sockets_and_the_names),
        UPGRADE(a_new_master_accepts_nobody_before_it_is_called),
        UPGRADE(a_stop_while_the_old_one_drains_is_meant_for_both),
        UPGRADE(the_service_manager_is_told_who_serves),
        UPGRADE(an_old_master_that_dies_first_leaves_the_new_one),
        UPGRADE(a_new_master_that_dies_while_the_old_one_drains_is_replaced_by_it),
        UPGRADE(a_program_that_leaves_somebody_behind_is_given_up_all_the_same),
        UPGRADE(a_script_around_the_program_must_end_in_it),
        UPGRADE(a_program_that_does_not_know_of_upgrades_is_refused),
        UPGRADE(a_leaked_variable_makes_nobody_an_heir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_as(argc, argv, host_tests);
}
