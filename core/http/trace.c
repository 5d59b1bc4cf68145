#include "http/trace.h"

#include <stdlib.h>
#include <sys/random.h>

#include "http/syntax.h"

enum {
    FLAG_SAMPLED = 1,
    FLAGS_KNOWN = 3, /* sampled, random */
    KEY_MAX = 256,   /* of a tracestate member */
    VALUE_MAX = 256,
    PARENT_AT = 36, /* offsets in "00-<32>-<16>-<2>" */
    FLAGS_AT = 53,
};

static const char digits[] = "0123456789abcdef";

void ty_random_seed(struct ty_random *random)
{
    char *at = (char *)random->s;
    size_t left = sizeof(random->s);

    while (left) {
        ssize_t n = getrandom(at, left, 0);

        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
    random->s[0] |= 1; /* all zero would stay zero */
}

static uint64_t rotl(uint64_t x, unsigned k)
{
    return x << k | x >> (64 - k);
}

/* xoshiro256** */
uint64_t ty_random_next(struct ty_random *random)
{
    uint64_t *s = random->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Eight digits at once: each nibble gets a byte, and what is above 9 the distance to 'a'. */
static void put_hex(uint64_t value, char out[8])
{
    const uint64_t ones = 0x0101010101010101;

    value = (value << 16 | value) & 0x0000ffff0000ffff;
    value = (value << 8 | value) & 0x00ff00ff00ff00ff;
    value = (value << 4 | value) & 0x0f0f0f0f0f0f0f0f;
    value += ones * '0' + ((value + ones * 6) >> 4 & ones) * ('a' - '0' - 10);
    memcpy(out, &value, sizeof(value));
}

void ty_random_hex(struct ty_random *random, char out[TY_SPAN_ID_LEN])
{
    uint64_t value = ty_random_next(random);

    while (!value)
        value = ty_random_next(random);
    put_hex(value & UINT32_MAX, out);
    put_hex(value >> 32, out + 8);
}

bool ty_request_id_is_valid(struct ty_slice id)
{
    if (id.len < 1 || id.len > TY_REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i], lower = (char)(c | 0x20);

        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
            c != '.')
            return false;
    }
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Lower-case hex digits, and if `not_zero`, not only zeros. */
static bool is_hex(const char *text, size_t len, bool not_zero)
{
    bool zero = true;

    for (size_t i = 0; i < len; i++) {
        if (hex(text[i]) < 0)
            return false;
        zero = zero && text[i] == '0';
    }
    return !not_zero || !zero;
}

bool ty_trace_parse(struct ty_trace *trace, struct ty_slice value)
{
    const char *s = value.data;

    if (value.len < TY_TRACEPARENT_LEN || !is_hex(s, 2, false) || memcmp(s, "ff", 2) == 0)
        return false;
    if (memcmp(s, "00", 2) == 0 && value.len != TY_TRACEPARENT_LEN)
        return false;
    if (value.len > TY_TRACEPARENT_LEN && s[TY_TRACEPARENT_LEN] != '-')
        return false; /* a later version may go on, behind a dash */
    if (s[2] != '-' || s[PARENT_AT - 1] != '-' || s[FLAGS_AT - 1] != '-')
        return false;
    if (!is_hex(s + 3, TY_TRACE_ID_LEN, true) || !is_hex(s + PARENT_AT, TY_SPAN_ID_LEN, true) ||
        !is_hex(s + FLAGS_AT, 2, false))
        return false;

    memcpy(trace->trace_id, s + 3, TY_TRACE_ID_LEN);
    memcpy(trace->parent_id, s + PARENT_AT, TY_SPAN_ID_LEN);
    trace->trace_id[TY_TRACE_ID_LEN] = '\0';
    trace->parent_id[TY_SPAN_ID_LEN] = '\0';
    trace->flags = (uint8_t)(hex(s[FLAGS_AT + 1]) & FLAGS_KNOWN);
    return true;
}

static bool is_key_char(char c, bool first)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return true;
    return !first && c && strchr("_-*/@", c);
}

static bool is_member(struct ty_slice member)
{
    const char *equals = memchr(member.data, '=', member.len);

    if (!equals)
        return false;

    size_t key_len = (size_t)(equals - member.data), value_len = member.len - key_len - 1;

    if (key_len < 1 || key_len > KEY_MAX || value_len < 1 || value_len > VALUE_MAX)
        return false;
    for (size_t i = 0; i < key_len; i++) {
        if (!is_key_char(member.data[i], i == 0))
            return false;
    }
    for (size_t i = 1; i <= value_len; i++) {
        if (equals[i] < 0x20 || equals[i] > 0x7e || equals[i] == '=')
            return false; /* a comma cannot be here */
    }
    return equals[value_len] != ' ';
}

bool ty_tracestate_is_valid(struct ty_slice list)
{
    unsigned members = 0;

    for (size_t at = 0; at <= list.len;) {
        const char *comma = at < list.len ? memchr(list.data + at, ',', list.len - at) : NULL;
        size_t end = comma ? (size_t)(comma - list.data) : list.len;
        struct ty_slice member = ty_slice_trim(list.data + at, end - at);

        if (member.len && (!is_member(member) || ++members > TY_TRACESTATE_MEMBERS_MAX))
            return false;
        at = end + 1;
    }
    return members > 0;
}

void ty_trace_print(const struct ty_trace *trace, char out[TY_TRACEPARENT_LEN])
{
    memcpy(out, "00-", 3);
    memcpy(out + 3, trace->trace_id, TY_TRACE_ID_LEN);
    out[PARENT_AT - 1] = '-';
    memcpy(out + PARENT_AT, trace->span_id, TY_SPAN_ID_LEN);
    out[FLAGS_AT - 1] = '-';
    out[FLAGS_AT] = '0';
    out[FLAGS_AT + 1] = digits[trace->flags & FLAGS_KNOWN];
}
