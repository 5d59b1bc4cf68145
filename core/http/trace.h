/* Request ids and W3C trace context.
 *
 * Ids come from a fast generator that is seeded once: they must not collide, and they are no
 * secrets. */
#pragma once

#include "tycho/http.h"

struct ty_random {
    uint64_t s[4];
};

enum {
    TY_TRACE_ID_LEN = 32,
    TY_SPAN_ID_LEN = 16,
    TY_TRACEPARENT_LEN = 55,
    TY_TRACESTATE_MEMBERS_MAX = 32,
};

void ty_random_seed(struct ty_random *random);
uint64_t ty_random_next(struct ty_random *random);

/* Writes 16 hex digits, not all of them 0. No NUL. */
void ty_random_hex(struct ty_random *random, char out[TY_SPAN_ID_LEN]);

/* 1 to TY_REQUEST_ID_MAX of A-Z a-z 0-9 - _ . */
bool ty_request_id_is_valid(struct ty_slice id);

/* Reads a traceparent field into trace_id, parent_id and flags; false: the trace starts here. */
bool ty_trace_parse(struct ty_trace *trace, struct ty_slice value);

/* Is a whole tracestate list well-formed? Otherwise it is to be ignored. */
bool ty_tracestate_is_valid(struct ty_slice list);

/* Writes "00-<trace>-<span>-<flags>"; no NUL. */
void ty_trace_print(const struct ty_trace *trace, char out[TY_TRACEPARENT_LEN]);
