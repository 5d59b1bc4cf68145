/* Random bytes, digests, MACs, and bytes as text.
 *
 * SHA-2 and HMAC are OpenSSL 3's, with every algorithm fetched once: looking one up costs more
 * than hashing a small message. Everything here is synchronous and works on any thread; about
 * 0.5 ms per 256 KiB, so that callers on the loop hand larger inputs to a lane.
 *
 * Decoding is strict: one text for each sequence of bytes. Whitespace, a wrong alphabet, missing
 * or surplus padding and non-zero trailing bits are refused, because a decoder that accepts two
 * spellings of one signature has signed both. There are no ciphers and no public keys here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ty_digest { TY_SHA224, TY_SHA256, TY_SHA384, TY_SHA512 };

enum {
    TY_DIGEST_MAX = 64, /* bytes of the longest digest */
    TY_UUID_LEN = 36,   /* "018f3a5e-7c3b-7e21-9d0a-5b6c7d8e9f00" */
};

/* Bytes from the kernel's generator; cannot fail (aborts if the kernel has none). Small requests
 * are served from a buffer of the thread, which is refilled and wiped as it is used. */
void ty_crypto_random(void *out, size_t len);

/* How long the digest is, in bytes. */
size_t ty_digest_len(enum ty_digest digest);

/* Writes ty_digest_len() bytes to `out`. */
void ty_crypto_hash(enum ty_digest digest, const void *data, size_t len,
                    unsigned char out[TY_DIGEST_MAX]);

/* HMAC, RFC 2104. Writes ty_digest_len() bytes; a key of any length, also none. */
void ty_crypto_hmac(enum ty_digest digest, const void *key, size_t key_len, const void *data,
                    size_t len, unsigned char out[TY_DIGEST_MAX]);

/* Are the bytes the same? Takes a time that depends on the lengths alone. */
bool ty_crypto_equal(const void *a, size_t a_len, const void *b, size_t b_len);

/* Overwrites in a way that the compiler does not remove. */
void ty_crypto_wipe(void *data, size_t len);

/* Bytes as text. The caller has room for the length that the _len function tells; nothing is
 * terminated. Encoding writes exactly that length; decoding returns how much it wrote, or -1
 * for text that is not exactly what encoding writes (hex: either case is read). */
enum ty_base64 { TY_BASE64, TY_BASE64URL }; /* the first padded, the second not: RFC 4648, 7515 */

size_t ty_base64_len(enum ty_base64 kind, size_t len);
void ty_base64_encode(enum ty_base64 kind, const void *data, size_t len, char *out);
ptrdiff_t ty_base64_decode(enum ty_base64 kind, const char *text, size_t len, void *out);

void ty_hex_encode(const void *data, size_t len, char *out); /* 2 * len, lower case */
ptrdiff_t ty_hex_decode(const char *text, size_t len, void *out);

/* RFC 9562, lower case, with a NUL. Version 7 starts with the time in milliseconds and grows
 * with every call in this process, also within one millisecond and when the clock steps back. */
void ty_uuid_v4(char out[TY_UUID_LEN + 1]);
void ty_uuid_v7(char out[TY_UUID_LEN + 1]);

/* Is that the 8-4-4-4-12 form, of any version? */
bool ty_uuid_valid(const char *text, size_t len);
