/* Servers that fall silent, or are replaced. */
#include "postgres_place.h"
#include "support/figure.h"

static void signal_all(struct database *server, int number)
{
    char command[96];

    snprintf(command, sizeof(command), "kill -%d %d $(ps -o pid= --ppid %d)", number, server->pid,
             server->pid);
    if (system(command) != 0) /* NOLINT(cert-env33-c) */
        abort();
}

static void a_server_that_falls_silent_holds_nobody(void **state)
{
    (void)state;
    struct database server;
    struct place place;
    struct task running, late;

    assert_int_equal(database_start(&server, "postgres", NULL), 0);
    place_make(&place, server.port);
    struct ty_sql_options options = place_options(&place);
    options.query_ms = 500;
    options.connect_ms = 2000;
    options.wait_ms = 2000;
    place_open_with(&place, &options);
    assert_int_equal(number_of(&place, "select 1"), 1);
    signal_all(&server, SIGSTOP);

    uint64_t began = ty_now_ms();
    start(&place, &running, "select 1");
    start(&place, &late, "select 2");
    finish(&place, &running);
    finish(&place, &late);
    assert_true(ty_now_ms() - began < at_most_ms(3500));
    assert_true(running.op.error.kind == TY_ERR_TIMEOUT ||
                running.op.error.kind == TY_ERR_UNAVAILABLE);
    assert_int_equal(late.op.status, -1);
    ty_sql_op_close(&running.op);
    ty_sql_op_close(&late.op);

    signal_all(&server, SIGCONT);
    began = ty_now_ms();
    do {
        start(&place, &running, "select 1");
        finish(&place, &running);
        ty_sql_op_close(&running.op);
        uv_run(&place.loop, UV_RUN_NOWAIT);
        assert_true(ty_now_ms() - began < at_most_ms(10000));
    } while (running.op.status != 0);
    assert_int_equal(place_leave(&place), 0);
    database_remove(&server);
}

static void writing_goes_on_where_a_standby_was_promoted(void **state)
{
    (void)state;
    static char primary_word[96];
    static const char *words[] = {primary_word, NULL};
    struct database primary, standby;
    struct place place;
    struct task task;

    assert_int_equal(database_start(&primary, "postgres", NULL), 0);
    snprintf(primary_word, sizeof(primary_word), "primary=%s", primary.folder);
    assert_int_equal(database_start(&standby, "postgres", words), 0);
    place_make(&place, 0);
    snprintf(place.url, sizeof(place.url),
             "postgres://tycho@127.0.0.1:%d,127.0.0.1:%d/postgres?target_session_attrs=read-write",
             primary.port, standby.port);
    struct ty_sql_options options = place_options(&place);
    options.wait_ms = 1000;
    place_open_with(&place, &options);
    run(&place, "create table kept(n int)");
    run(&place, "insert into kept values (1)");
    while (
        strcmp(database_sql(&standby, NULL, "select count(*) from pg_class where relname = 'kept'"),
               "1") != 0)
        ;
    database_kill(&primary);
    database_sql(&standby, NULL, "select pg_promote()");

    uint64_t began = ty_now_ms();
    do {
        start(&place, &task, "insert into kept values (2)");
        finish(&place, &task);
        ty_sql_op_close(&task.op);
        uv_run(&place.loop, UV_RUN_NOWAIT);
        assert_true(ty_now_ms() - began < at_most_ms(5000));
    } while (task.op.status != 0);
    assert_int_equal(number_of(&place, "select count(*) from kept where n = 2"), 1);
    assert_int_equal(place_leave(&place), 0);
    database_remove(&standby);
    database_remove(&primary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_falls_silent_holds_nobody),
        cmocka_unit_test(writing_goes_on_where_a_standby_was_promoted),
    };

    return cmocka_run_group_tests_name("postgres_outage", tests, NULL, NULL);
}
