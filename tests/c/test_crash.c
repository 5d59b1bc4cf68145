#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yyjson.h>

#include "crash_deaths.h"
#include "tycho/crash.h"
#include "tycho/log.h"

enum { LOG_MAX = 1 << 16 };

static char path[] = "/tmp/tycho-crash-XXXXXX";

/* ---- what scripts say */

static void know_two_lines(struct ty_crash_scripts *out)
{
    strcpy(out->request_id, "abc");
    strcpy(out->stack, "app/a.lua:3 in function 'f'\napp/a.lua:9 in the main chunk\n");
}

static void fault_after_one_line(struct ty_crash_scripts *out)
{
    strcpy(out->stack, "app/a.lua:3\n");
    write_to_null();
}

static void hang_after_one_line(struct ty_crash_scripts *out)
{
    strcpy(out->stack, "app/a.lua:3\n");
    for (;;)
        getppid(); /* to the compiler, somebody who may read it */
}

static void know_too_much(struct ty_crash_scripts *out)
{
    memset(out->stack, '"', sizeof(out->stack) - 2);
    out->stack[400] = '\n';
    out->stack[800] = '\xff';
    out->stack[sizeof(out->stack) - 2] = '\n';
}

/* ---- dying, and reading what is left */

struct death {
    void (*die)(void);
    ty_crash_scripts_fn *scripts;
    const char *running;
    const char *log; /* NULL: the file that is read */
    bool pretty;
};

static char text[LOG_MAX];
static yyjson_doc *doc;

/* Returns the signal that it died of; the log is in `text`. */
static int die_of(const struct death *death)
{
    static struct ty_slot slot;
    const struct ty_log_options log = {
        .path = death->log ? death->log : path, .pretty = death->pretty, .role = "web"};
    const struct ty_crash_options options = {
        .who = "web worker 3", .role = "web", .slot = &slot, .scripts = death->scripts};
    int pid, status;
    FILE *file;

    fclose(fopen(path, "w"));
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        strcpy(slot.generation, "0123456789ab");
        strcpy(slot.running, death->running ? death->running : "GET /a/{id} app/a.lua:3");
        if (death->log)
            dup2(open(path, O_WRONLY | O_APPEND), STDERR_FILENO);
        ty_log_open(&log);
        ty_crash_allow_cores(false);
        ty_crash_open(&options);
        death->die();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    file = fopen(path, "r");
    memset(text, 0, sizeof(text));
    (void)!fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* The last line, which must be the only one about a crash. */
static yyjson_val *record(void)
{
    const char *line = strstr(text, "\"module\":\"crash\"");

    assert_non_null(line);
    assert_null(strstr(line + 1, "\"module\":\"crash\""));
    while (line > text && line[-1] != '\n')
        line--;
    assert_ptr_equal(strchr(line, '\n'), text + strlen(text) - 1);
    yyjson_doc_free(doc);
    doc = yyjson_read(line, strlen(line), 0);
    assert_non_null(doc);
    return yyjson_doc_get_root(doc);
}

static const char *member(const char *name)
{
    const char *value = yyjson_get_str(yyjson_obj_get(record(), name));

    return value ? value : "";
}

static const char *item(const char *name, size_t index)
{
    const char *value = yyjson_get_str(yyjson_arr_get(yyjson_obj_get(record(), name), index));

    return value ? value : "";
}

static size_t items(const char *name)
{
    return yyjson_arr_size(yyjson_obj_get(record(), name));
}

static void needs_the_handler(void)
{
    if (IS_SANITIZED)
        skip(); /* sanitizers report for themselves */
}

/* ---- tests */

static void each_fatal_signal_leaves_one_record_and_does_what_it_does(void **state)
{
    static const struct {
        void (*die)(void);
        int signal;
        const char *name;
    } ways[] = {
        {write_to_null, SIGSEGV, "SIGSEGV"},
        {divide_by_zero, SIGFPE, "SIGFPE"},
        {run_an_illegal_instruction, SIGILL, "SIGILL"},
        {abort, SIGABRT, "SIGABRT"},
        {be_sent_a_signal, SIGBUS, "SIGBUS"},
    };

    (void)state;
    needs_the_handler();
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        assert_int_equal(die_of(&(struct death){.die = ways[i].die}), ways[i].signal);
        assert_string_equal(member("signal"), ways[i].name);
    }
}

