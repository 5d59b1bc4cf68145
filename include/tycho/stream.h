/* Byte streams: TCP and unix sockets, and the pipes of child processes.
 *
 * Pulled, not pushed: nothing is read from the socket until somebody wants bytes, so that a slow
 * reader is back-pressure and memory is bounded by what was asked for. One reader and one writer
 * at a time. Deliberately not here: TLS, pools, time-outs (the waiting fiber has those).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

struct ty_stream;
struct ty_listener;

enum { TY_STREAM_DELIMITER_MAX = 16, TY_STREAM_NAME_MAX = 128 };

enum ty_stream_mode {
    TY_STREAM_SOME,  /* whatever is there, at most `max` bytes */
    TY_STREAM_EXACT, /* `max` bytes */
    TY_STREAM_UNTIL, /* up to and including the delimiter, at most `max` bytes */
};

struct ty_stream_want {
    enum ty_stream_mode mode;
    size_t max; /* at least 1 */
    char delimiter[TY_STREAM_DELIMITER_MAX];
    size_t delimiter_len;
};

/* Runs exactly once per operation that was started, never from inside the call that started it,
 * unless the operation was stopped. `status` is 0 or a negative UV_E* code, UV_ECANCELED when the
 * stream was closed meanwhile. It may close the stream. */
typedef void ty_stream_cb(struct ty_stream *stream, int status, void *arg);

/* A stream that is not connected. The caller closes it. */
struct ty_stream *ty_stream_new(uv_loop_t *loop);

/* Takes over a connected socket or a pipe. 0 or a UV_E* code; then the descriptor is the caller's.
 */
int ty_stream_open(struct ty_stream *stream, int fd);

/* Connects to a host name or address (each of its addresses in turn) and port, or, if `host`
 * begins with a slash, to that unix socket. `from` is the local address to use, or NULL. Strings
 * are copied. Returns 0, or a UV_E* code and the callback will not run. Once per stream. */
int ty_stream_connect(struct ty_stream *stream, const char *host, int port, const char *from,
                      ty_stream_cb *cb, void *arg);

/* How many buffered bytes answer `want`; 0 at the end of the stream, else
 *   UV_EAGAIN   wait for more with ty_stream_read()
 *   UV_ENOBUFS  `max` bytes and no delimiter among them
 *   UV_EOF      the stream ended in the middle of what was wanted
 *   UV_E*       what broke the connection */
ssize_t ty_stream_ready(const struct ty_stream *stream, const struct ty_stream_want *want);

/* The buffered bytes, and forgetting the first `len` of them. */
const char *ty_stream_data(const struct ty_stream *stream);
void ty_stream_consume(struct ty_stream *stream, size_t len);

/* Reads until ty_stream_ready() says something else than UV_EAGAIN. 0, or UV_EBUSY (somebody
 * reads), UV_ENOTCONN, another UV_E* code; then the callback will not run. */
int ty_stream_read(struct ty_stream *stream, const struct ty_stream_want *want, ty_stream_cb *cb,
                   void *arg);

/* Gives up reading; the callback will not run. What has arrived stays buffered. */
void ty_stream_stop_read(struct ty_stream *stream);

/* Writes all of `data`. Returns 1 when it is already with the kernel and the callback will not
 * run; 0 when the rest was copied and the callback says when it is; or a UV_E* code. */
int ty_stream_write(struct ty_stream *stream, const char *data, size_t len, ty_stream_cb *cb,
                    void *arg);

/* Gives up connecting or writing; the callback will not run. Who knows how much the peer has seen:
 * the stream can only be closed after this. */
void ty_stream_stop_write(struct ty_stream *stream);

/* Ends our side; reading goes on. 0, UV_EBUSY (somebody writes) or another UV_E* code. */
int ty_stream_shutdown(struct ty_stream *stream);

/* Makes the coming ty_stream_close() cut the connection (RST) instead of ending it. */
void ty_stream_reset(struct ty_stream *stream);

/* Closes and frees. Callbacks of running operations still run, from the loop, with UV_ECANCELED. */
void ty_stream_close(struct ty_stream *stream);

/* Writes the peer's or the own address ("127.0.0.1", or a path) and sets the port (0 for unix
 * sockets). Returns 0 or a UV_E* code. */
int ty_stream_name(const struct ty_stream *stream, bool peer, char name[TY_STREAM_NAME_MAX],
                   int *port);

/* ---- listening */

/* Runs exactly once per ty_listener_wait(), from the loop, unless it was stopped: somebody can be
 * accepted, or `status` says what is wrong (UV_ECANCELED: closed). */
typedef void ty_listener_cb(struct ty_listener *listener, int status, void *arg);

/* Listens on a numeric address and port (0: any), or on a unix socket. NULL and a UV_E* code in
 * `*status` if that fails. */
struct ty_listener *ty_listener_new(uv_loop_t *loop, const char *host, int port, int *status);
int ty_listener_port(const struct ty_listener *listener);

/* Hands the next connection to `stream`, a new one. 0, UV_EAGAIN (nobody there) or a UV_E* code. */
int ty_listener_accept(struct ty_listener *listener, struct ty_stream *stream);

/* 0, or UV_EBUSY: somebody waits already. */
int ty_listener_wait(struct ty_listener *listener, ty_listener_cb *cb, void *arg);
void ty_listener_stop_wait(struct ty_listener *listener);

/* Closes and frees; a waiting callback still runs, from the loop. */
void ty_listener_close(struct ty_listener *listener);
