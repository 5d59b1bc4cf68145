/* One request and its answer, from the first byte until the site has finished it.
 *
 * All that a request needs is in here: its head, its small bodies, what was found out about
 * it. It is pooled and has room for the usual request, so that none allocates; what is larger
 * goes to chunks that are freed with the request.
 */
#pragma once

#include "tycho/http.h"

enum {
    TY_EXCHANGE_SPANS = 24,   /* fields that a usual request has at most */
    TY_EXCHANGE_SPACE = 2560, /* bytes of head, headers, body of a usual request */
    TY_EXCHANGE_POOL_MAX = 256,
};

/* A field's place in the message, while that is still arriving. */
struct ty_span {
    uint32_t name, name_len;
    uint32_t value, value_len;
};

struct ty_spans {
    struct ty_span *list;
    uint32_t count;
    uint32_t cap;
    bool in_name; /* the last thing seen was a piece of a name */
};

struct ty_chunk {
    struct ty_chunk *next;
    char data[];
};

/* What decides about a request before it is a site's business. */
struct ty_known {
    unsigned host_count;
    unsigned parent_count; /* traceparent */
    unsigned state_count;  /* tracestate */
    bool has_coding;
    bool asks_close; /* by Connection */
    bool asks_keep;
    struct ty_slice coding; /* Transfer-Encoding */
    struct ty_slice expect;
    struct ty_slice id; /* X-Request-Id */
    struct ty_slice parent;
    struct ty_slice state;
};

enum ty_body_mode {
    TY_BODY_WHOLE, /* ty_request_respond() */
    TY_BODY_LENGTH,
    TY_BODY_CHUNKED,
    TY_BODY_UNTIL_CLOSE,
};

struct ty_exchange {
    struct ty_request req; /* first: the site's view */
    struct ty_exchange *next_free;

    /* the head, as it arrives; offsets are from the message's first byte */
    uint64_t seen; /* bytes before those being parsed */
    uint32_t target_at, target_len;
    uint32_t head_end;   /* behind the last piece of it */
    struct ty_buf split; /* the head so far, if it came in several reads */
    struct ty_spans fields;
    struct ty_known known;

    /* the body */
    uint64_t body_max;
    uint64_t data_end; /* offset behind the last body byte */
    size_t body_cap;
    char *body_heap; /* the body's memory, if it is not in the arena */
    size_t extension_len;
    struct ty_buf trailer_bytes;
    struct ty_spans trailer_spans;
    bool has_version;
    bool is_chunked;
    bool is_new_chunk; /* its data has not begun */
    bool in_trailers;
    bool expects_continue;

    /* the answer */
    bool keep_alive;     /* the client would */
    bool minor_one;      /* HTTP/1.1 */
    bool is_routed;      /* the site is pinned */
    bool is_in_pieces;   /* it came in several reads */
    bool is_queued;      /* waits for its turn */
    bool is_with_site;   /* handle() was called */
    bool is_bodiless;    /* HEAD, 204, 304: body bytes are counted, not sent */
    bool waits_for_room; /* ty_request_write() said so; on_drain is due */
    bool too_long;
    bool must_close;
    enum ty_body_mode mode;
    int status;
    uint64_t body_left; /* TY_BODY_LENGTH */
    uint64_t body_sent;

    /* while it waits for its turn (admission.h): among all, and in its lane */
    uint64_t queued_ms;
    struct ty_exchange *older, *newer;
    struct ty_exchange *before, *behind;

    /* memory */
    size_t space_used;
    struct ty_chunk *chunks;
    struct ty_span span_space[TY_EXCHANGE_SPANS];
    _Alignas(max_align_t) char space[TY_EXCHANGE_SPACE];
};

struct ty_exchange_pool {
    struct ty_exchange *free;
    size_t count;
};

struct ty_exchange *ty_exchange_get(struct ty_exchange_pool *pool);
void ty_exchange_put(struct ty_exchange_pool *pool, struct ty_exchange *ex);
void ty_exchange_pool_close(struct ty_exchange_pool *pool);

/* Memory that lives as long as the request; NULL when there is none. */
void *ty_exchange_alloc(struct ty_exchange *ex, size_t size);

/* Room for one more field; NULL when there is no memory. Zeroed. */
struct ty_span *ty_spans_add(struct ty_exchange *ex, struct ty_spans *spans);

/* The final place of fields: `base` is the message's first byte. NULL when out of memory. */
struct ty_header *ty_spans_resolve(struct ty_exchange *ex, const struct ty_spans *spans,
                                   const char *base);

/* Adds to the body; `expected` is its length if known, else 0. False when out of memory. */
bool ty_exchange_add_body(struct ty_exchange *ex, const char *data, size_t len, uint64_t expected);

static inline struct ty_exchange *ty_exchange_of(struct ty_request *req)
{
    return (struct ty_exchange *)req;
}
