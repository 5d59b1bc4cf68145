#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tycho/bundle.h"

/* ---- a folder for each test */

static int make_folder(void **state)
{
    char *folder = strdup("/tmp/tycho-bundle-XXXXXX");

    *state = folder;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -rf %s", (char *)*state);
    free(*state);
    return chdir("/") == 0 ? system(command) : -1;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_scripts(void)
{
    mkdir("s", 0755);
    mkdir("s/app", 0755);
    write_file("s/app/b.lua", "return 2");
    write_file("s/app/a.lua", "return 1");
    write_file("s/z.txt", "");
}

static struct ty_bundle *read_good(const char *root)
{
    struct ty_error error = {0};
    struct ty_bundle *bundle = ty_bundle_read(root, &error);

    if (!bundle)
        fail_msg("%s", error.message);
    return bundle;
}

static char *read_bad(const char *root)
{
    static struct ty_error error;

    assert_null(ty_bundle_read(root, &error));
    return error.message;
}

/* ---- reading folders */

static void files_are_sorted_and_have_relative_names(void **state)
{
    (void)state;
    make_scripts();
    struct ty_bundle *bundle = read_good("s");

    assert_int_equal(ty_bundle_count(bundle), 3);
    assert_string_equal(ty_bundle_at(bundle, 0)->name, "app/a.lua");
    assert_string_equal(ty_bundle_at(bundle, 1)->name, "app/b.lua");
    assert_string_equal(ty_bundle_at(bundle, 2)->name, "z.txt");
    assert_null(ty_bundle_at(bundle, 3));
    assert_string_equal(ty_bundle_root(bundle), "s");
    assert_string_equal(ty_bundle_find(bundle, "app/b.lua")->data, "return 2");
    assert_int_equal(ty_bundle_find(bundle, "z.txt")->len, 0);
    assert_null(ty_bundle_find(bundle, "app/c.lua"));
    ty_bundle_unref(bundle);
}

static void the_id_changes_with_names_and_contents_only(void **state)
{
    char first[16], renamed[16];

    (void)state;
    make_scripts();
    struct ty_bundle *bundle = read_good("s");
    strcpy(first, ty_bundle_id(bundle));
    assert_int_equal(strlen(first), 12);
    assert_int_equal(strspn(first, "0123456789abcdef"), 12);
    ty_bundle_unref(bundle);

    assert_int_equal(rename("s", "other"), 0);
    bundle = read_good("other/");
    assert_string_equal(ty_bundle_id(bundle), first);
    assert_string_equal(ty_bundle_at(bundle, 0)->name, "app/a.lua");
    ty_bundle_unref(bundle);

    assert_int_equal(rename("other/app/a.lua", "other/app/c.lua"), 0);
    bundle = read_good("other");
    strcpy(renamed, ty_bundle_id(bundle));
    assert_string_not_equal(renamed, first);
    ty_bundle_unref(bundle);

    write_file("other/app/c.lua", "return 3");
    bundle = read_good("other");
    assert_string_not_equal(ty_bundle_id(bundle), renamed);
    ty_bundle_unref(bundle);
}

static void hidden_files_and_links_out_of_the_root_are_left_out(void **state)
{
    (void)state;
    make_scripts();
    write_file("secret.lua", "outside");
    write_file("s/.hidden", "x");
    mkdir("s/.git", 0755);
    write_file("s/.git/config", "x");
    assert_int_equal(symlink("../secret.lua", "s/leak.lua"), 0);
    assert_int_equal(symlink("/etc", "s/etc"), 0);
    assert_int_equal(symlink("..", "s/app/up"), 0);
    assert_int_equal(symlink("nowhere", "s/dangling"), 0);
    assert_int_equal(symlink("a.lua", "s/app/same.lua"), 0);
    assert_int_equal(mkfifo("s/pipe", 0644), 0);

    struct ty_bundle *bundle = read_good("s");

    assert_int_equal(ty_bundle_count(bundle), 4);
    assert_string_equal(ty_bundle_find(bundle, "app/same.lua")->data, "return 1");
    ty_bundle_unref(bundle);
}

static void a_root_that_is_a_link_is_followed(void **state)
{
    (void)state;
    make_scripts();
    assert_int_equal(symlink("s", "current"), 0);
    struct ty_bundle *bundle = read_good("current");

    assert_int_equal(ty_bundle_count(bundle), 3);
    ty_bundle_unref(bundle);
}

static void a_missing_root_is_named(void **state)
{
    (void)state;
    assert_string_equal(read_bad("nothing"), "nothing: No such file or directory");
}

static void an_unreadable_file_is_named(void **state)
{
    (void)state;
    make_scripts();
    write_file("file", "");
    assert_string_equal(read_bad("file"), "file: Not a directory");
    if (geteuid() == 0)
        return; /* nothing is unreadable for root */
    chmod("s/app/a.lua", 0);
    assert_string_equal(read_bad("s"), "s/app/a.lua: Permission denied");
}

static void too_much_is_refused(void **state)
{
    (void)state;
    make_scripts();
    write_file("s/big", "");
    assert_int_equal(truncate("s/big", TY_BUNDLE_BYTES_MAX + 1), 0);
    assert_non_null(strstr(read_bad("s"), "64 MiB"));
    assert_int_equal(truncate("s/big", 0), 0);

    for (int i = 0; i <= TY_BUNDLE_FILES_MAX; i++) {
        char path[32];
        snprintf(path, sizeof(path), "s/app/%d", i);
        write_file(path, "");
    }
    assert_non_null(strstr(read_bad("s"), "10000 files"));
}

static void folders_nested_without_end_are_refused(void **state)
{
    char path[512] = "s";

    (void)state;
    make_scripts();
    for (int i = 0; i < 40; i++) {
        strcat(path, "/d");
        mkdir(path, 0755);
    }
    assert_non_null(strstr(read_bad("s"), "32 deep"));
}

/* ---- passing on */

static void another_process_sees_the_same_bytes(void **state)
{
    struct ty_error error;

    (void)state;
    make_scripts();
    struct ty_bundle *bundle = read_good("s");
    int fd = dup(ty_bundle_fd(bundle));
    struct ty_bundle *copy = ty_bundle_open(fd, &error);

    assert_non_null(copy);
    close(fd);
    assert_string_equal(ty_bundle_id(copy), ty_bundle_id(bundle));
    ty_bundle_unref(bundle);
    assert_string_equal(ty_bundle_at(copy, 0)->data, "return 1");
    assert_string_equal(ty_bundle_root(copy), "s");
    ty_bundle_unref(copy);
}

static void a_bundle_cannot_be_changed(void **state)
{
    (void)state;
    make_scripts();
    struct ty_bundle *bundle = read_good("s");

    assert_int_equal(write(ty_bundle_fd(bundle), "x", 1), -1);
    assert_int_equal(ftruncate(ty_bundle_fd(bundle), 0), -1);
    ty_bundle_unref(bundle);
}

static void a_bundle_can_be_made_of_memory(void **state)
{
    const struct ty_bundle_file files[] = {{"b", "2\0x", 3}, {"a/c", "1", 1}};

    (void)state;
    struct ty_bundle *bundle = ty_bundle_of(files, 2, "here");
    assert_non_null(bundle);
    assert_string_equal(ty_bundle_at(bundle, 0)->name, "a/c");
    assert_memory_equal(ty_bundle_find(bundle, "b")->data, "2\0x", 4);
    ty_bundle_unref(bundle);

    bundle = ty_bundle_of(NULL, 0, "");
    assert_int_equal(ty_bundle_count(bundle), 0);
    assert_null(ty_bundle_find(bundle, "b"));
    ty_bundle_unref(bundle);
}

static void names_that_leave_the_root_are_no_bundle(void **state)
{
    static const char *const names[] = {"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/."};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const struct ty_bundle_file file = {names[i], "", 0};
        assert_null(ty_bundle_of(&file, 1, "s"));
    }
}

