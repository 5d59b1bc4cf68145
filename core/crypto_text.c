#include "tycho/crypto.h"

enum { BAD = 0xff };

static const char alphabets[2][65] = {
    [TY_BASE64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [TY_BASE64URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t ty_base64_len(enum ty_base64 kind, size_t len)
{
    size_t rest = len % 3;
    size_t tail = 0;

    if (rest)
        tail = kind == TY_BASE64 ? 4 : rest + 1;
    return len / 3 * 4 + tail;
}

void ty_base64_encode(enum ty_base64 kind, const void *data, size_t len, char *out)
{
    const char *letters = alphabets[kind];
    const unsigned char *in = data;

    for (; len >= 3; len -= 3, in += 3) {
        *out++ = letters[in[0] >> 2];
        *out++ = letters[(in[0] & 3) << 4 | in[1] >> 4];
        *out++ = letters[(in[1] & 15) << 2 | in[2] >> 6];
        *out++ = letters[in[2] & 63];
    }
    if (len == 0)
        return;

    unsigned second = len == 2 ? in[1] : 0;

    *out++ = letters[in[0] >> 2];
    *out++ = letters[(in[0] & 3) << 4 | second >> 4];
    if (len == 2)
        *out++ = letters[(second & 15) << 2];
    else if (kind == TY_BASE64)
        *out++ = '=';
    if (kind == TY_BASE64)
        *out = '=';
}

/* Without a table, so that the time does not depend on which cache lines a secret touches. */
static unsigned sextet(enum ty_base64 kind, char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0' + 52);
    if (c == alphabets[kind][62])
        return 62;
    return c == alphabets[kind][63] ? 63 : BAD;
}

ptrdiff_t ty_base64_decode(enum ty_base64 kind, const char *text, size_t len, void *out)
{
    unsigned char *next = out;

    if (kind == TY_BASE64) {
        if (len % 4)
            return -1;
        for (int i = 0; i < 2 && len && text[len - 1] == '='; i++)
            len--;
    }
    if (len % 4 == 1)
        return -1;

    unsigned bits = 0, count = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned value = sextet(kind, text[i]);

        if (value == BAD)
            return -1;
        bits = bits << 6 | value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            *next++ = (unsigned char)(bits >> count);
            bits &= (1u << count) - 1;
        }
    }
    return bits ? -1 : next - (unsigned char *)out; /* bits that no byte took must be 0 */
}

void ty_hex_encode(const void *data, size_t len, char *out)
{
    static const char letters[] = "0123456789abcdef";
    const unsigned char *in = data;

    for (size_t i = 0; i < len; i++) {
        *out++ = letters[in[i] >> 4];
        *out++ = letters[in[i] & 15];
    }
}

static unsigned nibble(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a' + 10);
    return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10) : BAD;
}

ptrdiff_t ty_hex_decode(const char *text, size_t len, void *out)
{
    unsigned char *next = out;

    if (len % 2)
        return -1;
    for (size_t i = 0; i < len; i += 2) {
        unsigned high = nibble(text[i]), low = nibble(text[i + 1]);

        if (high == BAD || low == BAD)
            return -1;
        *next++ = (unsigned char)(high << 4 | low);
    }
    return next - (unsigned char *)out;
}
