/* The HTTP/1.1 server: sockets in, requests up, answers down.
 *
 * A connection parses with llhttp (strict) and everything that llhttp lets through but a server
 * must refuse is refused here (RFC 9110, RFC 9112; the limits below). A complete request is handed
 * to its site; the site finishes it, at once or later. One request of a connection is with the site
 * at a time; pipelined bytes behind it wait unparsed, bounded. Answers of a batch leave in one
 * write.
 *
 * A request that has its site may still have to wait, or be refused: see core/http/admission.h.
 *
 * A site is one generation's routes and the function that answers them. The server routes as
 * soon as the headers are complete - the route may bound the body - and pins the site to the
 * request: swapping the server's site never touches a request that has begun.
 *
 * Deliberately not here: Lua, sessions, files, TLS, websockets, streaming request bodies.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "tycho/buffer.h"
#include "tycho/error.h"
#include "tycho/router.h"

enum {
    TY_REQUEST_ID_MAX = 64, /* accepted from a client: 1-64 of A-Z a-z 0-9 - _ . */
    TY_GENERATION_ID_LEN = 12,
};

struct ty_http_server;
struct ty_http_conn;
struct ty_request;
struct ty_site;

/* ------------------------------------------------------------------ a generation's site */

struct ty_site {
    struct ty_router *router; /* owned */
    /* Gets each request that was routed, or was not: then match.route is NULL and it should answer
     * 404, 405 (match.allow) or, for OPTIONS, 204. Must finish it, now or later, exactly once. */
    void (*handle)(struct ty_request *req);
    /* The last reference is gone. Runs inside ty_request_respond() when that finished the last
     * request, so what the caller of that still needs must be freed later, from the loop. */
    void (*on_unused)(struct ty_site *site);
    void *data; /* the engine's */
    char generation[TY_GENERATION_ID_LEN + 1];
    unsigned refs;     /* starts at 1: the creator's */
    unsigned requests; /* in flight */
    bool is_pressed;   /* the engine's: it is short of memory, new requests get 503 */
};

void ty_site_ref(struct ty_site *site);
void ty_site_unref(struct ty_site *site);

/* ------------------------------------------------------------------------------ requests */

struct ty_header {
    struct ty_slice name; /* as sent; compare case-insensitively */
    struct ty_slice value;
};

struct ty_trace {
    char trace_id[33];
    char parent_id[17]; /* of the caller; "" if the trace starts here */
    char span_id[17];   /* ours */
    uint8_t flags;
    struct ty_slice state; /* tracestate as it came, already validated; empty if none */
};

/* Valid from handle() until the site finishes it. Read-only for the site but for the last group. */
struct ty_request {
    struct ty_http_conn *conn;
    struct ty_site *site; /* pinned */
    struct ty_match match;
    enum ty_method method;
    struct ty_slice target; /* as sent */
    struct ty_slice path;   /* percent-decoded, see router.h */
    struct ty_slice query;  /* raw, without '?' */
    struct ty_slice host;
    const struct ty_header *headers;
    size_t header_count;
    const struct ty_header *trailers; /* chunked bodies; forbidden fields dropped */
    size_t trailer_count;
    struct ty_slice body; /* complete; NULL data if the request has none */
    bool has_body;        /* framing said so, even if it is empty */
    bool aborted;         /* the client is gone */
    uint64_t began_ns;    /* monotonic: first byte */
    char id[TY_REQUEST_ID_MAX + 1];
    struct ty_trace trace;

    /* the site's */
    void (*on_abort)(struct ty_request *req); /* once, when the client goes; NULL: do not care */
    void (*on_drain)(struct ty_request *req); /* see ty_request_write() */
    void *data;
    const char *error_kind; /* for the access log and metrics; static string or NULL */
};

/* The first field of that name (case-insensitive); data is NULL if there is none. */
struct ty_slice ty_request_header(const struct ty_request *req, const char *name);

/* Who is asking: the peer, or, if that is a trusted proxy, the right-most untrusted address of
 * X-Forwarded-For. "192.0.2.1". A proxy's X-Forwarded-Proto decides ty_request_is_secure(). */
void ty_request_client(const struct ty_request *req, char out[INET6_ADDRSTRLEN]);
bool ty_request_is_secure(const struct ty_request *req);

/* Adds `,"name":"target"` (without the comma when `fields` is empty) for people to
 * read: without secrets in its query. */
void ty_http_add_target(struct ty_buf *fields, const char *name, struct ty_slice target);

/* Finishes the request: status line, Date, request id, Content-Length and so on are added, the body
 * is left out where HTTP forbids one. Fields Connection, Content-Length, Date, Transfer-Encoding,
 * X-Request-Id and traceparent are the server's: given ones are an error.
 * Returns 0, or TY_HTTP_E_HEADER/_STATUS when the response is malformed; then nothing was sent
 * and the request is not finished. A gone client is no error. */
int ty_request_respond(struct ty_request *req, int status, const struct ty_header *headers,
                       size_t header_count, struct ty_slice body);

/* The same for a body that comes in pieces: begin, then write, then end (which finishes the
 * request). `length` is the exact length, or -1: chunked (HTTP/1.0: until close). */
int ty_request_begin(struct ty_request *req, int status, const struct ty_header *headers,
                     size_t header_count, int64_t length);
