#define _GNU_SOURCE /* memmem */
#include "log/format.h"

#include "tycho/clock.h"

#define DIM "2"

/* ---- fields: they come as members of a JSON object, without its braces */

struct field {
    const char *name; /* with its quotes */
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* Behind the quote that ends the string which begins at `at`. */
static size_t string_end(const char *json, size_t at, size_t len)
{
    for (at++; at < len && json[at] != '"'; at++)
        at += json[at] == '\\';
    return at < len ? at + 1 : len;
}

static size_t value_end(const char *json, size_t at, size_t len)
{
    size_t depth = 0;

    while (at < len && (depth > 0 || json[at] != ',')) {
        if (json[at] == '"') {
            at = string_end(json, at, len);
            continue;
        }
        depth += json[at] == '{' || json[at] == '[';
        depth -= depth > 0 && (json[at] == '}' || json[at] == ']');
        at++;
    }
    return at;
}

static bool next_field(const struct ty_log_context *context, size_t *at, struct field *field)
{
    const char *json = context->fields;
    size_t len = context->fields_len, name = *at;

    if (name >= len || json[name] != '"')
        return false;

    size_t colon = string_end(json, name, len), value = colon + 1;

    if (value >= len)
        return false;

    size_t end = value_end(json, value, len);

    *field = (struct field){json + name, colon - name, json + value, end - value};
    *at = end + 1;
    return true;
}

static bool has(const struct field *field, const char *text)
{
    return memmem(field->value, field->value_len, text, strlen(text)) != NULL;
}

/* A text of several lines, such as a traceback. */
static bool is_block(const struct field *field)
{
    return field->value[0] == '"' && has(field, "\\n");
}

/* name=value, and quotes where they help to see where it ends */
static void add_inline(struct ty_buf *out, const struct field *field)
{
    bool bare = field->value[0] == '"' && field->value_len > 2 && !has(field, " ") &&
                !has(field, "\\") && !has(field, "=");

    ty_buf_addc(out, ' ');
    ty_buf_add(out, field->name + 1, field->name_len - 2);
    ty_buf_addc(out, '=');
    if (bare)
        ty_buf_add(out, field->value + 1, field->value_len - 2);
    else
        ty_buf_add(out, field->value, field->value_len);
}

/* The lines below each other; what is escaped besides stays so. */
static void add_block(struct ty_buf *out, const struct field *field)
{
    const char *text = field->value + 1;
    size_t len = field->value_len - 2;

    ty_buf_adds(out, "\n    | ");
    ty_buf_add(out, field->name + 1, field->name_len - 2);
    ty_buf_adds(out, "=");
    for (size_t i = 0; i < len; i++) {
        char next = text[i] == '\\' && i + 1 < len ? text[i + 1] : '\0';

        if (next == 'n')
            ty_buf_adds(out, "\n    | ");
        else if (next == 't')
            ty_buf_adds(out, "  ");
        else if (next == '"' || next == '\\')
            ty_buf_addc(out, next);
        else
            ty_buf_addc(out, text[i]);
        i += next == 'n' || next == 't' || next == '"' || next == '\\';
    }
}

static void add_fields(struct ty_buf *out, const struct ty_log_context *context, bool blocks)
{
    struct field field;

    for (size_t at = 0; next_field(context, &at, &field);) {
        if (blocks && is_block(&field))
            add_block(out, &field);
        else if (!blocks && !is_block(&field))
            add_inline(out, &field);
    }
}

/* ---- the record */

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

static void begin_colour(struct ty_buf *out, bool colour, const char *code)
{
    if (colour)
        ty_buf_addf(out, "\x1b[%sm", code);
}

static void end_colour(struct ty_buf *out, bool colour)
{
    if (colour)
        ty_buf_adds(out, "\x1b[0m");
}

static void add_context(struct ty_buf *out, const struct ty_log_context *context, bool colour)
{
    bool has_fields = context->fields_len > 0 && context->fields_len <= TY_LOG_FIELDS_MAX;

    if (!has_fields && !context->request_id)
        return;
    ty_buf_addc(out, ' ');
    begin_colour(out, colour, DIM);
    if (has_fields)
        add_fields(out, context, false);
    if (context->request_id) {
        ty_buf_adds(out, " request=");
        ty_buf_add_json(out, context->request_id, strlen(context->request_id));
    }
    if (has_fields)
        add_fields(out, context, true);
    end_colour(out, colour);
}

/* "10:03:07.123 INFO  http: the message  name=value request=id" */
void ty_log_format_pretty(struct ty_buf *out, const struct ty_log_record *record, bool colour)
{
    static const char *const labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR", "     "};
    static const char *const colours[] = {DIM, "32", "33", "31", "0"};
    char time[TY_RFC3339_MAX];
    struct ty_buf message = {0};

    ty_rfc3339(ty_wall_us(), time);
    ty_log_clean_message(&message, record);
    time[sizeof("2026-01-02T03:04:05.678") - 1] = '\0';
    begin_colour(out, colour, DIM);
    ty_buf_adds(out, time + sizeof("2026-01-02T") - 1);
    end_colour(out, colour);
    ty_buf_addc(out, ' ');
    begin_colour(out, colour, colours[record->level]);
    ty_buf_adds(out, labels[record->level]);
    end_colour(out, colour);
    ty_buf_addc(out, ' ');
    ty_buf_add_json(out, record->module, strlen(record->module));
    ty_buf_adds(out, ": ");
    add_readable(out, message.data, message.len);
    if (record->context)
        add_context(out, record->context, colour);
    ty_buf_addc(out, '\n');
    ty_buf_close(&message);
}
