#include "support/server.h"

/* Has the server written `text` to `file`? */
static bool wrote(struct server *server, const char *file, const char *text)
{
    return strstr(get_file(server, file), text) != NULL;
}

static void a_saved_file_is_live(void **state)
{
    struct server *server = *state;
    uint64_t before;

    server_start(server, "--development", "workers=2");
    before = ty_now_ms();
    put_file("scripts/app/a.lua", "answer two\n");
    wait_for(get(server, server->port, "/") == 200 && said(server, "two "));

    assert_true(ty_now_ms() - before <= at_most_ms(1000));
    wait_for(wrote(server, "out", "reloaded in "));
}

static void a_broken_file_is_said_and_the_last_good_one_serves(void **state)
{
    struct server *server = *state;

    server_start(server, "--development", "workers=1");
    put_file("scripts/app/a.lua", "answer two\nerror oh no\n");
    wait_for(wrote(server, "err", "app/a.lua:2: oh no\n  still serving generation"));
    assert_int_equal(get(server, server->port, "/"), 200);
    assert_true(said(server, "one "));

    put_file("scripts/app/a.lua", "answer one\n"); /* as it was */
    wait_for(wrote(server, "out", "good again"));
}

static void new_folders_are_watched_too(void **state)
{
    struct server *server = *state;

    server_start(server, "--development", "workers=1");
    mkdir("scripts/app/more", 0755);
    put_file("scripts/app/more/b.lua", "answer two\n");
    wait_for(get(server, server->port, "/") == 200 && said(server, "two "));
    put_file("scripts/app/more/b.lua", "answer three\n");
    wait_for(get(server, server->port, "/") == 200 && said(server, "three "));
}

static void a_folder_may_be_replaced(void **state)
{
    struct server *server = *state;

    server_start(server, "--development", "workers=1");
    mkdir("scripts/new", 0755);
    put_file("scripts/new/a.lua", "answer two\n");
    assert_int_equal(rename("scripts/app", "scripts/old"), 0);
    assert_int_equal(rename("scripts/new", "scripts/app"), 0);
    wait_for(get(server, server->port, "/") == 200 && said(server, "two "));
    put_file("scripts/app/a.lua", "answer three\n");
    wait_for(get(server, server->port, "/") == 200 && said(server, "three "));
}

static void the_configuration_is_watched(void **state)
{
    struct server *server = *state;

    mkdir("conf", 0755);
    server_start(server, "--development", "workers=1");
    put_file("conf/tycho.yaml", "http:\n  target_max: 64B\n");
    wait_for(get(server, server->port,
                 "/?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") == 414);
}

static void editors_temporary_files_are_nothing(void **state)
{
    struct server *server = *state;

    server_start(server, "--development", "workers=1");
    put_file("scripts/app/.a.lua.swp", "error not a script\n");
    put_file("scripts/app/b.lua", "answer two\n");
    wait_for(get(server, server->port, "/") == 200 && said(server, "two "));
    assert_false(wrote(server, "err", "not a script"));
}

static int host_tests(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_saved_file_is_live),
        WITH_FOLDER(a_broken_file_is_said_and_the_last_good_one_serves),
        WITH_FOLDER(new_folders_are_watched_too),
        WITH_FOLDER(a_folder_may_be_replaced),
        WITH_FOLDER(the_configuration_is_watched),
        WITH_FOLDER(editors_temporary_files_are_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_as(argc, argv, host_tests);
}
