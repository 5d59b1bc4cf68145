#include "config_harness.h"

static void everything_has_a_default(void **state)
{
    (void)state;
    struct ty_config *config = load("");

    assert_non_null(config);
    assert_int_equal(ty_config_int(config, "http.port"), 8080);
    assert_string_equal(ty_config_str(config, "http.host"), "127.0.0.1");
    assert_int_equal(ty_config_int(config, "admin.port"), 9180);
    assert_int_equal(ty_config_bytes(config, "http.body_max"), 1024 * 1024);
    assert_int_equal(ty_config_ms(config, "http.header_timeout"), 10000);
    assert_true(ty_config_seconds(config, "databases.default.slow") == 0.2);
    assert_true(ty_config_bool(config, "http.access_log"));
    assert_null(ty_config_str(config, "http.server_name"));
    assert_string_equal(ty_config_named_str(config, "databases", "default", "url"),
                        "sqlite:data/tycho.db");
    ty_config_unref(config);
}

static void values_of_each_type_are_read(void **state)
{
    (void)state;
    struct ty_config *config = load("http:\n  port: 9000\n  body_max: 64KiB\n  access_log: false\n"
                                    "  send_timeout: 1500ms\n  server_name: 'tycho # 1'\n"
                                    "  trusted_proxies: [10.0.0.0/8, \"::1\"]\n"
                                    "log:\n  level: warn\n  levels: {http: debug}\n");
    const char *const *items, *const *names;

    assert_non_null(config);
    assert_int_equal(ty_config_int(config, "http.port"), 9000);
    assert_int_equal(ty_config_bytes(config, "http.body_max"), 65536);
    assert_false(ty_config_bool(config, "http.access_log"));
    assert_int_equal(ty_config_ms(config, "http.send_timeout"), 1500);
    assert_string_equal(ty_config_str(config, "http.server_name"), "tycho # 1");
    assert_int_equal(ty_config_list(config, "http.trusted_proxies", &items), 2);
    assert_string_equal(items[1], "::1");
    assert_string_equal(ty_config_str(config, "log.level"), "warn");
    assert_int_equal(ty_config_names(config, "log.levels", &names), 1);
    assert_string_equal(ty_config_named_str(config, "log.levels", names[0], NULL), "debug");
    ty_config_unref(config);
}

static void named_databases_have_defaults_of_their_own(void **state)
{
    (void)state;
    struct ty_config *config = load("databases:\n  stock: {url: 'sqlite:stock.db', readers: 2}\n"
                                    "  audit:\n    url: sqlite:audit.db\n    slow: 1s\n");
    const char *const *names;

    assert_non_null(config);
    assert_int_equal(ty_config_names(config, "databases", &names), 3);
    assert_string_equal(names[0], "audit");
    assert_string_equal(names[1], "default");
    assert_string_equal(names[2], "stock");
    assert_int_equal(ty_config_named_int(config, "databases", "stock", "readers"), 2);
    assert_int_equal(ty_config_named_int(config, "databases", "audit", "readers"), 4);
    assert_int_equal(ty_config_named_ms(config, "databases", "audit", "slow"), 1000);
    assert_int_equal(ty_config_named_bytes(config, "databases", "audit", "result_max"), 64 << 20);
    assert_null(ty_config_named_str(config, "databases", "nobody", "url"));
    assert_int_equal(ty_config_named_int(config, "databases", "nobody", "readers"), 4);
    ty_config_unref(config);
}

static void a_later_source_wins(void **state)
{
    (void)state;
    const char *const environ_[] = {"TYCHO_HTTP__BACKLOG=3", "TYCHO_HTTP__PORT=3", "PATH=/", NULL};
    const char *const overrides[] = {"http.port=4", NULL};

    write_file("tycho.staging.yaml", "http:\n  header_count_max: 2\n  backlog: 2\n  port: 2\n");
    struct ty_config *config =
        load_with("http:\n  max_connections: 1\n  header_count_max: 1\n  backlog: 1\n  port: 1\n",
                  "staging", environ_, overrides);

    assert_non_null(config);
    assert_int_equal(ty_config_int(config, "http.max_connections"), 1);
    assert_int_equal(ty_config_int(config, "http.header_count_max"), 2);
    assert_int_equal(ty_config_int(config, "http.backlog"), 3);
    assert_int_equal(ty_config_int(config, "http.port"), 4);
    assert_string_equal(ty_config_str(config, "env"), "staging");
    ty_config_unref(config);
}

