/* Test programs get real servers, and nothing of them stays. */
#include "support/database.h"

#include <errno.h>
#include <sys/stat.h>

static bool is_there(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0;
}

static void check_life(const char *kind, const char *const *words)
{
    struct database db;
    int pid;

    assert_int_equal(database_start(&db, kind, words), 0);
    database_sql(&db, NULL, "create database one");
    database_sql(&db, "one", "create table t(n int)");
    database_sql(&db, "one", "insert into t values (1)");

    database_stop(&db);
    assert_int_equal(database_launch(&db), 0);
    database_sql(&db, "one", "insert into t values (2)");
    pid = db.pid;
    database_kill(&db);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);

    assert_int_equal(database_launch(&db), 0);
    assert_string_equal(database_sql(&db, "one", "select n from t order by n"), "1\n2");
    database_remove(&db);
    assert_false(is_there(db.folder));
}

static void a_postgres_starts_survives_a_kill_and_leaves_nothing(void **state)
{
    static const char *const words[] = {"max_connections=17", NULL};

    (void)state;
    check_life("postgres", words);
}

static void a_mariadb_starts_survives_a_kill_and_leaves_nothing(void **state)
{
    static const char *const words[] = {"password=s3cret", NULL};

    (void)state;
    check_life("mariadb", words);
}

static void a_pooler_stands_before_a_postgres(void **state)
{
    static const char *const few[] = {"max_connections=17", NULL};
    char upstream[32];
    const char *words[] = {upstream, "default_pool_size=1", NULL};
    struct database postgres, bouncer;

    (void)state;
    assert_int_equal(database_start(&postgres, "postgres", few), 0);
    snprintf(upstream, sizeof(upstream), "upstream=%d", postgres.port);
    assert_int_equal(database_start(&bouncer, "pgbouncer", words), 0);

    assert_string_equal(database_sql(&bouncer, NULL, "show max_connections"), "17");
    database_remove(&bouncer);
    database_remove(&postgres);
}

static void one_that_does_not_start_is_told(void **state)
{
    static const char *const words[] = {"nonsense=1", NULL};
    struct database db;

    (void)state;
    assert_int_equal(database_start(&db, "postgres", words), -1);
    database_remove(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_postgres_starts_survives_a_kill_and_leaves_nothing),
        cmocka_unit_test(a_mariadb_starts_survives_a_kill_and_leaves_nothing),
        cmocka_unit_test(a_pooler_stands_before_a_postgres),
        cmocka_unit_test(one_that_does_not_start_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
