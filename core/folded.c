#include "tycho/folded.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/memory.h"

enum { SLOTS = 32768 }; /* more than TY_FOLDED_MAX: there is always a free one */

struct entry {
    uint64_t hash, count; /* free while count is 0 */
    size_t at, len;       /* in `text` */
};

struct ty_folded {
    struct entry entries[SLOTS];
    struct ty_buf text;
    size_t used;
    uint64_t total, lost;
};

struct ty_folded *ty_folded_new(void)
{
    return ty_zalloc(sizeof(struct ty_folded));
}

void ty_folded_free(struct ty_folded *folded)
{
    if (folded)
        ty_buf_close(&folded->text);
    free(folded);
}

/* FNV-1a */
static uint64_t hash_of(const char *text, size_t len)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    return hash;
}

void ty_folded_add(struct ty_folded *folded, const char *stack, size_t len, uint64_t count)
{
    uint64_t hash = hash_of(stack, len);
    size_t slot = hash % SLOTS;
    struct entry *entry = &folded->entries[slot];

    if (count == 0)
        return;
    folded->total += count;
    while (entry->count && (entry->hash != hash || entry->len != len ||
                            memcmp(folded->text.data + entry->at, stack, len) != 0))
        entry = &folded->entries[slot = (slot + 1) % SLOTS];
    if (entry->count) {
        entry->count += count;
    } else if (folded->used == TY_FOLDED_MAX || folded->text.len + len > TY_FOLDED_BYTES_MAX) {
        folded->lost += count;
    } else {
        *entry = (struct entry){.hash = hash, .count = count, .at = folded->text.len, .len = len};
        ty_buf_add(&folded->text, stack, len);
        folded->used++;
    }
}

void ty_folded_merge(struct ty_folded *folded, const char *text, size_t len)
{
    const char *end = text + len;

    while (text < end) {
        const char *next = memchr(text, '\n', (size_t)(end - text));
        const char *last = next ? next : end, *space = last;
        uint64_t count = 0;

        while (space > text && space[-1] != ' ')
            space--;
        for (const char *digit = space; digit < last && *digit >= '0' && *digit <= '9'; digit++)
            count = count * 10 + (uint64_t)(*digit - '0');
        if (space > text + 1)
            ty_folded_add(folded, text, (size_t)(space - 1 - text), count);
        text = last + 1;
    }
}

uint64_t ty_folded_total(const struct ty_folded *folded)
{
    return folded->total;
}

uint64_t ty_folded_lost(const struct ty_folded *folded)
{
    return folded->lost;
}

struct line {
    const char *text;
    size_t len;
    uint64_t count;
};

static int by_text(const void *a, const void *b)
{
    const struct line *left = a, *right = b;
    size_t len = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->text, right->text, len);

    return order ? order : (left->len > right->len) - (left->len < right->len);
}

void ty_folded_render(const struct ty_folded *folded, struct ty_buf *out)
{
    struct line *lines = ty_zalloc((folded->used + 1) * sizeof(*lines));
    size_t count = 0;

    for (size_t i = 0; i < SLOTS; i++) {
        const struct entry *entry = &folded->entries[i];
        if (entry->count)
            lines[count++] = (struct line){folded->text.data + entry->at, entry->len, entry->count};
    }
    qsort(lines, count, sizeof(*lines), by_text);
    for (size_t i = 0; i < count; i++) {
        ty_buf_add(out, lines[i].text, lines[i].len);
        ty_buf_addf(out, " %" PRIu64 "\n", lines[i].count);
    }
    free(lines);
}