static void the_environment_is_chosen_by_option_variable_or_file(void **state)
{
    (void)state;
    const char *const environ_[] = {"TYCHO_ENV=test", NULL};
    struct ty_config *config = load_with("env: dev\n", NULL, environ_, NULL);

    assert_string_equal(ty_config_str(config, "env"), "test");
    ty_config_unref(config);
    config = load("env: dev\n");
    assert_string_equal(ty_config_str(config, "env"), "dev");
    ty_config_unref(config);
    config = load_with("env: dev\n", "production", environ_, NULL);
    assert_string_equal(ty_config_str(config, "env"), "production");
    ty_config_unref(config);
}

static void variables_map_to_keys_exactly(void **state)
{
    (void)state;
    const char *const environ_[] = {
        "TYCHO_DATABASES__DEFAULT__URL=sqlite:x",
        "TYCHO_HTTP__TRUSTED_PROXIES=10.0.0.0/8, ::1",
        "TYCHO_LOG__LEVELS__HTTP=debug",
        "TYCHO_WORKERS=3",
        "TYCHO_HOST__PID_FILE=/run/x.pid",
        "TYCHO_ROLE=whatever the program uses it for",
        "TYCHO_APP__ORDERS__EXPIREAFTER=30",
        "TYCHO_APP__PIN=0042",
        NULL,
    };
    struct ty_config *config =
        load_with("app: {orders: {expireAfter: 5}, code: '1'}\n", NULL, environ_, NULL);
    const char *const *items;
    struct ty_buf json = {0};

    assert_non_null(config);
    assert_string_equal(ty_config_named_str(config, "databases", "default", "url"), "sqlite:x");
    assert_int_equal(ty_config_list(config, "http.trusted_proxies", &items), 2);
    assert_string_equal(items[1], "::1");
    assert_string_equal(ty_config_named_str(config, "log.levels", "http", ""), "debug");
    assert_int_equal(ty_config_int(config, "workers"), 3);
    assert_string_equal(ty_config_str(config, "host.pid_file"), "/run/x.pid");
    ty_config_json(config, true, &json);
    assert_non_null(strstr(ty_buf_cstr(&json),
                           "\"app\":{\"orders\":{\"expireAfter\":30},\"code\":\"1\","
                           "\"pin\":\"0042\"}"));
    ty_buf_close(&json);
    ty_config_unref(config);
}

static void a_value_from_outside_has_the_type_of_what_it_replaces(void **state)
{
    (void)state;
    const char *const overrides[] = {"app.code=123", "app.n=5", "app.list=a,b", NULL};
    struct ty_config *config =
        load_with("app: {code: '000', n: 1, list: [x]}\n", NULL, NULL, overrides);
    struct ty_buf json = {0};

    assert_non_null(config);
    ty_config_json(config, true, &json);
    assert_non_null(
        strstr(ty_buf_cstr(&json), "\"app\":{\"code\":\"123\",\"n\":5,\"list\":[\"a\",\"b\"]}"));
    ty_buf_close(&json);
    ty_config_unref(config);
}

static void a_variable_may_name_a_file_with_the_value(void **state)
{
    (void)state;
    char url[160], key[160];
    const char *const environ_[] = {url, key, NULL};
    struct ty_buf out = {0};

    snprintf(url, sizeof(url), "TYCHO_DATABASES__DEFAULT__URL_FILE=%s", in_folder("url"));
    snprintf(key, sizeof(key), "TYCHO_APP__SIGNING_FILE=%s", in_folder("key"));
    write_file("url", "sqlite:from-a-file.db\n");
    write_file("key", "canary-1234");
    struct ty_config *config = load_with("", NULL, environ_, NULL);

    assert_non_null(config);
    assert_string_equal(ty_config_named_str(config, "databases", "default", "url"),
                        "sqlite:from-a-file.db");
    ty_config_json(config, true, &out);
    assert_non_null(strstr(ty_buf_cstr(&out), "\"app\":{\"signing\":\"canary-1234\"}"));
    ty_buf_close(&out);
    ty_config_unref(config);
}

