#include "mysql_place.h"
#include "support/figure.h"

static uint64_t now_ms(void)
{
    return ty_now_ns() / 1000000;
}

/* All of its threads, when this returns. */
static void freeze_server(void)
{
    int status;

    kill(server.pid, SIGSTOP);
    assert_int_equal(waitpid(server.pid, &status, WUNTRACED), server.pid);
    assert_true(WIFSTOPPED(status));
}

/* Opens the database of another URL, asks it something, and says how that went. */
static struct task try_url(const char *url, const char *password)
{
    struct place place;
    struct ty_sql_options options = place_options(&place);
    struct task task;

    options.url = url;
    options.password = password;
    options.wait_ms = 1500;
    place_open_with(&place, &options);
    start(&place, &task, "select 1");
    finish(&place, &task);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
    return task;
}

static const char *url_of(const char *rest)
{
    static char url[256];

    snprintf(url, sizeof(url), "mysql://tycho@127.0.0.1:%d/%s", server.port, rest);
    return url;
}

static void assert_unavailable(const struct task *task, const char *detail)
{
    say_error(task);
    assert_int_equal(task->op.status, -1);
    assert_int_equal(task->op.error.kind, TY_ERR_UNAVAILABLE);
    assert_string_equal(task->op.error.detail, detail);
    assert_null(strstr(task->op.error.message, "pass:word"));
    assert_null(strstr(task->op.error.message, "not-it"));
}

static void what_is_wrong_with_an_address_is_said(void **state)
{
    struct task task;
    char url[128];

    (void)state;
    task = try_url(url_of("app"), "not-it");
    assert_unavailable(&task, "28000");
    assert_non_null(strstr(task.op.error.message, "Access denied"));
    task = try_url(url_of("nowhere"), "pass:word@1");
    assert_unavailable(&task, "42000");
    assert_non_null(strstr(task.op.error.message, "nowhere"));
    snprintf(url, sizeof(url), "mysql://tycho@127.0.0.1:%d/app", database_free_port());
    task = try_url(url, "not-it");
    assert_unavailable(&task, "08001");
    task = try_url("mysql://tycho@no-such-host.invalid/app", "not-it");
    assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_non_null(strstr(task.op.error.message, "no-such-host.invalid"));
}

