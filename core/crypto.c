#include "tycho/crypto.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { DIGESTS = 4, POOL = 512, POOL_TAKE_MAX = 64 };

static const struct {
    const char *name;
    size_t len;
} digests[DIGESTS] = {
    [TY_SHA224] = {"SHA2-224", 28},
    [TY_SHA256] = {"SHA2-256", 32},
    [TY_SHA384] = {"SHA2-384", 48},
    [TY_SHA512] = {"SHA2-512", 64},
};

/* What OpenSSL looked up, once per process; read-only afterwards.
 * check: allow NO-GLOBALS because there is one OpenSSL in a process, and it is asked once. */
static struct {
    pthread_once_t once;
    EVP_MD *md[DIGESTS];
    EVP_MAC_CTX *hmac[DIGESTS]; /* without a key: copied for every use */
} algorithms = {.once = PTHREAD_ONCE_INIT};

/* Random bytes that this thread has not handed out yet: the last `left` of `bytes`. */
static _Thread_local struct {
    size_t left;
    unsigned char bytes[POOL];
} pool;

static void die(const char *what)
{
    fprintf(stderr, "tycho: crypto: %s\n", what);
    abort();
}

static void fill(unsigned char *out, size_t len)
{
    while (len > 0) {
        ssize_t got = getrandom(out, len, 0);

        if (got < 0 && errno != EINTR)
            die("the kernel has no random bytes");
        if (got > 0) {
            out += got;
            len -= (size_t)got;
        }
    }
}

/* A child of fork() must not hand out what its parent also has. */
static void forget_pool(void)
{
    pool.left = 0;
}

static void fetch_algorithms(void)
{
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    for (int i = 0; i < DIGESTS; i++) {
        char *name = (char *)digests[i].name;
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
            OSSL_PARAM_construct_end(),
        };
        algorithms.md[i] = EVP_MD_fetch(NULL, name, NULL);
        algorithms.hmac[i] = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
        if (!algorithms.md[i] || !algorithms.hmac[i] ||
            !EVP_MAC_CTX_set_params(algorithms.hmac[i], params))
            die("OpenSSL lacks SHA-2 or HMAC");
    }
    EVP_MAC_free(hmac); /* the contexts keep it */
    pthread_atfork(NULL, NULL, forget_pool);
}

static void prepare(void)
{
    if (pthread_once(&algorithms.once, fetch_algorithms) != 0)
        die("pthread_once failed");
}

void ty_crypto_random(void *out, size_t len)
{
    if (len > POOL_TAKE_MAX) {
        fill(out, len);
        return;
    }
    if (pool.left < len) {
        prepare(); /* before the first refill, so that a fork is noticed */
        fill(pool.bytes, POOL);
        pool.left = POOL;
    }
    unsigned char *next = pool.bytes + POOL - pool.left;

    memcpy(out, next, len);
    OPENSSL_cleanse(next, len);
    pool.left -= len;
}

size_t ty_digest_len(enum ty_digest digest)
{
    return digests[digest].len;
}

void ty_crypto_hash(enum ty_digest digest, const void *data, size_t len,
                    unsigned char out[TY_DIGEST_MAX])
{
    prepare();
    if (!EVP_Digest(data, len, out, NULL, algorithms.md[digest], NULL))
        die("hashing failed");
}

void ty_crypto_hmac(enum ty_digest digest, const void *key, size_t key_len, const void *data,
                    size_t len, unsigned char out[TY_DIGEST_MAX])
{
    size_t written = 0;

    prepare();
    /* OpenSSL reads a NULL key as "the one from before". */
    const void *bytes = key_len ? key : "";
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(algorithms.hmac[digest]);
    if (!ctx || !EVP_MAC_init(ctx, bytes, key_len, NULL) || !EVP_MAC_update(ctx, data, len) ||
        !EVP_MAC_final(ctx, out, &written, TY_DIGEST_MAX))
        die("HMAC failed");
    EVP_MAC_CTX_free(ctx);
}

bool ty_crypto_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

void ty_crypto_wipe(void *data, size_t len)
{
    OPENSSL_cleanse(data, len);
}