/* A secret in every place that may hold one must not be in anything that is for people. */
static void secrets_never_print(void **state)
{
    (void)state;
    char key[160];
    const char *const environ_[] = {"TYCHO_APP__SMTP__PASSWORD=canary", key, NULL};
    const char *const overrides[] = {"app.queue=amqp://u:canary@host", NULL};
    struct ty_buf out = {0};

    snprintf(key, sizeof(key), "TYCHO_APP__SIGNING_FILE=%s", in_folder("key"));
    write_file("key", "canary\n");
    struct ty_config *config = load_with("databases:\n  default:\n    url: sqlite:canary\n"
                                         "app:\n  jwt: {secret: canary}\n",
                                         NULL, environ_, overrides);

    assert_non_null(config);
    ty_config_show(config, false, &out);
    ty_config_show(config, true, &out);
    ty_config_json(config, false, &out);
    ty_config_explain(config, "databases.default.url", false, &out);
    ty_config_explain(config, "databases.default.url", true, &out);
    ty_config_explain(config, "app.jwt.secret", false, &out);
    ty_config_explain(config, "app", false, &out);
    assert_null(strstr(ty_buf_cstr(&out), "canary"));
    ty_buf_close(&out);
    ty_config_unref(config);
}

static void a_packed_configuration_is_the_same(void **state)
{
    (void)state;
    char key[160];
    const char *const environ_[] = {"TYCHO_HTTP__PORT=81", key, NULL};
    struct ty_buf packed = {0}, before = {0}, after = {0};

    snprintf(key, sizeof(key), "TYCHO_APP__SIGNING_FILE=%s", in_folder("key"));
    write_file("key", "canary\n");
    struct ty_config *config =
        load_with("http: {trusted_proxies: ['::1']}\napp: {a: [1, {b: ~}], e: '5', f: }\n"
                  "databases:\n  other: {url: 'sqlite:x'}\n",
                  NULL, environ_, NULL);
    assert_non_null(config);
    ty_config_pack(config, &packed);
    struct ty_config *twin = ty_config_unpack(packed.data, packed.len);
    assert_non_null(twin);

    ty_config_json(config, true, &before);
    ty_config_show(config, false, &before);
    ty_config_json(twin, true, &after);
    ty_config_show(twin, false, &after);
    assert_string_equal(ty_buf_cstr(&before), ty_buf_cstr(&after));

    /* Anything shorter is refused, not misread. */
    for (size_t len = 0; len < packed.len; len++)
        assert_null(ty_config_unpack(packed.data, len));
    ty_buf_close(&packed);
    ty_buf_close(&before);
    ty_buf_close(&after);
    ty_config_unref(config);
    ty_config_unref(twin);
}

static void sources_are_shown(void **state)
{
    (void)state;
    const char *const environ_[] = {"TYCHO_HTTP__BACKLOG=5", NULL};
    const char *const overrides[] = {"workers=2", NULL};
    struct ty_config *config = load_with("http:\n  port: 81\n", NULL, environ_, overrides);
    struct ty_buf out = {0};
    char line[256];

    ty_config_show(config, false, &out);
    ty_buf_cstr(&out);
    snprintf(line, sizeof(line), "%-32s%-24s%s:2\n", "http.port", "81", in_folder("tycho.yaml"));
    assert_non_null(strstr(out.data, line));
    snprintf(line, sizeof(line), "%-32s%-24s%s\n", "http.backlog", "5", "TYCHO_HTTP__BACKLOG");
    assert_non_null(strstr(out.data, line));
    snprintf(line, sizeof(line), "%-32s%-24s%s\n", "workers", "2", "--set");
    assert_non_null(strstr(out.data, line));
    snprintf(line, sizeof(line), "%-32s%-24s%s\n", "http.host", "127.0.0.1", "default");
    assert_non_null(strstr(out.data, line));
    ty_buf_close(&out);
    ty_config_unref(config);
}