static void the_record_says_who_where_and_in_what(void **state)
{
    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = write_to_null, .scripts = know_two_lines});

    assert_string_equal(member("level"), "error");
    assert_string_equal(member("msg"),
                        "web worker 3 died of SIGSEGV (segmentation fault) at address 0x0");
    assert_string_equal(member("role"), "web");
    assert_string_equal(member("address"), "0x0");
    assert_string_equal(member("generation"), "0123456789ab");
    assert_string_equal(member("route"), "GET /a/{id}");
    assert_string_equal(member("request_id"), "abc");
    assert_string_equal(item("lua", 0), "app/a.lua:3 in function 'f'");
    assert_string_equal(item("lua", 1), "app/a.lua:9 in the main chunk");
    assert_int_equal(items("lua"), 2);
    assert_true(strlen(member("time")) == strlen("2026-01-02T03:04:05.678901Z"));
    assert_true(yyjson_get_int(yyjson_obj_get(record(), "pid")) > 1);
}

static void the_backtrace_begins_where_it_happened(void **state)
{
    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = write_to_null});
    assert_true(strncmp(item("backtrace", 0), "tycho+0x", 8) == 0);
    assert_true(items("backtrace") > 4);
    assert_non_null(strstr(text, "__libc_start_main"));
    assert_null(strstr(text, "backtrace+"));

    die_of(&(struct death){.die = abort});
    assert_non_null(strstr(item("backtrace", 1), "libc.so.6+0x"));
    assert_non_null(strstr(text, " abort+0x"));
}

static void a_jump_to_nowhere_names_its_caller(void **state)
{
    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = call_null});

    assert_string_equal(item("backtrace", 0), "0x0");
#if defined(__x86_64__)
    assert_true(strncmp(item("backtrace", 1), "tycho+0x", 8) == 0);
    assert_non_null(strstr(text, "__libc_start_main"));
#endif
}

static void a_stack_that_has_run_over_is_reported(void **state)
{
    (void)state;
    needs_the_handler();
    assert_int_equal(die_of(&(struct death){.die = run_over_the_stack}), SIGSEGV);

    assert_string_equal(member("signal"), "SIGSEGV");
    assert_true(items("backtrace") > 10);
}

static void a_signal_from_elsewhere_names_its_sender(void **state)
{
    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = be_sent_a_signal});

    assert_string_equal(member("address"), "");
    assert_string_equal(member("reason"), "");
    assert_string_equal(member("msg"), "web worker 3 died of SIGBUS (bus error)"); /* itself */
}

static void ask_where_it_is(void)
{
    for (;;)
        nowhere = NULL;
}

static void whom_its_parent_aborts_says_where_it_is_stuck(void **state)
{
    const struct ty_log_options log = {.path = path, .role = "web"};
    const struct ty_crash_options options = {.who = "web worker 3", .role = "web"};
    int pid, ready[2], status;
    char byte;

    (void)state;
    needs_the_handler();
    fclose(fopen(path, "w"));
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        ty_log_open(&log);
        ty_crash_open(&options);
        (void)!write(ready[1], "", 1);
        ask_where_it_is();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(pid, SIGABRT);
    waitpid(pid, &status, 0);
    close(ready[0]);
    close(ready[1]);

    FILE *file = fopen(path, "r");
    memset(text, 0, sizeof(text));
    (void)!fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_string_equal(member("reason"), "stuck");
    assert_string_equal(member("msg"), "web worker 3 was stuck here, and its parent ended it");
    assert_true(items("backtrace") > 2);
}

static void a_fault_while_gathering_costs_only_what_was_missing(void **state)
{
    (void)state;
    needs_the_handler();
    assert_int_equal(die_of(&(struct death){.die = abort, .scripts = fault_after_one_line}),
                     SIGABRT);

    assert_string_equal(member("signal"), "SIGABRT");
    assert_string_equal(item("lua", 0), "app/a.lua:3");
    assert_true(items("backtrace") > 4);
}

