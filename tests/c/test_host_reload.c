#include "support/load.h"

static int reload(struct server *server)
{
    return command(server, "{\"command\":\"reload\"}");
}

/* Every worker answers this: asked often enough to have met them all. */
static void all_answer(struct server *server, const char *text)
{
    for (int i = 0; i < 20; i++) {
        assert_int_equal(get(server, server->port, "/"), 200);
        if (strncmp(server->last, text, strlen(text)) != 0)
            fail_msg("\"%s\" is not \"%s\"", server->last, text);
    }
}

static long pid_of_worker(struct server *server, int index)
{
    char pointer[32];

    snprintf(pointer, sizeof(pointer), "/workers/%d/pid", index);
    return status_of(server, pointer);
}

static long alive(struct server *server)
{
    return command(server, "{\"command\":\"generations\"}") == 0 ? number_at(server, "/alive") : -1;
}

/* ---- committed */

static void new_scripts_are_live_in_every_worker(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=3");
    all_answer(server, "one ");
    put_file("scripts/app/a.lua", "answer two\n");
    assert_int_equal(reload(server), 0);
    assert_true(said(server, "\"outcome\":\"committed\""));
    assert_in_range(number_at(server, "/ms"), 0, at_most_ms(500));

    all_answer(server, "two ");
    wait_for(alive(server) == 1);
}

static void a_request_that_runs_stays_on_its_generation(void **state)
{
    struct server *server = *state;
    int fd;

    server_start(server, "workers=1");
    fd = dial(server->port);
    ask_http(fd, "/slow?1500");
    wait_for(status_of(server, "/workers/0/requests") == 1);
    put_file("scripts/app/a.lua", "answer two\n");
    assert_int_equal(reload(server), 0);
    all_answer(server, "two ");

    assert_int_equal(alive(server), 2);
    assert_int_equal(read_http(server, fd), 200);
    assert_true(said(server, "one "));
    wait_for(alive(server) == 1);
}

static void nothing_new_is_not_loaded(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    assert_int_equal(reload(server), 0);
    assert_true(said(server, "\"outcome\":\"unchanged\""));
    assert_int_equal(command(server, "{\"command\":\"reload\",\"force\":true}"), 0);
    assert_true(said(server, "\"outcome\":\"committed\""));
}

static void sighup_reloads(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    put_file("scripts/app/a.lua", "answer two\n");
    kill(server->pid, SIGHUP);
    wait_for(get(server, server->port, "/") == 200 && said(server, "two "));
}

static void a_new_worker_starts_on_the_active_generation(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    put_file("scripts/app/a.lua", "answer two\n");
    assert_int_equal(reload(server), 0);
    long pid = pid_of_worker(server, 0);
    put_file("scripts/app/a.lua", "answer three\n"); /* not reloaded */
    kill((int)pid, SIGKILL);

    all_answer(server, "two ");
    assert_int_not_equal(pid_of_worker(server, 0), pid);
}

static void many_reloads_under_load_fail_no_request(void **state)
{
    struct server *server = *state;
    struct load load;

    server_start(server, "workers=2");
    load_start(&load, server->port, "/slow?2");
    for (int i = 0; i < 30; i++) {
        char text[32];
        snprintf(text, sizeof(text), "answer v%d\n", i);
        put_file("scripts/app/a.lua", text);
        assert_int_equal(reload(server), 0);
    }
    struct tally tally = load_stop_after(&load, 100);

    assert_int_equal(tally.failed, 0);
    assert_int_equal(tally.refused, 0);
    all_answer(server, "v29 ");
    wait_for(alive(server) == 1);
}

/* ---- refused */

static void a_bad_script_changes_nothing(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    put_file("scripts/app/b.lua", "answer two\nerror no such thing\n");
    assert_int_equal(reload(server), 1);
    assert_true(said(server, "\"outcome\":\"refused\""));
    assert_true(said(server, "\"error\":\"app/b.lua:2: no such thing\""));

    all_answer(server, "one ");
    assert_int_equal(alive(server), 1);
}

static void an_unreadable_folder_changes_nothing(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    assert_int_equal(rename("scripts", "away"), 0);
    assert_int_equal(reload(server), 1);
    assert_true(said(server, "scripts: No such file or directory"));
    all_answer(server, "one ");
}

static void a_bad_configuration_changes_nothing(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    mkdir("conf", 0755);
    put_file("conf/tycho.yaml", "http:\n  body_maxx: 1MiB\n");
    assert_int_equal(reload(server), 1);
    assert_true(said(server, "conf/tycho.yaml:2"));
    all_answer(server, "one ");
}

