#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/cli.h"

/* What one call printed, and its code. Nothing here needs a script engine. */
static const struct ty_engine engine = {.version = "LuaJIT 0", .stops_loops = true};
static char out[256 * 1024], err[64 * 1024];

static void read_back(int fd, char *text, size_t size)
{
    ssize_t len = pread(fd, text, size - 1, 0);

    assert_true(len >= 0);
    text[len] = '\0';
    close(fd);
}

static int redirect(FILE *to, FILE *from)
{
    int kept = dup(fileno(from));

    fflush(from);
    dup2(fileno(to), fileno(from));
    return kept;
}

static void restore(FILE *from, int kept)
{
    fflush(from);
    dup2(kept, fileno(from));
    close(kept);
}

/* Arguments are separated by single spaces. */
static int call(const char *line)
{
    char text[512], *argv[32] = {(char *)(uintptr_t) "tycho"}, *next = text;
    FILE *new_out = tmpfile(), *new_err = tmpfile();
    int argc = 1;

    assert_non_null(new_out);
    assert_non_null(new_err);
    snprintf(text, sizeof(text), "%s", line);
    while (*text && next) {
        argv[argc++] = next;
        if ((next = strchr(next, ' ')))
            *next++ = '\0';
    }

    int kept_out = redirect(new_out, stdout), kept_err = redirect(new_err, stderr);
    int code = ty_cli_main(argc, argv, &engine);
    restore(stdout, kept_out);
    restore(stderr, kept_err);

    read_back(dup(fileno(new_out)), out, sizeof(out));
    read_back(dup(fileno(new_err)), err, sizeof(err));
    fclose(new_out);
    fclose(new_err);
    return code;
}

static void assert_misuse(const char *line, const char *said)
{
    assert_int_equal(call(line), TY_EXIT_USAGE);
    assert_string_equal(out, "");
    assert_string_equal(err, said);
}

static void a_misspelt_command_is_wrong_usage(void **state)
{
    (void)state;
    assert_misuse("relaod", "tycho: relaod: no such command; did you mean reload?\n"
                            "Try: tycho help\n");
    assert_misuse("elephant", "tycho: elephant: no such command\nTry: tycho help\n");
    assert_misuse("config shwo", "tycho: config shwo: no such command; did you mean config show?\n"
                                 "Try: tycho help\n");
    assert_misuse("help elephant", "tycho: elephant: no such command\nTry: tycho help\n");
}

static void a_misspelt_option_is_wrong_usage(void **state)
{
    (void)state;
    assert_misuse("check --jsn", "tycho: --jsn: no such option; did you mean --json?\n"
                                 "Try: tycho check --help\n");
    assert_misuse("check --conifg=x", "tycho: --conifg: no such option; did you mean --config?\n"
                                      "Try: tycho check --help\n");
    assert_misuse("check -x", "tycho: -x: no such option\nTry: tycho check --help\n");
    assert_misuse("check --force", "tycho: --force: not an option of tycho check\n"
                                   "Try: tycho check --help\n");
}

static void missing_and_surplus_arguments_are_wrong_usage(void **state)
{
    (void)state;
    assert_misuse("config explain", "tycho: config explain wants KEY\n"
                                    "Try: tycho config explain --help\n");
    assert_misuse("run", "tycho: run wants FILE [ARGUMENT...]\nTry: tycho run --help\n");
    assert_misuse("version a", "tycho: a: one argument too many\nTry: tycho version --help\n");
    assert_misuse("check --config", "tycho: --config wants FILE\nTry: tycho check --help\n");
    assert_misuse("check --json=x", "tycho: --json takes no value\nTry: tycho check --help\n");
    assert_misuse("completion fish", "tycho: fish: no such shell; there is: bash\n"
                                     "Try: tycho completion --help\n");
    assert_misuse("serve --role task", "tycho: --role task: no such role; there are: web, all\n"
                                       "Try: tycho serve --help\n");
}

