#include "lag.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "tycho/clock.h"

enum { LINES_MAX = 64, ROUTE_MAX = 96, LINE_MAX = 160 };

struct held {
    char route[ROUTE_MAX], line[LINE_MAX];
    uint64_t count, last_ms;
    double total_ms, max_ms;
};

/* The process's one table: a worker's loop is held by any of its generations alike. */
static struct {
    struct held lines[LINES_MAX]; /* the dearest first */
    unsigned count;
} lag;

static void copy(char *out, size_t size, const char *text)
{
    size_t len = text ? strnlen(text, size - 1) : 0;

    memcpy(out, text ? text : "", len);
    out[len] = '\0';
}

/* The entry for that place: the one it has, a free one, or the cheapest, which is the last. */
static unsigned place(const char *route, const char *line)
{
    struct held held = {0};
    unsigned at = 0;

    copy(held.route, sizeof(held.route), route);
    copy(held.line, sizeof(held.line), line);
    while (at < lag.count && (strcmp(lag.lines[at].line, held.line) != 0 ||
                              strcmp(lag.lines[at].route, held.route) != 0))
        at++;
    if (at < lag.count)
        return at;
    if (lag.count < LINES_MAX)
        lag.count++;
    lag.lines[lag.count - 1] = held;
    return lag.count - 1;
}

void ty_lag_note(const char *route, const char *line, double ms)
{
    unsigned at = place(route, line);
    struct held held = lag.lines[at];

    held.count++;
    held.total_ms += ms;
    held.last_ms = ty_now_ms();
    if (ms > held.max_ms)
        held.max_ms = ms;
    for (; at > 0 && lag.lines[at - 1].total_ms < held.total_ms; at--)
        lag.lines[at] = lag.lines[at - 1];
    lag.lines[at] = held;
}

static void add_text(struct ty_buf *out, const char *name, const char *text)
{
    ty_buf_addf(out, "\"%s\":\"", name);
    ty_buf_add_json(out, text, strlen(text));
    ty_buf_adds(out, "\",");
}

void ty_lag_describe(struct ty_buf *out)
{
    uint64_t now = ty_now_ms();

    ty_buf_addc(out, '[');
    for (unsigned i = 0; i < lag.count; i++) {
        const struct held *held = &lag.lines[i];

        ty_buf_adds(out, i ? ",{" : "{");
        add_text(out, "route", held->route);
        add_text(out, "line", held->line);
        ty_buf_addf(out, "\"count\":%" PRIu64 ",\"total\":%.6f,\"max\":%.6f,\"last\":%.3f}",
                    held->count, held->total_ms / 1e3, held->max_ms / 1e3,
                    (double)(now - held->last_ms) / 1e3);
    }
    ty_buf_addc(out, ']');
}
