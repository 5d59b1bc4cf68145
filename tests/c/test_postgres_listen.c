#include "postgres_place.h"
#include "support/figure.h"

struct ear {
    struct ty_sql_listener listener;
    int listening, notified, deaf, hearing;
    bool over;
    char last[64], why[512];
};

static void on_heard(struct ty_sql_listener *listener, const struct ty_sql_heard *heard)
{
    struct ear *ear = (struct ear *)listener;

    switch (heard->event) {
    case TY_SQL_LISTENING:
        ear->listening++;
        break;
    case TY_SQL_NOTIFIED:
        ear->notified++;
        snprintf(ear->last, sizeof(ear->last), "%.*s", (int)heard->payload.len,
                 heard->payload.data);
        break;
    case TY_SQL_DEAF:
        ear->deaf++;
        ear->over = heard->over;
        snprintf(ear->why, sizeof(ear->why), "%s", heard->error.message);
        break;
    case TY_SQL_HEARING:
        ear->hearing++;
        break;
    }
}

static void listen_to(struct place *place, struct ear *ear, const char *channel)
{
    *ear = (struct ear){.listener = {.channel = channel, .heard = on_heard}};
    ty_sql_listen(place->db, &ear->listener);
    assert_int_equal(ear->listening + ear->deaf, 0);
}

static void wait_for(struct place *place, const int *count, int wanted)
{
    uint64_t began = ty_now_ms();

    while (*count < wanted) {
        assert_true(ty_now_ms() - began < at_most_ms(10000));
        uv_run(&place->loop, UV_RUN_ONCE);
    }
}

static void who_listens_hears(void **state)
{
    (void)state;
    struct place place;
    struct ear one, two, other;

    place_open(&place);
    assert_true(ty_sql_can_listen(place.db));
    listen_to(&place, &one, "Odd \"name");
    listen_to(&place, &two, "Odd \"name");
    listen_to(&place, &other, "other");
    wait_for(&place, &one.listening, 1);
    wait_for(&place, &two.listening, 1);
    wait_for(&place, &other.listening, 1);
    run(&place, "select pg_notify('Odd \"name', 'hello')");
    wait_for(&place, &one.notified, 1);
    wait_for(&place, &two.notified, 1);
    assert_string_equal(one.last, "hello");
    assert_int_equal(other.notified, 0);

    ty_sql_unlisten(&one.listener);
    run(&place, "select pg_notify('Odd \"name', 'again')");
    wait_for(&place, &two.notified, 2);
    assert_int_equal(one.notified, 1);
    ty_sql_unlisten(&two.listener);
    run(&place, "select pg_notify('Odd \"name', 'nobody')");
    run(&place, "select pg_notify('other', 'x')");
    wait_for(&place, &other.notified, 1);
    assert_int_equal(two.notified, 2);
    ty_sql_unlisten(&other.listener);
    assert_int_equal(place_leave(&place), 0);
}

static void who_missed_something_is_told(void **state)
{
    (void)state;
    struct place place;
    struct ear ear;

    place_open(&place);
    listen_to(&place, &ear, "news");
    wait_for(&place, &ear.listening, 1);
    for (int i = 1; i < 4; i++) {
        run(&place, "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where query ilike 'listen %'");
        wait_for(&place, &ear.deaf, i);
        wait_for(&place, &ear.hearing, i);
        assert_false(ear.over);
        run(&place, "select pg_notify('news', 'x')");
        wait_for(&place, &ear.notified, i);
    }
    assert_int_equal(ear.listening, 1);
    ty_sql_unlisten(&ear.listener);
    assert_int_equal(place_leave(&place), 0);
}

static void the_connection_counts_and_goes_with_the_last_listener(void **state)
{
    (void)state;
    struct place place;
    struct ear ear, second;

    place_make(&place, the_server.port);
    struct ty_sql_options options = place_options(&place);
    options.pool_max = 2;
    place_open_with(&place, &options);
    assert_int_equal(number_of(&place, "select 1"), 1);
    listen_to(&place, &ear, "a");
    listen_to(&place, &second, "b");
    wait_for(&place, &second.listening, 1);
    wait_for(&place, &ear.listening, 1);
    assert_int_equal(number_of(&place, "select count(*) from pg_stat_activity"
                                       " where application_name = 'tycho'"),
                     2);
    ty_sql_unlisten(&ear.listener);
    ty_sql_unlisten(&second.listener);
    uint64_t began = ty_now_ms();
    while (number_of(&place, "select count(*) from pg_stat_activity"
                             " where application_name = 'tycho'") > 1)
        assert_true(ty_now_ms() - began < at_most_ms(5000));
    listen_to(&place, &ear, "a");
    wait_for(&place, &ear.listening, 1);
    ty_sql_unlisten(&ear.listener);
    assert_int_equal(place_leave(&place), 0);
}

static void a_database_may_be_closed_while_it_connects(void **state)
{
    (void)state;
    struct place place;
    struct ear ear;

    for (int turns = 0; turns < 12; turns++) {
        place_open(&place);
        listen_to(&place, &ear, "a");
        for (int i = 0; i < turns; i++)
            uv_run(&place.loop, UV_RUN_NOWAIT);
        ty_sql_unlisten(&ear.listener);
        assert_int_equal(place_leave(&place), 0);
    }
}

static void a_pooler_in_between_is_noticed(void **state)
{
    (void)state;
    struct database bouncer;
    char upstream[32];
    const char *words[] = {upstream, NULL};
    struct place place;
    struct ear ear;

    snprintf(upstream, sizeof(upstream), "upstream=%d", the_server.port);
    assert_int_equal(database_start(&bouncer, "pgbouncer", words), 0);
    place_make(&place, bouncer.port);
    struct ty_sql_options options = place_options(&place);
    place_open_with(&place, &options);
    listen_to(&place, &ear, "a");
    wait_for(&place, &ear.deaf, 1);
    assert_true(ear.over);
    assert_non_null(strstr(ear.why, "pooler"));
    ty_sql_unlisten(&ear.listener);
    assert_int_equal(place_leave(&place), 0);
    database_remove(&bouncer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_listens_hears),
        cmocka_unit_test(who_missed_something_is_told),
        cmocka_unit_test(the_connection_counts_and_goes_with_the_last_listener),
        cmocka_unit_test(a_database_may_be_closed_while_it_connects),
        cmocka_unit_test(a_pooler_in_between_is_noticed),
    };

    return cmocka_run_group_tests_name("postgres_listen", tests, start_server, remove_server);
}
