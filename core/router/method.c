#include "tycho/router.h"

/* Index is the bit of enum ty_method. */
static const struct ty_slice names[TY_METHOD_COUNT] = {
    {"GET", 3}, {"HEAD", 4}, {"POST", 4}, {"PUT", 3}, {"PATCH", 5}, {"DELETE", 6}, {"OPTIONS", 7},
};

unsigned ty_method_parse(const char *name, size_t len)
{
    for (unsigned i = 0; i < TY_METHOD_COUNT; i++) {
        if (names[i].len == len && memcmp(names[i].data, name, len) == 0)
            return 1u << i;
    }
    return 0;
}

const char *ty_method_name(enum ty_method method)
{
    for (unsigned i = 0; i < TY_METHOD_COUNT; i++) {
        if ((unsigned)method == 1u << i)
            return names[i].data;
    }
    return "";
}

void ty_method_list(unsigned methods, struct ty_buf *out)
{
    const char *separator = "";

    for (unsigned i = 0; i < TY_METHOD_COUNT; i++) {
        if (!(methods & 1u << i))
            continue;
        ty_buf_adds(out, separator);
        ty_buf_add(out, names[i].data, names[i].len);
        separator = ", ";
    }
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ptrdiff_t ty_path_decode(struct ty_slice raw, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] != '%') {
            out[len++] = raw.data[i];
            continue;
        }
        if (raw.len - i < 3)
            return -1;

        int high = hex(raw.data[i + 1]), low = hex(raw.data[i + 2]);

        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return -1;

        char c = (char)(high << 4 | low);

        out[len++] = c == '/' ? '\0' : c;
        i += 2;
    }
    return (ptrdiff_t)len;
}
