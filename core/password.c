#include "tycho/password.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/crypto.h"
#include "tycho/memory.h"

enum {
    BCRYPT_LEN = 60,
    BCRYPT_SETTING_LEN = 29, /* $2b$12$ and the salt */
    BCRYPT_INPUT_MAX = 72,
    DIGEST_LEN = 48,
    INPUT_LEN = 64, /* base64 of the digest */
};

static const char prefix[] = "$tycho-bcrypt$v=1";

/* Separates these digests from any other use of HMAC-SHA-384 over a password. */
static const char context[] = "tycho.password.v1";

static void prehash(const char *password, size_t len, char out[INPUT_LEN + 1])
{
    unsigned char digest[TY_DIGEST_MAX];

    ty_crypto_hmac(TY_SHA384, context, sizeof(context) - 1, password, len, digest);
    ty_base64_encode(TY_BASE64, digest, DIGEST_LEN, out);
    out[INPUT_LEN] = '\0';
    ty_crypto_wipe(digest, sizeof(digest));
}

/* bcrypt proper. `setting` is a whole hash or its first 29 characters. */
static int bcrypt(const char *input, const char *setting, char out[BCRYPT_LEN + 1],
                  struct ty_error *error)
{
    struct crypt_data *data = ty_zalloc(sizeof(*data));
    const char *hash = crypt_rn(input, setting, data, sizeof(*data));
    bool right = hash && strlen(hash) == BCRYPT_LEN;

    if (right)
        memcpy(out, hash, BCRYPT_LEN + 1);
    ty_crypto_wipe(data, sizeof(*data));
    free(data);
    if (!right)
        return ty_error_set(error, TY_ERR_INTERNAL, NULL, "password: bcrypt failed");
    return 0;
}

static int check_len(size_t len, struct ty_error *error)
{
    if (len <= TY_PASSWORD_MAX)
        return 0;
    return ty_error_set(error, TY_ERR_INVALID, NULL, "password: longer than %d bytes",
                        TY_PASSWORD_MAX);
}

int ty_password_hash(const char *password, size_t len, unsigned cost,
                     char out[TY_PASSWORD_HASH_MAX], struct ty_error *error)
{
    char input[INPUT_LEN + 1], setting[CRYPT_GENSALT_OUTPUT_SIZE], hash[BCRYPT_LEN + 1];
    unsigned char salt[16];

    if (check_len(len, error) < 0)
        return -1;
    if (cost < TY_PASSWORD_COST_MIN || cost > TY_PASSWORD_COST_MAX)
        return ty_error_set(error, TY_ERR_INVALID, NULL, "password: a cost of %u", cost);

    ty_crypto_random(salt, sizeof(salt));
    if (!crypt_gensalt_rn("$2b$", cost, (const char *)salt, sizeof(salt), setting, sizeof(setting)))
        return ty_error_set(error, TY_ERR_INTERNAL, NULL, "password: no salt");

    prehash(password, len, input);
    int status = bcrypt(input, setting, hash, error);
    ty_crypto_wipe(input, sizeof(input));
    if (status == 0)
        snprintf(out, TY_PASSWORD_HASH_MAX, "%s%s", prefix, hash);
    return status;
}

static bool is_salt_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '.' && c <= '9');
}

/* The cost of a bcrypt hash, 0 if it is not one. $2x$ is the output of a broken implementation. */
static unsigned bcrypt_cost(const char *hash)
{
    if (strlen(hash) != BCRYPT_LEN || strncmp(hash, "$2", 2) != 0 || !strchr("aby", hash[2]) ||
        hash[3] != '$' || hash[6] != '$')
        return 0;
    if (hash[4] < '0' || hash[4] > '3' || hash[5] < '0' || hash[5] > '9')
        return 0;
    for (int i = 7; i < BCRYPT_LEN; i++) {
        if (!is_salt_letter(hash[i]))
            return 0;
    }
    unsigned cost = (unsigned)(hash[4] - '0') * 10 + (unsigned)(hash[5] - '0');
    return cost >= TY_PASSWORD_COST_MIN ? cost : 0;
}

/* Is it of our own form? Then `*bcrypt_part` is the plain hash in it, otherwise all of it. */
static bool split(const char *hash, const char **bcrypt_part)
{
    size_t len = sizeof(prefix) - 1;
    bool own = strncmp(hash, prefix, len) == 0;

    *bcrypt_part = own ? hash + len : hash;
    return own;
}

/* What bcrypt gets to see. False: it would not see all of the password. */
static bool prepare_input(const char *password, size_t len, bool own,
                          char out[BCRYPT_INPUT_MAX + 1])
{
    bool whole = own || (len <= BCRYPT_INPUT_MAX && !memchr(password, '\0', len));

    if (own || !whole) {
        prehash(password, len, out); /* not whole: bcrypt's time passes all the same */
    } else {
        memcpy(out, password, len);
        out[len] = '\0';
    }
    return whole;
}

int ty_password_verify(const char *password, size_t len, const char *hash, unsigned cost,
                       struct ty_error *error)
{
    char input[BCRYPT_INPUT_MAX + 1], computed[BCRYPT_LEN + 1], nobody[TY_PASSWORD_HASH_MAX];
    const char *expected = hash;

    if (check_len(len, error) < 0)
        return -1;
    if (!hash) {
        snprintf(nobody, sizeof(nobody), "%s$2b$%02u$%.53s", prefix, cost,
                 "NobodyHasThisPassword.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        expected = nobody;
    }
    bool own = split(expected, &expected);
    unsigned needed = bcrypt_cost(expected);

    if (needed == 0 || needed > TY_PASSWORD_COST_MAX)
        return ty_error_set(error, TY_ERR_INTERNAL, "password.hash",
                            "password: what is stored is not a hash that can be verified");

    bool whole = prepare_input(password, len, own, input);
    int status = bcrypt(input, expected, computed, error);
    ty_crypto_wipe(input, sizeof(input));
    if (status < 0)
        return -1;

    /* Some systems write salts whose last, half used letter is not the one bcrypt answers with. */
    bool same = ty_crypto_equal(computed + BCRYPT_SETTING_LEN, BCRYPT_LEN - BCRYPT_SETTING_LEN,
                                expected + BCRYPT_SETTING_LEN, BCRYPT_LEN - BCRYPT_SETTING_LEN);
    return same && whole && hash;
}

bool ty_password_needs_rehash(const char *hash, unsigned cost)
{
    const char *bcrypt_part;
    bool own = split(hash, &bcrypt_part);

    return !own || bcrypt_cost(bcrypt_part) != cost;
}
