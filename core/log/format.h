/* What a record looks like: JSON for machines, or a readable line for a terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tycho/buffer.h"
#include "tycho/log.h"

enum { TY_LOG_FIELDS_MAX = 32768 }; /* longer ones are left out */

struct ty_log_record {
    enum ty_log_level level;
    const char *module;
    const struct ty_log_context *context; /* may be NULL */
    const char *message;                  /* any bytes */
    size_t message_len;
    const char *role; /* may be NULL */
    long pid;
};

/* Each adds one record with its newline. */
void ty_log_format_json(struct ty_buf *out, const struct ty_log_record *record);
void ty_log_format_pretty(struct ty_buf *out, const struct ty_log_record *record, bool colour);

/* The message, without secrets and cut to size. */
void ty_log_clean_message(struct ty_buf *out, const struct ty_log_record *record);
