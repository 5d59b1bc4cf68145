/* What stream.c (bytes) and dial.c (connecting) share. */
#pragma once

#include "tycho/buffer.h"
#include "tycho/stream.h"

enum { STREAM_ADDRESSES_MAX = 8 };

struct stream_op {
    ty_stream_cb *cb; /* NULL: nobody waits */
    void *arg;
};

/* What a stream needs only until it is connected. */
struct stream_dial {
    struct ty_stream *stream;
    uv_getaddrinfo_t lookup;
    uv_connect_t req;
    struct sockaddr_storage to[STREAM_ADDRESSES_MAX];
    unsigned count, next;
    struct sockaddr_storage from; /* ss_family is 0 if it does not matter */
    int status;                   /* of the last try */
};

struct ty_stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    uv_loop_t *loop;
    struct stream_dial *dial; /* NULL unless connecting */
    struct stream_op reader;
    struct stream_op writer; /* or who connects */
    struct ty_stream_want want;
    struct ty_buf in;
    unsigned holds; /* the open handle, a lookup, a running callback */
    int failed;     /* the UV_E* code that broke it, else 0 */
    bool has_io;    /* `io` is an open handle */
    bool connected;
    bool ended; /* by the peer */
    bool released;
};

/* Counts a reason less to keep the memory. */
void stream_drop(struct ty_stream *s);

/* Tells who waits for it that an operation is over. May end with the stream being closed, but not
 * freed: the caller holds it. */
void stream_complete(struct ty_stream *s, struct stream_op *op, int status);

/* `io` has just become an open handle. */
void stream_hold_io(struct ty_stream *s);
void stream_close_io(struct ty_stream *s);

/* Tries the next address, or gives up. */
void stream_dial_next(struct ty_stream *s);
