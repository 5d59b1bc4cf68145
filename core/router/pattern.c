#include "router/pattern.h"

#include <stdbool.h>
#include <string.h>

static bool is_name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

/* Reads "{name}" or "{name...}" at *at. NULL, or what is wrong. */
static const char *next_param(const char **at, struct ty_part *part)
{
    const char *name = *at + 1, *end = name;

    while (is_name_char(*end, end == name))
        end++;
    if (end == name)
        return "a parameter is {name} or {name...}, with letters, digits and _";
    part->text = (struct ty_slice){name, (size_t)(end - name)};
    part->kind = TY_PART_PARAM;
    if (strncmp(end, "...", 3) == 0) {
        part->kind = TY_PART_REST;
        end += 3;
    }
    if (*end != '}')
        return "a parameter is {name} or {name...}, with letters, digits and _";
    end++;
    if (part->kind == TY_PART_REST && *end)
        return "{name...} takes the rest of the path, so nothing can follow it";
    if (*end && *end != '/')
        return "a parameter is a whole segment: '/' or the end must follow it";
    *at = end;
    return NULL;
}

const char *ty_pattern_next(const char **at, struct ty_part *part)
{
    const char *p = *at;

    if (*p == '{')
        return next_param(at, part);
    for (; *p && *p != '{'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return "control characters cannot be part of a pattern";
        if (strchr("}?#%", *p))
            return "'}', '?', '#' and '%' cannot be part of a pattern (it is decoded text)";
    }
    if (*p == '{' && p[-1] != '/')
        return "a parameter is a whole segment: '/' must precede it";
    *part = (struct ty_part){TY_PART_STATIC, {*at, (size_t)(p - *at)}};
    *at = p;
    return NULL;
}

static bool has_name(const struct ty_slice *names, size_t count, struct ty_slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i].len == name.len && memcmp(names[i].data, name.data, name.len) == 0)
            return true;
    }
    return false;
}

const char *ty_pattern_check(const char *pattern, struct ty_slice *names, size_t *count)
{
    size_t segments = 0;

    *count = 0;
    if (pattern[0] != '/')
        return "a pattern starts with '/'";
    for (const char *p = pattern; *p; p++)
        segments += *p == '/';
    if (segments > TY_PATTERN_SEGMENTS_MAX)
        return "more than 64 segments";

    for (const char *at = pattern; *at;) {
        struct ty_part part;
        const char *why = ty_pattern_next(&at, &part);

        if (why)
            return why;
        if (part.kind == TY_PART_STATIC)
            continue;
        if (*count == TY_ROUTE_PARAMS_MAX)
            return "more than 16 parameters";
        if (has_name(names, *count, part.text))
            return "two parameters of one name";
        names[(*count)++] = part.text;
    }
    return NULL;
}