static void wrong_urls_are_refused_without_their_secrets(void **state)
{
    static const char *const urls[] = {
        "mysql:",
        "mysql://",
        "mysql://user:secret@host",
        "mysql://user:secret@host:x/app",
        "mysql://user:secret@host:99999/app",
        "mysql://user:secret%2@host/app",
        "mysql://user:secret@host/app?tls=maybe",
        "mysql://user:secret@host/app?charset=latin1",
    };
    uv_loop_t loop;
    struct place place;
    struct ty_sql_options options = place_options(&place);

    (void)state;
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct ty_error error = {0};

        options.url = urls[i];
        assert_null(ty_sql_new(&loop, &options, &error));
        assert_int_equal(error.kind, TY_ERR_INTERNAL);
        assert_null(strstr(error.message, "secret"));
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void assert_cipher(const char *url, bool wanted)
{
    struct place place;
    struct ty_sql_options options = place_options(&place);
    struct task task;

    options.url = url;
    place_open_with(&place, &options);
    start(&place, &task,
          "select variable_value from information_schema.session_status"
          " where variable_name = 'ssl_cipher'");
    finish(&place, &task);
    say_error(&task);
    assert_int_equal(task.op.status, 0);
    assert_int_equal(cell(&task.op, 0, 0).bytes.len > 0, wanted);
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void connections_are_encrypted_as_the_url_wants_it(void **state)
{
    char url[256];
    struct task task;

    (void)state;
    assert_cipher(url_of("app?tls=off"), false);
    assert_cipher(url_of("app"), false); /* on the same machine */
    assert_cipher(url_of("app?tls=required"), true);
    snprintf(url, sizeof(url), "app?tls=verify&ca=%s/server.crt", server.folder);
    assert_cipher(url_of(url), true);
    snprintf(url, sizeof(url), "mysql://tycho@localhost:%d/app?tls=verify&ca=%s/server.crt",
             server.port, server.folder);
    assert_cipher(url, true);

    /* The same server by a name that its certificate does not have. */
    snprintf(url, sizeof(url), "mysql://tycho@0.0.0.0:%d/app?tls=required", server.port);
    assert_cipher(url, true);
    snprintf(url, sizeof(url), "mysql://tycho@0.0.0.0:%d/app?tls=verify&ca=%s/server.crt",
             server.port, server.folder);
    task = try_url(url, "pass:word@1");
    assert_unavailable(&task, "08001");

    task = try_url(url_of("app?tls=verify"), "pass:word@1"); /* from nobody we trust */
    assert_unavailable(&task, "08001");
}

static void a_socket_will_do(void **state)
{
    char url[256];
    struct task task;

    (void)state;
    snprintf(url, sizeof(url), "mysql://tycho@/app?socket=%s/socket", server.folder);
    task = try_url(url, "");
    say_error(&task);
    assert_int_equal(task.op.status, 0);
}

/* What an administrator ends while it is idle is never handed out. */
static void idle_connections_that_end_are_replaced(void **state)
{
    struct place place;
    struct task tasks[4];
    char sql[64];

    (void)state;
    place_open(&place);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++)
            start(&place, &tasks[i], "select connection_id(), sleep(0.01)");
        for (int i = 0; i < 4; i++) {
            finish(&place, &tasks[i]);
            say_error(&tasks[i]);
            assert_int_equal(tasks[i].op.status, 0);
        }
        for (int i = 0; i < 4; i++) {
            snprintf(sql, sizeof(sql), "kill connection %lld",
                     (long long)cell(&tasks[i].op, 0, 0).integer);
            ty_sql_op_close(&tasks[i].op);
            database_do(&server, "sql", "mysql", sql);
        }
        assert_int_equal(ask(&place, "select 1"), 1);
    }
    assert_int_equal(place_leave(&place), 0);
}

