#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

#include "support/figure.h"
#include "tycho/clock.h"
#include "tycho/log.h"

static char folder[] = "/tmp/tycho-log-XXXXXX";
static char path[64], other_path[64];

static void open_log(bool pretty)
{
    struct ty_log_options options = {
        .path = path, .level = TY_LOG_DEBUG, .pretty = pretty, .role = "web"};

    remove(path);
    assert_int_equal(ty_log_open(&options), 0);
}

/* What the log has written; closes it, which flushes. The caller frees. */
static char *read_file(const char *name, size_t *len)
{
    FILE *file = fopen(name, "r");
    char *data = calloc(1, 4 << 20);

    assert_non_null(file);
    *len = fread(data, 1, (4 << 20) - 1, file);
    fclose(file);
    return data;
}

static char *written(size_t *len)
{
    ty_log_close();
    return read_file(path, len);
}

/* Parses the one line that there must be. */
static yyjson_doc *one_record(void)
{
    size_t len;
    char *text = written(&len);

    assert_true(len > 0);
    assert_ptr_equal(memchr(text, '\n', len), text + len - 1);
    yyjson_doc *doc = yyjson_read(text, len, 0);
    assert_non_null(doc);
    free(text);
    return doc;
}

static const char *member(yyjson_doc *doc, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), name));
}

static void a_record_has_its_members(void **state)
{
    struct ty_log_context context = {.request_id = "r1",
                                     .trace_id = "t1",
                                     .span_id = "s1",
                                     .generation = "g1",
                                     .fields = "\"user\":7",
                                     .fields_len = 8};

    (void)state;
    open_log(false);
    ty_log(TY_LOG_WARN, "http", &context, "took %d ms", 12);
    yyjson_doc *doc = one_record();

    assert_string_equal(member(doc, "level"), "warn");
    assert_string_equal(member(doc, "module"), "http");
    assert_string_equal(member(doc, "msg"), "took 12 ms");
    assert_string_equal(member(doc, "role"), "web");
    assert_string_equal(member(doc, "request_id"), "r1");
    assert_string_equal(member(doc, "trace_id"), "t1");
    assert_string_equal(member(doc, "span_id"), "s1");
    assert_string_equal(member(doc, "generation"), "g1");
    assert_int_equal(strlen(member(doc, "time")), strlen("2026-01-02T03:04:05.678901Z"));
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_int_equal(yyjson_get_int(yyjson_obj_get(root, "pid")), getpid());
    assert_int_equal(yyjson_get_int(yyjson_obj_get(root, "user")), 7);
    yyjson_doc_free(doc);
}

static void any_bytes_make_one_json_object_a_line(void **state)
{
    enum { RECORDS = 300 };
    size_t len, lines = 0;
    unsigned seed = 12345;

    (void)state;
    open_log(false);
    for (int i = 0; i < RECORDS; i++) {
        char bytes[256], name[] = {'k', (char)(i + 1), '"', '\0'};
        struct ty_buf fields = {0};

        for (size_t b = 0; b < sizeof(bytes); b++)
            bytes[b] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
        ty_log_add_field(&fields, name, bytes, sizeof(bytes));
        struct ty_log_context context = {
            .request_id = "\x1b[2J\r\n\"", .fields = fields.data, .fields_len = fields.len};
        ty_log_text(TY_LOG_INFO, "http", &context, bytes, sizeof(bytes));
        ty_buf_close(&fields);
    }
    char *text = written(&len), *line = text;

    for (char *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        yyjson_doc *doc = yyjson_read(line, (size_t)(end - line), 0);

        assert_non_null(doc);
        yyjson_doc_free(doc);
        for (char *c = line; c < end; c++)
            assert_false((unsigned char)*c < 0x20 || *c == 0x7F);
    }
    assert_int_equal(lines, RECORDS);
    assert_ptr_equal(line, text + len);
    free(text);
}

static void the_readable_form_cannot_be_forged_either(void **state)
{
    const char attack[] = "bad\r\n10:00:00.000 INFO  http: \x1b[31mforged \"q\"\x9b\xc2\x9b";
    size_t len;

    (void)state;
    open_log(true);
    ty_log_text(TY_LOG_ERROR, "http", NULL, attack, sizeof(attack) - 1);
    char *text = written(&len);

    assert_null(strchr(text, '\x1b'));
    assert_null(strchr(text, '\r'));
    assert_null(strstr(text, "\xc2\x9b"));
    assert_non_null(strstr(text, "bad\\r\n    | 10:00:00.000 INFO  http: \\u001b[31mforged \"q\""));
    free(text);
}

