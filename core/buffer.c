#include "tycho/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tycho/memory.h"

enum { SMALLEST = 256, NUMBER_MAX = 20 };

void ty_buf_close(struct ty_buf *buf)
{
    free(buf->data);
    *buf = (struct ty_buf){0};
}

/* Doubling keeps the cost of many small additions linear. */
static size_t grown(const struct ty_buf *buf, size_t need)
{
    size_t cap = buf->cap < SMALLEST ? SMALLEST : buf->cap;

    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    return cap;
}

char *ty_buf_grow(struct ty_buf *buf, size_t more)
{
    if (more > SIZE_MAX / 2 - buf->len)
        abort();
    buf->cap = grown(buf, buf->len + more);
    buf->data = ty_realloc(buf->data, buf->cap);
    return buf->data + buf->len;
}

void ty_buf_add(struct ty_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(ty_buf_reserve(buf, len), data, len);
    buf->len += len;
}

void ty_buf_adds(struct ty_buf *buf, const char *text)
{
    ty_buf_add(buf, text, strlen(text));
}

void ty_buf_addf(struct ty_buf *buf, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    ty_buf_vaddf(buf, fmt, args);
    va_end(args);
}

void ty_buf_vaddf(struct ty_buf *buf, const char *fmt, va_list args)
{
    va_list again;
    char *at = ty_buf_reserve(buf, 1);
    size_t room = buf->cap - buf->len;

    va_copy(again, args);
    int len = vsnprintf(at, room, fmt, args);
    if (len > 0 && (size_t)len >= room)
        vsnprintf(ty_buf_reserve(buf, (size_t)len + 1), (size_t)len + 1, fmt, again);
    va_end(again);
    if (len > 0)
        buf->len += (size_t)len;
}

void ty_buf_addu(struct ty_buf *buf, unsigned long long number)
{
    char digits[NUMBER_MAX];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    ty_buf_add(buf, digits + at, sizeof(digits) - at);
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

size_t ty_utf8_len(const char *text, size_t left)
{
    const unsigned char *s = (const unsigned char *)text;

    if (left == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        return left >= 2 && is_continuation(s[1]) ? 2 : 0;
    if (left >= 3 && (s[0] & 0xF0) == 0xE0 && is_continuation(s[1]) && is_continuation(s[2])) {
        bool overlong = s[0] == 0xE0 && s[1] < 0xA0, surrogate = s[0] == 0xED && s[1] > 0x9F;

        return overlong || surrogate ? 0 : 3;
    }
    if (left >= 4 && s[0] >= 0xF0 && s[0] <= 0xF4 && is_continuation(s[1]) &&
        is_continuation(s[2]) && is_continuation(s[3])) {
        bool overlong = s[0] == 0xF0 && s[1] < 0x90, beyond = s[0] == 0xF4 && s[1] > 0x8F;

        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

/* U+0080..U+009F are control characters too: terminals take U+009B for ESC [. */
static bool is_plain(const unsigned char *s, size_t len)
{
    if (len == 1)
        return s[0] >= 0x20 && s[0] != 0x7F && s[0] != '"' && s[0] != '\\';
    return len != 2 || s[0] != 0xC2 || s[1] > 0x9F;
}

static void add_escape(struct ty_buf *buf, const unsigned char *s, size_t len)
{
    static const char names[] = "btn\0fr"; /* from 8 on */
    unsigned code = len == 2 ? s[1] : s[0];

    if (len == 0)
        ty_buf_adds(buf, "\\ufffd");
    else if (code == '"' || code == '\\')
        ty_buf_add(buf, (char[]){'\\', (char)code}, 2);
    else if (code >= 8 && code <= 13 && names[code - 8])
        ty_buf_add(buf, (char[]){'\\', names[code - 8]}, 2);
    else
        ty_buf_addf(buf, "\\u%04x", code);
}

void ty_buf_add_json(struct ty_buf *buf, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t done = 0, at = 0;

    while (at < len) {
        size_t n = ty_utf8_len(text + at, len - at);

        if (!n || !is_plain(s + at, n)) {
            ty_buf_add(buf, text + done, at - done);
            add_escape(buf, s + at, n);
            done = at + (n ? n : 1);
        }
        at += n ? n : 1;
    }
    if (len > done)
        ty_buf_add(buf, text + done, len - done);
}

bool ty_buf_try_add(struct ty_buf *buf, const void *data, size_t len, size_t max)
{
    if (buf->len > max || len > max - buf->len)
        return false;
    if (len == 0)
        return true;
    if (len > buf->cap - buf->len) {
        size_t cap = grown(buf, buf->len + len);
        char *grew = ty_try_realloc(buf->data, cap);

        if (!grew)
            return false;
        buf->data = grew;
        buf->cap = cap;
    }
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return true;
}

const char *ty_buf_cstr(struct ty_buf *buf)
{
    *ty_buf_reserve(buf, 1) = '\0';
    return buf->data;
}

void ty_buf_consume(struct ty_buf *buf, size_t len)
{
    if (len == 0)
        return;
    buf->len -= len;
    memmove(buf->data, buf->data + len, buf->len);
}
