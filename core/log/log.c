#include "tycho/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/format.h"
#include "log/writer.h"
#include "tycho/memory.h"

enum {
    BUFFER_DEFAULT = 1 << 20,
    MODULES_MAX = 64,
    MODULE_NAME_MAX = 31,
    ROLE_MAX = 31,
    LEVEL_UNSET = -1
};

struct module_level {
    char name[MODULE_NAME_MAX + 1];
    _Atomic int level;
};

/* Entries of `modules` are written once, then only
 * their level changes, so that readers need no lock. */
static struct {
    struct ty_log_writer writer;
    char role[ROLE_MAX + 1]; /* "" until opened */
    bool pretty;
    bool colour;
    _Atomic int level;
    pthread_mutex_t modules_lock; /* for adding one */
    _Atomic unsigned module_count;
    struct module_level modules[MODULES_MAX];
} log_state = {
    /* check: allow NO-GLOBALS because a process has one log */
    .writer = {.lock = PTHREAD_MUTEX_INITIALIZER,
               .more = PTHREAD_COND_INITIALIZER,
               .over = PTHREAD_COND_INITIALIZER},
    .level = TY_LOG_INFO,
    .modules_lock = PTHREAD_MUTEX_INITIALIZER,
};

static void format(struct ty_buf *out, const struct ty_log_record *record)
{
    if (log_state.pretty)
        ty_log_format_pretty(out, record, log_state.colour);
    else
        ty_log_format_json(out, record);
}

/* A record of the log about itself. */
static void describe(struct ty_buf *out, const char *message)
{
    format(out, &(struct ty_log_record){
                    .level = TY_LOG_WARN,
                    .module = "log",
                    .message = message,
                    .message_len = strlen(message),
                    .role = *log_state.role ? log_state.role : NULL,
                    .pid = (long)getpid(),
                });
}

static void describe_loss(struct ty_buf *out, uint64_t lines)
{
    char message[80];

    snprintf(message, sizeof(message), "%llu log records were lost", (unsigned long long)lines);
    describe(out, message);
}

static void describe_stay(struct ty_buf *out, const char *path, int code)
{
    char *message = ty_asprintf("%s cannot be opened again, the file from before is still in use: "
                                "%s (log.path)",
                                path, strerror(code));

    describe(out, message);
    free(message);
}

int ty_log_open(const struct ty_log_options *options)
{
    const char *path = options->path && strcmp(options->path, "-") != 0 ? options->path : NULL;

    ty_log_close();
    snprintf(log_state.role, sizeof(log_state.role), "%s", options->role ? options->role : "");
    log_state.pretty = options->pretty;
    log_state.colour = !path && isatty(STDERR_FILENO) && !getenv("NO_COLOR");
    log_state.writer.describe_loss = describe_loss;
    log_state.writer.describe_stay = describe_stay;
    ty_log_set_level(options->level);
    return ty_log_writer_open(&log_state.writer, path,
                              options->buffer_max ? options->buffer_max : BUFFER_DEFAULT);
}

void ty_log_close(void)
{
    ty_log_writer_close(&log_state.writer);
}

void ty_log_reopen(void)
{
    ty_log_writer_reopen(&log_state.writer);
}

void ty_log_set_level(enum ty_log_level level)
{
    atomic_store_explicit(&log_state.level, (int)level, memory_order_relaxed);
}

static struct module_level *find_module(const char *module)
{
    unsigned count = atomic_load_explicit(&log_state.module_count, memory_order_acquire);

    for (unsigned i = 0; i < count; i++)
        if (strcmp(log_state.modules[i].name, module) == 0)
            return &log_state.modules[i];
    return NULL;
}

static bool is_module_name(const char *module)
{
    size_t len = strlen(module);

    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)module[i]) && !strchr("_-.", module[i]))
            return false;
    return len > 0 && len <= MODULE_NAME_MAX;
}

static void set_all(enum ty_log_level level)
{
    unsigned count = atomic_load(&log_state.module_count);

    ty_log_set_level(level);
    for (unsigned i = 0; i < count; i++)
        atomic_store(&log_state.modules[i].level, LEVEL_UNSET);
}

bool ty_log_set_module_level(const char *module, enum ty_log_level level)
{
    if (!module) {
        set_all(level);
        return true;
    }
    pthread_mutex_lock(&log_state.modules_lock);
    struct module_level *entry = find_module(module);
    unsigned count = atomic_load(&log_state.module_count);
    if (!entry && count < MODULES_MAX && is_module_name(module)) {
        entry = &log_state.modules[count];
        memcpy(entry->name, module, strlen(module) + 1);
        atomic_store(&entry->level, (int)level);
        atomic_store_explicit(&log_state.module_count, count + 1, memory_order_release);
    }
    if (entry)
        atomic_store(&entry->level, (int)level);
    pthread_mutex_unlock(&log_state.modules_lock);
    return entry;
}

bool ty_log_enabled(const char *module, enum ty_log_level level)
{
    int least = atomic_load_explicit(&log_state.level, memory_order_relaxed);
    struct module_level *entry = find_module(module);

    if (entry) {
        int own = atomic_load_explicit(&entry->level, memory_order_relaxed);

        if (own != LEVEL_UNSET)
            least = own;
    }
    return (int)level >= least && level < TY_LOG_OFF;
}

void ty_log_text(enum ty_log_level level, const char *module, const struct ty_log_context *context,
                 const char *message, size_t len)
{
    struct ty_buf line = {0};

    if (!ty_log_enabled(module, level))
        return;
    format(&line, &(struct ty_log_record){
                      .level = level,
                      .module = module,
                      .context = context,
                      .message = message,
                      .message_len = len,
                      .role = *log_state.role ? log_state.role : NULL,
                      .pid = (long)getpid(),
                  });
    if (!ty_log_writer_add(&log_state.writer, line.data, line.len) &&
        !ty_log_write_now(STDERR_FILENO, line.data, line.len))
        atomic_fetch_add(&log_state.writer.dropped, 1);
    ty_buf_close(&line);
}

void ty_log(enum ty_log_level level, const char *module, const struct ty_log_context *context,
            const char *fmt, ...)
{
    struct ty_buf message = {0};
    va_list args;

    if (!ty_log_enabled(module, level))
        return;
    va_start(args, fmt);
    ty_buf_vaddf(&message, fmt, args);
    va_end(args);
    ty_log_text(level, module, context, message.data, message.len);
    ty_buf_close(&message);
}

struct ty_log_sink ty_log_sink(void)
{
    const struct ty_log_writer *writer = &log_state.writer;

    return (struct ty_log_sink){writer->running ? writer->fd : STDERR_FILENO, log_state.pretty};
}

bool ty_log_is_idle(void)
{
    const volatile struct ty_log_writer *writer = &log_state.writer;

    return !writer->running || (writer->waiting.len == 0 && writer->taken == 0);
}

uint64_t ty_log_dropped(void)
{
    return atomic_load(&log_state.writer.dropped);
}