static void a_long_message_is_cut_between_characters(void **state)
{
    char *message = malloc(30000);

    (void)state;
    for (int i = 0; i < 10000; i++)
        memcpy(message + (ptrdiff_t)i * 3, "\xE4\xB8\xAD", 3);
    open_log(false);
    ty_log_text(TY_LOG_INFO, "http", NULL, message, 30000);
    free(message);
    yyjson_doc *doc = one_record();

    size_t len = strlen(member(doc, "msg"));
    assert_in_range(len, 8000, 8200);
    assert_null(strstr(member(doc, "msg"), "\xEF\xBF\xBD"));
    yyjson_doc_free(doc);
}

static void secrets_do_not_get_into_the_log(void **state)
{
    struct ty_buf fields = {0};
    size_t len;

    (void)state;
    ty_log_add_field(&fields, "password", "CANARY", 6);
    ty_log_add_field(&fields, "url", "https://u:CANARY@h/p?token=CANARY", 33);
    struct ty_log_context context = {.fields = fields.data, .fields_len = fields.len};
    open_log(false);
    ty_log(TY_LOG_INFO, "http", &context, "GET %s", "/a?x=1&token=CANARY&y=2");
    ty_buf_close(&fields);
    char *text = written(&len);

    assert_null(strstr(text, "CANARY"));
    assert_non_null(strstr(text, "GET /a?x=1&token=[redacted]&y=2"));
    assert_non_null(strstr(text, "\"password\":\"[redacted]\""));
    free(text);
}

static void levels_hold_per_module(void **state)
{
    (void)state;
    ty_log_set_level(TY_LOG_WARN);
    assert_true(ty_log_set_module_level("db", TY_LOG_DEBUG));
    assert_false(ty_log_set_module_level("not a word", TY_LOG_DEBUG));

    assert_true(ty_log_enabled("db", TY_LOG_DEBUG));
    assert_false(ty_log_enabled("http", TY_LOG_INFO));
    assert_true(ty_log_enabled("http", TY_LOG_ERROR));

    assert_true(ty_log_set_module_level(NULL, TY_LOG_OFF));
    assert_false(ty_log_enabled("db", TY_LOG_ERROR));
    ty_log_set_level(TY_LOG_INFO);
}

static void level_names_are_read_back(void **state)
{
    enum ty_log_level level;

    (void)state;
    for (int i = TY_LOG_DEBUG; i <= TY_LOG_OFF; i++) {
        assert_true(ty_log_parse_level(ty_log_level_name((enum ty_log_level)i), &level));
        assert_int_equal(level, i);
    }
    assert_false(ty_log_parse_level("verbose", &level));
}

