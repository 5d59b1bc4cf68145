/* What `tycho trace` gets to see of a request. */
#include <inttypes.h>
#include <string.h>

#include "trace_private.h"
#include "tycho/clock.h"

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

static void add_span(const struct ty_span *span, bool is_open, struct ty_buf *out)
{
    ty_buf_addf(out, ",\"span\":%u", span->number);
    if (span->parent)
        ty_buf_addf(out, ",\"parent\":%u", span->parent);
    add_text(out, "database", span->database);
    if (!span->is_transaction)
        add_text(out, "operation", span->operation);
    if (span->text[0])
        add_text(out, "sql", span->text);
    if (span->count)
        ty_buf_addf(out, ",\"statements\":%u", span->count);
    if (!is_open || span->is_transaction) /* else nobody knows yet */
        ty_buf_addf(out, ",\"waited\":%.6f", (double)span->wait_ns / 1e9);
    if (!is_open && !span->is_transaction)
        ty_buf_addf(out, ",\"ran\":%.6f", (double)span->run_ns / 1e9);
    if (span->has_rows)
        ty_buf_addf(out, ",\"%s\":%" PRId64, span->is_changes ? "changes" : "rows", span->rows);
    if (span->outcome)
        add_text(out, "outcome", span->outcome);
    if (span->error)
        add_text(out, "error", span->error);
    if (span->detail[0])
        add_text(out, "detail", span->detail);
    if (span->failed)
        ty_buf_addf(out, ",\"failed\":%u", span->failed);
    if (is_open)
        ty_buf_adds(out, ",\"open\":true");
}

static const char *kind_of(const struct step *step)
{
    static const char *const kinds[] = {
        [STEP_LUA] = "lua",
        [STEP_WAIT] = "wait",
        [STEP_START] = "start",
    };

    if (step->kind != STEP_SPAN)
        return kinds[step->kind];
    return step->span->is_transaction ? "transaction" : "statement";
}

static void add_step(const struct ty_tracing *tracing, const struct step *step, uint64_t now,
                     struct ty_buf *out)
{
    uint64_t ended = step->ended_ns ? step->ended_ns : now;

    ty_buf_addf(out, "{\"fiber\":%u,\"kind\":\"%s\",\"at\":%.6f,\"time\":%.6f", step->fiber,
                kind_of(step), seconds(tracing->began_ns, step->began_ns),
                seconds(step->began_ns, ended));
    if (step->kind == STEP_START)
        ty_buf_addf(out, ",\"owner\":%u", step->owner);
    if (step->kind == STEP_WAIT)
        add_text(out, "what", step->what);
    if (step->waits_for)
        ty_buf_addf(out, ",\"span\":%u", step->waits_for);
    if (step->kind == STEP_SPAN)
        add_span(step->span, !step->ended_ns, out);
    if (step->line[0])
        add_text(out, "line", step->line);
    ty_buf_addc(out, '}');
}

void ty_trace_tell(const struct ty_tracing *tracing, struct ty_buf *json)
{
    uint64_t now = ty_now_ns();
    uint64_t answering_ns = tracing->answering_ns ? tracing->answering_ns : now;

    ty_buf_adds(json, "{\"method\":\"");
    ty_method_list(tracing->method, json);
    ty_buf_addc(json, '"');
    add_text(json, "route", tracing->route);
    ty_buf_addc(json, ',');
    ty_buf_add(json, tracing->target.data, tracing->target.len);
    add_text(json, "request", tracing->id);
    ty_buf_addf(json, ",\"status\":%d,\"total\":%.6f,\"before\":%.6f", tracing->status,
                seconds(tracing->began_ns, now), seconds(tracing->began_ns, tracing->handled_ns));
    ty_buf_addf(json, ",\"answered_at\":%.6f,\"answer\":%.6f",
                seconds(tracing->began_ns, answering_ns), seconds(answering_ns, now));
    ty_buf_addf(json, ",\"omitted\":%u,\"statements_omitted\":%u,\"steps\":[", tracing->omitted,
                tracing->spans_omitted);
    for (unsigned i = 0; i < tracing->step_count; i++) {
        ty_buf_adds(json, i ? "," : "");
        add_step(tracing, &tracing->steps[i], now, json);
    }
    ty_buf_adds(json, "]}");
}
