/* Log records: one JSON object a line, or one readable line on a terminal.
 *
 * A record is formatted by the caller's thread and handed to a writer thread through a bounded
 * buffer; when that is full the record is dropped and counted, because a slow disk must never
 * stop the loop. Values are escaped (no control characters, no ANSI), and members whose name
 * looks like a secret (password, token, authorization, cookie, session, api_key ...) are written
 * as "[redacted]", as are userinfo parts of URLs and query parameters of such names.
 *
 * The log is a process-wide singleton; any thread may write.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tycho/buffer.h"

enum ty_log_level { TY_LOG_DEBUG, TY_LOG_INFO, TY_LOG_WARN, TY_LOG_ERROR, TY_LOG_OFF };

struct ty_log_options {
    const char *path; /* NULL or "-": standard error */
    enum ty_log_level level;
    bool pretty;       /* for people: colours; further lines of a message are indented */
    size_t buffer_max; /* bytes waiting for the writer; 0: 1 MiB */
    const char *role;  /* "master", "web", "trial"; written in each record. Copied. */
};

/* What a record is about. All strings may be NULL. Borrowed for the call. */
struct ty_log_context {
    const char *request_id;
    const char *trace_id;
    const char *span_id;
    const char *generation;
    const char *fields; /* further members as JSON without braces: "\"user\":1,\"a\":\"b\"" */
    size_t fields_len;
};

/* Opens the log and starts the writer. Returns 0, or -errno when the file cannot be opened.
 * Before it is open, and after ty_log_close(), records go to standard error at once. */
int ty_log_open(const struct ty_log_options *options);

/* Writes out what is buffered (at most about a second) and stops the writer. */
void ty_log_close(void);

/* Opens the file again (SIGUSR1, after logrotate). Safe from the loop, not from a handler. */
void ty_log_reopen(void);

void ty_log_set_level(enum ty_log_level level);

/* `module` is one word: "http", "host", "db". NULL: all of them, without exceptions. Returns false
 * when it is not one, or when there are too many. */
bool ty_log_set_module_level(const char *module, enum ty_log_level level);

bool ty_log_enabled(const char *module, enum ty_log_level level);

/* One record. `context` may be NULL. The message is escaped; long ones are cut at 8 KiB. */
void ty_log(enum ty_log_level level, const char *module, const struct ty_log_context *context,
            const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The same with a ready message that may contain any bytes. */
void ty_log_text(enum ty_log_level level, const char *module, const struct ty_log_context *context,
                 const char *message, size_t len);

#define ty_log_debug(module, ...) ty_log(TY_LOG_DEBUG, module, NULL, __VA_ARGS__)
#define ty_log_info(module, ...) ty_log(TY_LOG_INFO, module, NULL, __VA_ARGS__)
#define ty_log_warn(module, ...) ty_log(TY_LOG_WARN, module, NULL, __VA_ARGS__)
#define ty_log_error(module, ...) ty_log(TY_LOG_ERROR, module, NULL, __VA_ARGS__)

/* For the handler of a fatal signal, which must write past the log's own thread: where to, and how.
 * These two are async-signal-safe. */
struct ty_log_sink {
    int fd;
    bool pretty;
};
struct ty_log_sink ty_log_sink(void);

/* Has the writer nothing in hand? An estimate: no lock is taken. */
bool ty_log_is_idle(void);

/* Records lost since the start because the buffer was full or the disk refused. */
uint64_t ty_log_dropped(void);

/* Is this member name one whose value must not be logged? Case-insensitive. */
bool ty_log_is_secret(const char *name, size_t len);

/* Adds `,"name":"value"` (without the comma when `out` is empty), escaped and redacted:
 * for building `fields`. */
void ty_log_add_field(struct ty_buf *out, const char *name, const char *value, size_t len);

/* Adds `"value"`, escaped and redacted, with its quotes. */
void ty_log_add_string(struct ty_buf *out, const char *value, size_t len);

const char *ty_log_level_name(enum ty_log_level level);
bool ty_log_parse_level(const char *name, enum ty_log_level *out);