static void no_command_at_all_is_wrong_usage(void **state)
{
    (void)state;
    assert_int_equal(call(""), TY_EXIT_USAGE);
    assert_string_equal(out, "");
    assert_non_null(strstr(err, "tycho serve"));
}

static void every_command_explains_itself(void **state)
{
    (void)state;
    static const char *const names[] = {
        "serve",       "dev",     "check",       "reload",         "rollback",
        "generations", "status",  "ps",          "routes",         "run",
        "repl",        "test",    "config show", "config explain", "config default",
        "help",        "version", "completion",
    };
    char line[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(line, sizeof(line), "%s --help", names[i]);
        assert_int_equal(call(line), TY_EXIT_DONE);
        assert_string_equal(err, "");
        snprintf(line, sizeof(line), "Usage: tycho %s ", names[i]);
        assert_non_null(strstr(out, line));
        assert_non_null(strstr(out, "\nExamples:\n  "));
        assert_int_equal(call("help"), TY_EXIT_DONE);
        snprintf(line, sizeof(line), "\n  %s ", names[i]);
        assert_non_null(strstr(out, line));
    }
}

static void help_is_given_in_every_way_of_asking(void **state)
{
    (void)state;
    char first[sizeof(out)];

    call("help config show");
    memcpy(first, out, sizeof(out));
    assert_non_null(strstr(first, "Usage: tycho config show "));
    call("config show -h");
    assert_string_equal(out, first);
    call("--help config show");
    assert_string_equal(out, first);
    call("help");
    memcpy(first, out, sizeof(out));
    call("--help");
    assert_string_equal(out, first);
}

static void help_fits_a_terminal(void **state)
{
    (void)state;
    static const char *const lines[] = {"help", "help test", "help serve", "help run"};

    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        call(lines[i]);
        for (const char *at = out; *at; at += strcspn(at, "\n") + 1)
            assert_true(strcspn(at, "\n") < 80);
    }
}

static void options_stand_before_or_behind_the_command(void **state)
{
    (void)state;
    assert_int_equal(call("--set http.port=81 config show"), TY_EXIT_DONE);
    assert_non_null(strstr(out, "81                      --set\n"));
    assert_int_equal(call("config show --set=http.port=82 --set http.port=83"), TY_EXIT_DONE);
    assert_non_null(strstr(out, "83                      --set\n"));
}

static void a_faulty_configuration_is_one_line_and_code_1(void **state)
{
    (void)state;
    static const char said[] = "--set: http.prot: no such key; did you mean http.port?\n";

    assert_int_equal(call("config show --set http.prot=1"), TY_EXIT_FAILED);
    assert_string_equal(err, said);
    assert_int_equal(call("serve --set http.prot=1"), TY_EXIT_FAILED);
    assert_string_equal(err, said);
    assert_int_equal(call("check --set http.prot=1"), TY_EXIT_FAILED);
    assert_string_equal(err, said);
    assert_int_equal(call("check --json --set http.prot=1"), TY_EXIT_FAILED);
    assert_string_equal(out, "{\"ok\":false,\"faults\":[\"--set: http.prot: no such key; did you "
                             "mean http.port?\"]}\n");
}

static void a_key_is_explained(void **state)
{
    (void)state;
    assert_int_equal(call("config explain http.port"), TY_EXIT_DONE);
    assert_non_null(strstr(out, "TYCHO_HTTP__PORT"));
    assert_int_equal(call("config explain http.prot"), TY_EXIT_FAILED);
    assert_string_equal(out, "");
    assert_string_equal(err, "tycho: http.prot: no such key; did you mean http.port?\n");
}

static void a_server_that_is_not_there_is_code_3(void **state)
{
    (void)state;
    static const char *const names[] = {"reload", "rollback", "generations", "status", "ps"};
    char line[96];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(line, sizeof(line), "%s --set host.socket=/nowhere/x.sock", names[i]);
        assert_int_equal(call(line), TY_EXIT_UNREACHABLE);
        assert_string_equal(out, "");
        assert_non_null(strstr(err, "/nowhere/x.sock"));
    }
}

