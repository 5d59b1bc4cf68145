#include "http/syntax.h"

#include <arpa/inet.h>

enum { TOKEN = 1, VALUE = 2, REG_NAME = 4, PORT_MAX = 65535, PORT_DIGITS_MAX = 5 };

/* clang-format off */
#define ROW(n) [n] = VALUE, [n + 1] = VALUE, [n + 2] = VALUE, [n + 3] = VALUE, \
    [n + 4] = VALUE, [n + 5] = VALUE, [n + 6] = VALUE, [n + 7] = VALUE
#define ALL TOKEN | VALUE | REG_NAME
#define TV TOKEN | VALUE
#define VR VALUE | REG_NAME

static const unsigned char kinds[256] = {
    ['\t'] = VALUE, [' '] = VALUE, ['"'] = VALUE, ['('] = VR, [')'] = VR, [','] = VR, ['/'] = VALUE,
    [':'] = VALUE, [';'] = VR, ['<'] = VALUE, ['='] = VR, ['>'] = VALUE, ['?'] = VALUE,
    ['@'] = VALUE, ['['] = VALUE, ['\\'] = VALUE, [']'] = VALUE, ['{'] = VALUE, ['}'] = VALUE,
    ['!'] = ALL, ['#'] = TV, ['$'] = ALL, ['%'] = TV, ['&'] = ALL, ['\''] = ALL, ['*'] = ALL,
    ['+'] = ALL, ['-'] = ALL, ['.'] = ALL, ['^'] = TV, ['_'] = ALL, ['`'] = TV, ['|'] = TV,
    ['~'] = ALL,
    ['0'] = ALL, ['1'] = ALL, ['2'] = ALL, ['3'] = ALL, ['4'] = ALL, ['5'] = ALL, ['6'] = ALL,
    ['7'] = ALL, ['8'] = ALL, ['9'] = ALL,
    ['A'] = ALL, ['B'] = ALL, ['C'] = ALL, ['D'] = ALL, ['E'] = ALL, ['F'] = ALL, ['G'] = ALL,
    ['H'] = ALL, ['I'] = ALL, ['J'] = ALL, ['K'] = ALL, ['L'] = ALL, ['M'] = ALL, ['N'] = ALL,
    ['O'] = ALL, ['P'] = ALL, ['Q'] = ALL, ['R'] = ALL, ['S'] = ALL, ['T'] = ALL, ['U'] = ALL,
    ['V'] = ALL, ['W'] = ALL, ['X'] = ALL, ['Y'] = ALL, ['Z'] = ALL,
    ['a'] = ALL, ['b'] = ALL, ['c'] = ALL, ['d'] = ALL, ['e'] = ALL, ['f'] = ALL, ['g'] = ALL,
    ['h'] = ALL, ['i'] = ALL, ['j'] = ALL, ['k'] = ALL, ['l'] = ALL, ['m'] = ALL, ['n'] = ALL,
    ['o'] = ALL, ['p'] = ALL, ['q'] = ALL, ['r'] = ALL, ['s'] = ALL, ['t'] = ALL, ['u'] = ALL,
    ['v'] = ALL, ['w'] = ALL, ['x'] = ALL, ['y'] = ALL, ['z'] = ALL,
    ROW(0x80), ROW(0x88), ROW(0x90), ROW(0x98), ROW(0xa0), ROW(0xa8), ROW(0xb0), ROW(0xb8),
    ROW(0xc0), ROW(0xc8), ROW(0xd0), ROW(0xd8), ROW(0xe0), ROW(0xe8), ROW(0xf0), ROW(0xf8),
};
/* clang-format on */

static bool is_all(struct ty_slice text, unsigned kind)
{
    unsigned seen = kind;

    for (size_t i = 0; i < text.len; i++)
        seen &= kinds[(unsigned char)text.data[i]];
    return seen & kind;
}

bool ty_http_is_token(struct ty_slice name)
{
    return name.len && is_all(name, TOKEN);
}

bool ty_http_is_value(struct ty_slice value)
{
    return is_all(value, VALUE);
}

bool ty_slice_same(struct ty_slice text, const char *lower, size_t len)
{
    if (text.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((text.data[i] | 0x20) != (lower[i] | 0x20))
            return false;
    }
    return true;
}

