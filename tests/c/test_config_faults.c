#include "config_harness.h"

static void an_environment_without_file_is_a_fault(void **state)
{
    (void)state;
    assert_fault("env: prodd\n", "tycho.yaml:1: environment prodd has no file: tycho.prodd.yaml "
                                 "is not there");
    assert_fault("env: ../x\n", "tycho.yaml:1: an environment's name has lower-case letters, "
                                "digits, - and _ only");
}

static void an_unknown_key_is_named_with_its_line_and_the_likely_one(void **state)
{
    (void)state;
    assert_fault("http:\n  host: ::1\n  prot: 80\n",
                 "tycho.yaml:3: http.prot: no such key; did you mean http.port?");
    assert_fault("httpp:\n  port: 80\n",
                 "tycho.yaml:1: httpp: no such section; did you mean http?");
    assert_fault("port: 80\n", "tycho.yaml:1: port: no such key; did you mean http.port?");
    assert_fault("databases:\n  main: {url: 'sqlite:x', raeders: 1}\n",
                 "tycho.yaml:2: databases.main.raeders: no such key; did you mean "
                 "databases.main.readers?");
    assert_fault("elephant: 1\n",
                 "tycho.yaml:1: elephant: no such key; `tycho config default` lists all");
    assert_fault("http.port: 80\n", "tycho.yaml:1: http.port: no such key; write each part of a "
                                    "name as a section of its own");
}

static void a_wrong_value_says_what_was_expected(void **state)
{
    (void)state;
    assert_fault("http: {port: 65536}\n", "tycho.yaml:1: http.port: expected an integer from 0 to "
                                          "65535, found \"65536\"");
    assert_fault("http: {port: '80'}\n", "tycho.yaml:1: http.port: expected an integer from 0 to "
                                         "65535, found the text \"80\"");
    assert_fault("http:\n  header_timeout: 5\n",
                 "tycho.yaml:2: http.header_timeout: expected a duration (ms, s, m, h, d) from "
                 "100ms to 1h, found \"5\"");
    assert_fault("http:\n  body_max: 10kb\n",
                 "tycho.yaml:2: http.body_max: expected a size (B, KiB, MiB, GiB) from 0B to "
                 "2GiB, found \"10kb\"");
    assert_fault("http: {access_log: yes}\n",
                 "tycho.yaml:1: http.access_log: expected true or false, found \"yes\"");
    assert_fault("log: {level: loud}\n", "tycho.yaml:1: log.level: expected debug, info, warn, "
                                         "error or off, found \"loud\"");
    assert_fault("http: 80\n", "tycho.yaml:1: http: expected a section: its keys on lines of "
                               "their own, indented");
    assert_fault("http:\n  port:\n    a: 1\n", "tycho.yaml:2: http.port: expected an integer from "
                                               "0 to 65535, found a section");
    assert_fault("http:\n  trusted_proxies: [10.0.0.0/33]\n",
                 "tycho.yaml:2: http.trusted_proxies: expected a list of addresses or networks "
                 "such as 10.0.0.0/8");
    assert_fault("scripts: {grants: [ffi, all]}\n",
                 "tycho.yaml:1: scripts.grants: expected a list of ffi, os.execute, io, debug or "
                 "bytecode");
    assert_fault(
        "databases:\n  default: {url: 'sqlite:a.db', replicas: near}\n",
        "tycho.yaml:2: databases.default.replicas: expected a list of names, found \"near\"");
    assert_fault("http: {generation_header: 'a b'}\n",
                 "tycho.yaml:1: http.generation_header: expected text of letters, digits, - and "
                 "_, found \"a b\"");
    assert_fault("http: {server_name: \"a\\r\\nb\"}\n",
                 "tycho.yaml:1: http.server_name: expected text, found \"a\\r\\nb\"");
}

