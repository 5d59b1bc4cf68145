/* Who is let in: between a complete request and its site.
 *
 * Most of the time the answer is yes, and costs a few comparisons. Otherwise a request is refused
 * at once (503 with Retry-After, the connection stays), or waits for its turn: when the worker is
 * with as many requests as it may be, or the route is. Each route waits in a lane of its own; a
 * place that becomes free goes to the next lane that can use it, so that one route's queue is no
 * other's. When all places to wait are taken, the longest lane gives up its newest request for one
 * of a shorter lane.
 *
 * Requests wait in their exchange: waiting allocates nothing. Nobody waits longer than the limit.
 * What is let in after waiting runs from the loop, never from inside of the answer that made room.
 */
#pragma once

#include "http/turn.h"
#include "tycho/http.h"

/* clang-format off */
#define TY_SHEDS(X)                     \
    X(QUEUE_FULL,    "queue_full")      \
    X(QUEUE_TIMEOUT, "queue_timeout")   \
    X(LAG,           "lag")             \
    X(MEMORY,        "memory")          \
    X(QUARANTINE,    "quarantine")      \
    X(SHUTDOWN,      "shutdown")
/* clang-format on */

enum ty_shed {
#define X(name, label) TY_SHED_##name,
    TY_SHEDS(X)
#undef X
        TY_SHED_COUNT_OF
};

struct ty_exchange;

struct ty_admission {
    struct ty_turn turn;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;        /* runs while somebody waits */
    struct ty_lane no_route; /* of requests without one */
    struct ty_lane *lanes;   /* those where somebody waits; the first is the next to be served */
    struct ty_exchange *oldest, *newest; /* of all who wait */
    size_t queued;
    uint64_t shed_since_ms, shed_last_ms; /* the whole worker, not one route */
    uint64_t tried_ms;                    /* with little memory */
    struct ty_series *shed[TY_SHED_COUNT_OF];
    struct ty_series *length, *wait;
};

void ty_admission_open(struct ty_http_server *server);
void ty_admission_configure(struct ty_http_server *server);
/* Three handles; `closed` runs for each. */
void ty_admission_close(struct ty_http_server *server, uv_close_cb closed);

/* True: the site may have it now. False: it waits, or it was refused. */
bool ty_admission_take(struct ty_exchange *ex);

/* A request is with its site; is over, wherever it was. */
void ty_admission_enter(struct ty_exchange *ex);
void ty_admission_leave(struct ty_exchange *ex);

/* From the loop: hands those that there is room for to their sites. */
void ty_admission_continue(struct ty_http_server *server);
/* The server closes: nobody is left waiting without an answer. */
void ty_admission_refuse_all(struct ty_http_server *server);
