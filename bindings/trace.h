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