static void a_script_that_is_not_there_is_code_1(void **state)
{
    (void)state;
    assert_int_equal(call("run /nowhere/x.lua --json -h"), TY_EXIT_FAILED);
    assert_string_equal(err, "tycho: /nowhere/x.lua: No such file or directory\n");
}

static void versions_are_printed(void **state)
{
    (void)state;
    assert_int_equal(call("version"), TY_EXIT_DONE);
    assert_non_null(strstr(out, "LuaJIT 0, with CHECKHOOK"));
    assert_non_null(strstr(out, "\nsqlite   3."));
    assert_int_equal(call("--version"), TY_EXIT_DONE);
    assert_non_null(strstr(out, "tycho "));
    assert_int_equal(call("version --json"), TY_EXIT_DONE);
    assert_non_null(strstr(out, "\"stops_endless_loops\":true}\n"));
}

static void completion_is_bash_that_bash_reads(void **state)
{
    (void)state;
    FILE *script;

    assert_int_equal(call("completion bash"), TY_EXIT_DONE);
    script = popen("bash -s >/dev/null", "w");
    assert_non_null(script);
    fputs(out, script);
    fputs("expect() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _tycho;"
          " [[ ${COMPREPLY[*]} == \"$want\" ]] || exit 1; }\n"
          "want='reload' expect tycho rel\n"
          "want='show explain default' expect tycho config ''\n"
          "want='--force' expect tycho reload --fo\n"
          "want='http.port' expect tycho config explain http.po\n"
          "want='--json' expect tycho config explain --js\n",
          script);
    assert_int_equal(pclose(script), 0);
}

static void output_that_cannot_be_written_is_code_1(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY), kept = dup(STDOUT_FILENO), code;
    char *argv[] = {(char *)(uintptr_t) "tycho", (char *)(uintptr_t) "config",
                    (char *)(uintptr_t) "default", NULL};
    int kept_err = redirect(tmpfile(), stderr);

    assert_true(full >= 0);
    fflush(stdout);
    dup2(full, STDOUT_FILENO);
    code = ty_cli_main(3, argv, &engine);
    dup2(kept, STDOUT_FILENO);
    clearerr(stdout);
    restore(stderr, kept_err);
    close(kept);
    close(full);
    assert_int_equal(code, TY_EXIT_FAILED);
}

static void the_reference_is_what_the_table_says(void **state)
{
    (void)state;
    struct ty_buf file = {0}, table = {0};
    FILE *page = fopen("docs/cli.md", "r");

    assert_non_null(page);
    file.len = fread(ty_buf_reserve(&file, 256 * 1024), 1, 256 * 1024, page);
    fclose(page);
    ty_cli_reference(&table);
    assert_non_null(strstr(ty_buf_cstr(&file), ty_buf_cstr(&table)));
    ty_buf_close(&file);
    ty_buf_close(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_misspelt_command_is_wrong_usage),
        cmocka_unit_test(a_misspelt_option_is_wrong_usage),
        cmocka_unit_test(missing_and_surplus_arguments_are_wrong_usage),
        cmocka_unit_test(no_command_at_all_is_wrong_usage),
        cmocka_unit_test(every_command_explains_itself),
        cmocka_unit_test(help_is_given_in_every_way_of_asking),
        cmocka_unit_test(help_fits_a_terminal),
        cmocka_unit_test(options_stand_before_or_behind_the_command),
        cmocka_unit_test(a_faulty_configuration_is_one_line_and_code_1),
        cmocka_unit_test(a_key_is_explained),
        cmocka_unit_test(a_server_that_is_not_there_is_code_3),
        cmocka_unit_test(a_script_that_is_not_there_is_code_1),
        cmocka_unit_test(versions_are_printed),
        cmocka_unit_test(completion_is_bash_that_bash_reads),
        cmocka_unit_test(output_that_cannot_be_written_is_code_1),
        cmocka_unit_test(the_reference_is_what_the_table_says),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
