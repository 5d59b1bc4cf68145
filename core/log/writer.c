#define _GNU_SOURCE /* pthread_cond_clockwait, memrchr */
#include "log/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tycho/clock.h"
#include "tycho/memory.h"

enum { GIVE_UP_MS = 1000, POLL_MS = 100, LOG_MODE = 0640 };

/* Never waits, not even for somebody to open the other end of a FIFO: that is held open by
 * ourselves then, and its bytes are there for whoever comes. */
static int open_path(const char *path)
{
    const int flags = O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;

    if (!path)
        return STDERR_FILENO;
    int fd = open(path, O_WRONLY | flags, LOG_MODE);
    if (fd < 0 && errno == ENXIO)
        fd = open(path, O_RDWR | flags, LOG_MODE);
    return fd;
}

static uint64_t count_lines(const char *lines, size_t len)
{
    uint64_t count = 0;

    for (const char *end = lines + len; (lines = memchr(lines, '\n', (size_t)(end - lines)));)
        count += 1, lines++;
    return count;
}

/* As much of the lines as one write takes without waiting once poll() has said that there is room:
 * on a pipe, that is what is also atomic, so that the lines of several processes do not mix. */
static size_t portion(int fd, const char *lines, size_t len)
{
    struct stat st;

    if (len <= PIPE_BUF || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
        return len;
    const char *newline = memrchr(lines, '\n', PIPE_BUF);
    return newline ? (size_t)(newline + 1 - lines) : PIPE_BUF;
}

static bool wait_writable(struct ty_log_writer *w)
{
    struct pollfd pfd = {.fd = w->fd, .events = POLLOUT};

    while (poll(&pfd, 1, POLL_MS) == 0) {
        uint64_t give_up = atomic_load(&w->give_up_ms);

        if (give_up && ty_now_ms() >= give_up)
            return false;
    }
    return true;
}

/* Writes until the end, an error, or the end of patience; returns how much it wrote. */
static size_t write_lines(struct ty_log_writer *w, const char *lines, size_t len)
{
    size_t done = 0;

    while (done < len) {
        if (!wait_writable(w))
            break;
        ssize_t n = write(w->fd, lines + done, portion(w->fd, lines + done, len - done));

        if (n >= 0)
            done += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            break;
    }
    return done;
}

/* The disk had room for the beginning of a line only: makes an empty line of that, where it is, so
 * that what is appended next - by another process, perhaps - begins a line of its own. */
static bool blank_out(const struct ty_log_writer *w, size_t len)
{
    char self[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
    off_t end = w->path ? lseek(w->fd, 0, SEEK_CUR) : -1; /* behind what we wrote last */

    if (end < (off_t)len)
        return false; /* a pipe, say */
    snprintf(self, sizeof(self), "/proc/self/fd/%d", w->fd);
    int fd = open(self, O_WRONLY | O_CLOEXEC); /* ours appends, wherever it is told to write */
    if (fd < 0)
        return false;

    char *blanks = ty_alloc(len);

    memset(blanks, ' ', len);
    blanks[len - 1] = '\n';
    bool done = pwrite(fd, blanks, len, end - (off_t)len) == (ssize_t)len;
    free(blanks);
    close(fd);
    return done;
}

static void write_or_drop(struct ty_log_writer *w, const struct ty_buf *lines)
{
    if (w->torn) {
        if (write_lines(w, "\n", 1) == 0) {
            atomic_fetch_add(&w->dropped, count_lines(lines->data, lines->len));
            return;
        }
        w->torn = false;
    }

    size_t done = write_lines(w, lines->data, lines->len);
    if (done < lines->len) {
        const char *newline = done > 0 ? memrchr(lines->data, '\n', done) : NULL;
        size_t begun = newline ? done - (size_t)(newline + 1 - lines->data) : done;

        w->torn = begun > 0 && !blank_out(w, begun);
        atomic_fetch_add(&w->dropped, count_lines(lines->data + done, lines->len - done));
    }
}

/* Once lines get through again, the log itself says that some are missing. */
static void report_loss(struct ty_log_writer *w)
{
    struct ty_buf line = {0};
    uint64_t dropped = atomic_load(&w->dropped);

    if (dropped == w->reported || !w->describe_loss)
        return;
    w->describe_loss(&line, dropped - w->reported);
    if (write_lines(w, line.data, line.len) == line.len)
        w->reported = dropped;
    ty_buf_close(&line);
}

/* Better the old file than none; but somebody waits for the space of that. */
static void report_stay(struct ty_log_writer *w, int code)
{
    struct ty_buf line = {0};

    if (w->describe_stay)
        w->describe_stay(&line, w->path, code);
    write_lines(w, line.data, line.len);
    ty_buf_close(&line);
}

static void reopen(struct ty_log_writer *w)
{
    int fd = w->path ? open_path(w->path) : -1;

    if (fd < 0) {
        if (w->path)
            report_stay(w, errno);
        return;
    }
    int old = w->fd;
    w->fd = fd; /* first: see ty_log_sink() */
    if (old != STDERR_FILENO)
        close(old);
    w->torn = false;
}

static void *run(void *arg)
{
    struct ty_log_writer *w = arg;
    struct ty_buf hand = {0};
    bool stopping = false;

    while (!stopping || hand.len) {
        pthread_mutex_lock(&w->lock);
        w->taken = 0;
        while (!w->waiting.len && !w->stopping && !w->reopening)
            pthread_cond_wait(&w->more, &w->lock);
        hand.len = 0;
        struct ty_buf empty = hand;
        hand = w->waiting;
        w->waiting = empty;
        w->taken = hand.len;
        stopping = w->stopping;
        bool reopening = w->reopening;
        w->reopening = false;
        pthread_mutex_unlock(&w->lock);

        if (reopening)
            reopen(w);
        if (hand.len) {
            write_or_drop(w, &hand);
            report_loss(w);
        }
    }
    ty_buf_close(&hand);
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_cond_signal(&w->over);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int ty_log_writer_open(struct ty_log_writer *writer, const char *path, size_t max)
{
    sigset_t all, before;
    int fd = open_path(path);

    if (fd < 0)
        return -errno;
    writer->fd = fd;
    writer->path = path ? ty_strdup(path) : NULL;
    writer->max = max;
    writer->stopping = false;
    writer->ended = false;
    writer->reopening = false;
    writer->torn = false;
    writer->taken = 0;
    atomic_store(&writer->give_up_ms, 0);
    writer->running = true;

    /* Signals are the loop's; a broken pipe is an error code here. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&writer->thread, NULL, run, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status) {
        writer->running = false;
        if (fd != STDERR_FILENO)
            close(fd);
        free(writer->path);
        writer->path = NULL;
    }
    return -status;
}

bool ty_log_writer_add(struct ty_log_writer *writer, const char *lines, size_t len)
{
    pthread_mutex_lock(&writer->lock);
    bool running = writer->running;
    if (running && writer->waiting.len + writer->taken + len > writer->max) {
        atomic_fetch_add(&writer->dropped, count_lines(lines, len));
    } else if (running) {
        if (writer->waiting.len == 0)
            pthread_cond_signal(&writer->more);
        ty_buf_add(&writer->waiting, lines, len);
    }
    pthread_mutex_unlock(&writer->lock);
    return running;
}

void ty_log_writer_reopen(struct ty_log_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->reopening = writer->running;
    pthread_cond_signal(&writer->more);
    pthread_mutex_unlock(&writer->lock);
}

/* Has the thread come to its end, within a while? */
static bool wait_for_end(struct ty_log_writer *w)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 2;
    pthread_mutex_lock(&w->lock);
    while (!w->ended &&
           pthread_cond_clockwait(&w->over, &w->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
        ;
    bool ended = w->ended;
    pthread_mutex_unlock(&w->lock);
    return ended;
}

void ty_log_writer_close(struct ty_log_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    bool running = writer->running;
    writer->running = false;
    writer->stopping = true;
    atomic_store(&writer->give_up_ms, ty_now_ms() + GIVE_UP_MS);
    pthread_cond_signal(&writer->more);
    pthread_mutex_unlock(&writer->lock);
    if (!running)
        return;

    if (!wait_for_end(writer)) {
        pthread_detach(writer->thread); /* stuck in write(): what it uses must stay */
        return;
    }
    pthread_join(writer->thread, NULL);
    if (writer->fd != STDERR_FILENO)
        close(writer->fd);
    free(writer->path);
    writer->path = NULL;
    ty_buf_close(&writer->waiting);
}

bool ty_log_write_now(int fd, const char *lines, size_t len)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};

    return poll(&pfd, 1, 0) == 1 && write(fd, lines, len) == (ssize_t)len;
}
