/* What the server answers by itself: requests that no site gets to see.
 *
 * Each reason has its status, the limit it belongs to, and a sentence for the client that says
 * nothing about the server. All of them end the connection but those whose request was faultless.
 */
#pragma once

#include "http/measure.h"

/* clang-format off */
/*     name            status  limit            detail */
#define TY_REFUSALS(X)                                                                            \
    X(NONE,            0,   NONE,           "")                                                   \
    X(SYNTAX,          400, NONE,           "The request is malformed.")                          \
    X(FRAMING,         400, NONE,           "The length of the body is ambiguous.")               \
    X(TARGET,          400, NONE,           "The request target is malformed.")                   \
    X(HOST,            400, NONE,           "The Host field is missing, repeated or malformed.")  \
    X(CHUNK,           400, CHUNK,          "The chunk metadata is too long.")                    \
    X(HEADER_TIMEOUT,  408, HEADER_TIMEOUT, "The header section did not arrive in time.")         \
    X(BODY_TIMEOUT,    408, BODY_TIMEOUT,   "The body arrives too slowly.")                       \
    X(BODY,            413, BODY,           "The body is too large.")                             \
    X(TARGET_LONG,     414, TARGET,         "The request target is too long.")                    \
    X(EXPECT,          417, NONE,           "Only 100-continue can be expected.")                 \
    X(HEADER,          431, HEADER,         "The header section is too large.")                   \
    X(FIELD,           431, FIELD,          "A header field is too large.")                       \
    X(COUNT,           431, COUNT,          "There are too many header fields.")                  \
    X(METHOD,          501, NONE,           "The method is not implemented.")                     \
    X(CODING,          501, NONE,           "The transfer coding is not implemented.")            \
    X(UNREADY,         503, NONE,           "The service is not ready.")                          \
    X(MEMORY,          503, NONE,           "The service is overloaded.")                         \
    X(OVERLOAD,        503, NONE,           "The service is overloaded.")                         \
    X(VERSION,         505, NONE,           "The HTTP version is not supported.")
/* clang-format on */

enum ty_refusal {
#define X(name, status, limit, detail) TY_REFUSE_##name,
    TY_REFUSALS(X)
#undef X
};

struct ty_http_conn;

/* Answers with problem+json; releases the request, if there is one. */
void ty_conn_refuse(struct ty_http_conn *conn, enum ty_refusal why);
