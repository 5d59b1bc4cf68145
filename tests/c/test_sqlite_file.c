#include "sqlite_place.h"

#include <sys/stat.h>

static void missing_folders_are_made_and_nobody_else_reads_them(void **state)
{
    (void)state;
    struct place place;
    struct stat file, folder;
    char url[288], path[256];

    place_make(&place);
    snprintf(path, sizeof(path), "%s/a/b/c.db", place.folder);
    snprintf(url, sizeof(url), "sqlite:%s", path);
    struct ty_sql_options options = place_options(&place);
    options.url = url;
    place.db = ty_sql_new(&place.loop, &options, NULL);
    assert_int_equal(ask(&place, "create table t(n)", NULL), 0);

    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    *strrchr(path, '/') = '\0';
    assert_int_equal(stat(path, &folder), 0);
    assert_int_equal(folder.st_mode & 0777, 0700);
    assert_int_equal(place_leave(&place), 0);
}

static void what_is_not_a_database_is_unavailable_and_may_get_better(void **state)
{
    (void)state;
    struct place place;

    place_open(&place);
    FILE *file = fopen(place.file, "w");
    fputs("this is not a database, and long enough to be read as the header of one, "
          "which is a hundred bytes long",
          file);
    fclose(file);
    assert_true(ty_sql_is_up(place.db));
    assert_fails(&place, "select 1", TY_ERR_UNAVAILABLE, "SQLITE_NOTADB", "");
    assert_false(ty_sql_is_up(place.db));
    unlink(place.file);

    assert_int_equal(number_of(&place, "select 1"), 1);
    assert_true(ty_sql_is_up(place.db));
    assert_int_equal(place_leave(&place), 0);
}

static void a_file_that_cannot_be_made_says_why(void **state)
{
    (void)state;
    struct place place;
    struct task task;

    place_make(&place);
    struct ty_sql_options options = place_options(&place);
    options.url = "sqlite:///proc/nothing/here.db";
    place.db = ty_sql_new(&place.loop, &options, NULL);
    start(&place, &task, "select 1");
    finish(&place, &task);

    assert_int_equal(task.op.error.kind, TY_ERR_UNAVAILABLE);
    assert_string_equal(task.op.error.detail, "SQLITE_CANTOPEN");
    assert_non_null(strstr(task.op.error.message, "/proc/nothing/here.db"));
    assert_int_equal(place_leave(&place), 0);
}

static void a_full_disk_is_unavailable_and_harms_nothing(void **state)
{
    (void)state;
    struct place place;

    char command[256];

    place_make(&place);
    snprintf(command, sizeof(command), "mount -t tmpfs -o size=256k tmpfs '%s' 2>/dev/null",
             place.folder);
    if (system(command) != 0) {
        assert_int_equal(place_leave(&place), 0);
        skip();
    }
    struct ty_sql_options options = place_options(&place);
    place.db = ty_sql_new(&place.loop, &options, NULL);
    assert_int_equal(ask(&place, "create table t(n)", NULL), 0);

    assert_fails(&place, "insert into t values (randomblob(900000))", TY_ERR_UNAVAILABLE,
                 "SQLITE_FULL", "");
    assert_int_equal(ask(&place, "insert into t values (1)", NULL), 0);
    assert_int_equal(number_of(&place, "select count(*) from t"), 1);
    assert_int_equal(number_of(&place, "select integrity_check = 'ok' from pragma_integrity_check"),
                     1);
    place_shut(&place);
    snprintf(command, sizeof(command), "umount '%s'", place.folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(place_leave(&place), 0);
}

static void only_urls_of_files_are_taken(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "data.db",
                                        "sqlite:",
                                        "sqlite://host/data.db",
                                        "sqlite://",
                                        "sqlite:///",
                                        "sqlite:data/",
                                        "sqlite:data.db?mode=ro",
                                        "mongodb://localhost/x"};
    struct place place;

    place_make(&place);
    struct ty_sql_options options = place_options(&place);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct ty_error error = {0};

        options.url = wrong[i];
        assert_null(ty_sql_new(&place.loop, &options, &error));
        assert_string_not_equal(error.message, "");
    }
    assert_int_equal(place_leave(&place), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_folders_are_made_and_nobody_else_reads_them),
        cmocka_unit_test(what_is_not_a_database_is_unavailable_and_may_get_better),
        cmocka_unit_test(a_file_that_cannot_be_made_says_why),
        cmocka_unit_test(a_full_disk_is_unavailable_and_harms_nothing),
        cmocka_unit_test(only_urls_of_files_are_taken),
    };
    return cmocka_run_group_tests_name("sqlite_file", tests, NULL, NULL);
}
