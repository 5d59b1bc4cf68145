#include "support/server.h"

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

static void rollback_goes_back_step_by_step(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=2");
    assert_int_equal(command(server, "{\"command\":\"rollback\"}"), 1);
    assert_true(said(server, "there is no generation before this one"));
    put_file("scripts/app/a.lua", "answer two\n");
    assert_int_equal(reload(server), 0);
    put_file("scripts/app/a.lua", "answer three\n");
    assert_int_equal(reload(server), 0);

    assert_int_equal(command(server, "{\"command\":\"rollback\"}"), 0);
    assert_true(said(server, "what is on disk"));
    all_answer(server, "two ");
    assert_int_equal(command(server, "{\"command\":\"rollback\"}"), 0);
    all_answer(server, "one ");
    assert_int_equal(command(server, "{\"command\":\"rollback\"}"), 1);

    assert_int_equal(reload(server), 0); /* the files are still there */
    all_answer(server, "three ");
}

static void rollback_takes_an_id(void **state)
{
    struct server *server = *state;
    char json[96], id[16] = "";

    server_start(server, "workers=1");
    assert_int_equal(command(server, "{\"command\":\"status\"}"), 0);
    memcpy(id, strstr(server->last, "\"generation\":\"") + 14, 12);
    for (int i = 0; i < 3; i++) {
        char text[32];
        snprintf(text, sizeof(text), "answer v%d\n", i);
        put_file("scripts/app/a.lua", text);
        assert_int_equal(reload(server), 0);
    }

    assert_int_equal(command(server, "{\"command\":\"rollback\",\"id\":\"nonsense\"}"), 1);
    assert_true(said(server, "no such generation is kept"));
    wait_for(strstr(get_file(server, "err"), "rollback refused: no such generation"));
    snprintf(json, sizeof(json), "{\"command\":\"rollback\",\"id\":\"%s\"}", id);
    assert_int_equal(command(server, json), 0);
    all_answer(server, "one ");
}

static void only_so_many_generations_are_kept(void **state)
{
    struct server *server = *state;

    server_start(server, "workers=1", "reload.keep=2");
    for (int i = 0; i < 5; i++) {
        char text[32];
        snprintf(text, sizeof(text), "answer v%d\n", i);
        put_file("scripts/app/a.lua", text);
        assert_int_equal(reload(server), 0);
    }
    assert_int_equal(command(server, "{\"command\":\"generations\"}"), 0);

    yyjson_doc *doc = yyjson_read(server->last, strlen(server->last), 0);
    assert_int_equal(yyjson_arr_size(yyjson_doc_ptr_get(doc, "/generations")), 3);
    assert_true(yyjson_get_bool(yyjson_doc_ptr_get(doc, "/generations/0/active")));
    assert_false(yyjson_get_bool(yyjson_doc_ptr_get(doc, "/generations/1/active")));
    yyjson_doc_free(doc);
}

static int host_tests(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(rollback_goes_back_step_by_step),
        WITH_FOLDER(rollback_takes_an_id),
        WITH_FOLDER(only_so_many_generations_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_as(argc, argv, host_tests);
}