static void numbers_beyond_64_bits_are_refused(void **state)
{
    (void)state;
    assert_null(load("http: {port: 99999999999999999999}\n"));
    assert_null(load("http: {body_max: 9223372036854775807GiB}\n"));
    assert_null(load("http: {port: -1}\n"));
    assert_null(load("http: {port: 1-1}\n"));
    assert_null(load("http: {port: 0x50}\n"));
}

static void values_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    assert_fault("http:\n  field_max: 64KiB\n", "tycho.yaml:2: http.field_max: must not be more "
                                                "than http.header_max (default)");
    assert_fault("http:\n  port: 9180\n",
                 "tycho.yaml:2: http.port: is also admin.port (default); give each its own");
    assert_fault("databases:\n  audit: {readers: 1}\n",
                 "tycho.yaml:2: databases.audit.url: missing");
    assert_fault("host: {heartbeat_timeout: 1499ms}\n",
                 "tycho.yaml:1: host.heartbeat_timeout: must be at least 500ms more than "
                 "lua.slice_max (default)");
    assert_fault("host: {heartbeat_timeout: 2s}\nlua: {slice_max: 1501ms}\n",
                 "tycho.yaml:2: lua.slice_max: must be at least 500ms less than "
                 "host.heartbeat_timeout (tycho.yaml:1)");
    struct ty_config *config = load("host: {heartbeat_timeout: 2s}\nlua: {slice_max: 1500ms}\n");
    assert_non_null(config);
    ty_config_unref(config);
}

static void all_faults_are_listed_in_their_order(void **state)
{
    (void)state;
    const char *const environ_[] = {"TYCHO_HTTP__PROT=1", NULL};
    const char *const overrides[] = {"log.levle=debug", NULL};

    assert_string_equal(faults_of("workers: x\nhttp:\n  prot: 1\n", environ_, overrides),
                        "tycho.yaml:1: workers: expected an integer from 0 to 64, found \"x\"\n"
                        "tycho.yaml:3: http.prot: no such key; did you mean http.port?\n"
                        "TYCHO_HTTP__PROT: http.prot: no such key; did you mean http.port?\n"
                        "--set: log.levle: no such key; did you mean log.level?");
}

static void faults_beyond_the_message_are_counted(void **state)
{
    (void)state;
    struct ty_buf yaml = {0};

    for (int i = 0; i < 100; i++)
        ty_buf_addf(&yaml, "nonsense%d: 1\n", i);
    assert_null(load(ty_buf_cstr(&yaml)));
    assert_true(strlen(error.message) < TY_ERROR_MESSAGE_MAX);
    const char *more = strstr(error.message, "\n... and ");
    assert_non_null(more);
    size_t shown = 0;
    for (const char *at = error.message; (at = strchr(at, '\n')); at++)
        shown++;
    assert_int_equal(shown + (size_t)strtol(more + 9, NULL, 10), 100);
    ty_buf_close(&yaml);
}

static void what_a_configuration_file_does_not_need_is_refused(void **state)
{
    (void)state;
    assert_fault("app: &a {b: 1}\n",
                 "tycho.yaml:1: anchors (&...) are not used in configuration files");
    assert_fault("app:\n  b: *a\n",
                 "tycho.yaml:2: aliases (*...) are not used in configuration files");
    assert_fault("app: !!str 1\n", "tycho.yaml:1: tags (!...) are not used in configuration files");
    assert_fault("http:\n  port: 1\n  port: 2\n",
                 "tycho.yaml:3: `port` again, already at tycho.yaml:2; remove one");
    assert_fault("app: 1\n---\napp: 2\n",
                 "tycho.yaml:2: a second document; a configuration file has one");
    assert_fault("- http\n", "tycho.yaml:1: expected sections such as `http:`");
    assert_fault("app: {a: \"x\\0y\"}\n", "tycho.yaml:1: a NUL character in a value");
    assert_fault("http: [\n", "tycho.yaml:2: not valid YAML: did not find expected node content "
                              "while parsing a flow node");
    assert_fault("app: \xff\n", "tycho.yaml: not valid UTF-8 at byte 5");
}

