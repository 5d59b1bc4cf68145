#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/process.h"

static void on_exited(struct ty_process *process, void *arg)
{
    (void)process;
    ++*(int *)arg;
}

static struct ty_process *spawn(uv_loop_t *loop, char **args, struct ty_process_options options,
                                int *exits)
{
    int status;

    options.args = args;
    struct ty_process *process = ty_process_spawn(loop, &options, on_exited, exits, &status);
    assert_int_equal(status, 0);
    assert_non_null(process);
    return process;
}

static void finish(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void the_exit_code_is_known(void **state)
{
    char *args[] = {"sh", "-c", "exit 7", NULL};
    int64_t code;
    int signum, exits = 0;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    struct ty_process *process = spawn(&loop, args, (struct ty_process_options){0}, &exits);
    assert_false(ty_process_ended(process, &code, &signum));
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_int_equal(exits, 1);
    assert_true(ty_process_ended(process, &code, &signum));
    assert_int_equal(code, 7);
    assert_int_equal(signum, 0);
    assert_int_equal(ty_process_kill(process, SIGTERM), UV_ESRCH);
    ty_process_close(process);
    finish(&loop);
}

static void the_killing_signal_is_known(void **state)
{
    char *args[] = {"sleep", "1000", NULL};
    int64_t code;
    int signum, exits = 0;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    struct ty_process *process = spawn(&loop, args, (struct ty_process_options){0}, &exits);
    assert_int_equal(ty_process_kill(process, SIGTERM), 0);
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_true(ty_process_ended(process, &code, &signum));
    assert_int_equal(signum, SIGTERM);
    ty_process_close(process);
    finish(&loop);
}

static void closing_kills_and_reaps_what_still_runs(void **state)
{
    char *args[] = {"sleep", "1000", NULL};
    int exits = 0;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    struct ty_process *process = spawn(&loop, args, (struct ty_process_options){0}, &exits);
    int pid = ty_process_pid(process);
    ty_process_close(process);
    finish(&loop);

    assert_int_equal(exits, 0);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

static void pipes_lead_to_the_child_and_back(void **state)
{
    char *args[] = {"tr", "a-z", "A-Z", NULL};
    struct ty_process_options options = {
        .stdio = {{.kind = TY_STDIO_PIPE}, {.kind = TY_STDIO_PIPE}}};
    char out[16] = "";
    int exits = 0;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    struct ty_process *process = spawn(&loop, args, options, &exits);
    int in_fd = ty_process_take_pipe(process, 0), out_fd = ty_process_take_pipe(process, 1);
    assert_int_equal(ty_process_take_pipe(process, 0), -1);
    assert_int_equal(ty_process_take_pipe(process, 2), -1);
    assert_int_equal(write(in_fd, "loud", 4), 4);
    close(in_fd);

    uv_run(&loop, UV_RUN_DEFAULT); /* it only ends when it sees the end of its input */
    assert_int_equal(read(out_fd, out, sizeof(out)), 4);
    assert_string_equal(out, "LOUD");
    assert_int_equal(read(out_fd, out, sizeof(out)), 0);
    close(out_fd);
    ty_process_close(process);
    finish(&loop);
}

static void output_goes_to_a_file_and_the_environment_is_the_given_one(void **state)
{
    char path[] = "/tmp/tycho-process-XXXXXX";
    char *args[] = {"/bin/sh", "-c", "echo $GREETING; pwd >&2", NULL};
    char *env[] = {"GREETING=hello", NULL};
    char out[64] = "";
    int exits = 0;
    uv_loop_t loop;

    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct ty_process_options options = {
        .env = env,
        .cwd = "/usr",
        .stdio = {{0}, {TY_STDIO_FILE, path}, {TY_STDIO_FILE, path}},
    };
    uv_loop_init(&loop);
    struct ty_process *process = spawn(&loop, args, options, &exits);
    uv_run(&loop, UV_RUN_DEFAULT);
    ty_process_close(process);
    finish(&loop);

    assert_true(read(fd, out, sizeof(out) - 1) > 0);
    assert_string_equal(out, "hello\n/usr\n");
    close(fd);
    unlink(path);
}

static int failure(struct ty_process_options options, char *program)
{
    char *args[] = {program, NULL};
    uv_loop_t loop;
    int status;

    uv_loop_init(&loop);
    options.args = args;
    assert_null(ty_process_spawn(&loop, &options, on_exited, NULL, &status));
    finish(&loop);
    return status;
}

static void a_start_that_fails_leaves_nothing(void **state)
{
    const struct ty_process_options pipes = {.stdio = {{.kind = TY_STDIO_PIPE}}};
    const struct ty_process_options file = {
        .stdio = {{.kind = TY_STDIO_PIPE}, {TY_STDIO_FILE, "/nonexistent/file"}}};
    const struct ty_process_options folder = {.cwd = "/nonexistent"};

    (void)state;
    int before = dup(0);
    close(before);
    assert_int_equal(failure(pipes, "tycho-no-such-program"), UV_ENOENT);
    assert_int_equal(failure(file, "true"), UV_ENOENT);
    assert_int_equal(failure(folder, "true"), UV_ENOENT);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after); /* no descriptor was left open */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_code_is_known),
        cmocka_unit_test(the_killing_signal_is_known),
        cmocka_unit_test(closing_kills_and_reaps_what_still_runs),
        cmocka_unit_test(pipes_lead_to_the_child_and_back),
        cmocka_unit_test(output_goes_to_a_file_and_the_environment_is_the_given_one),
        cmocka_unit_test(a_start_that_fails_leaves_nothing),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
