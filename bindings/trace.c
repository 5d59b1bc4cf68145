#include "trace.h"

#include <stdlib.h>
#include <string.h>

#include "fiber_private.h"
#include "trace_private.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

bool ty_trace_is_on;

/* What this process was asked for: one thing at a time. */
static struct {
    char method[16]; /* "": any */
    char pattern[ROUTE_MAX];
    unsigned left, serial;
    ty_traced_fn *traced;
    void *arg;
} wanted;

/* ---- asking */

void ty_trace_ask(const struct ty_trace_order *order)
{
    const char *path = order ? strchr(order->route, '/') : NULL;
    size_t len = path ? (size_t)(path - order->route) : 0;

    wanted.serial++; /* those under way are nobody's */
    ty_trace_is_on = path && order->count > 0;
    if (!ty_trace_is_on)
        return;
    while (len > 0 && order->route[len - 1] == ' ')
        len--;
    snprintf(wanted.method, sizeof(wanted.method), "%.*s", (int)len, order->route);
    snprintf(wanted.pattern, sizeof(wanted.pattern), "%s", path);
    wanted.left = order->count;
    wanted.traced = order->traced;
    wanted.arg = order->arg;
}

/* "GET" or "GET, HEAD", as `tycho routes` prints it, against what the request's is. */
static bool is_wanted(const struct ty_request *req)
{
    struct ty_buf declared = {0};
    bool same;

    if (!req->match.route || strcmp(req->match.route->pattern, wanted.pattern) != 0)
        return false;
    if (!wanted.method[0])
        return true;
    ty_method_list(req->match.route->methods, &declared);
    same = strcmp(ty_buf_cstr(&declared), wanted.method) == 0;
    declared.len = 0;
    ty_method_list(req->method, &declared);
    same = same || strcmp(ty_buf_cstr(&declared), wanted.method) == 0;
    ty_buf_close(&declared);
    return same;
}

/* ---- a request's answer goes through here, to see when and what */

static struct ty_tracing *answering(struct ty_request *req, int status)
{
    struct ty_tracing *tracing = ((struct ty_call *)req->data)->tracing;

    tracing->status = status;
    tracing->answering_ns = ty_now_ns();
    return tracing;
}

static int respond(struct ty_request *req, int status, const struct ty_header *headers,
                   size_t header_count, struct ty_slice body)
{
    answering(req, status);
    return ty_request_respond(req, status, headers, header_count, body);
}

static int begin(struct ty_request *req, int status, const struct ty_header *headers,
                 size_t header_count, int64_t length)
{
    answering(req, status);
    return ty_request_begin(req, status, headers, header_count, length);
}

static const struct ty_responder responder = {
    .respond = respond,
    .begin = begin,
    .write = ty_request_write,
    .end = ty_request_end,
};

static void copy(char *out, size_t size, const char *text, size_t len)
{
    size_t most = len < size ? len : size - 1;

    memcpy(out, text, most);
    out[most] = '\0';
}

void ty_trace_begin(struct ty_call *call)
{
    const struct ty_request *req = call->req;
    const struct ty_route *route = req->match.route;
    struct ty_slice target = req->target;
    struct ty_tracing *tracing;

    if (!req->conn || wanted.left == 0 || !is_wanted(req))
        return;
    wanted.left--;
    tracing = ty_zalloc(sizeof(*tracing));
    tracing->refs = 1;
    tracing->serial = wanted.serial;
    tracing->began_ns = req->began_ns;
    tracing->handled_ns = ty_now_ns();
    tracing->method = req->method;
    copy(tracing->route, ROUTE_MAX, route->pattern, strlen(route->pattern));
    target.len = target.len < ROUTE_MAX ? target.len : ROUTE_MAX;
    ty_http_add_target(&tracing->target, "target", target);
    copy(tracing->id, sizeof(tracing->id), req->id, strlen(req->id));
    call->tracing = tracing;
    call->to = &responder;
}