static void a_configuration_is_in_force_after_the_reload(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    mkdir("conf", 0755);
    put_file("conf/tycho.yaml", "http:\n  target_max: 64B\n  backlog: 7\n");
    assert_int_equal(get(server, server->port,
                         "/?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                     200);
    assert_int_equal(reload(server), 0);
    assert_true(said(server, "change at the next restart only: http.backlog"));

    assert_int_equal(get(server, server->port,
                         "/?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                     414);
}

static void all_workers_or_none(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=3");
    put_file("scripts/app/b.lua", "answer two\nerror-in web\n");
    assert_int_equal(reload(server), 1);
    assert_true(said(server, "could not load what the trial could"));

    all_answer(server, "one ");
    wait_for(alive(server) == 1);
}

static void a_trial_that_dies_changes_nothing(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    put_file("scripts/app/b.lua", "crash-in trial\n");
    assert_int_equal(reload(server), 1);
    assert_true(said(server, "killed by signal 6"));
    all_answer(server, "one ");
}

static void a_worker_that_never_answers_changes_nothing(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2", "reload.load_timeout=10ms", "reload.check_timeout=10ms");
    put_file("scripts/app/b.lua", "answer two\nhang-in web\n");
    assert_int_equal(reload(server), 1);
    assert_true(said(server, "\"outcome\":\"failed\""));
    assert_true(said(server, "did not load the new generation in time"));
    all_answer(server, "one ");
}

/* ---- workers that die in between */

static int start_command(const char *json)
{
    int pid = fork();

    if (pid == 0) {
        struct server *asker = calloc(1, sizeof(*asker));
        _exit(command(asker, json));
    }
    return pid;
}

static int end_command(int pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static bool is_reloading(struct server *server)
{
    return command(server, "{\"command\":\"status\"}") == 0 && said(server, "\"reloading\":true") &&
           said(server, "\"generations\":2");
}

static void a_generation_that_kills_workers_never_goes_live(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    put_file("scripts/app/b.lua", "answer two\ncrash-in web\n");
    assert_int_equal(reload(server), 1);
    assert_true(said(server, "it died while loading it"));

    all_answer(server, "one ");
    wait_for(alive(server) == 1);
}

/* One worker is held up, the other has loaded the new generation and dies before the decision. */
static void a_worker_killed_between_prepare_and_commit_comes_back_on_what_was_decided(void **state)
{
    struct server *server = *state;
    int asking;

    server_start(server, "workers=2");
    long prepared = pid_of_worker(server, 0), held_up = pid_of_worker(server, 1);
    kill((int)held_up, SIGSTOP);
    put_file("scripts/app/a.lua", "answer two\n");
    asking = start_command("{\"command\":\"reload\"}");
    wait_for(is_reloading(server));
    pause_ms(200); /* it has loaded by now; if not, the reload is refused, and the test fails */
    assert_int_equal(kill((int)prepared, SIGKILL), 0);
    wait_for(pid_of_worker(server, 0) != prepared &&
             said(server, "\"state\":\"serving\",\"restarts\":1"));
    kill((int)held_up, SIGCONT);

    assert_int_equal(end_command(asking), 0);
    all_answer(server, "two ");
    wait_for(alive(server) == 1);
}

static bool is_stopped(long pid)
{
    char path[64], text[256] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    file = pid > 0 ? fopen(path, "r") : NULL;
    if (!file)
        return false;
    (void)!fgets(text, sizeof(text), file);
    fclose(file);
    return strstr(text, ") T ") != NULL;
}

/* It has been told to serve what was active then, and has not come to it. */
static void a_worker_about_to_serve_the_old_generation_is_waited_for(void **state)
{
    struct server *server = *state;
    int asking;

    put_file("scripts/app/a.lua", "answer one\nstop-when held-up\n");
    server_start(server, "workers=2");
    put_file("held-up", "");
    kill((int)pid_of_worker(server, 0), SIGKILL);
    wait_for(is_stopped(pid_of_worker(server, 0)));
    unlink("held-up");
    put_file("scripts/app/a.lua", "answer two\n");
    asking = start_command("{\"command\":\"reload\"}");
    wait_for(is_reloading(server));
    for (int i = 0; i < 60; i++) { /* nothing may happen, for a while */
        assert_int_equal(waitpid(asking, NULL, WNOHANG), 0);
        pause_ms(5);
    }
    kill((int)pid_of_worker(server, 0), SIGCONT);

    assert_int_equal(end_command(asking), 0);
    all_answer(server, "two ");
    wait_for(alive(server) == 1);
}

/* ---- one after the other */

static bool is_stopping(struct server *server)
{
    return command(server, "{\"command\":\"status\"}") == 0 &&
           said(server, "\"state\":\"stopping\"");
}

static void a_worker_that_finishes_holds_no_reload_up(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1");
    int fd = dial(server->port);
    ask_http(fd, "/slow?4000");
    wait_for(status_of(server, "/workers/0/requests") == 1);
    kill((int)pid_of_worker(server, 0), SIGTERM);
    wait_for(is_stopping(server));
    put_file("scripts/app/a.lua", "answer two\n");
    assert_int_equal(reload(server), 0);
    assert_true(said(server, "\"warning\":\"\""));
    assert_true(is_stopping(server));

    assert_int_equal(read_http(server, fd), 200);
    assert_true(said(server, "one "));
    all_answer(server, "two ");
}

static void reloads_wait_for_each_other(void **state)
{
    struct server *server = *state;
    int asking[4];

    server_start(server, "workers=2");
    put_file("scripts/app/a.lua", "answer two\n");
    for (int i = 0; i < 4; i++)
        asking[i] = start_command("{\"command\":\"reload\",\"force\":true}");
    for (int i = 0; i < 4; i++)
        assert_int_equal(end_command(asking[i]), 0);
    all_answer(server, "two ");
}

static void a_reload_waits_until_an_old_generation_is_gone(void **state)
{
    struct server *server = *state;
    uint64_t before;
    int fd;

    server_start(server, "workers=1", "reload.max_alive=2");
    fd = dial(server->port);
    ask_http(fd, "/slow?600");
    wait_for(status_of(server, "/workers/0/requests") == 1);
    before = ty_now_ms();
    put_file("scripts/app/a.lua", "answer two\n");
    assert_int_equal(reload(server), 0);
    put_file("scripts/app/a.lua", "answer three\n");
    assert_int_equal(reload(server), 0);

    assert_true(ty_now_ms() - before >= 500);
    all_answer(server, "three ");
    assert_int_equal(read_http(server, fd), 200);
}

static void stopping_ends_a_reload(void **state)
{
    struct server *server = *state;
    int asking;

    server_start(server, "workers=1");
    put_file("scripts/app/b.lua", "hang-in web\n");
    asking = start_command("{\"command\":\"reload\"}");
    wait_for(is_reloading(server));
    kill(server->pid, SIGTERM);

    assert_int_equal(end_command(asking), 1);
}

static void a_master_killed_while_reloading_can_be_started_again(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    for (int i = 0; i < 5; i++) {
        char text[32];
        snprintf(text, sizeof(text), "answer v%d\n", i);
        put_file("scripts/app/a.lua", text);
        int asking = start_command("{\"command\":\"reload\"}");
        pause_ms(i * 7);
        kill(server->pid, SIGKILL);
        server_wait(server);
        end_command(asking);
        uint64_t before = ty_now_ms();
        server_start(server, "workers=2");
        assert_true(ty_now_ms() - before <= at_most_ms(2000));
        snprintf(text, sizeof(text), "v%d ", i);
        all_answer(server, text);
    }
}

static int host_tests(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(new_scripts_are_live_in_every_worker),
        WITH_FOLDER(a_request_that_runs_stays_on_its_generation),
        WITH_FOLDER(nothing_new_is_not_loaded),
        WITH_FOLDER(sighup_reloads),
        WITH_FOLDER(a_new_worker_starts_on_the_active_generation),
        WITH_FOLDER(many_reloads_under_load_fail_no_request),
        WITH_FOLDER(a_bad_script_changes_nothing),
        WITH_FOLDER(an_unreadable_folder_changes_nothing),
        WITH_FOLDER(a_bad_configuration_changes_nothing),
        WITH_FOLDER(a_configuration_is_in_force_after_the_reload),
        WITH_FOLDER(all_workers_or_none),
        WITH_FOLDER(a_trial_that_dies_changes_nothing),
        WITH_FOLDER(a_worker_that_never_answers_changes_nothing),
        WITH_FOLDER(a_generation_that_kills_workers_never_goes_live),
        WITH_FOLDER(a_worker_killed_between_prepare_and_commit_comes_back_on_what_was_decided),
        WITH_FOLDER(a_worker_about_to_serve_the_old_generation_is_waited_for),
        WITH_FOLDER(a_worker_that_finishes_holds_no_reload_up),
        WITH_FOLDER(reloads_wait_for_each_other),
        WITH_FOLDER(a_reload_waits_until_an_old_generation_is_gone),
        WITH_FOLDER(stopping_ends_a_reload),
        WITH_FOLDER(a_master_killed_while_reloading_can_be_started_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_as(argc, argv, host_tests);
}
