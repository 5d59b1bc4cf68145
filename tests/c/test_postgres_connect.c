#include "postgres_place.h"
#include "support/figure.h"

static void a_url_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const urls[][2] = {
        {"postgres://a:pass%zzword@host/x", "cannot be read"},
        {"postgres://host/x?sslmod=require", "cannot be read"},
        {"postgres://host/x?service=mine", "\"service\""},
        {"postgres://a:secretword@h1,h2:1,h3:2:3/x", ""},
        {"postgres://host/x?connect_timeout=3", "\"connect_timeout\""},
    };
    uv_loop_t loop;

    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct ty_sql_options options = {.name = "shop", .url = urls[i][0], .pool_max = 1};
        struct ty_error error = {0};

        assert_null(ty_sql_new(&loop, &options, &error));
        assert_non_null(strstr(error.message, urls[i][1]));
        assert_null(strstr(error.message, "word@"));
        assert_null(strstr(error.message, "secret"));
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void fails_with(const char *url, const char *password, const char *detail, const char *words)
{
    struct place place;
    struct task task;

    place_make(&place, 1);
    struct ty_sql_options options = place_options(&place);
    options.url = url;
    options.password = password;
    options.connect_ms = strcmp(detail, "timeout") == 0 ? 500 : 10000;
    options.wait_ms = 15000;
    place_open_with(&place, &options);
    start(&place, &task, "select 1");
    finish(&place, &task);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
    if (!strstr(task.op.error.message, words) || strcmp(task.op.error.detail, detail) != 0)
        fail_msg("%s: %s", task.op.error.detail, task.op.error.message);
    assert_null(strstr(task.op.error.message, "wrongword"));
    assert_null(strchr(task.op.error.message, '\n'));
    ty_sql_op_close(&task.op);
    assert_int_equal(place_leave(&place), 0);
}

static void what_is_wrong_is_said_in_a_sentence(void **state)
{
    (void)state;
    static const char *const words[] = {"password=right", NULL};
    struct database server;
    char url[256];

    assert_int_equal(database_start(&server, "postgres", words), 0);
    snprintf(url, sizeof(url), "postgres://tycho:wrongword@127.0.0.1:%d/postgres", server.port);
    fails_with(url, NULL, "28P01", "is databases.test.password right?");
    snprintf(url, sizeof(url), "postgres://tycho@127.0.0.1:%d/postgres", server.port);
    fails_with(url, NULL, "28P01", "wants a password");
    fails_with(url, "wrongword", "28P01", "is databases.test.password right?");
    snprintf(url, sizeof(url), "postgres://tycho@127.0.0.1:%d/missing", server.port);
    fails_with(url, "right", "3D000", "\"missing\" does not exist; it has to be created");
    snprintf(url, sizeof(url), "postgres://tycho@127.0.0.1:%d/postgres", server.port);
    struct place place;
    place_make(&place, server.port);
    struct ty_sql_options options = place_options(&place);
    options.password = "right";
    place_open_with(&place, &options);
    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
    database_remove(&server);
}