static void a_statement_whose_connection_ends_fails(void **state)
{
    struct place place;
    struct task task, kill_it;
    char sql[64];

    (void)state;
    place_open(&place);
    ask(&place, "select 1");
    start(&place, &task, "do sleep(30)");
    while (ask(&place, "select count(*) from information_schema.processlist"
                       " where info = 'do sleep(30)'") == 0)
        ;
    snprintf(sql, sizeof(sql), "kill connection %lld",
             (long long)ask(&place, "select id from information_schema.processlist"
                                    " where info = 'do sleep(30)'"));
    while (!task.calls) { /* MariaDB may lose one that comes as the statement begins */
        start(&place, &kill_it, sql);
        finish(&place, &kill_it);
        ty_sql_op_close(&kill_it.op);
    }
    assert_int_equal(task.op.status, -1); /* it may have done something */
    assert_int_equal(task.op.error.kind, TY_ERR_UNKNOWN_OUTCOME);
    ty_sql_op_close(&task.op);
    assert_int_equal(ask(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

/* It was sent, and then there was no server. Has it been committed? */
static void a_commit_without_an_answer_may_have_happened(void **state)
{
    struct place place;
    struct task commit;

    (void)state;
    place_open(&place);
    ask(&place, "create table committed(n int)");
    struct ty_sql_tx *tx = begin(&place);
    assert_int_equal(done_in(&place, tx, TY_SQL_RUN, "insert into committed values (1)"), 0);
    freeze_server();
    start_in(tx, &commit, TY_SQL_COMMIT, NULL);
    uv_run(&place.loop, UV_RUN_NOWAIT);
    database_kill(&server);
    finish(&place, &commit);
    assert_int_equal(commit.op.status, -1);
    assert_int_equal(commit.op.error.kind, TY_ERR_UNKNOWN_OUTCOME);
    ty_sql_op_close(&commit.op);
    assert_int_equal(place_leave(&place), 0);
    assert_int_equal(database_launch(&server), 0);
}

static void a_server_that_restarts_is_found_again(void **state)
{
    struct place place;
    struct task task;
    uint64_t start_ms;

    (void)state;
    place_open(&place);
    assert_int_equal(ask(&place, "select 1"), 1);
    for (int i = 0; i < 2; i++) {
        if (i)
            database_kill(&server);
        else
            database_stop(&server);
        start(&place, &task, "select 1");
        start_ms = now_ms();
        finish(&place, &task);
        assert_int_equal(task.op.status, -1);
        assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
        assert_true(now_ms() - start_ms < at_most_ms(3000));
        ty_sql_op_close(&task.op);
        assert_int_equal(database_launch(&server), 0);

        start_ms = now_ms();
        do {
            start(&place, &task, "select 1");
            finish(&place, &task);
            ty_sql_op_close(&task.op);
        } while (task.op.status && now_ms() - start_ms < at_most_ms(10000));
        assert_true(now_ms() - start_ms < at_most_ms(4000));
        assert_int_equal(ask(&place, "select 2"), 2);
    }
    assert_int_equal(place_leave(&place), 0);
}

/* The server is there, and says nothing any more. */
static void silence_is_bounded(void **state)
{
    struct place place;
    struct ty_sql_options options = place_options(&place);
    struct task task;
    uint64_t start_ms;

    (void)state;
    options.query_ms = 400;
    options.connect_ms = 500;
    options.pool_max = 2;
    place_open_with(&place, &options);
    assert_int_equal(ask(&place, "select 1"), 1);
    freeze_server();
    for (int i = 0; i < 3; i++) { /* on what is open, then on what opens */
        start_ms = now_ms();
        start(&place, &task, "select 1");
        finish(&place, &task);
        assert_int_equal(task.op.status, -1);
        assert_true(task.op.error.kind == TY_ERR_TIMEOUT ||
                    task.op.error.kind == TY_ERR_UNAVAILABLE);
        assert_true(now_ms() - start_ms < at_most_ms(4000));
        ty_sql_op_close(&task.op);
    }
    kill(server.pid, SIGCONT);
    start_ms = now_ms();
    do {
        start(&place, &task, "select 1");
        finish(&place, &task);
        ty_sql_op_close(&task.op);
    } while (task.op.status && now_ms() - start_ms < at_most_ms(10000));
    assert_true(now_ms() - start_ms < at_most_ms(5000));
    assert_int_equal(place_leave(&place), 0);
}

/* Closing does not wait for what will not come. */
static void closing_ends_what_runs(void **state)
{
    struct place place;
    struct task task;
    uint64_t start_ms = now_ms();

    (void)state;
    place_open(&place);
    ask(&place, "select 1");
    start(&place, &task, "select sleep(30)");
    struct ty_sql_tx *tx = begin(&place);
    done_in(&place, tx, TY_SQL_RUN, "select 1");
    ty_sql_cancel(&task.op);
    assert_int_equal(place_leave(&place), 0);
    assert_int_equal(task.calls, 1);
    ty_sql_op_close(&task.op);
    assert_true(now_ms() - start_ms < at_most_ms(8000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_with_an_address_is_said),
        cmocka_unit_test(wrong_urls_are_refused_without_their_secrets),
        cmocka_unit_test(connections_are_encrypted_as_the_url_wants_it),
        cmocka_unit_test(a_socket_will_do),
        cmocka_unit_test(idle_connections_that_end_are_replaced),
        cmocka_unit_test(a_statement_whose_connection_ends_fails),
        cmocka_unit_test(a_commit_without_an_answer_may_have_happened),
        cmocka_unit_test(a_server_that_restarts_is_found_again),
        cmocka_unit_test(silence_is_bounded),
        cmocka_unit_test(closing_ends_what_runs),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
