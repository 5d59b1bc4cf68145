#include "config/fault.h"

#include <stdio.h>

void ty_fault(struct ty_faults *faults, const char *fmt, ...)
{
    va_list args;

    if (faults->count++)
        ty_buf_addc(&faults->text, '\n');
    va_start(args, fmt);
    ty_buf_vaddf(&faults->text, fmt, args);
    va_end(args);
}

/* How many bytes of whole lines fit into `room`; at least one line, if need be a part of it. */
static size_t fitting(const struct ty_buf *text, size_t room, size_t *lines)
{
    size_t fit = 0;

    *lines = 1;
    for (size_t i = 0; i < text->len && i < room; i++) {
        if (text->data[i] == '\n') {
            if (fit)
                ++*lines;
            fit = i;
        }
    }
    return fit ? fit : room;
}

void ty_faults_close(struct ty_faults *faults, struct ty_error *error)
{
    enum { MORE_MAX = 48 };
    struct ty_buf *text = &faults->text;

    if (text->len < TY_ERROR_MESSAGE_MAX) {
        ty_error_set(error, TY_ERR_INVALID, NULL, "%.*s", (int)text->len, text->data);
    } else {
        size_t lines;
        size_t len = fitting(text, TY_ERROR_MESSAGE_MAX - MORE_MAX, &lines);

        ty_error_set(error, TY_ERR_INVALID, NULL, "%.*s", (int)len, text->data);
        if (error && faults->count > lines) {
            char *end = error->message + strlen(error->message);

            snprintf(end, MORE_MAX, "\n... and %zu more", faults->count - lines);
        }
    }
    ty_buf_close(text);
    faults->count = 0;
}
