#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "tycho/password.h"

enum { CHEAP = 4 };

static int verify(const char *password, const char *hash)
{
    struct ty_error error;
    return ty_password_verify(password, strlen(password), hash, CHEAP, &error);
}

static void assert_verifies(const char *password, const char *hash)
{
    assert_int_equal(verify(password, hash), 1);
    assert_int_equal(verify("something else", hash), 0);
}

static void hashes_of_other_systems_verify(void **state)
{
    (void)state;

    assert_verifies("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
    assert_verifies("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK");
    assert_verifies("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy");
    assert_verifies("Kk4DQuMMfZL9o",
                    "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm");
    assert_verifies("9IeRXmnGxMYbs",
                    "$2b$04$pQ7gRO7e6wx/936oXhNjrOUNOHL1D0h1N2IDbJZYs.1ppzSof6SPy");
    assert_verifies("\xa3", "$2b$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq");
    assert_verifies("\xff\xff\xa3", "$2b$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e");
    assert_verifies("\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq");
}

static void seventy_two_bytes_verify_and_more_are_not_cut(void **state)
{
    (void)state;
    static const char password[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char hash[] = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
    static const char longer[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "chars after 72 are ignored";

    assert_int_equal(verify(password, hash), 1);
    assert_int_equal(verify(longer, hash), 0);
}

static void a_nul_does_not_end_a_password(void **state)
{
    (void)state;
    static const char foreign[] = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    char own[TY_PASSWORD_HASH_MAX];

    assert_int_equal(ty_password_hash("a\0b", 3, CHEAP, own, NULL), 0);

    assert_int_equal(ty_password_verify("U*U\0x", 5, foreign, CHEAP, NULL), 0);
    assert_int_equal(ty_password_verify("a\0b", 3, own, CHEAP, NULL), 1);
    assert_int_equal(ty_password_verify("a\0c", 3, own, CHEAP, NULL), 0);
    assert_int_equal(ty_password_verify("a", 1, own, CHEAP, NULL), 0);
}

static void long_passwords_count_to_their_last_byte(void **state)
{
    (void)state;
    char password[192], hash[TY_PASSWORD_HASH_MAX];

    for (int i = 0; i < 64; i++) /* U+5BC6, 64 times */
        memcpy(password + 3 * i, "\xe5\xaf\x86", 3);
    assert_int_equal(ty_password_hash(password, sizeof(password), CHEAP, hash, NULL), 0);
    assert_int_equal(ty_password_verify(password, sizeof(password), hash, CHEAP, NULL), 1);

    password[191] = '\x87';
    assert_int_equal(ty_password_verify(password, sizeof(password), hash, CHEAP, NULL), 0);
}

static void a_password_has_a_longest_length(void **state)
{
    (void)state;
    char password[TY_PASSWORD_MAX + 1], hash[TY_PASSWORD_HASH_MAX];
    struct ty_error error;

    memset(password, 'x', sizeof(password));

    assert_int_equal(ty_password_hash(password, TY_PASSWORD_MAX, CHEAP, hash, &error), 0);
    assert_int_equal(ty_password_hash(password, sizeof(password), CHEAP, hash, &error), -1);
    assert_int_equal(error.kind, TY_ERR_INVALID);
    assert_int_equal(ty_password_verify(password, sizeof(password), NULL, CHEAP, &error), -1);
}

static void a_hash_says_what_it_is(void **state)
{
    (void)state;
    char hash[TY_PASSWORD_HASH_MAX], again[TY_PASSWORD_HASH_MAX];

    assert_int_equal(ty_password_hash("secret", 6, CHEAP, hash, NULL), 0);
    assert_int_equal(ty_password_hash("secret", 6, CHEAP, again, NULL), 0);

    assert_memory_equal(hash, "$tycho-bcrypt$v=1$2b$04$", 24);
    assert_string_not_equal(hash, again);
}

static void what_is_not_a_hash_is_an_error(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "x",
        "$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
        "$2c$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
        "$2z$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
        "$2b$03$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
        "$2b$32$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
        "$2b$21$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
        "$2b$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3",
        "$2b$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3:",
        "$tycho-bcrypt$v=2$2b$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
        "$6$salt$hash",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct ty_error error = {0};

        assert_int_equal(ty_password_verify("x", 1, wrong[i], CHEAP, &error), -1);
        assert_int_equal(error.kind, TY_ERR_INTERNAL);
    }
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void nobody_takes_as_long_as_somebody(void **state)
{
    (void)state;
    char hash[TY_PASSWORD_HASH_MAX];

    assert_int_equal(ty_password_hash("secret", 6, 8, hash, NULL), 0);
    double start = seconds();
    for (int i = 0; i < 5; i++)
        assert_int_equal(ty_password_verify("wrong", 5, hash, 8, NULL), 0);
    double somebody = seconds() - start;
    start = seconds();
    for (int i = 0; i < 5; i++)
        assert_int_equal(ty_password_verify("wrong", 5, NULL, 8, NULL), 0);
    double nobody = seconds() - start;

    assert_true(nobody > somebody * 0.6);
    assert_true(nobody < somebody * 1.7);
}

static void another_cost_or_form_wants_a_new_hash(void **state)
{
    (void)state;
    char hash[TY_PASSWORD_HASH_MAX];

    assert_int_equal(ty_password_hash("secret", 6, 5, hash, NULL), 0);

    assert_false(ty_password_needs_rehash(hash, 5));
    assert_true(ty_password_needs_rehash(hash, 6));
    assert_true(ty_password_needs_rehash(hash, 4));
    assert_true(ty_password_needs_rehash(
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", 5));
    assert_true(ty_password_needs_rehash("x", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_of_other_systems_verify),
        cmocka_unit_test(seventy_two_bytes_verify_and_more_are_not_cut),
        cmocka_unit_test(a_nul_does_not_end_a_password),
        cmocka_unit_test(long_passwords_count_to_their_last_byte),
        cmocka_unit_test(a_password_has_a_longest_length),
        cmocka_unit_test(a_hash_says_what_it_is),
        cmocka_unit_test(what_is_not_a_hash_is_an_error),
        cmocka_unit_test(nobody_takes_as_long_as_somebody),
        cmocka_unit_test(another_cost_or_form_wants_a_new_hash),
    };
    return cmocka_run_group_tests_name("password", tests, NULL, NULL);
}
