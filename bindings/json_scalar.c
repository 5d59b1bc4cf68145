#include "json_scalar.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

enum {
    NUMBER_ROOM = 40, /* the longest number there is */
    DECIMALS_MAX = 9, /* tried before the general case: prices, rates, coordinates */
    ESCAPE_LEN = 6,   /* \u001f */
};

static const double exact_max = 9007199254740992.0; /* 2^53 */

static char *put_digits(char *at, uint64_t number)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char digits[20];
    size_t start = sizeof(digits);

    while (number >= 100) {
        start -= 2;
        memcpy(digits + start, pairs + 2 * (number % 100), 2);
        number /= 100;
    }
    if (number >= 10) {
        start -= 2;
        memcpy(digits + start, pairs + 2 * number, 2);
    } else {
        digits[--start] = (char)('0' + number);
    }
    memcpy(at, digits + start, sizeof(digits) - start);
    return at + (sizeof(digits) - start);
}

static char *put_int64(char *at, int64_t number)
{
    if (number < 0)
        *at++ = '-';
    return put_digits(at, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

/* Writes a number that has few decimals: the quotient of two exact integers is what a reader
 * of those digits gets too. Returns NULL if it needs more of them. */
static char *put_decimal(char *at, double number)
{
    double magnitude = fabs(number), power = 1;

    for (int decimals = 1; decimals <= DECIMALS_MAX; decimals++) {
        power *= 10;
        double scaled = nearbyint(magnitude * power);

        if (!(scaled < exact_max))
            return NULL;
        if (scaled / power != magnitude)
            continue;
        uint64_t digits = (uint64_t)scaled, unit = (uint64_t)power, fraction = digits % unit;

        if (signbit(number))
            *at++ = '-';
        at = put_digits(at, digits / unit);
        *at++ = '.';
        for (unit /= 10; unit; unit /= 10)
            *at++ = (char)('0' + fraction / unit % 10);
        return at;
    }
    return NULL;
}

/* The shortest digits that read back as the same number, by yyjson. */
static char *put_general(char *at, double number)
{
    char memory[256];
    size_t len = 0;
    yyjson_val value = {0};
    yyjson_alc pool;

    yyjson_set_real(&value, number);
    yyjson_alc_pool_init(&pool, memory, sizeof(memory));
    const char *text = yyjson_val_write_opts(&value, 0, &pool, &len, NULL);
    if (!text || len >= NUMBER_ROOM)
        return at + snprintf(at, NUMBER_ROOM - 1, "%.17g", number);
    memcpy(at, text, len);
    return at + len;
}

bool ty_json_add_number(struct ty_buf *out, double number)
{
    char *at = ty_buf_reserve(out, NUMBER_ROOM), *end;

    if (fabs(number) <= exact_max && (double)(int64_t)number == number &&
        !(number == 0 && signbit(number)))
        end = put_int64(at, (int64_t)number);
    else if (!isfinite(number))
        return false;
    else if (!(end = put_decimal(at, number)))
        end = put_general(at, number);
    out->len += (size_t)(end - at);
    return true;
}

void ty_json_add_int64(struct ty_buf *out, int64_t number)
{
    char *at = ty_buf_reserve(out, NUMBER_ROOM);

    out->len += (size_t)(put_int64(at, number) - at);
}

void ty_json_add_uint64(struct ty_buf *out, uint64_t number)
{
    char *at = ty_buf_reserve(out, NUMBER_ROOM);

    out->len += (size_t)(put_digits(at, number) - at);
}

/* What a byte needs: nothing, an escape, or a look at the whole UTF-8 sequence. */
enum { PLAIN, ESCAPE, MULTIBYTE };

static int class_of(unsigned char c)
{
    if (c >= 0x80)
        return MULTIBYTE;
    return c < 0x20 || c == '"' || c == '\\' ? ESCAPE : PLAIN;
}

/* Are all eight bytes plain? Each term sets the high bit of the bytes that are not: below 0x20,
 * equal to the quote, equal to the backslash, or with the high bit set to begin with. */
static bool are_plain(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');

    return (((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & highs) == 0;
}

/* Copies from `s` up to the first byte that is not plain, or to the end; returns how many. */
static size_t copy_plain(char *to, const char *s, size_t len)
{
    size_t at = 0;

    for (uint64_t word; at + sizeof(word) <= len; at += sizeof(word)) {
        memcpy(&word, s + at, sizeof(word));
        if (!are_plain(word))
            break;
        memcpy(to + at, &word, sizeof(word));
    }
    for (; at < len && class_of((unsigned char)s[at]) == PLAIN; at++)
        to[at] = s[at];
    return at;
}

static void add_escape(struct ty_buf *out, unsigned char c)
{
    static const char letters[] = "btn\0fr"; /* from 8 on */
    static const char hex[] = "0123456789abcdef";
    char *at = ty_buf_reserve(out, ESCAPE_LEN);

    at[0] = '\\';
    if (c >= 8 && c <= 13 && letters[c - 8]) {
        at[1] = letters[c - 8];
        out->len += 2;
    } else if (c < 0x20) {
        memcpy(at + 1, "u00", 3);
        at[4] = hex[c >> 4];
        at[5] = hex[c & 15];
        out->len += ESCAPE_LEN;
    } else {
        at[1] = (char)c;
        out->len += 2;
    }
}

bool ty_json_add_string(struct ty_buf *out, const char *s, size_t len)
{
    char *at = ty_buf_reserve(out, len + 2);
    size_t done = copy_plain(at + 1, s, len);

    at[0] = '"';
    out->len += done + 1;
    while (done < len) {
        if (class_of((unsigned char)s[done]) == ESCAPE) {
            add_escape(out, (unsigned char)s[done]);
            done++;
        } else {
            size_t n = ty_utf8_len(s + done, len - done);

            if (n == 0)
                return false;
            ty_buf_add(out, s + done, n);
            done += n;
        }
        size_t plain = copy_plain(ty_buf_reserve(out, len - done + 1), s + done, len - done);
        out->len += plain;
        done += plain;
    }
    ty_buf_addc(out, '"');
    return true;
}
