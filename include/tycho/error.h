/* How the core says what went wrong.
 *
 * Most functions return 0 or a negative code. Where a library explains itself in words
 * (SQLite, OpenSSL, PostgreSQL) the caller hands in a struct ty_error of its own to be filled:
 * no allocation on the error path. A kind says what the caller can do about it and is one of
 * a closed set; the router maps it to an HTTP status. The detail says what exactly happened,
 * in the words of the library that reported it (an errno name, an SQLSTATE, SQLITE_BUSY).
 */
#pragma once

#include <stdarg.h>

/* clang-format off */
/*     C name           kind in Lua         HTTP */
#define TY_ERRORS(X)                             \
    X(INVALID,          "invalid",          400) \
    X(UNAUTHORIZED,     "unauthorized",     401) \
    X(FORBIDDEN,        "forbidden",        403) \
    X(NOT_FOUND,        "not_found",        404) \
    X(CONFLICT,         "conflict",         409) \
    X(TOO_LARGE,        "too_large",        413) \
    X(LIMITED,          "limited",          429) \
    X(CANCELLED,        "cancelled",        499) \
    X(INTERNAL,         "internal",         500) \
    X(UNAVAILABLE,      "unavailable",      503) \
    X(TIMEOUT,          "timeout",          504) \
    X(UNKNOWN_OUTCOME,  "unknown_outcome",  500)
/* clang-format on */

enum ty_error_kind {
#define X(name, kind, http) TY_ERR_##name,
    TY_ERRORS(X)
#undef X
};

enum { TY_ERROR_DETAIL_MAX = 128, TY_ERROR_MESSAGE_MAX = 1024 };

struct ty_error {
    enum ty_error_kind kind;
    char detail[TY_ERROR_DETAIL_MAX]; /* "" if there is none */
    char message[TY_ERROR_MESSAGE_MAX];
};

/* Fills `error` (which may be NULL: nobody asked) and returns -1, so that failing is one line:
 * `return ty_error_set(error, TY_ERR_INVALID, NULL, "port %d is not one", port);` */
int ty_error_set(struct ty_error *error, enum ty_error_kind kind, const char *detail,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

const char *ty_error_kind_name(enum ty_error_kind kind); /* "invalid" */
int ty_error_kind_status(enum ty_error_kind kind);       /* 400 */
