#include "http/exchange.h"

#include <stdlib.h>

#include "tycho/memory.h"

enum { BODY_STEP = 64 * 1024, BODY_UNKNOWN = 4096, ALIGNMENT = _Alignof(max_align_t) };

struct ty_exchange *ty_exchange_get(struct ty_exchange_pool *pool)
{
    struct ty_exchange *ex = pool->free;

    if (ex) {
        pool->free = ex->next_free;
        pool->count--;
    } else {
        ex = ty_alloc(sizeof(*ex));
    }

    /* All but the large arrays, which are written before they are read. */
    memset(ex, 0, offsetof(struct ty_exchange, span_space));
    ex->fields.list = ex->span_space;
    ex->fields.cap = TY_EXCHANGE_SPANS;
    return ex;
}

void ty_exchange_put(struct ty_exchange_pool *pool, struct ty_exchange *ex)
{
    while (ex->chunks) {
        struct ty_chunk *next = ex->chunks->next;

        free(ex->chunks);
        ex->chunks = next;
    }
    if (ex->fields.list != ex->span_space)
        free(ex->fields.list);
    free(ex->trailer_spans.list);
    free(ex->body_heap);
    ty_buf_close(&ex->split);
    ty_buf_close(&ex->trailer_bytes);

    if (pool->count == TY_EXCHANGE_POOL_MAX) {
        free(ex);
        return;
    }
    ex->next_free = pool->free;
    pool->free = ex;
    pool->count++;
}

void ty_exchange_pool_close(struct ty_exchange_pool *pool)
{
    while (pool->free) {
        struct ty_exchange *next = pool->free->next_free;

        free(pool->free);
        pool->free = next;
    }
    pool->count = 0;
}

void *ty_exchange_alloc(struct ty_exchange *ex, size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);

    if (rounded >= size && rounded <= TY_EXCHANGE_SPACE - ex->space_used) {
        char *at = ex->space + ex->space_used;

        ex->space_used += rounded;
        return at;
    }

    struct ty_chunk *chunk = ty_try_alloc(sizeof(*chunk) + size);

    if (!chunk)
        return NULL;
    chunk->next = ex->chunks;
    ex->chunks = chunk;
    return chunk->data;
}

struct ty_span *ty_spans_add(struct ty_exchange *ex, struct ty_spans *spans)
{
    if (spans->count == spans->cap) {
        bool is_inline = spans->list == ex->span_space;
        uint32_t cap = spans->cap ? spans->cap * 4 : 8;
        struct ty_span *list = ty_try_realloc(is_inline ? NULL : spans->list, cap * sizeof(*list));

        if (!list)
            return NULL;
        if (is_inline)
            memcpy(list, ex->span_space, spans->count * sizeof(*list));
        spans->list = list;
        spans->cap = cap;
    }

    struct ty_span *span = &spans->list[spans->count++];

    *span = (struct ty_span){0};
    return span;
}

struct ty_header *ty_spans_resolve(struct ty_exchange *ex, const struct ty_spans *spans,
                                   const char *base)
{
    struct ty_header *headers = ty_exchange_alloc(ex, spans->count * sizeof(*headers));

    if (!headers)
        return NULL;
    for (uint32_t i = 0; i < spans->count; i++) {
        const struct ty_span *span = &spans->list[i];
        const char *value = base + span->value;
        size_t len = span->value_len;

        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
            len--;
        headers[i].name = (struct ty_slice){base + span->name, span->name_len};
        headers[i].value = (struct ty_slice){value, len};
    }
    return headers;
}

/* Memory grows with what has arrived, never with what was announced. */
static bool grow_body(struct ty_exchange *ex, size_t need, uint64_t expected)
{
    size_t cap = ex->body_cap * 2, least = expected ? BODY_STEP : BODY_UNKNOWN;

    if (cap < least)
        cap = least;
    if (cap < need)
        cap = need;
    if (expected && cap > expected)
        cap = (size_t)expected;

    /* All of a small body: it will not have to move. */
    if (cap == expected && !ex->body_cap && cap <= TY_EXCHANGE_SPACE - ex->space_used) {
        ex->req.body.data = ty_exchange_alloc(ex, cap);
        ex->body_cap = cap;
        return ex->req.body.data;
    }

    char *heap = ty_try_realloc(ex->body_heap, cap);

    if (!heap)
        return false;
    ex->body_heap = heap;
    ex->req.body.data = heap;
    ex->body_cap = cap;
    return true;
}

bool ty_exchange_add_body(struct ty_exchange *ex, const char *data, size_t len, uint64_t expected)
{
    size_t have = ex->req.body.len;

    if (len > ex->body_cap - have && !grow_body(ex, have + len, expected))
        return false;
    memcpy((char *)(uintptr_t)ex->req.body.data + have, data, len);
    ex->req.body.len = have + len;
    return true;
}
