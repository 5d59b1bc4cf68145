/* What trace.c (gathering) and trace_tell.c (telling) share. */
#pragma once

#include "trace.h"

enum { STEPS_MAX = 500, WHAT_MAX = 32, WHERE_MAX = 120, ROUTE_MAX = 300 };

enum step_kind { STEP_LUA, STEP_WAIT, STEP_START, STEP_SPAN };

struct step {
    enum step_kind kind;
    unsigned fiber;              /* of the request's, from 0 */
    unsigned owner;              /* START: the fiber that did it */
    unsigned waits_for;          /* WAIT: for the end of that span; 0: for something else */
    uint64_t began_ns, ended_ns; /* 0: not yet */
    struct ty_span *span;        /* SPAN */
    char what[WHAT_MAX], line[WHERE_MAX];
};

struct ty_tracing {
    unsigned refs; /* the call's, one of each fiber, and of each span that is open */
    unsigned serial;
    unsigned fibers;
    int status;
    uint64_t began_ns, handled_ns, answering_ns;
    enum ty_method method;
    char route[ROUTE_MAX], id[TY_REQUEST_ID_MAX + 1];
    struct ty_buf target; /* as a member of the JSON */
    unsigned step_count, omitted;
    unsigned spans, spans_omitted; /* these are in `omitted` too */
    struct step steps[STEPS_MAX];
};

/* Adds all of it, as one JSON object; what goes on still lasts until now. */
void ty_trace_tell(const struct ty_tracing *tracing, struct ty_buf *json);
