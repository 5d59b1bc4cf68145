/* A growable run of bytes: what parsers fill and writers drain.
 *
 * Two ways to grow. ty_buf_add*() is for what Tycho itself writes (headers, logs, JSON of
 * bounded size) and aborts when memory ends; ty_buf_try_add() is for bytes whose number a peer
 * chooses, has a ceiling, and reports failure. Not NUL-terminated unless asked.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct ty_buf {
    char *data; /* NULL while cap is 0 */
    size_t len;
    size_t cap;
};

/* A run of bytes that belongs to somebody else. */
struct ty_slice {
    const char *data;
    size_t len;
};

#define TY_SLICE(literal) ((struct ty_slice){(literal), sizeof(literal) - 1})

void ty_buf_close(struct ty_buf *buf); /* frees; `buf` is empty and usable again */

char *ty_buf_grow(struct ty_buf *buf, size_t more); /* what follows, when there is no room */

/* Makes room for `more` bytes behind len and returns where they go; the caller adds to len. */
static inline char *ty_buf_reserve(struct ty_buf *buf, size_t more)
{
    return more > buf->cap - buf->len ? ty_buf_grow(buf, more) : buf->data + buf->len;
}

void ty_buf_add(struct ty_buf *buf, const void *data, size_t len);
static inline void ty_buf_addc(struct ty_buf *buf, char c)
{
    *ty_buf_reserve(buf, 1) = c;
    buf->len++;
}
void ty_buf_adds(struct ty_buf *buf, const char *text);
void ty_buf_addf(struct ty_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ty_buf_vaddf(struct ty_buf *buf, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

/* Adds a decimal number; faster than ty_buf_addf(). */
void ty_buf_addu(struct ty_buf *buf, unsigned long long number);

/* Adds `text` as the inside of a JSON string: quotes, backslash, control characters, DEL and
 * invalid UTF-8 (as U+FFFD) escaped, so that the result is one line of valid JSON. No quotes
 * around it. */
void ty_buf_add_json(struct ty_buf *buf, const char *text, size_t len);

/* Length of the well-formed UTF-8 sequence at `text` (RFC 3629: no surrogates, nothing overlong,
 * nothing past U+10FFFF), which is at most `left`; 0 if there is none. */
size_t ty_utf8_len(const char *text, size_t left);

/* Like ty_buf_add(), but false when the buffer would pass `max` bytes or memory is out. */
bool ty_buf_try_add(struct ty_buf *buf, const void *data, size_t len, size_t max)
    __attribute__((warn_unused_result));

/* NUL behind the last byte (not counted in len), so that data is a C string. */
const char *ty_buf_cstr(struct ty_buf *buf);

/* Drops the first `len` bytes. */
void ty_buf_consume(struct ty_buf *buf, size_t len);

static inline bool ty_slice_is(struct ty_slice slice, const char *text)
{
    return strlen(text) == slice.len && memcmp(slice.data, text, slice.len) == 0;
}
