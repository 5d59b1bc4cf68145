/* Whole connections: pipelined requests, each with head and body, cut at any place.
 *
 * The first byte says how to cut, the second whether limits are tight. However the bytes
 * arrive, the site must be told the same, and the same must be answered: a server that reads one
 * byte stream in two ways can be made to disagree with the proxy in front of it. Within tight
 * limits the pieces may differ in when they are refused, but not in what was said before.
 */
#include "wire.h"

static bool is_prefix(const struct ty_buf *part, const struct ty_buf *whole)
{
    return part->len <= whole->len && (!part->len || !memcmp(part->data, whole->data, part->len));
}

static bool equals(const struct ty_buf *a, const struct ty_buf *b)
{
    return a->len == b->len && is_prefix(a, b);
}

static void show(const char *what, const struct transcript *t)
{
    fprintf(stderr, "---- %s: %zu requests, statuses %.*s\n%.*s", what, t->requests,
            (int)t->statuses.len, t->statuses.data ? t->statuses.data : "", (int)t->told.len,
            t->told.data ? t->told.data : "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct transcript whole, cut;

    if (size < 2)
        return 0;
    enum wire_limits limits = data[1] & 1 ? WIRE_TIGHT : WIRE_USUAL;
    const char *bytes = (const char *)data + 2;

    converse(limits, bytes, size - 2, (struct cuts){.kind = 255}, &whole);
    converse(limits, bytes, size - 2, (struct cuts){data[0] * 77u, data[0] % 64}, &cut);

    bool agree = equals(&whole.told, &cut.told) && equals(&whole.statuses, &cut.statuses);
    if (limits == WIRE_TIGHT && (whole.refused || cut.refused))
        agree = is_prefix(&cut.told, &whole.told) || is_prefix(&whole.told, &cut.told);
    if (!agree) {
        show("in one piece", &whole);
        show("cut", &cut);
    }
    REQUIRE(agree);
    transcript_close(&whole);
    transcript_close(&cut);
    return 0;
}
