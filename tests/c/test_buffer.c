#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/buffer.h"
#include "tycho/memory.h"

static void assert_escaped(const char *text, size_t len, const char *expected)
{
    struct ty_buf buf = {0};

    ty_buf_add_json(&buf, text, len);
    assert_string_equal(ty_buf_cstr(&buf), expected);
    ty_buf_close(&buf);
}

static void bytes_come_back_in_the_order_added(void **state)
{
    struct ty_buf buf = {0};

    (void)state;
    ty_buf_adds(&buf, "a");
    ty_buf_addc(&buf, 'b');
    ty_buf_add(&buf, "c\0d", 3);
    ty_buf_addf(&buf, "%d-%s", 12, "x");
    ty_buf_addu(&buf, 18446744073709551615ULL);
    ty_buf_addu(&buf, 0);

    assert_int_equal(buf.len, 5 + 4 + 20 + 1);
    assert_memory_equal(buf.data, "abc\0d12-x184467440737095516150", buf.len);
    ty_buf_close(&buf);
}

static void it_grows_over_many_additions(void **state)
{
    struct ty_buf buf = {0};

    (void)state;
    for (int i = 0; i < 10000; i++)
        ty_buf_addf(&buf, "%04d", i);

    assert_int_equal(buf.len, 40000);
    assert_memory_equal(buf.data + 4 * 9999, "9999", 4);
    ty_buf_close(&buf);
}

static void a_closed_buffer_is_empty_and_usable(void **state)
{
    struct ty_buf buf = {0};

    (void)state;
    ty_buf_adds(&buf, "old");
    ty_buf_close(&buf);
    assert_null(buf.data);
    ty_buf_adds(&buf, "new");

    assert_string_equal(ty_buf_cstr(&buf), "new");
    ty_buf_close(&buf);
}

static void consuming_leaves_the_rest(void **state)
{
    struct ty_buf buf = {0};

    (void)state;
    ty_buf_consume(&buf, 0);
    ty_buf_adds(&buf, "0123456789");
    ty_buf_consume(&buf, 4);

    assert_string_equal(ty_buf_cstr(&buf), "456789");
    ty_buf_close(&buf);
}

static void a_peer_cannot_grow_it_past_the_ceiling(void **state)
{
    struct ty_buf buf = {0};

    (void)state;
    assert_true(ty_buf_try_add(&buf, "12345", 5, 8));
    assert_false(ty_buf_try_add(&buf, "6789", 4, 8));
    assert_true(ty_buf_try_add(&buf, "678", 3, 8));
    assert_false(ty_buf_try_add(&buf, "9", SIZE_MAX, 8));

    assert_string_equal(ty_buf_cstr(&buf), "12345678");
    ty_buf_close(&buf);
}

static void a_failed_allocation_leaves_it_as_it_was(void **state)
{
    struct ty_buf buf = {0};
    char block[1000] = {0};

    (void)state;
    assert_true(ty_buf_try_add(&buf, "kept", 4, 10000));
    ty_memory_fail_nth(1);

    assert_false(ty_buf_try_add(&buf, block, sizeof(block), 10000));
    assert_string_equal(ty_buf_cstr(&buf), "kept");
    ty_buf_close(&buf);
}

static void json_text_is_one_line_without_control_characters(void **state)
{
    (void)state;
    assert_escaped("say \"hi\" \\", 10, "say \\\"hi\\\" \\\\");
    assert_escaped("\b\t\n\v\f\r", 6, "\\b\\t\\n\\u000b\\f\\r");
    assert_escaped("a\0b\x1b[31m\x7f", 9, "a\\u0000b\\u001b[31m\\u007f");
    assert_escaped("\xC2\x9B", 2, "\\u009b");
    assert_escaped("\xC2\xA9 \xE4\xB8\xAD \xF0\x9F\x98\x80", 11,
                   "\xC2\xA9 \xE4\xB8\xAD \xF0\x9F\x98\x80");
}

static void invalid_utf8_becomes_the_replacement_character(void **state)
{
    (void)state;
    assert_escaped("a\xFFz", 3, "a\\ufffdz");
    assert_escaped("\xC0\xAF", 2, "\\ufffd\\ufffd");            /* overlong */
    assert_escaped("\xED\xA0\x80", 3, "\\ufffd\\ufffd\\ufffd"); /* surrogate */
    assert_escaped("\xF4\x90\x80\x80", 4, "\\ufffd\\ufffd\\ufffd\\ufffd");
    assert_escaped("\xE4\xB8", 2, "\\ufffd\\ufffd"); /* cut */
}

static void a_slice_compares_with_all_of_its_bytes(void **state)
{
    (void)state;
    assert_true(ty_slice_is(TY_SLICE("abc"), "abc"));
    assert_false(ty_slice_is(TY_SLICE("abc"), "ab"));
    assert_false(ty_slice_is(TY_SLICE("abc"), "abcd"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_back_in_the_order_added),
        cmocka_unit_test(it_grows_over_many_additions),
        cmocka_unit_test(a_closed_buffer_is_empty_and_usable),
        cmocka_unit_test(consuming_leaves_the_rest),
        cmocka_unit_test(a_peer_cannot_grow_it_past_the_ceiling),
        cmocka_unit_test(a_failed_allocation_leaves_it_as_it_was),
        cmocka_unit_test(json_text_is_one_line_without_control_characters),
        cmocka_unit_test(invalid_utf8_becomes_the_replacement_character),
        cmocka_unit_test(a_slice_compares_with_all_of_its_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