static bool is_port(struct ty_slice text)
{
    unsigned value = 0;

    if (text.len > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    return value <= PORT_MAX;
}

static bool is_ipv6(struct ty_slice text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr ignored;

    if (text.len >= sizeof(copy) || memchr(text.data, '\0', text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return inet_pton(AF_INET6, copy, &ignored) == 1;
}

static bool is_hex(char c)
{
    char lower = (char)(c | 0x20);

    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'f');
}

static bool is_reg_name(struct ty_slice text)
{
    if (text.len && is_all(text, REG_NAME))
        return true; /* all but those with an escape */
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '%') {
            if (text.len - i < 3 || !is_hex(text.data[i + 1]) || !is_hex(text.data[i + 2]))
                return false;
            i += 2;
        } else if (!(kinds[(unsigned char)text.data[i]] & REG_NAME)) {
            return false;
        }
    }
    return text.len > 0;
}

bool ty_host_is_valid(struct ty_slice host)
{
    const char *end = host.data + host.len, *name_end;

    if (!host.len)
        return false;
    if (host.data[0] == '[') {
        name_end = memchr(host.data, ']', host.len);
        if (!name_end ||
            !is_ipv6((struct ty_slice){host.data + 1, (size_t)(name_end - host.data) - 1}))
            return false;
        name_end++;
    } else {
        name_end = memchr(host.data, ':', host.len);
        if (!name_end)
            name_end = end;
        if (!is_reg_name((struct ty_slice){host.data, (size_t)(name_end - host.data)}))
            return false;
    }
    if (name_end == end)
        return true;
    return *name_end == ':' &&
           is_port((struct ty_slice){name_end + 1, (size_t)(end - name_end) - 1});
}

struct ty_slice ty_slice_trim(const char *data, size_t len)
{
    while (len && (*data == ' ' || *data == '\t')) {
        data++;
        len--;
    }
    while (len && (data[len - 1] == ' ' || data[len - 1] == '\t'))
        len--;
    return (struct ty_slice){data, len};
}

/* The item of a list at `*at`, which goes on behind it: there is none behind the value's end. */
static struct ty_slice next_item(struct ty_slice value, size_t *at)
{
    const char *comma = *at < value.len ? memchr(value.data + *at, ',', value.len - *at) : NULL;
    size_t start = *at, end = comma ? (size_t)(comma - value.data) : value.len;

    *at = end + 1;
    return ty_slice_trim(value.data + start, end - start);
}

bool ty_list_has(struct ty_slice value, const char *lower)
{
    size_t len = strlen(lower);

    for (size_t at = 0; at < value.len;) {
        if (ty_slice_same(next_item(value, &at), lower, len))
            return true;
    }
    return false;
}

enum ty_coding ty_coding_parse(struct ty_slice value)
{
    unsigned count = 0;
    bool is_last_chunked = false;

    for (size_t at = 0; at <= value.len;) {
        struct ty_slice item = next_item(value, &at);

        if (is_last_chunked || !ty_http_is_token(item))
            return TY_CODING_BAD;
        is_last_chunked = ty_slice_same(item, "chunked", 7);
        count++;
    }
    if (!is_last_chunked)
        return TY_CODING_BAD;
    return count == 1 ? TY_CODING_CHUNKED : TY_CODING_UNKNOWN;
}

static struct ty_slice after(struct ty_slice text, size_t len)
{
    return (struct ty_slice){text.data + len, text.len - len};
}

static bool take_authority(struct ty_slice *rest, struct ty_slice *host)
{
    size_t scheme;

    if (rest->len > 7 && ty_slice_same((struct ty_slice){rest->data, 7}, "http://", 7))
        scheme = 7;
    else if (rest->len > 8 && ty_slice_same((struct ty_slice){rest->data, 8}, "https://", 8))
        scheme = 8;
    else
        return false;
    if (memcmp(rest->data + scheme - 3, "://", 3) != 0)
        return false;
    *rest = after(*rest, scheme);

    size_t len = 0;

    while (len < rest->len && rest->data[len] != '/' && rest->data[len] != '?')
        len++;
    *host = (struct ty_slice){rest->data, len};
    *rest = after(*rest, len);
    return ty_host_is_valid(*host);
}

bool ty_target_parse(struct ty_slice raw, bool is_options, struct ty_target *target)
{
    *target = (struct ty_target){0};
    if (!raw.len || memchr(raw.data, '#', raw.len))
        return false;
    if (raw.data[0] == '*') {
        target->path = raw;
        return is_options && raw.len == 1;
    }
    if (raw.data[0] != '/') {
        if (!take_authority(&raw, &target->host))
            return false;
        if (!raw.len && is_options) {
            target->path = TY_SLICE("*");
            return true;
        }
    }

    const char *mark = memchr(raw.data, '?', raw.len);

    target->path = mark ? (struct ty_slice){raw.data, (size_t)(mark - raw.data)} : raw;
    if (mark)
        target->query = after(raw, target->path.len + 1);
    if (!target->path.len)
        target->path = TY_SLICE("/");
    return true;
}