/* 0; 1: taken, but the client is slow: wait for on_drain; UV_ECANCELED: the client is gone;
 * TY_HTTP_E_LENGTH: more than `length`, truncated, and the connection will close. */
int ty_request_write(struct ty_request *req, struct ty_slice data);
/* Shorter than `length`, or `failed`: the connection is cut, so that the client can tell. */
void ty_request_end(struct ty_request *req, bool failed);

enum { TY_HTTP_E_HEADER = -5100, TY_HTTP_E_STATUS = -5101, TY_HTTP_E_LENGTH = -5102 };

/* The site refuses it because its route is closed: counts it as refused, like those that the server
 * refuses by itself. */
void ty_request_count_quarantined(struct ty_request *req);

/* A token (RFC 9110 5.6.2); a field value without CR, LF, NUL and other controls but TAB. */
bool ty_http_is_token(struct ty_slice name);
bool ty_http_is_value(struct ty_slice value);
bool ty_http_is_reserved(struct ty_slice name); /* a field that only the server sets */
const char *ty_http_reason(int status);         /* "Not Found" */

/* -------------------------------------------------------------------------------- server */

struct ty_http_limits {
    size_t target_max;             /* 8 KiB: 414 */
    size_t header_max;             /* section, 32 KiB: 431 */
    size_t field_max;              /* one field, 8 KiB: 431 */
    size_t header_count_max;       /* 100: 431 */
    size_t body_max;               /* 1 MiB: 413; a route may say otherwise */
    size_t chunk_line_max;         /* 1 KiB: 400 */
    size_t chunk_extension_max;    /* a message's, 8 KiB: 400 */
    size_t pending_max;            /* pipelined bytes waiting for the site, 64 KiB: reading stops */
    size_t send_max;               /* unsent bytes of an answer, 256 KiB: writers wait */
    size_t send_total_max;         /* of all connections, 128 MiB: the slowest are reset */
    size_t connection_max;         /* per worker, 10000: accepting pauses */
    size_t request_max;            /* with their site at once, 4096: more wait */
    size_t queue_max;              /* that wait, 1024: 503 */
    uint32_t queue_timeout_ms;     /* 1 s: 503 */
    uint32_t shed_lag_ms;          /* later than this for some time, 50 ms: 503; 0: never */
    uint32_t header_timeout_ms;    /* whole header section, 10 s: 408 */
    uint32_t body_timeout_ms;      /* without 1 KiB/s on average over this time, 15 s: 408 */
    uint32_t keepalive_timeout_ms; /* 60 s: closed */
    uint32_t send_timeout_ms;      /* no progress, 30 s: reset */
    uint32_t linger_ms;            /* unread body after an early answer, 2 s */
    size_t linger_max;             /* 256 KiB */
};

struct ty_http_options {
    struct ty_http_limits limits;
    const char *const *trusted_proxies; /* "10.0.0.0/8", "::1" */
    size_t trusted_proxy_count;
    const char *server_name;       /* Server field; NULL: none */
    const char *generation_header; /* NULL: none */
    bool trace_header;             /* traceparent in answers */
    bool access_log;
    /* Answers /livez and /readyz before any route: 200 or 503; adds the body (JSON). NULL: not
     * here. */
    int (*health)(bool ready, struct ty_buf *body, void *arg);
    void *health_arg;
};

void ty_http_default_limits(struct ty_http_limits *limits);

/* Fails (NULL, error filled) on a trusted proxy that is no address or network. Options are copied.
 */
struct ty_http_server *ty_http_server_new(uv_loop_t *loop, const struct ty_http_options *options,
                                          struct ty_error *error);

/* New limits and switches for connections and requests that begin from now on. */
int ty_http_server_configure(struct ty_http_server *server, const struct ty_http_options *options,
                             struct ty_error *error);

/* The site of every next request, also on kept-alive connections. Takes a reference. */
void ty_http_server_set_site(struct ty_http_server *server, struct ty_site *site);

/* Starts or stops accepting on a listening, non-blocking socket, which stays the caller's. */
int ty_http_server_accept(struct ty_http_server *server, int fd);
void ty_http_server_unaccept(struct ty_http_server *server, int fd);

/* The sockets have been told to refuse whoever comes (core/host/listen.h). Connections that were
 * half made may have that from them and hear nothing: from now on this is taken from those that are
 * here and from those that are still accepted. */
void ty_http_server_last_call(struct ty_http_server *server);

/* Stops accepting, closes idle connections, answers the rest with `Connection: close`; then `done`.
 */
void ty_http_server_drain(struct ty_http_server *server, void (*done)(void *arg), void *arg);

/* Cuts what is left: requests with the site are aborted (on_abort) and the site still finishes
 * them. `done` runs when all handles are closed and all requests finished; the server is freed. */
void ty_http_server_close(struct ty_http_server *server, void (*done)(void *arg), void *arg);

struct ty_http_counts {
    size_t connections;
    size_t requests; /* with a site */
};
/* For how long the server has been refusing requests to keep up; 0: it is not. */
uint64_t ty_http_server_shedding_ms(const struct ty_http_server *server);

struct ty_http_counts ty_http_server_counts(const struct ty_http_server *server);
