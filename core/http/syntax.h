/* The small grammars of RFC 9110 and 9112 that a server must check itself. */
#pragma once

#include "tycho/http.h"

/* uri-host [":" port], without userinfo; not empty. */
bool ty_host_is_valid(struct ty_slice host);

enum ty_coding {
    TY_CODING_CHUNKED, /* exactly */
    TY_CODING_UNKNOWN, /* others before a final chunked */
    TY_CODING_BAD,     /* the end of the body could not be told */
};

/* The value of Transfer-Encoding. */
enum ty_coding ty_coding_parse(struct ty_slice value);

/* Is the token one of the value's list? `lower` is in lower case. */
bool ty_list_has(struct ty_slice value, const char *lower);

struct ty_target {
    struct ty_slice path; /* raw; "*" for the whole server */
    struct ty_slice query;
    struct ty_slice host; /* of absolute-form; else no data */
};

/* origin-form, absolute-form (http, https), or "*" for OPTIONS. */
bool ty_target_parse(struct ty_slice raw, bool is_options, struct ty_target *target);

/* Without spaces and tabs at both ends. */
struct ty_slice ty_slice_trim(const char *data, size_t len);

/* Case-insensitive; `lower` is lower-case and made of token characters. */
bool ty_slice_same(struct ty_slice text, const char *lower, size_t len);
