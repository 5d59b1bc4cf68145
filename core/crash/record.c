#include "crash/record.h"

#include <string.h>
#include <unistd.h>

#include "crash/text.h"
#include "tycho/embedded.h"

enum { TAIL = 8 }; /* room for what closes the record */

static const struct {
    int signal;
    const char *name, *meaning;
} signals[] = {
    {SIGSEGV, "SIGSEGV", "segmentation fault"},
    {SIGBUS, "SIGBUS", "bus error"},
    {SIGFPE, "SIGFPE", "arithmetic error"},
    {SIGILL, "SIGILL", "illegal instruction"},
    {SIGABRT, "SIGABRT", "aborted"},
};

const char *crash_signal_name(int signal)
{
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        if (signals[i].signal == signal)
            return signals[i].name;
    return "an unknown signal";
}

static const char *meaning(int signal)
{
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        if (signals[i].signal == signal)
            return signals[i].meaning;
    return "?";
}

static void add_message(struct crash_text *text, const struct crash_facts *facts)
{
    crash_text_adds(text, facts->who);
    if (facts->is_stuck) {
        crash_text_adds(text, " was stuck here, and its parent ended it");
        return;
    }
    crash_text_adds(text, " died of ");
    crash_text_adds(text, crash_signal_name(facts->signal));
    crash_text_adds(text, " (");
    crash_text_adds(text, meaning(facts->signal));
    crash_text_adds(text, ")");
    if (facts->is_fault) {
        crash_text_adds(text, " at address ");
        crash_text_addx(text, (uintptr_t)facts->address);
    } else if (facts->sender != getpid()) {
        crash_text_adds(text, ", sent by process ");
        crash_text_addu(text, (uint64_t)facts->sender);
    }
}

/* ---- for machines */

static void add_member(struct crash_text *text, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    crash_text_adds(text, ",\"");
    crash_text_adds(text, name);
    crash_text_adds(text, "\":\"");
    crash_text_add_json(text, value, strlen(value));
    crash_text_adds(text, "\"");
}

/* The next line of `*lines`, without its newline; false after the last whole one. */
static bool next_line(const char **lines, const char **line, size_t *len)
{
    const char *end = strchr(*lines, '\n');

    if (!end)
        return false;
    *line = *lines;
    *len = (size_t)(end - *lines);
    *lines = end + 1;
    return true;
}

/* Adds an item of an array, or nothing if there is no room: what is innermost comes first. */
static bool add_item(struct crash_text *text, const char *value, size_t len)
{
    size_t before = text->len;

    crash_text_adds(text, text->data[before - 1] == '[' ? "\"" : ",\"");
    crash_text_add_json(text, value, len);
    crash_text_adds(text, "\"");
    if (!text->is_full)
        return true;
    crash_text_cut(text, before);
    return false;
}

static void add_stacks(struct crash_text *text, const struct crash_facts *facts)
{
    const char *lines = facts->scripts.stack, *line;
    size_t len;

    if (lines[0]) {
        crash_text_adds(text, ",\"lua\":[");
        while (next_line(&lines, &line, &len) && add_item(text, line, len))
            ;
        crash_text_adds(text, "]");
    }
    crash_text_adds(text, ",\"backtrace\":[");
    for (int i = 0; i < CRASH_FRAMES_MAX && facts->frames[i][0]; i++)
        if (!add_item(text, facts->frames[i], CRASH_FRAME_MAX))
            break;
}

size_t crash_format_json(const struct crash_facts *facts, char *out, size_t size)
{
    struct crash_text text = {.data = out, .max = size - 1 - TAIL};

    crash_text_adds(&text, "{\"time\":\"");
    crash_text_adds(&text, facts->time);
    crash_text_adds(&text, "\",\"level\":\"error\",\"module\":\"crash\",\"msg\":\"");
    add_message(&text, facts);
    crash_text_adds(&text, "\"");
    add_member(&text, "role", facts->role);
    crash_text_adds(&text, ",\"pid\":");
    crash_text_addu(&text, (uint64_t)getpid());
    add_member(&text, "request_id", facts->scripts.request_id);
    add_member(&text, "generation", facts->generation);
    add_member(&text, "version", ty_version);
    add_member(&text, "signal", crash_signal_name(facts->signal));
    add_member(&text, "reason", facts->is_stuck ? "stuck" : "");
    add_member(&text, "thread", facts->thread);
    add_member(&text, "route", facts->route);
    if (facts->is_fault) {
        crash_text_adds(&text, ",\"address\":\"");
        crash_text_addx(&text, (uintptr_t)facts->address);
        crash_text_adds(&text, "\"");
    }
    add_stacks(&text, facts);
    text.max += TAIL;
    crash_text_adds(&text, "]}\n");
    return text.len;
}

/* ---- for people */

static void add_line(struct crash_text *text, const char *what, const char *line, size_t len)
{
    size_t before = text->len;

    crash_text_adds(text, "\n    | ");
    crash_text_adds(text, what);
    crash_text_add_json(text, line, len);
    if (text->is_full)
        crash_text_cut(text, before);
}

static void add_word(struct crash_text *text, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    crash_text_adds(text, " ");
    crash_text_adds(text, name);
    crash_text_adds(text, "=\"");
    crash_text_add_json(text, value, strlen(value));
    crash_text_adds(text, "\"");
}

size_t crash_format_pretty(const struct crash_facts *facts, char *out, size_t size)
{
    struct crash_text text = {.data = out, .max = size - 1 - TAIL};
    const char *lines = facts->scripts.stack, *line, *clock = strchr(facts->time, 'T');
    size_t len;

    crash_text_adds(&text, clock ? clock + 1 : facts->time);
    if (clock)
        crash_text_cut(&text, strlen("15:04:05.678"));
    crash_text_adds(&text, " ERROR crash: ");
    add_message(&text, facts);
    add_word(&text, "route", facts->route);
    add_word(&text, "thread", facts->thread);
    add_word(&text, "generation", facts->generation);
    add_word(&text, "request", facts->scripts.request_id);
    while (next_line(&lines, &line, &len))
        add_line(&text, "Lua ", line, len);
    for (int i = 0; i < CRASH_FRAMES_MAX && facts->frames[i][0]; i++)
        add_line(&text, "C   ", facts->frames[i], CRASH_FRAME_MAX);
    text.max += TAIL;
    crash_text_adds(&text, "\n");
    return text.len;
}
