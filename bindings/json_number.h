/* A JSON number, read without a loss that nobody would see.
 *
 * Integers of up to 64 bits are exact. A fraction is the nearest double, as everywhere; but one
 * that would become a whole number by that, or zero, is none: 9007199254740993.0 is not ...992,
 * and 0.99999999999999999999 does not pass for an integer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ty_json_number_kind {
    TY_JSON_SIGNED,
    TY_JSON_UNSIGNED, /* larger than INT64_MAX */
    TY_JSON_REAL,
    TY_JSON_TOO_LARGE,
    TY_JSON_INEXACT,
};

struct ty_json_number {
    enum ty_json_number_kind kind;
    union {
        int64_t integer;
        uint64_t whole;
        double real;
    };
};

/* `text` is a number by JSON's grammar, and what is behind it is no part of one. With `wide_reals`,
 * an integer of more than 64 bits is a double if that keeps its digits, all but zeros at the end:
 * databases write 1e22 like that. */
struct ty_json_number ty_json_number_read(const char *text, size_t len, bool wide_reals);
