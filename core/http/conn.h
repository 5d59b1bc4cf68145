/* One client connection: what libuv and the parser know of it, and where it stands.
 *
 *      IDLE --bytes--> HEAD --> BODY --complete--> SITE --answered--> IDLE
 *                        \________refused_________________\
 *                                                           ENDING --sent--> LINGER --> GONE
 *
 * An idle connection is this struct and nothing else: bytes are read into a buffer that all
 * connections share, and a request brings its own memory.
 */
#pragma once

#include <llhttp.h>
#include <uv.h>

#include "http/client.h"
#include "http/exchange.h"
#include "http/refuse.h"
#include "http/wheel.h"

enum ty_phase {
    TY_CONN_IDLE,   /* between requests */
    TY_CONN_HEAD,   /* a request has begun */
    TY_CONN_BODY,   /* its head is complete */
    TY_CONN_SITE,   /* it is being answered */
    TY_CONN_ENDING, /* the last answer is being sent; nothing is parsed any more */
    TY_CONN_LINGER, /* our side is shut; waits for the client to read and close */
    TY_CONN_GONE,   /* closed; a request may still be with its site */
};

enum ty_deadline {
    TY_DEADLINE_NONE,
    TY_DEADLINE_HEADER,
    TY_DEADLINE_BODY,
    TY_DEADLINE_KEEPALIVE,
    TY_DEADLINE_LINGER,
    TY_DEADLINE_STUFFED, /* reading has stopped: time to look whether the client is still there */
};

enum { TY_STUFFED_LOOK_MS = 100 };

/* Bytes that the socket did not take at once. Exists only while there are any. */
struct ty_output {
    uv_write_t req;
    struct ty_buf sending;
    struct ty_buf queued;
    size_t mark; /* unsent at the last look; less means progress */
    size_t held; /* its part of the server's */
};

struct ty_http_conn {
    uv_tcp_t tcp;
    llhttp_t parser;
    struct ty_http_server *server;
    struct ty_http_conn *prev, *next;
    struct ty_http_conn *next_ready;
    struct ty_exchange *ex; /* being parsed, or with its site */
    struct ty_output *output;
    const char *fed; /* what the parser is looking at */

    struct ty_buf pending; /* read, not parsed: a request before it is with its site */
    size_t pending_at;

    struct ty_wheel_entry due;
    uint64_t in_deadline;
    uint64_t out_deadline;
    size_t mark; /* body bytes at the last look */
    size_t discarded;

    struct ty_address peer;
    uint8_t phase;
    uint8_t deadline; /* enum ty_deadline: what in_deadline is about */
    uint8_t refusal;  /* set inside the parser's callbacks */
    uint8_t blank;    /* bytes of an empty line before a request */
    bool is_reading;
    bool is_ready;     /* in the server's list */
    bool is_broken;    /* writing failed; will be closed from the loop */
    bool is_ended;     /* the client will send nothing more */
    bool closes_first; /* the client asked for the end: it need not be waited for */
    bool is_closed;    /* the handle is */
};

/* Takes over an accepted, non-blocking socket. */
void ty_conn_open(struct ty_http_server *server, int fd, const struct ty_address *peer);

/* Closes at once; a request with its site is aborted. */
void ty_conn_lose(struct ty_http_conn *conn);
void ty_conn_reset(struct ty_http_conn *conn);

/* After an answer outside of parsing: goes on with what was waiting behind it. */
void ty_conn_continue(struct ty_http_conn *conn);

/* Called from the loop, for connections that ty_server_make_ready() was called for. */
void ty_conn_resume(struct ty_http_conn *conn);

/* The server stops: closes it if it is between requests. */
void ty_conn_drain(struct ty_http_conn *conn);

/* A deadline may have passed. */
void ty_conn_due(struct ty_wheel_entry *entry);

/* Frees what is closed and has no request any more. */
void ty_conn_release(struct ty_http_conn *conn);

/* output.c. Answers are added to the buffer that ty_conn_buffer() returns, then committed: at
 * once, or with the rest of the batch while the connection's bytes are being parsed. `body` is
 * a large run that is not worth copying, or empty. */
struct ty_buf *ty_conn_buffer(struct ty_http_conn *conn);
void ty_conn_commit(struct ty_http_conn *conn, struct ty_slice body);
void ty_conn_flush(struct ty_http_conn *conn);
size_t ty_conn_unsent(const struct ty_http_conn *conn);
void ty_conn_output_free(struct ty_http_conn *conn);
void ty_conn_output_due(struct ty_http_conn *conn, uint64_t now);
/* The socket took all (conn.c). */
void ty_conn_sent(struct ty_http_conn *conn);

/* parser.c. Returns how many bytes were used: fewer if a request went to its site, or the
 * client does not read its answers. */
void ty_conn_parser_init(struct ty_http_conn *conn);
size_t ty_conn_parse(struct ty_http_conn *conn, const char *data, size_t len);

/* head.c. The head is complete: checks it, routes it. False: conn->refusal says why. */
bool ty_conn_take_head(struct ty_http_conn *conn, const char *head);

/* request.c. All of the request is there. */
void ty_conn_dispatch(struct ty_http_conn *conn);

/* request.c. The answer is complete, or will never be: counts, logs, releases. */
void ty_exchange_finish(struct ty_exchange *ex);
/* The same for a request that got no answer. */
void ty_exchange_drop(struct ty_exchange *ex);

/* head.c. The request is answered by this site, whatever comes after it. */
void ty_exchange_pin(struct ty_exchange *ex, struct ty_site *site);

#include "http/server.h"

static inline void ty_conn_schedule(struct ty_http_conn *conn)
{
    uint64_t at = conn->in_deadline < conn->out_deadline ? conn->in_deadline : conn->out_deadline;

    ty_wheel_put(&conn->server->wheel, &conn->due, at);
}

static inline void ty_conn_set_deadline(struct ty_http_conn *conn, enum ty_deadline what,
                                        uint64_t in_ms)
{
    conn->deadline = (uint8_t)what;
    conn->in_deadline = what == TY_DEADLINE_NONE ? TY_NEVER : uv_now(conn->server->loop) + in_ms;
    ty_conn_schedule(conn);
}