static void who_does_not_answer_is_named(void **state)
{
    (void)state;
    char url[256];

    snprintf(url, sizeof(url), "postgres://tycho@127.0.0.1:%d/postgres", database_free_port());
    fails_with(url, NULL, "connection", "Connection refused");
    fails_with("postgres://tycho@no-such-host.invalid/postgres", NULL, "name",
               "cannot be resolved (no-such-host.invalid");
    int mute = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    assert_int_equal(bind(mute, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(mute, 5), 0);
    getsockname(mute, (struct sockaddr *)&at, &len);
    snprintf(url, sizeof(url), "postgres://tycho@127.0.0.1:%d/postgres", ntohs(at.sin_port));
    fails_with(url, NULL, "timeout", "took too long");
    close(mute);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    struct place place;

    place_make(&place, 0);
    snprintf(place.url, sizeof(place.url), "postgresql://tycho@localhost:%d/postgres",
             the_server.port);
    struct ty_sql_options options = place_options(&place);
    place_open_with(&place, &options);
    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void sockets_of_the_machine_are_found(void **state)
{
    (void)state;
    struct place place;

    place_make(&place, 0);
    snprintf(place.url, sizeof(place.url), "postgres:///postgres?user=tycho&host=%s&port=%d",
             the_server.folder, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.result_max = 1024 * 1024;
    place_open_with(&place, &options);
    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_fails(&place, "select repeat('x', 1000) from generate_series(1, 10000000)",
                 TY_ERR_TOO_LARGE, "result_max");
    assert_int_equal(place_leave(&place), 0);
}

static void the_host_that_answers_is_taken(void **state)
{
    (void)state;
    struct place place;
    int dead = database_free_port();

    place_make(&place, 0);
    snprintf(place.url, sizeof(place.url),
             "postgres://tycho@127.0.0.1:%d,no-such-host.invalid:1,127.0.0.1:%d/postgres"
             "?target_session_attrs=read-write",
             dead, the_server.port);
    struct ty_sql_options options = place_options(&place);
    place_open_with(&place, &options);
    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_int_equal(place_leave(&place), 0);
}

static void a_host_that_is_mute_is_passed_over(void **state)
{
    (void)state;
    struct place place;
    struct task task;
    int mute = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);

    assert_int_equal(bind(mute, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(mute, 5), 0);
    getsockname(mute, (struct sockaddr *)&at, &len);
    place_make(&place, 0);
    snprintf(place.url, sizeof(place.url), "postgres://tycho@127.0.0.1:%d,127.0.0.1:%d/postgres",
             ntohs(at.sin_port), the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.connect_ms = 300;
    place_open_with(&place, &options);
    uint64_t began = ty_now_ms();
    do {
        start(&place, &task, "select 1");
        finish(&place, &task);
        ty_sql_op_close(&task.op);
        uv_run(&place.loop, UV_RUN_NOWAIT);
        assert_true(ty_now_ms() - began < at_most_ms(5000));
    } while (task.op.status != 0);
    assert_int_equal(place_leave(&place), 0);
    close(mute);
}

static void servers_are_spoken_to_in_private(void **state)
{
    (void)state;
    static const char *const words[] = {"tls=only", NULL};
    struct database server;
    struct place place;
    char *end;

    assert_int_equal(database_start(&server, "postgres", words), 0);
    place_make(&place, server.port);
    end = place.url + strlen(place.url);
    snprintf(end, 200, "?sslmode=verify-full&sslrootcert=%s/server.crt", server.folder);
    struct ty_sql_options options = place_options(&place);
    place_open_with(&place, &options);
    assert_int_equal(number_of(&place, "select count(*) from pg_stat_ssl"
                                       " where ssl and pid = pg_backend_pid()"),
                     1);
    /* Records of TLS do not end where results do. */
    assert_int_equal(number_of(&place, "select length(repeat('x', 100000))"), 100000);
    for (int i = 0; i < 20; i++)
        run(&place, "select repeat('x', 40000) from generate_series(1, 40)");
    assert_int_equal(place_leave(&place), 0);
    snprintf(end, 200, "?sslmode=disable");
    fails_with(place.url, NULL, "28000", "pg_hba.conf");
    database_remove(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_that_is_none_is_refused),
        cmocka_unit_test(what_is_wrong_is_said_in_a_sentence),
        cmocka_unit_test(who_does_not_answer_is_named),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(sockets_of_the_machine_are_found),
        cmocka_unit_test(the_host_that_answers_is_taken),
        cmocka_unit_test(a_host_that_is_mute_is_passed_over),
        cmocka_unit_test(servers_are_spoken_to_in_private),
    };

    return cmocka_run_group_tests_name("postgres_connect", tests, start_server, remove_server);
}
