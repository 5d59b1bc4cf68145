/* The thread between the log's callers and a file that may be slow.
 *
 * Callers add finished lines to a bounded buffer under a short lock; the thread takes all of it
 * at once and writes. Whatever it writes to (a file, a terminal, a pipe that nobody reads),
 * only the thread ever waits, and no longer than the closing caller allows.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tycho/buffer.h"

struct ty_log_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;   /* to write */
    pthread_cond_t over;   /* the thread has ended */
    struct ty_buf waiting; /* lines to write; under the lock, as are the next four */
    size_t taken;          /* bytes the thread has in hand */
    bool running;
    bool stopping, ended;
    bool reopening;
    size_t max;
    char *path; /* NULL: standard error */
    int fd;
    bool torn; /* the last line is incomplete: begin a new one; the thread's own, as is the next */
    uint64_t reported;
    _Atomic uint64_t give_up_ms; /* monotonic; when a stopping thread stops waiting */
    _Atomic uint64_t dropped;    /* lines */
    /* Adds a line that says how many lines were lost; set by the owner. */
    void (*describe_loss)(struct ty_buf *out, uint64_t lines);
    /* Adds a line that says that `path` cannot be opened again, and why; set by the owner. */
    void (*describe_stay)(struct ty_buf *out, const char *path, int code);
};

/* Opens `path` (copied; NULL: standard error) and starts the thread. 0 or -errno. */
int ty_log_writer_open(struct ty_log_writer *writer, const char *path, size_t max);

/* Takes complete lines. False if the writer is not running: nothing was taken. Lines for which
 * there is no room are dropped and counted. Any thread. */
bool ty_log_writer_add(struct ty_log_writer *writer, const char *lines, size_t len);

void ty_log_writer_reopen(struct ty_log_writer *writer);

/* Writes what is waiting, for at most about a second, and ends the thread. */
void ty_log_writer_close(struct ty_log_writer *writer);

/* Writes to `fd` if that is possible without waiting; false if it was not. */
bool ty_log_write_now(int fd, const char *lines, size_t len);
