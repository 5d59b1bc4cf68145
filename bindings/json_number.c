#include "json_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum {
    INT64_DIGITS = 18, /* that always fit */
    EXACT_DIGITS = 16, /* of 2^53 */
    DIGITS_OF_DOUBLE = 17,
    WIDE_MAX = 311,            /* the digits of the largest double, and a sign */
    EXPONENT_MAX = 1000000000, /* beyond that it makes no difference */
};

static const double exact_max = 9007199254740992.0; /* 2^53 */

/* The usual number. False: something else. */
static bool read_integer(const char *text, size_t len, int64_t *out)
{
    bool is_negative = *text == '-';
    size_t at = is_negative;
    int64_t value = 0;

    if (len - at > INT64_DIGITS)
        return false;
    for (; at < len; at++) {
        if (text[at] < '0' || text[at] > '9')
            return false;
        value = value * 10 + (text[at] - '0');
    }
    *out = is_negative ? -value : value;
    return true;
}

static int64_t read_exponent(const char *text, const char *end)
{
    bool is_negative = *text == '-';
    int64_t value = 0;

    for (text += is_negative || *text == '+'; text < end; text++) {
        if (value < EXPONENT_MAX)
            value = value * 10 + (*text - '0');
    }
    return is_negative ? -value : value;
}

/* Is it this whole number, of 2^53 at most, to the last digit? */
static bool is_exactly(const char *text, size_t len, uint64_t value)
{
    const char *end = text + len;
    uint64_t digits = 0;
    size_t count = 0, zeros = 0; /* zeros: behind the last other digit */
    int64_t scale = 0;
    bool is_fraction = false;

    for (; text < end && *text != 'e' && *text != 'E'; text++) {
        is_fraction = is_fraction || *text == '.';
        if (*text < '0' || *text > '9')
            continue;
        scale -= is_fraction;
        if (*text == '0') {
            zeros += count > 0;
            continue;
        }
        count += zeros + 1;
        if (count > EXACT_DIGITS)
            return false;
        for (; zeros; zeros--)
            digits *= 10;
        digits = digits * 10 + (uint64_t)(*text - '0');
    }
    scale += (int64_t)zeros + (text < end ? read_exponent(text + 1, end) : 0);
    if (count && (scale < 0 || scale > EXACT_DIGITS))
        return false;
    for (; count && scale; scale--)
        digits *= 10;
    return digits == value;
}

static struct ty_json_number read_wide(const char *text, size_t len)
{
    size_t sign = *text == '-', count = len - sign;
    char digits[WIDE_MAX], again[WIDE_MAX];
    double real = 0;

    while (count && text[sign + count - 1] == '0')
        count--;
    if (len < WIDE_MAX && count && count <= DIGITS_OF_DOUBLE &&
        strspn(text + sign, "0123456789") == len - sign) {
        memcpy(digits, text, len);
        digits[len] = '\0';
        real = strtod(digits, NULL);
    }
    if (!isnormal(real))
        return (struct ty_json_number){.kind = TY_JSON_TOO_LARGE};
    snprintf(again, sizeof(again), "%.*e", (int)count - 1, fabs(real)); /* d.ddde+dd */
    if (again[0] != text[sign] || (count > 1 && memcmp(again + 2, text + sign + 1, count - 1) != 0))
        return (struct ty_json_number){.kind = TY_JSON_TOO_LARGE};
    return (struct ty_json_number){.kind = TY_JSON_REAL, .real = real};
}

static struct ty_json_number read_other(const char *text, size_t len, bool wide_reals)
{
    yyjson_val value = {0};

    if (!yyjson_read_number(text, &value, YYJSON_READ_BIGNUM_AS_RAW, NULL, NULL) ||
        yyjson_is_raw(&value))
        return wide_reals ? read_wide(text, len)
                          : (struct ty_json_number){.kind = TY_JSON_TOO_LARGE};
    if (yyjson_is_uint(&value))
        return (struct ty_json_number){.kind = TY_JSON_UNSIGNED, .whole = yyjson_get_uint(&value)};
    if (yyjson_is_sint(&value))
        return (struct ty_json_number){.kind = TY_JSON_SIGNED, .integer = yyjson_get_sint(&value)};

    double real = yyjson_get_real(&value), magnitude = fabs(real);

    if (magnitude <= exact_max && magnitude == floor(magnitude) &&
        !is_exactly(text, len, (uint64_t)magnitude))
        return (struct ty_json_number){.kind = TY_JSON_INEXACT};
    return (struct ty_json_number){.kind = TY_JSON_REAL, .real = real};
}

struct ty_json_number ty_json_number_read(const char *text, size_t len, bool wide_reals)
{
    struct ty_json_number number = {.kind = TY_JSON_SIGNED};

    return read_integer(text, len, &number.integer) ? number : read_other(text, len, wide_reals);
}
