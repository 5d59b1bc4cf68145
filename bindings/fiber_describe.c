/* What `tycho ps` shows of fibers. */
#include <stdio.h>
#include <string.h>

#include "fiber_private.h"
#include "tycho/clock.h"
#include "tycho/http.h"

enum { LEVELS_MAX = 64, DESCRIPTION_MAX = 1024 * 1024 };

static void add_text(struct ty_buf *out, const char *name, const char *text)
{
    ty_buf_addf(out, "\"%s\":\"", name);
    ty_buf_add_json(out, text, strlen(text));
    ty_buf_addc(out, '"');
}

/* Functions of C have no line, and are left out. */
static void add_stack(struct ty_buf *out, lua_State *co)
{
    const char *comma = "";
    char line[200];
    lua_Debug ar;

    ty_buf_adds(out, ",\"stack\":[");
    for (int level = 0; level < LEVELS_MAX && lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "Sln", &ar);
        if (ar.currentline < 0)
            continue;
        snprintf(line, sizeof(line), "%s:%d", ar.source + (ar.source[0] == '@'), ar.currentline);
        ty_buf_addf(out, "%s{", comma);
        add_text(out, "line", line);
        ty_buf_addc(out, ',');
        add_text(out, "name", ar.name ? ar.name : "");
        ty_buf_addf(out, ",\"library\":%s}",
                    strncmp(ar.source, "@tycho/", 7) == 0 ? "true" : "false");
        comma = ",";
    }
    ty_buf_addc(out, ']');
}

static void add_wait(struct ty_buf *out, const struct ty_fiber *fiber, uint64_t now)
{
    const char *what = "";

    if (fiber->wait)
        what = fiber->wait->what ? fiber->wait->what : "something";
    add_text(out, "waits_for", what);
    ty_buf_addf(out, ",\"waiting\":%.3f,\"left\":",
                fiber->wait ? (double)(now - fiber->parked_ms) / 1e3 : 0.0);
    if (fiber->deadline_ms)
        ty_buf_addf(out, "%.3f", ((double)fiber->deadline_ms - (double)now) / 1e3);
    else
        ty_buf_adds(out, "null");
}

static void add_fiber(struct ty_buf *out, const struct ty_fiber *fiber, bool stack)
{
    const struct ty_request *req = fiber->request;
    uint64_t now = ty_now_ms();
    char line[160] = "";

    ty_fiber_line(fiber->co, line, sizeof(line));
    ty_buf_addc(out, '{');
    add_text(out, "owner", fiber->owner);
    ty_buf_addc(out, ',');
    add_text(out, "request", req ? req->id : "");
    ty_buf_addf(out, ",\"child\":%s,\"age\":%.3f,", fiber->parent ? "true" : "false",
                (double)(now - fiber->started_ms) / 1e3);
    add_wait(out, fiber, now);
    ty_buf_addc(out, ',');
    add_text(out, "line", line);
    ty_buf_addf(out, ",\"cancelled\":%s", fiber->cancelled ? "true" : "false");
    if (stack)
        add_stack(out, fiber->co);
    ty_buf_addc(out, '}');
}

void ty_fibers_describe(struct ty_fibers *set, bool stacks, struct ty_buf *out)
{
    size_t end = out->len + DESCRIPTION_MAX, shown = 0;

    ty_buf_addc(out, '[');
    for (struct ty_fiber *fiber = set->live; fiber && out->len < end; fiber = fiber->next) {
        ty_buf_adds(out, shown++ ? "," : "");
        add_fiber(out, fiber, stacks);
    }
    if (shown < set->count)
        ty_buf_addf(out, ",{\"omitted\":%zu}", set->count - shown);
    ty_buf_addc(out, ']');
}
