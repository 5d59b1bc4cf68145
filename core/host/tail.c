#include "host/tail.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/memory.h"

enum { READS_MAX = 16, PASSED_MAX = 64 * 1024 };

struct tail {
    uv_poll_t poll;
    int fd;
    char line[1024], next[1024]; /* the last whole one; what has come of the next */
    size_t len;
    size_t passed; /* bytes that went on to our standard error */
};

static void end_line(struct tail *tail)
{
    if (tail->len == 0)
        return;
    memcpy(tail->line, tail->next, tail->len);
    tail->line[tail->len] = '\0';
    tail->len = 0;
}

static void take(struct tail *tail, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] == '\n')
            end_line(tail);
        else if (tail->len < sizeof(tail->next) - 1)
            tail->next[tail->len++] = data[i];
}

/* One that writes without end must not fill our disk. */
static void pass_on(struct tail *tail, const char *data, size_t len)
{
    size_t room = PASSED_MAX - tail->passed;

    if (len > room)
        len = room;
    tail->passed += len;
    (void)!write(STDERR_FILENO, data, len);
}

/* Bounded: one that writes without end must not hold us up. False: there is nothing more, ever. */
static bool read_some(struct tail *tail)
{
    char data[4096];
    ssize_t n = 1;

    for (int i = 0; i < READS_MAX; i++) {
        n = read(tail->fd, data, sizeof(data));
        if (n <= 0)
            break;
        pass_on(tail, data, (size_t)n);
        take(tail, data, (size_t)n);
    }
    return n != 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    if (status < 0 || !read_some(poll->data))
        uv_poll_stop(poll);
}

struct tail *ty_tail_open(uv_loop_t *loop, int fd)
{
    struct tail *tail = ty_zalloc(sizeof(*tail));

    tail->fd = fd;
    tail->poll.data = tail;
    uv_poll_init(loop, &tail->poll, fd);
    uv_poll_start(&tail->poll, UV_READABLE, on_readable);
    return tail;
}

const char *ty_tail_line(struct tail *tail)
{
    read_some(tail);
    end_line(tail);
    return tail->line;
}

static void on_closed(uv_handle_t *poll)
{
    struct tail *tail = poll->data;

    close(tail->fd);
    free(tail);
}

void ty_tail_close(struct tail *tail)
{
    uv_close((uv_handle_t *)&tail->poll, on_closed);
}