/* ---- hostile memory files */

static int sealed_copy(const char *data, size_t size)
{
    int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(write(fd, data, size), (ssize_t)size);
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
    return fd;
}

static struct ty_bundle *open_bytes(const char *data, size_t size)
{
    struct ty_error error;
    int fd = sealed_copy(data, size);
    struct ty_bundle *bundle = ty_bundle_open(fd, &error);

    close(fd);
    return bundle;
}

static void an_unsealed_file_is_no_bundle(void **state)
{
    struct ty_error error;
    char bytes[4096];

    (void)state;
    make_scripts();
    struct ty_bundle *bundle = read_good("s");
    ssize_t size = pread(ty_bundle_fd(bundle), bytes, sizeof(bytes), 0);
    int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, bytes, (size_t)size), size);

    assert_null(ty_bundle_open(fd, &error));
    close(fd);
    assert_null(ty_bundle_open(-1, &error));
    ty_bundle_unref(bundle);
}

static void every_cut_is_refused(void **state)
{
    char bytes[4096];

    (void)state;
    make_scripts();
    struct ty_bundle *bundle = read_good("s");
    ssize_t size = pread(ty_bundle_fd(bundle), bytes, sizeof(bytes), 0);

    for (ssize_t cut = 0; cut < size; cut++)
        assert_null(open_bytes(bytes, (size_t)cut));
    ty_bundle_unref(bundle);
}

/* Whatever is in it, opening never reads outside: the sanitizers watch, and all is walked. */
static void every_changed_byte_is_refused_or_harmless(void **state)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    char bytes[4096];
    size_t seen = 0;

    (void)state;
    make_scripts();
    struct ty_bundle *bundle = read_good("s");
    ssize_t size = pread(ty_bundle_fd(bundle), bytes, sizeof(bytes), 0);

    for (ssize_t i = 0; i < size * 3; i++) {
        bytes[i / 3] = (char)(bytes[i / 3] ^ flips[i % 3]);
        struct ty_bundle *changed = open_bytes(bytes, (size_t)size);
        for (size_t f = 0; changed && f < ty_bundle_count(changed); f++)
            seen += strlen(ty_bundle_at(changed, f)->name) + ty_bundle_at(changed, f)->len;
        if (changed)
            assert_string_not_equal(ty_bundle_id(changed), "");
        ty_bundle_unref(changed);
        bytes[i / 3] = (char)(bytes[i / 3] ^ flips[i % 3]);
    }
    assert_true(seen > 0);
    ty_bundle_unref(bundle);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(files_are_sorted_and_have_relative_names),
        IN_FOLDER(the_id_changes_with_names_and_contents_only),
        IN_FOLDER(hidden_files_and_links_out_of_the_root_are_left_out),
        IN_FOLDER(a_root_that_is_a_link_is_followed),
        IN_FOLDER(a_missing_root_is_named),
        IN_FOLDER(an_unreadable_file_is_named),
        IN_FOLDER(too_much_is_refused),
        IN_FOLDER(folders_nested_without_end_are_refused),
        IN_FOLDER(another_process_sees_the_same_bytes),
        IN_FOLDER(a_bundle_cannot_be_changed),
        cmocka_unit_test(a_bundle_can_be_made_of_memory),
        cmocka_unit_test(names_that_leave_the_root_are_no_bundle),
        IN_FOLDER(an_unsealed_file_is_no_bundle),
        IN_FOLDER(every_cut_is_refused),
        IN_FOLDER(every_changed_byte_is_refused_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
