/* Chunked bodies and their trailers, against a second reading of RFC 9112, section 7.1, that is
 * simple enough to be believed: where the server accepts a body, that reading has the same one, and
 * what is plain by that reading is accepted.
 */
#include "wire.h"

static const char HEAD[] = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

struct reading {
    struct ty_buf body;
    bool complete;
    bool plain; /* no extensions and no trailers: nothing that may be refused */
};

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The line's length without CRLF; SIZE_MAX: it has no end. */
static size_t line_len(const uint8_t *at, size_t left)
{
    const uint8_t *end = left ? memmem(at, left, "\r\n", 2) : NULL;

    return end ? (size_t)(end - at) : SIZE_MAX;
}

static bool read_size(const uint8_t *at, size_t len, uint64_t *size, bool *plain)
{
    size_t digits = 0;

    *size = 0;
    while (digits < len && hex(at[digits]) >= 0) {
        if (*size >> 56) /* leading zeros are no size */
            return false;
        *size = *size * 16 + (unsigned)hex(at[digits++]);
    }
    *plain = digits == len && digits <= 8;
    return digits > 0;
}

static void read_chunks(const uint8_t *at, size_t left, struct reading *r)
{
    for (r->plain = true;;) {
        size_t len = line_len(at, left);
        uint64_t size;
        bool plain;

        if (len == SIZE_MAX || !read_size(at, len, &size, &plain))
            return;
        r->plain = r->plain && plain;
        at += len + 2;
        left -= len + 2;
        if (size == 0)
            break;
        if (left < 2 || size > left - 2 || at[size] != '\r' || at[size + 1] != '\n')
            return;
        ty_buf_add(&r->body, at, (size_t)size);
        at += size + 2;
        left -= (size_t)size + 2;
    }
    for (size_t len; (len = line_len(at, left)) != SIZE_MAX; at += len + 2, left -= len + 2) {
        if (len == 0) {
            r->complete = true;
            return;
        }
        r->plain = false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading reading = {0};
    struct transcript server;
    struct ty_buf sent = {0};

    if (size < 1)
        return 0;
    read_chunks(data + 1, size - 1, &reading);
    ty_buf_adds(&sent, HEAD);
    ty_buf_add(&sent, data + 1, size - 1);
    converse(WIRE_USUAL, sent.data, sent.len, (struct cuts){data[0] * 77u, data[0]}, &server);

    if (server.requests) {
        REQUIRE(reading.complete);
        REQUIRE(same((struct ty_slice){server.body.data, server.body.len},
                     (struct ty_slice){reading.body.data, reading.body.len}));
    } else {
        REQUIRE(!reading.complete || !reading.plain);
    }
    ty_buf_close(&reading.body);
    ty_buf_close(&sent);
    transcript_close(&server);
    return 0;
}
