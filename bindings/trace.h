/* One request under the lens: when its scripts ran, what they waited for, and where.
 *
 * An operator asks for the next requests of a route (`tycho trace`). Each of those gets a tracing,
 * which its fiber and that fiber's children write their steps into; all others have none, and cost
 * what it takes to see that. When the request is over its steps are told as JSON.
 *
 * Not to be confused with the trace context that is passed on between services (tycho/http.h).
 */
#pragma once

#include "http.h"
#include "tycho/engine.h"

struct ty_fiber;
struct ty_tracing;

/* Is anybody asking? Read it before calling ty_trace_begin(). */
extern bool ty_trace_is_on;

/* The engine's `trace`: see tycho/engine.h. */
void ty_trace_ask(const struct ty_trace_order *order);

/* A request's handler is about to start. Sets call->tracing if it is one of those wanted. */
void ty_trace_begin(struct ty_call *call);
/* Its call is over. */
void ty_trace_finish(struct ty_call *call);

/* Of a fiber that has a tracing: it begins (its own options, or its owner, gave it one), runs, has
 * run (and waits, unless it has ended), is gone. */
void ty_trace_join(struct ty_fiber *fiber, const struct ty_fiber *owner);
void ty_trace_run(struct ty_fiber *fiber);
void ty_trace_ran(struct ty_fiber *fiber);
void ty_trace_leave(struct ty_fiber *fiber);

/* ---- spans: steps that say more than that the fiber waited
 *
 * A statement of a database, or a transaction, the parent of its statements. Whoever opened a span
 * fills it in until he closes it, and whatever waits for its end points to it (fiber.h). It may
 * outlive its request: then nobody looks at it any more. */

enum { TY_SPAN_TEXT_MAX = 300 };

struct ty_span {
    bool is_transaction, has_rows, is_changes;
    char database[64];
    char operation[16];
    char text[TY_SPAN_TEXT_MAX + 4];
    unsigned count;           /* of a batch */
    unsigned failed;          /* which of them did; 0: none */
    uint64_t wait_ns, run_ns; /* for a connection; then in the database */
    int64_t rows;             /* returned, or changed */
    const char *outcome;      /* of a transaction; static */
    const char *error;        /* kind; static, NULL: none */
    char detail[48];

    /* Private to trace.c. */
    struct ty_tracing *tracing;
    unsigned number, parent;
    uint64_t *ended_ns;
};

/* `L` is where the line is. NULL if there is no room: it is counted. */
struct ty_span *ty_trace_open(struct ty_fiber *fiber, lua_State *L, const struct ty_span *parent);
/* The span is not the caller's any more. */
void ty_trace_close(struct ty_span *span);
