#include "log/format.h"

#include "log/redact.h"
#include "tycho/clock.h"

enum { MESSAGE_MAX = 8192 };

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

void ty_log_clean_message(struct ty_buf *out, const struct ty_log_record *record)
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
    if (context->fields_len > TY_LOG_FIELDS_MAX) {
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
    ty_log_clean_message(&message, record);
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