static void unref(struct ty_tracing *tracing)
{
    if (--tracing->refs > 0)
        return;
    for (unsigned i = 0; i < tracing->step_count; i++)
        free(tracing->steps[i].span);
    ty_buf_close(&tracing->target);
    free(tracing);
}

/* ---- steps */

static struct step *add_step(struct ty_fiber *fiber, enum step_kind kind)
{
    struct ty_tracing *tracing = fiber->tracing;
    struct step *step = &tracing->steps[tracing->step_count];

    if (tracing->step_count == STEPS_MAX) {
        tracing->omitted++;
        return NULL;
    }
    tracing->step_count++;
    step->fiber = fiber->traced_as;
    step->kind = kind;
    step->began_ns = ty_now_ns();
    return step;
}

/* The fiber's last step is over. Spans end by themselves. */
static void end_step(struct ty_fiber *fiber)
{
    struct ty_tracing *tracing = fiber->tracing;

    for (unsigned i = tracing->step_count; i > 0; i--) {
        struct step *step = &tracing->steps[i - 1];
        if (step->fiber != fiber->traced_as || step->kind == STEP_SPAN)
            continue;
        if (!step->ended_ns)
            step->ended_ns = ty_now_ns();
        return;
    }
}

void ty_trace_join(struct ty_fiber *fiber, const struct ty_fiber *owner)
{
    struct ty_tracing *tracing = fiber->tracing;
    struct step *step;

    tracing->refs++;
    fiber->traced_as = tracing->fibers++;
    if (owner && (step = add_step(fiber, STEP_START))) { /* who started it, where */
        step->ended_ns = step->began_ns;
        step->owner = owner->traced_as;
        ty_fiber_line(owner->co, step->line, WHERE_MAX);
    }
}

void ty_trace_run(struct ty_fiber *fiber)
{
    end_step(fiber);
    add_step(fiber, STEP_LUA);
}

void ty_trace_ran(struct ty_fiber *fiber)
{
    struct step *step;

    end_step(fiber);
    if (!fiber->wait || !(step = add_step(fiber, STEP_WAIT)))
        return;
    if (fiber->wait->span)
        step->waits_for = fiber->wait->span->number;
    snprintf(step->what, WHAT_MAX, "%s", fiber->wait->what ? fiber->wait->what : "something");
    ty_fiber_line(fiber->co, step->line, WHERE_MAX);
}

void ty_trace_leave(struct ty_fiber *fiber)
{
    end_step(fiber);
    unref(fiber->tracing);
    fiber->tracing = NULL;
}

/* ---- spans */

struct ty_span *ty_trace_open(struct ty_fiber *fiber, lua_State *L, const struct ty_span *parent)
{
    struct ty_tracing *tracing = fiber->tracing;
    struct step *step = add_step(fiber, STEP_SPAN);
    struct ty_span *span;

    tracing->spans++;
    if (!step) {
        tracing->spans_omitted++;
        return NULL;
    }
    ty_fiber_line(L, step->line, WHERE_MAX);
    span = step->span = ty_zalloc(sizeof(*span));
    span->tracing = tracing;
    span->number = tracing->spans;
    span->ended_ns = &step->ended_ns;
    if (parent && parent->tracing == tracing)
        span->parent = parent->number;
    tracing->refs++;
    return span;
}

void ty_trace_close(struct ty_span *span)
{
    *span->ended_ns = ty_now_ns();
    unref(span->tracing);
}

void ty_trace_finish(struct ty_call *call)
{
    struct ty_tracing *tracing = call->tracing;

    call->tracing = NULL;
    if (ty_trace_is_on && tracing->serial == wanted.serial) {
        struct ty_buf json = {0};
        ty_trace_tell(tracing, &json);
        wanted.traced(ty_buf_cstr(&json), json.len, wanted.arg);
        ty_buf_close(&json);
    }
    unref(tracing);
}
