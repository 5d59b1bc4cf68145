/* Messages between the master and its workers, and over the control socket.
 *
 * A message is a length (4 bytes, little endian; the top bit says that a descriptor comes with
 * it), that many bytes of JSON, and at most one descriptor. Bounded both ways: a longer message
 * than TY_CHANNEL_MAX, or more than that waiting to be sent, closes the channel.
 */
#pragma once

#include <stddef.h>
#include <uv.h>

enum { TY_CHANNEL_MAX = 16 * 1024 * 1024 };

struct ty_channel;

/* A whole message; `fd` is -1 or the receiver's to close. `json` is NUL-terminated, borrowed. */
typedef void ty_channel_message_fn(struct ty_channel *channel, const char *json, size_t len, int fd,
                                   void *arg);
/* The other side is gone, or talked nonsense. Once; after it only ty_channel_close() is allowed. */
typedef void ty_channel_gone_fn(struct ty_channel *channel, void *arg);

/* Takes over a connected unix stream socket. */
struct ty_channel *ty_channel_new(uv_loop_t *loop, int fd, ty_channel_message_fn *message,
                                  ty_channel_gone_fn *gone, void *arg);

/* Queues a message; the descriptor is duplicated (-1: none). 0, or UV_ENOBUFS, UV_EPIPE, UV_EMFILE:
 * it will not be sent. The second one is printf-like. */
int ty_channel_send(struct ty_channel *channel, int fd, const char *json, size_t len);
int ty_channel_sendf(struct ty_channel *channel, int fd, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sends what is queued if it can be sent at once, closes, frees. Neither callback runs any more. */
void ty_channel_close(struct ty_channel *channel);
