/* A server on a socket pair, for the targets that speak HTTP: what its site was told and what was
 * answered, as text, so that two ways to send the same bytes can be compared.
 */
#pragma once

#include "fuzz.h"
#include "tycho/http.h"

struct transcript {
    struct ty_buf told;     /* every request as its site saw it */
    struct ty_buf statuses; /* "200 404 400 ", final ones only */
    struct ty_buf body;     /* of the first request */
    size_t requests;
    bool refused; /* the last answer was the server's own */
};

enum wire_limits { WIRE_USUAL, WIRE_TIGHT };

/* Sends `data` over a connection of its own, in pieces, and waits for its end. */
void converse(enum wire_limits limits, const char *data, size_t len, struct cuts cuts,
              struct transcript *out);
void transcript_close(struct transcript *transcript);
