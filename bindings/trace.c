#include "trace.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fiber_private.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

enum { STEPS_MAX = 500, WHAT_MAX = 32, WHERE_MAX = 120, ROUTE_MAX = 300 };

struct step {
    unsigned fiber; /* of the request's, from 0 */
    bool is_wait;
    uint64_t began_ns, ended_ns; /* 0: not yet */
    char what[WHAT_MAX], line[WHERE_MAX];
};

struct ty_tracing {
    unsigned refs; /* the call's, and one of each fiber */
    unsigned serial;
    unsigned fibers;
    int status;
    uint64_t began_ns, handled_ns, answering_ns;
    enum ty_method method;
    char route[ROUTE_MAX], target[ROUTE_MAX], id[TY_REQUEST_ID_MAX + 1];
    unsigned step_count, omitted;
    struct step steps[STEPS_MAX];
};

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
    copy(tracing->target, ROUTE_MAX, req->target.data, req->target.len);
    copy(tracing->id, sizeof(tracing->id), req->id, strlen(req->id));
    call->tracing = tracing;
    call->to = &responder;
}

static void unref(struct ty_tracing *tracing)
{
    if (--tracing->refs == 0)
        free(tracing);
}

/* ---- steps */

static struct step *add_step(struct ty_fiber *fiber, bool is_wait)
{
    struct ty_tracing *tracing = fiber->tracing;
    struct step *step = &tracing->steps[tracing->step_count];

    if (tracing->step_count == STEPS_MAX) {
        tracing->omitted++;
        return NULL;
    }
    tracing->step_count++;
    step->fiber = fiber->traced_as;
    step->is_wait = is_wait;
    step->began_ns = ty_now_ns();
    return step;
}

/* The fiber's last step is over. */
static void end_step(struct ty_fiber *fiber)
{
    struct ty_tracing *tracing = fiber->tracing;

    for (unsigned i = tracing->step_count; i > 0; i--) {
        struct step *step = &tracing->steps[i - 1];
        if (step->fiber != fiber->traced_as)
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
    if (owner && (step = add_step(fiber, false))) { /* who started it, where */
        step->ended_ns = step->began_ns;
        snprintf(step->what, WHAT_MAX, "%u", owner->traced_as);
        ty_fiber_line(owner->co, step->line, WHERE_MAX);
    }
}

void ty_trace_run(struct ty_fiber *fiber)
{
    end_step(fiber);
    add_step(fiber, false);
}

void ty_trace_ran(struct ty_fiber *fiber)
{
    struct step *step;

    end_step(fiber);
    if (!fiber->wait || !(step = add_step(fiber, true)))
        return;
    snprintf(step->what, WHAT_MAX, "%s", fiber->wait->what ? fiber->wait->what : "something");
    ty_fiber_line(fiber->co, step->line, WHERE_MAX);
}

void ty_trace_leave(struct ty_fiber *fiber)
{
    end_step(fiber);
    unref(fiber->tracing);
    fiber->tracing = NULL;
}

/* ---- telling */

static void add_text(struct ty_buf *out, const char *name, const char *text)
{
    ty_buf_addf(out, ",\"%s\":\"", name);
    ty_buf_add_json(out, text, strlen(text));
    ty_buf_addc(out, '"');
}

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

static void add_step_json(const struct ty_tracing *tracing, const struct step *step, uint64_t now,
                          struct ty_buf *out)
{
    uint64_t ended = step->ended_ns ? step->ended_ns : now;
    bool is_start = !step->is_wait && step->what[0];

    ty_buf_addf(out, "{\"fiber\":%u,\"kind\":\"%s\",\"at\":%.6f,\"time\":%.6f", step->fiber,
                step->is_wait ? "wait"
                : is_start    ? "start"
                              : "lua",
                seconds(tracing->began_ns, step->began_ns), seconds(step->began_ns, ended));
    if (is_start)
        ty_buf_addf(out, ",\"owner\":%s", step->what);
    else if (step->is_wait)
        add_text(out, "what", step->what);
    if (step->line[0])
        add_text(out, "line", step->line);
    ty_buf_addc(out, '}');
}

static void tell(const struct ty_tracing *tracing)
{
    struct ty_buf json = {0};
    uint64_t now = ty_now_ns();
    uint64_t answering_ns = tracing->answering_ns ? tracing->answering_ns : now;

    ty_buf_adds(&json, "{\"method\":\"");
    ty_method_list(tracing->method, &json);
    ty_buf_addc(&json, '"');
    add_text(&json, "route", tracing->route);
    add_text(&json, "target", tracing->target);
    add_text(&json, "request", tracing->id);
    ty_buf_addf(&json, ",\"status\":%d,\"total\":%.6f,\"before\":%.6f", tracing->status,
                seconds(tracing->began_ns, now), seconds(tracing->began_ns, tracing->handled_ns));
    ty_buf_addf(&json, ",\"answered_at\":%.6f,\"answer\":%.6f,\"omitted\":%u,\"steps\":[",
                seconds(tracing->began_ns, answering_ns), seconds(answering_ns, now),
                tracing->omitted);
    for (unsigned i = 0; i < tracing->step_count; i++) {
        ty_buf_adds(&json, i ? "," : "");
        add_step_json(tracing, &tracing->steps[i], now, &json);
    }
    ty_buf_adds(&json, "]}");
    wanted.traced(ty_buf_cstr(&json), json.len, wanted.arg);
    ty_buf_close(&json);
}

void ty_trace_finish(struct ty_call *call)
{
    struct ty_tracing *tracing = call->tracing;

    call->tracing = NULL;
    if (ty_trace_is_on && tracing->serial == wanted.serial)
        tell(tracing);
    unref(tracing);
}