static void size_and_depth_of_a_file_are_bounded(void **state)
{
    (void)state;
    char *text = malloc((1 << 20) + 2);

    memset(text, '#', (1 << 20) + 1);
    text[(1 << 20) + 1] = '\0';
    assert_fault(text, "tycho.yaml: larger than 1 MiB");
    memset(text, '[', 100000);
    memcpy(text, "app: ", 5);
    text[100000] = '\0';
    assert_fault(text, "tycho.yaml:1: nested too deeply");
    memset(text, 'x', 100000);
    memcpy(text, "app: [", 6);
    for (int i = 7; i < 100000; i += 2)
        text[i] = ',';
    assert_fault(text, "tycho.yaml:1: too many values in one file");
    free(text);
}

static void a_file_that_was_asked_for_has_to_be_there(void **state)
{
    (void)state;
    const struct ty_config_source source = {.path = "/nowhere/x.yaml", .environ_ = no_environment};

    assert_null(ty_config_load(&source, &error));
    assert_string_equal(error.message,
                        "/nowhere/x.yaml: cannot be read: No such file or directory");
}

static void a_value_and_its_file_together_are_refused(void **state)
{
    (void)state;
    const char *const both[] = {"TYCHO_APP__KEY=a", "TYCHO_APP__KEY_FILE=/dev/null", NULL};
    const char *const gone[] = {"TYCHO_APP__KEY_FILE=/nowhere/key", NULL};

    assert_string_equal(faults_of("", both, NULL),
                        "TYCHO_APP__KEY_FILE: TYCHO_APP__KEY is set as well; remove one");
    assert_string_equal(faults_of("", gone, NULL),
                        "TYCHO_APP__KEY_FILE: /nowhere/key: cannot be read: "
                        "No such file or directory");
}

static void an_option_without_value_is_refused(void **state)
{
    (void)state;
    const char *const bare[] = {"http.port", NULL}, *const empty[] = {"=1", NULL};

    assert_string_equal(faults_of("", NULL, bare),
                        "--set: expected KEY=VALUE, such as http.port=8080");
    assert_string_equal(faults_of("", NULL, empty),
                        "--set: expected KEY=VALUE, such as http.port=8080");
}

static void faults_do_not_tell_secrets(void **state)
{
    (void)state;
    const char *const environ_[] = {"TYCHO_DATABASES__DEFAULT__URL=oracle://u:canary@h/d",
                                    "TYCHO_DATABASES__DEFAULT__URLL=canary",
                                    "TYCHO_HTTP__PORT=https://u:canary@h", NULL};
    const char *const overrides[] = {"canary", "databases.default.rul=canary", NULL};

    assert_null(load_with("databases: postgres://u:canary@h/d\n", NULL, environ_, overrides));
    assert_null(strstr(error.message, "canary"));
    assert_non_null(strstr(error.message, "databases.default.url: expected sqlite:FILE, "
                                          "postgres://... or mysql://..., found something else, "
                                          "not shown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_environment_without_file_is_a_fault),
        cmocka_unit_test(an_unknown_key_is_named_with_its_line_and_the_likely_one),
        cmocka_unit_test(a_wrong_value_says_what_was_expected),
        cmocka_unit_test(numbers_beyond_64_bits_are_refused),
        cmocka_unit_test(values_that_contradict_each_other_are_refused),
        cmocka_unit_test(all_faults_are_listed_in_their_order),
        cmocka_unit_test(faults_beyond_the_message_are_counted),
        cmocka_unit_test(what_a_configuration_file_does_not_need_is_refused),
        cmocka_unit_test(size_and_depth_of_a_file_are_bounded),
        cmocka_unit_test(a_file_that_was_asked_for_has_to_be_there),
        cmocka_unit_test(a_value_and_its_file_together_are_refused),
        cmocka_unit_test(an_option_without_value_is_refused),
        cmocka_unit_test(faults_do_not_tell_secrets),
    };
    return cmocka_run_group_tests_name("config_faults", tests, make_folder, remove_folder);
}