static void gathering_that_hangs_is_interrupted(void **state)
{
    (void)state;
    needs_the_handler();
    assert_int_equal(die_of(&(struct death){.die = write_to_null, .scripts = hang_after_one_line}),
                     SIGSEGV);

    assert_string_equal(item("lua", 0), "app/a.lua:3");
    assert_true(items("backtrace") > 4);
}

static void another_threads_crash_says_nothing_of_scripts(void **state)
{
    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = be_killed_by_a_thread, .scripts = know_two_lines});

    assert_string_equal(member("thread"), "other");
    assert_int_equal(items("lua"), 0);
    assert_true(items("backtrace") > 1);
}

static void crashes_at_the_same_time_leave_one_record(void **state)
{
    (void)state;
    needs_the_handler();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(die_of(&(struct death){.die = die_in_two_threads}), SIGSEGV);
        assert_string_equal(member("thread"), "other");
    }
}

static void what_was_logged_before_is_there_too(void **state)
{
    size_t count = 0;

    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = log_and_die});
    for (const char *at = text; (at = strstr(at, "last words")); at++)
        count++;
    assert_int_equal(count, 20);
    assert_string_equal(member("signal"), "SIGSEGV");
}

static void whatever_it_holds_it_is_one_json_object_of_4_kib_at_most(void **state)
{
    char running[128];

    (void)state;
    needs_the_handler();
    memset(running, '\\', sizeof(running));
    memcpy(running, "GET /\"\n\x80\xe4\xb8", 8);
    running[sizeof(running) - 1] = '\0';
    die_of(
        &(struct death){.die = run_over_the_stack, .scripts = know_too_much, .running = running});

    assert_true(strlen(text) <= 4096);
    assert_string_equal(member("signal"), "SIGSEGV");
    assert_true(strncmp(member("route"), "GET /\"\n???\\", 8) == 0);
    assert_int_equal(strlen(item("lua", 0)), 400);
}

static void a_log_that_takes_nothing_is_replaced_by_standard_error(void **state)
{
    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = write_to_null, .log = "/dev/full"});

    assert_string_equal(member("signal"), "SIGSEGV");
}

static void people_get_lines(void **state)
{
    (void)state;
    needs_the_handler();
    die_of(&(struct death){.die = write_to_null, .scripts = know_two_lines, .pretty = true});

    assert_non_null(strstr(text, " ERROR crash: web worker 3 died of SIGSEGV"));
    assert_non_null(strstr(text, "route=\"GET /a/{id}\""));
    assert_non_null(strstr(text, "\n    | Lua app/a.lua:3 in function 'f'\n"));
    assert_non_null(strstr(text, "\n    | C   tycho+0x"));
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void no_core_and_no_look_inside_unless_allowed(void **state)
{
    struct rlimit limit;

    (void)state;
    ty_crash_allow_cores(false);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_cur, 0);
    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
    ty_crash_allow_cores(true);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_true(limit.rlim_cur == limit.rlim_max);
    assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);

    close(fd);
    return fd < 0;
}

static int remove_file(void **state)
{
    (void)state;
    yyjson_doc_free(doc);
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fatal_signal_leaves_one_record_and_does_what_it_does),
        cmocka_unit_test(the_record_says_who_where_and_in_what),
        cmocka_unit_test(the_backtrace_begins_where_it_happened),
        cmocka_unit_test(a_jump_to_nowhere_names_its_caller),
        cmocka_unit_test(a_stack_that_has_run_over_is_reported),
        cmocka_unit_test(a_signal_from_elsewhere_names_its_sender),
        cmocka_unit_test(whom_its_parent_aborts_says_where_it_is_stuck),
        cmocka_unit_test(a_fault_while_gathering_costs_only_what_was_missing),
        cmocka_unit_test(gathering_that_hangs_is_interrupted),
        cmocka_unit_test(another_threads_crash_says_nothing_of_scripts),
        cmocka_unit_test(crashes_at_the_same_time_leave_one_record),
        cmocka_unit_test(what_was_logged_before_is_there_too),
        cmocka_unit_test(whatever_it_holds_it_is_one_json_object_of_4_kib_at_most),
        cmocka_unit_test(a_log_that_takes_nothing_is_replaced_by_standard_error),
        cmocka_unit_test(people_get_lines),
        cmocka_unit_test(no_core_and_no_look_inside_unless_allowed),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
