/* Passwords as they are stored: bcrypt (libxcrypt), for passwords of any length.
 *
 * bcrypt itself reads 72 bytes and stops at a NUL, so a long passphrase would be cut without a
 * word. Tycho's own hashes are therefore bcrypt over base64(HMAC-SHA-384(context, password)):
 * 64 characters, no NUL, whatever the password was. They say so:
 *
 *     $tycho-bcrypt$v=1$2b$12$<22 characters of salt><31 of hash>
 *
 * Plain $2a$, $2b$ and $2y$ hashes of other systems are verified too; there a password that bcrypt
 * would cut never matches. Everything here takes a good part of a second by design: call it on
 * a thread, never on the loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tycho/error.h"

enum {
    TY_PASSWORD_MAX = 4095, /* bytes of a password */
    TY_PASSWORD_HASH_MAX = 96,
    TY_PASSWORD_COST_MIN = 4,
    TY_PASSWORD_COST_MAX = 20,
};

/* Hashes with a fresh salt; writes a NUL-terminated string. Returns 0, or -1 with `error`:
 * invalid (longer than TY_PASSWORD_MAX, a cost out of bounds), internal. */
int ty_password_hash(const char *password, size_t len, unsigned cost,
                     char out[TY_PASSWORD_HASH_MAX], struct ty_error *error);

/* Returns 1 if the password is the one, 0 if not, -1 with `error`: invalid (too long), internal
 * (`hash` is not one, or its cost is above TY_PASSWORD_COST_MAX). A `hash` of NULL stands for a
 * user who does not exist: 0, after the time that a hash of `cost` takes. */
int ty_password_verify(const char *password, size_t len, const char *hash, unsigned cost,
                       struct ty_error *error);

/* Should the password be hashed again at the next log-in? True for every hash but one of our
 * own form with exactly this cost. */
bool ty_password_needs_rehash(const char *hash, unsigned cost);
