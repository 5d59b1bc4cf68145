#include "log/format.h"

#include "log/redact.h"
#include "tycho/clock.h"

enum { MESSAGE_MAX = 8192, FIELDS_MAX = 32768 };

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

const char *ty_log_level_name(enum ty_log_level level)
{
    return level_names[level];
}

bool ty_log_parse_level(const char *name, enum ty_log_level *out)
{
    for (int level = TY_LOG_DEBUG; level <= TY_LOG_OFF; level++) {
        if (strcmp(name, level_names[level]) == 0) {
            *out = (enum ty_log_level)level;
            return true;
        }
    }
    return false;
}

void ty_log_add_string(struct ty_buf *out, const char *value, size_t len)
{
    struct ty_buf clean = {0};

    ty_redact(&clean, value, len);
    ty_buf_addc(out, '"');
    ty_buf_add_json(out, clean.data, clean.len);
    ty_buf_addc(out, '"');
    ty_buf_close(&clean);
}

void ty_log_add_field(struct ty_buf *out, const char *name, const char *value, size_t len)
{
    if (out->len)
        ty_buf_addc(out, ',');
    ty_buf_addc(out, '"');
    ty_buf_add_json(out, name, strlen(name));
    ty_buf_adds(out, "\":");
    if (ty_log_is_secret(name, strlen(name)))
        ty_buf_adds(out, "\"[redacted]\"");
    else
        ty_log_add_string(out, value, len);
}

/* The message, without secrets and cut to size. */
static void clean_message(struct ty_buf *out, const struct ty_log_record *record)
{
    size_t len = record->message_len;
    bool cut = len > MESSAGE_MAX;

    if (cut)
        len = MESSAGE_MAX;
    while (cut && len > 0 && ((unsigned char)record->message[len] & 0xC0) == 0x80)
        len--; /* not in the middle of a character */
    ty_redact(out, record->message, len);
    if (cut)
        ty_buf_adds(out, "...");
}

/* Identifiers come from outside and are names, not texts: escaped, not searched for secrets. */
static void add_member(struct ty_buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    ty_buf_addc(out, ',');
    ty_buf_addc(out, '"');
    ty_buf_adds(out, name);
    ty_buf_adds(out, "\":\"");
    ty_buf_add_json(out, value, strlen(value));
    ty_buf_addc(out, '"');
}

static void add_context(struct ty_buf *out, const struct ty_log_context *context)
{
    add_member(out, "request_id", context->request_id);
    add_member(out, "trace_id", context->trace_id);
    add_member(out, "span_id", context->span_id);
    add_member(out, "generation", context->generation);
    if (context->fields_len > FIELDS_MAX) {
        ty_buf_adds(out, ",\"fields_dropped\":true");
    } else if (context->fields_len > 0) {
        ty_buf_addc(out, ',');
        ty_buf_add(out, context->fields, context->fields_len);
    }
}

void ty_log_format_json(struct ty_buf *out, const struct ty_log_record *record)
{
    char time[TY_RFC3339_MAX];
    struct ty_buf message = {0};

    ty_rfc3339(ty_wall_us(), time);
    clean_message(&message, record);
    ty_buf_adds(out, "{\"time\":\"");
    ty_buf_adds(out, time);
    ty_buf_adds(out, "\",\"level\":\"");
    ty_buf_adds(out, level_names[record->level]);
    ty_buf_addc(out, '"');
    add_member(out, "module", record->module);
    ty_buf_adds(out, ",\"msg\":\"");
    ty_buf_add_json(out, message.data, message.len);
    ty_buf_addc(out, '"');
    add_member(out, "role", record->role);
    ty_buf_adds(out, ",\"pid\":");
    ty_buf_addu(out, (unsigned long long)record->pid);
    if (record->context)
        add_context(out, record->context);
    ty_buf_adds(out, "}\n");
    ty_buf_close(&message);
}

/* For eyes: quotes and backslashes as they are, further lines indented so that none of them can
 * be taken for a record, everything else escaped as in JSON. */
static void add_readable(struct ty_buf *out, const char *text, size_t len)
{
    size_t done = 0;

    for (size_t i = 0; i < len; i++) {
        if (!strchr("\"\\\n\t", text[i]) || text[i] == '\0')
            continue;
        ty_buf_add_json(out, text + done, i - done);
        if (text[i] == '\n')
            ty_buf_adds(out, "\n    | ");
        else
            ty_buf_addc(out, text[i] == '\t' ? ' ' : text[i]);
        done = i + 1;
    }
    ty_buf_add_json(out, text + done, len - done);
}

static void add_coloured(struct ty_buf *out, const char *colour, const char *text)
{
    if (!colour) {
        ty_buf_adds(out, text);
        return;
    }
    ty_buf_addf(out, "\x1b[%sm%s\x1b[0m", colour, text);
}

/* "10:03:07.123 INFO  http: the message  {fields}" */
void ty_log_format_pretty(struct ty_buf *out, const struct ty_log_record *record, bool colour)
{
    static const char *const labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR", "     "};
    static const char *const colours[] = {"2", "32", "33", "31", "0"};
    const struct ty_log_context *context = record->context;
    char time[TY_RFC3339_MAX];
    struct ty_buf message = {0};

    ty_rfc3339(ty_wall_us(), time);
    clean_message(&message, record);
    time[sizeof("2026-01-02T03:04:05.678") - 1] = '\0';
    add_coloured(out, colour ? "2" : NULL, time + sizeof("2026-01-02T") - 1);
    ty_buf_addc(out, ' ');
    add_coloured(out, colour ? colours[record->level] : NULL, labels[record->level]);
    ty_buf_addc(out, ' ');
    ty_buf_add_json(out, record->module, strlen(record->module));
    ty_buf_adds(out, ": ");
    add_readable(out, message.data, message.len);
    if (context && context->fields_len > 0 && context->fields_len <= FIELDS_MAX) {
        ty_buf_adds(out, colour ? "  \x1b[2m{" : "  {");
        ty_buf_add(out, context->fields, context->fields_len);
        ty_buf_adds(out, colour ? "}\x1b[0m" : "}");
    }
    if (context && context->request_id) {
        ty_buf_adds(out, colour ? "  \x1b[2m" : "  ");
        ty_buf_add_json(out, context->request_id, strlen(context->request_id));
        ty_buf_adds(out, colour ? "\x1b[0m" : "");
    }
    ty_buf_addc(out, '\n');
    ty_buf_close(&message);
}
