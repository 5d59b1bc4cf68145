/* What the connections of one server share. */
#pragma once

#include "http/admission.h"
#include "http/client.h"
#include "http/exchange.h"
#include "http/measure.h"
#include "http/trace.h"
#include "http/wheel.h"
#include "tycho/clock.h"

enum {
    TY_READ_SIZE = 64 * 1024,
    TY_ACCEPT_BACKOFF_MS = 100,
    TY_FD_RESERVE = 32, /* descriptors left for logs, databases, reloads */
    TY_STAMP_MAX = 256, /* Date and Server fields */
};

struct ty_listener {
    uv_poll_t poll;
    struct ty_http_server *server;
    struct ty_listener *next;
    int fd;   /* the caller's */
    int copy; /* ours */
};

struct ty_http_server {
    uv_loop_t *loop;
    struct ty_http_options options; /* its strings are the next two */
    char *server_name;
    char *generation_header;
    struct ty_networks trusted;
    struct ty_site *site; /* NULL before the first */

    struct ty_http_conn *conns;
    size_t conn_count; /* open */
    size_t kept_count; /* allocated: open, or with a request that its site has not finished */
    size_t request_count;

    struct ty_listener *listeners;
    uv_timer_t accept_timer; /* back-off */
    bool is_accept_paused;
    bool is_short_of_fds;
    bool is_last_call;

    struct ty_admission admission;
    struct ty_wheel wheel;
    uv_idle_t idle; /* runs while there are ready connections, or room for who waits */
    struct ty_http_conn *ready;
    unsigned handle_count; /* not yet closed */

    char *read_buffer;
    struct ty_http_conn *corked; /* its bytes are being parsed */
    struct ty_buf batch;         /* its answers */
    struct ty_buf scratch;       /* an answer of another */
    size_t held;                 /* unsent bytes of all connections */
    struct ty_buf log_fields;
    struct ty_exchange_pool pool;

    char stamp[TY_STAMP_MAX]; /* "Date: ...\r\nServer: ...\r\n" */
    size_t stamp_len;
    uint64_t stamp_until; /* uv_now() */

    struct ty_random random;
    struct ty_measure measure;

    bool is_draining;
    bool is_closing;
    void (*on_drained)(void *arg);
    void *drained_arg;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* Has ty_conn_resume() called from the loop, soon. */
void ty_server_make_ready(struct ty_http_server *server, struct ty_http_conn *conn);
void ty_server_wake(struct ty_http_server *server);

/* A connection was closed, or its memory freed. */
void ty_server_conn_closed(struct ty_http_server *server);
void ty_server_conn_freed(struct ty_http_server *server);

/* listener.c */
void ty_server_accept_more(struct ty_http_server *server);
void ty_server_accept_stop(struct ty_http_server *server);
void ty_server_handle_closed(struct ty_http_server *server);
void ty_listener_close(struct ty_listener *listener);

/* server.c: the cached fields that all answers have. */
void ty_server_refresh_stamp(struct ty_http_server *server);