static void nobody_waits_for_a_pipe_that_is_not_read(void **state)
{
    enum { RECORDS = 20000 };
    struct ty_log_options options = {.path = path, .buffer_max = 64 << 10, .role = "web"};
    static char block[1 << 16];
    uint64_t before = ty_log_dropped();
    size_t lines = 0;

    (void)state;
    remove(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(ty_log_open(&options), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);

    uint64_t start = ty_now_ms();
    for (int i = 0; i < RECORDS; i++)
        ty_log_info("http", "record %d", i);
    assert_true(ty_now_ms() - start < at_most_ms(2000));
    assert_true(ty_log_dropped() > before);

    start = ty_now_ms();
    ty_log_close();
    assert_true(ty_now_ms() - start < at_most_ms(3000));

    /* Every record is in the pipe, or counted. */
    for (ssize_t n; (n = read(reader, block, sizeof(block))) > 0;)
        for (ssize_t i = 0; i < n; i++)
            lines += block[i] == '\n';
    assert_int_equal(lines + (ty_log_dropped() - before), RECORDS);
    close(reader);
    remove(path);
}

static void a_lost_reader_costs_records_and_nothing_else(void **state)
{
    struct ty_log_options options = {.path = path};
    uint64_t before = ty_log_dropped();

    (void)state;
    remove(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(ty_log_open(&options), 0);
    close(reader);
    ty_log_info("http", "to nobody");
    ty_log_close();

    assert_int_equal(ty_log_dropped() - before, 1);
    remove(path);
}

static void losses_are_told_once_there_is_room(void **state)
{
    struct ty_log_options options = {.path = path, .buffer_max = 1 << 12};
    static char block[1 << 18];
    size_t len = 0;

    (void)state;
    remove(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(ty_log_open(&options), 0);
    for (int i = 0; i < 5000; i++)
        ty_log_info("http", "record %d", i);
    while (len < sizeof(block) - 1 && !strstr(block, "records were lost")) {
        ssize_t n = read(reader, block + len, sizeof(block) - 1 - len);

        if (n > 0)
            len += (size_t)n;
    }
    ty_log_close();

    assert_non_null(strstr(block, "records were lost"));
    close(reader);
    remove(path);
}

static void a_log_that_cannot_be_reopened_says_so_in_the_old_file(void **state)
{
    struct stat st;
    size_t len;

    (void)state;
    open_log(false);
    ty_log_info("http", "first");
    while (stat(path, &st) || st.st_size == 0)
        usleep(1000);
    assert_int_equal(rename(path, other_path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    ty_log_reopen();
    ty_log_info("http", "second");
    ty_log_close();

    char *text = read_file(other_path, &len);
    assert_non_null(strstr(text, "cannot be opened again, the file from before is still in use: "
                                 "Is a directory (log.path)"));
    assert_non_null(strstr(text, "second"));
    free(text);
    remove(path);
    remove(other_path);
}

static void reopening_after_a_rename_starts_a_new_file(void **state)
{
    size_t len;
    struct stat st;

    (void)state;
    open_log(false);
    ty_log_info("http", "first");
    while (stat(path, &st) || st.st_size == 0)
        usleep(1000);
    off_t first_size = st.st_size;
    assert_int_equal(rename(path, other_path), 0);
    ty_log_info("http", "second");
    while (stat(other_path, &st) || st.st_size == first_size)
        usleep(1000);
    ty_log_reopen();
    while (stat(path, &st))
        usleep(1000);
    ty_log_info("http", "third");

    char *now = written(&len), *before = read_file(other_path, &len);
    assert_non_null(strstr(before, "first"));
    assert_non_null(strstr(before, "second"));
    assert_null(strstr(before, "third"));
    assert_non_null(strstr(now, "third"));
    assert_null(strstr(now, "second"));
    free(now);
    free(before);
    remove(other_path);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 500; i++)
        ty_log_info("http", "%s %d", (const char *)arg, i);
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    pthread_t threads[4];
    size_t len, lines = 0;

    (void)state;
    open_log(false);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, log_many, "thread");
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = written(&len), *line = text;

    for (char *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        yyjson_doc *doc = yyjson_read(line, (size_t)(end - line), 0);

        assert_non_null(doc);
        yyjson_doc_free(doc);
    }
    assert_int_equal(lines, 2000);
    free(text);
}

static void a_file_that_cannot_be_opened_is_an_error(void **state)
{
    struct ty_log_options options = {.path = "/nonexistent/folder/log"};

    (void)state;
    assert_int_equal(ty_log_open(&options), -ENOENT);
}

static int make_folder(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL); /* the writer must not need it ignored */
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/log", folder);
    snprintf(other_path, sizeof(other_path), "%s/log.1", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    remove(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_its_members),
        cmocka_unit_test(any_bytes_make_one_json_object_a_line),
        cmocka_unit_test(the_readable_form_cannot_be_forged_either),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(secrets_do_not_get_into_the_log),
        cmocka_unit_test(levels_hold_per_module),
        cmocka_unit_test(level_names_are_read_back),
        cmocka_unit_test(nobody_waits_for_a_pipe_that_is_not_read),
        cmocka_unit_test(a_lost_reader_costs_records_and_nothing_else),
        cmocka_unit_test(losses_are_told_once_there_is_room),
        cmocka_unit_test(a_log_that_cannot_be_reopened_says_so_in_the_old_file),
        cmocka_unit_test(reopening_after_a_rename_starts_a_new_file),
        cmocka_unit_test(threads_do_not_mix_their_lines),
        cmocka_unit_test(a_file_that_cannot_be_opened_is_an_error),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