static void an_unknown_key_is_not_explained(void **state)
{
    (void)state;
    struct ty_config *config = load("");
    struct ty_buf out = {0};

    assert_true(ty_config_explain(config, "http.port", false, &out));
    assert_non_null(strstr(ty_buf_cstr(&out), "TYCHO_HTTP__PORT"));
    out.len = 0;
    assert_false(ty_config_explain(config, "http.prot", false, &out));
    assert_string_equal(ty_buf_cstr(&out), "http.prot: no such key; did you mean http.port?");
    ty_buf_close(&out);
    ty_config_unref(config);
}

static void keys_that_need_a_restart_are_found(void **state)
{
    (void)state;
    struct ty_config *old = load("databases:\n  gone: {url: 'sqlite:x'}\n");
    struct ty_config *now = load("http: {port: 81, body_max: 2MiB}\napp: {a: 1}\nworkers: 2\n");
    struct ty_buf out = {0};

    ty_config_restart_keys(old, now, &out);
    ty_buf_cstr(&out);
    assert_memory_equal(out.data, "workers, http.port, databases.gone.url", 38);
    out.len = 0;
    ty_config_restart_keys(old, old, &out);
    assert_int_equal(out.len, 0);
    ty_buf_close(&out);
    ty_config_unref(old);
    ty_config_unref(now);
}

static void read_all(const char *path, struct ty_buf *out)
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    out->len = fread(ty_buf_reserve(out, 256 * 1024), 1, 256 * 1024, file);
    fclose(file);
    ty_buf_cstr(out);
}

static void the_default_file_is_what_the_table_says(void **state)
{
    (void)state;
    struct ty_buf file = {0}, table = {0};

    read_all("conf/tycho.yaml", &file);
    ty_config_default_yaml(&table);
    assert_string_equal(file.data, ty_buf_cstr(&table));
    ty_buf_close(&file);
    ty_buf_close(&table);
}

static void the_reference_is_what_the_table_says(void **state)
{
    (void)state;
    struct ty_buf file = {0}, table = {0};

    read_all("docs/configuration.md", &file);
    ty_config_reference(&table);
    assert_non_null(strstr(file.data, ty_buf_cstr(&table)));
    ty_buf_close(&file);
    ty_buf_close(&table);
}

static void the_default_file_changes_nothing(void **state)
{
    (void)state;
    struct ty_buf yaml = {0}, with = {0}, without = {0};

    ty_config_default_yaml(&yaml);
    struct ty_config *config = load(ty_buf_cstr(&yaml)), *bare = load("");
    assert_non_null(config);
    ty_config_json(config, true, &with);
    ty_config_json(bare, true, &without);
    assert_string_equal(ty_buf_cstr(&with), ty_buf_cstr(&without));
    ty_buf_close(&yaml);
    ty_buf_close(&with);
    ty_buf_close(&without);
    ty_config_unref(config);
    ty_config_unref(bare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_has_a_default),
        cmocka_unit_test(values_of_each_type_are_read),
        cmocka_unit_test(named_databases_have_defaults_of_their_own),
        cmocka_unit_test(a_later_source_wins),
        cmocka_unit_test(the_environment_is_chosen_by_option_variable_or_file),
        cmocka_unit_test(variables_map_to_keys_exactly),
        cmocka_unit_test(a_value_from_outside_has_the_type_of_what_it_replaces),
        cmocka_unit_test(a_variable_may_name_a_file_with_the_value),
        cmocka_unit_test(secrets_never_print),
        cmocka_unit_test(a_packed_configuration_is_the_same),
        cmocka_unit_test(sources_are_shown),
        cmocka_unit_test(an_unknown_key_is_not_explained),
        cmocka_unit_test(keys_that_need_a_restart_are_found),
        cmocka_unit_test(the_default_file_is_what_the_table_says),
        cmocka_unit_test(the_reference_is_what_the_table_says),
        cmocka_unit_test(the_default_file_changes_nothing),
    };
    return cmocka_run_group_tests_name("config", tests, make_folder, remove_folder);
}
