#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tycho/crypto.h"

static void assert_hex(const unsigned char *bytes, size_t len, const char *expected)
{
    char hex[2 * TY_DIGEST_MAX + 1] = {0};

    ty_hex_encode(bytes, len, hex);
    assert_string_equal(hex, expected);
}

static void assert_digest(enum ty_digest digest, const char *text, const char *expected)
{
    unsigned char out[TY_DIGEST_MAX];

    ty_crypto_hash(digest, text, strlen(text), out);
    assert_hex(out, ty_digest_len(digest), expected);
}

/* FIPS 180-4, the examples published with it. */
static void sha_2_agrees_with_the_standard(void **state)
{
    (void)state;

    assert_digest(TY_SHA224, "abc", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
    assert_digest(TY_SHA256, "abc",
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_digest(TY_SHA256, "",
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_digest(TY_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_digest(TY_SHA384, "abc",
                  "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                  "8086072ba1e7cc2358baeca134c825a7");
    assert_digest(TY_SHA512, "abc",
                  "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                  "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

static void a_million_letters_hash_as_the_standard_says(void **state)
{
    (void)state;
    unsigned char out[TY_DIGEST_MAX];
    char *letters = malloc(1000000);

    memset(letters, 'a', 1000000);
    ty_crypto_hash(TY_SHA256, letters, 1000000, out);
    free(letters);

    assert_hex(out, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

struct hmac_case {
    unsigned char key_byte; /* repeated key_len times, unless `key` is set */
    const char *key;
    size_t key_len;
    const char *data; /* NULL: 50 times data_byte */
    unsigned char data_byte;
    const char *sha256, *sha384, *sha512;
};

static const struct hmac_case hmac_cases[] = {
    {0x0b, NULL, 20, "Hi There", 0,
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
     "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
     "faea9ea9076ede7f4af152e8b2fa9cb6",
     "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
     "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
    {0, "Jefe", 4, "what do ya want for nothing?", 0,
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
     "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
     "8e2240ca5e69e2c78b3239ecfab21649",
     "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
     "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
    {0xaa, NULL, 20, NULL, 0xdd, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
     "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b"
     "2a5ab39dc13814b94e3ab6e101a34f27",
     "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
     "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"},
    {0xaa, NULL, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 0,
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
     "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
     "0c2ef6ab4030fe8296248df163f44952",
     "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
     "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"},
};

/* RFC 4231, cases 1, 2, 3 and 6. */
static void hmac_agrees_with_the_rfc(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof(hmac_cases) / sizeof(hmac_cases[0]); i++) {
        const struct hmac_case *c = &hmac_cases[i];
        unsigned char out[TY_DIGEST_MAX];
        char key[131], data[64];

        memset(key, c->key_byte, sizeof(key));
        memset(data, c->data_byte, sizeof(data));
        const char *message = c->data ? c->data : data;
        size_t len = c->data ? strlen(c->data) : 50;
        const char *secret = c->key ? c->key : key;

        ty_crypto_hmac(TY_SHA256, secret, c->key_len, message, len, out);
        assert_hex(out, 32, c->sha256);
        ty_crypto_hmac(TY_SHA384, secret, c->key_len, message, len, out);
        assert_hex(out, 48, c->sha384);
        ty_crypto_hmac(TY_SHA512, secret, c->key_len, message, len, out);
        assert_hex(out, 64, c->sha512);
    }
}

static void an_empty_key_is_not_the_key_from_before(void **state)
{
    (void)state;
    unsigned char out[TY_DIGEST_MAX];

    ty_crypto_hmac(TY_SHA256, "secret", 6, "", 0, out);
    ty_crypto_hmac(TY_SHA256, NULL, 0, "", 0, out);

    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void equal_compares_content_and_length(void **state)
{
    (void)state;

    assert_true(ty_crypto_equal("abc", 3, "abc", 3));
    assert_true(ty_crypto_equal("", 0, "", 0));
    assert_false(ty_crypto_equal("abc", 3, "abd", 3));
    assert_false(ty_crypto_equal("abc", 3, "abcd", 4));
}

static void assert_base64(enum ty_base64 kind, const char *plain, const char *text)
{
    char encoded[32] = {0}, decoded[32] = {0};
    size_t len = strlen(plain);

    assert_int_equal(ty_base64_len(kind, len), strlen(text));
    ty_base64_encode(kind, plain, len, encoded);
    assert_string_equal(encoded, text);
    assert_int_equal(ty_base64_decode(kind, text, strlen(text), decoded), len);
    assert_memory_equal(decoded, plain, len);
}

/* RFC 4648, section 10. */
static void base64_agrees_with_the_rfc(void **state)
{
    (void)state;

    assert_base64(TY_BASE64, "", "");
    assert_base64(TY_BASE64, "f", "Zg==");
    assert_base64(TY_BASE64, "fo", "Zm8=");
    assert_base64(TY_BASE64, "foo", "Zm9v");
    assert_base64(TY_BASE64, "foob", "Zm9vYg==");
    assert_base64(TY_BASE64, "fooba", "Zm9vYmE=");
    assert_base64(TY_BASE64, "foobar", "Zm9vYmFy");
    assert_base64(TY_BASE64, "\xfb\xff\xfe", "+//+");
    assert_base64(TY_BASE64URL, "\xfb\xff\xfe", "-__-");
    assert_base64(TY_BASE64URL, "f", "Zg");
    assert_base64(TY_BASE64URL, "fooba", "Zm9vYmE");
}

static void base64_has_one_spelling(void **state)
{
    (void)state;
    static const char *const padded[] = {"Zg",    "Zg=",  "Zh==", "Zm9=",      "Zg==\n",
                                         " Zg==", "Z===", "====", "Zg==Zg==",  "-__-",
                                         "Zm9v=", "A",    "Zg=a", "Z\xc3\xa9="};
    static const char *const bare[] = {"Zg==", "Zh", "Zm9", "A", "+//+", "Zm9v\n", "Zm9vA"};
    char out[16];

    for (size_t i = 0; i < sizeof(padded) / sizeof(padded[0]); i++)
        assert_int_equal(ty_base64_decode(TY_BASE64, padded[i], strlen(padded[i]), out), -1);
    for (size_t i = 0; i < sizeof(bare) / sizeof(bare[0]); i++)
        assert_int_equal(ty_base64_decode(TY_BASE64URL, bare[i], strlen(bare[i]), out), -1);
}

static void hex_goes_both_ways(void **state)
{
    (void)state;
    unsigned char out[4];

    assert_int_equal(ty_hex_decode("00fFA5", 6, out), 3);
    assert_memory_equal(out, "\x00\xff\xa5", 3);
    assert_int_equal(ty_hex_decode("0", 1, out), -1);
    assert_int_equal(ty_hex_decode("0g", 2, out), -1);
}

static void random_bytes_differ(void **state)
{
    (void)state;
    unsigned char seen[64][16];

    for (int i = 0; i < 64; i++) {
        ty_crypto_random(seen[i], sizeof(seen[i]));
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(seen[i], seen[j], sizeof(seen[i]));
    }
}

static void a_forked_child_draws_its_own_bytes(void **state)
{
    (void)state;
    unsigned char mine[16], theirs[16];
    int ends[2];

    ty_crypto_random(mine, sizeof(mine)); /* so that the buffer is full */
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        ty_crypto_random(theirs, sizeof(theirs));
        _exit(write(ends[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
    }
    ty_crypto_random(mine, sizeof(mine));
    assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
    waitpid(child, NULL, 0);

    assert_memory_not_equal(mine, theirs, sizeof(mine));
}

static void uuids_have_their_version_and_variant(void **state)
{
    (void)state;
    char four[TY_UUID_LEN + 1], seven[TY_UUID_LEN + 1];

    ty_uuid_v4(four);
    ty_uuid_v7(seven);

    assert_true(ty_uuid_valid(four, strlen(four)));
    assert_true(ty_uuid_valid(seven, strlen(seven)));
    assert_int_equal(four[14], '4');
    assert_int_equal(seven[14], '7');
    assert_non_null(strchr("89ab", four[19]));
    assert_non_null(strchr("89ab", seven[19]));
}

static void version_7_always_grows(void **state)
{
    (void)state;
    char before[TY_UUID_LEN + 1], now[TY_UUID_LEN + 1];

    ty_uuid_v7(before);
    for (int i = 0; i < 100000; i++) {
        ty_uuid_v7(now);
        assert_true(strcmp(before, now) < 0);
        memcpy(before, now, sizeof(now));
    }
}

static void only_the_usual_form_is_a_uuid(void **state)
{
    (void)state;

    assert_true(ty_uuid_valid("018F3a5e-7c3b-7e21-9d0a-5b6c7d8e9f00", 36));
    assert_false(ty_uuid_valid("018f3a5e-7c3b-7e21-9d0a-5b6c7d8e9f0", 35));
    assert_false(ty_uuid_valid("018f3a5e-7c3b-7e21-9d0a-5b6c7d8e9f0g", 36));
    assert_false(ty_uuid_valid("018f3a5e07c3b-7e21-9d0a-5b6c7d8e9f00", 36));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha_2_agrees_with_the_standard),
        cmocka_unit_test(a_million_letters_hash_as_the_standard_says),
        cmocka_unit_test(hmac_agrees_with_the_rfc),
        cmocka_unit_test(an_empty_key_is_not_the_key_from_before),
        cmocka_unit_test(equal_compares_content_and_length),
        cmocka_unit_test(base64_agrees_with_the_rfc),
        cmocka_unit_test(base64_has_one_spelling),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(a_forked_child_draws_its_own_bytes),
        cmocka_unit_test(uuids_have_their_version_and_variant),
        cmocka_unit_test(version_7_always_grows),
        cmocka_unit_test(only_the_usual_form_is_a_uuid),
    };
    return cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
}
