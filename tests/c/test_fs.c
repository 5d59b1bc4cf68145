#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tycho/fs.h"

static char folder[] = "/tmp/tycho-fs-XXXXXX";
static struct ty_error error;

/* The path of `name` in the test's folder; good until the next but three. */
static const char *in(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static int make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int clear(void **state)
{
    (void)state;
    return ty_fs_remove(folder, true, &error);
}

static void what_was_written_is_read_back(void **state)
{
    const struct ty_slice bytes = TY_SLICE("a\0b\n");
    struct ty_buf buf = {0};

    (void)state;
    assert_int_equal(ty_fs_write(in("bytes"), bytes, &error), 0);
    assert_int_equal(ty_fs_read(in("bytes"), 100, &buf, &error), 0);

    assert_int_equal(buf.len, 4);
    assert_memory_equal(buf.data, bytes.data, 4);
    ty_buf_close(&buf);
}

static void replacing_keeps_the_mode_and_leaves_nothing_beside(void **state)
{
    struct ty_buf names = {0};
    struct ty_fs_stat there;

    (void)state;
    assert_int_equal(ty_fs_mkdir(in("replacing"), &error), 0);
    assert_int_equal(ty_fs_write(in("replacing/file"), TY_SLICE("old"), &error), 0);
    chmod(in("replacing/file"), 0640);
    assert_int_equal(ty_fs_write(in("replacing/file"), TY_SLICE("newer"), &error), 0);

    assert_int_equal(ty_fs_stat(in("replacing/file"), &there, &error), 0);
    assert_int_equal(there.size, 5);
    assert_int_equal(there.mode, 0640);
    assert_int_equal(ty_fs_list(in("replacing"), &names, &error), 0);
    assert_int_equal(names.len, sizeof("file"));
    ty_buf_close(&names);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
    struct ty_buf names = {0};

    (void)state;
    assert_int_equal(ty_fs_mkdir(in("target/full"), &error), 0);
    assert_int_equal(ty_fs_write(in("target"), TY_SLICE("x"), &error), -1);

    assert_int_equal(error.kind, TY_ERR_INVALID);
    assert_string_equal(error.detail, "EISDIR");
    assert_int_equal(ty_fs_list(in("target"), &names, &error), 0);
    assert_int_equal(names.len, sizeof("full"));
    ty_buf_close(&names);
}

static void a_file_over_the_limit_is_not_read(void **state)
{
    struct ty_buf buf = {0};

    (void)state;
    assert_int_equal(ty_fs_write(in("large"), TY_SLICE("12345"), &error), 0);
    assert_int_equal(ty_fs_read(in("large"), 4, &buf, &error), -1);
    assert_int_equal(error.kind, TY_ERR_TOO_LARGE);
    ty_buf_close(&buf);
}

static void folders_are_made_with_those_above(void **state)
{
    struct ty_fs_stat there;

    (void)state;
    assert_int_equal(ty_fs_mkdir(in("a/b/c"), &error), 0);
    assert_int_equal(ty_fs_mkdir(in("a/b/c/"), &error), 0);
    assert_int_equal(ty_fs_stat(in("a/b/c"), &there, &error), 0);
    assert_int_equal(there.type, TY_FS_FOLDER);

    assert_int_equal(ty_fs_write(in("a/file"), TY_SLICE(""), &error), 0);
    assert_int_equal(ty_fs_mkdir(in("a/file"), &error), -1);
    assert_int_equal(error.kind, TY_ERR_CONFLICT);
}

static void only_a_recursive_remove_takes_what_is_inside(void **state)
{
    struct ty_fs_stat there;

    (void)state;
    assert_int_equal(ty_fs_mkdir(in("tree/branch"), &error), 0);
    assert_int_equal(ty_fs_write(in("tree/leaf"), TY_SLICE("x"), &error), 0);
    assert_int_equal(symlink("/etc", in("tree/link")), 0);

    assert_int_equal(ty_fs_remove(in("tree"), false, &error), -1);
    assert_int_equal(error.kind, TY_ERR_CONFLICT);
    assert_int_equal(ty_fs_remove(in("tree"), true, &error), 0);
    assert_int_equal(ty_fs_stat(in("tree"), &there, &error), -1);
    assert_int_equal(ty_fs_stat("/etc", &there, &error), 0);
    assert_int_equal(ty_fs_remove(in("tree"), true, &error), 0);
    assert_int_equal(ty_fs_remove(in("tree"), false, &error), -1);
    assert_int_equal(error.kind, TY_ERR_NOT_FOUND);
}

static void what_is_missing_is_named(void **state)
{
    struct ty_buf buf = {0};

    (void)state;
    assert_int_equal(ty_fs_read("/nonexistent/file", 100, &buf, &error), -1);
    assert_int_equal(error.kind, TY_ERR_NOT_FOUND);
    assert_string_equal(error.detail, "ENOENT");
    assert_string_equal(error.message, "/nonexistent/file: No such file or directory");
    assert_int_equal(ty_fs_list("/nonexistent", &buf, &error), -1);
    assert_int_equal(error.kind, TY_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(replacing_keeps_the_mode_and_leaves_nothing_beside),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(a_file_over_the_limit_is_not_read),
        cmocka_unit_test(folders_are_made_with_those_above),
        cmocka_unit_test(only_a_recursive_remove_takes_what_is_inside),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests_name("fs", tests, make, clear);
}
