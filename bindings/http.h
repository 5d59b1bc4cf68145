/* One request on its way through Lua: what http.c, http_request.c and http_response.c share. */
#pragma once

#include "engine.h"

enum { TY_QUERY_KEYS_MAX = 1000, TY_COOKIES_MAX = 50 };

/* Where answers go: to the server, or, in tests, to the fiber that made the request up. The
 * functions are those of tycho/http.h. */
struct ty_responder {
    int (*respond)(struct ty_request *req, int status, const struct ty_header *headers,
                   size_t header_count, struct ty_slice body);
    int (*begin)(struct ty_request *req, int status, const struct ty_header *headers,
                 size_t header_count, int64_t length);
    int (*write)(struct ty_request *req, struct ty_slice data);
    void (*end)(struct ty_request *req, bool failed);
};

extern const struct ty_responder ty_server_responder, ty_simulated_responder;

/* Lives from handle() until the request is finished. */
struct ty_call {
    struct ty_request *req;
    struct ty_generation *gen;
    const struct ty_responder *to;
    struct ty_fiber *fiber; /* NULL while none is parked */
    int anchor;             /* where the registry keeps the request's table; the call's for good */
    const void *table;      /* that table's address; NULL once the request is over */
    bool streaming;         /* the answer has begun */
    bool has_events;        /* and is text/event-stream */
    bool failing;           /* the error handler had its chance */
    struct ty_tracing *tracing; /* NULL unless somebody looks on: see trace.h */
    struct ty_wait drain;       /* fiber waiting for a slow client */
    struct ty_call *next;       /* in the pool */
};

/* What a route knows beyond struct ty_route; its `data`. */
struct ty_route_notes {
    int status;                        /* of a plain result; 0: 200 */
    bool strict;                       /* a JSON body with a name twice is refused */
    uint32_t slice_max_ms, cpu_max_ms; /* see guard.h; 0: as configured */
    char owner[];                      /* for `tycho ps` */
};

/* Pushes the Lua table of a request (and keeps it in call->anchor). May throw. */
void ty_push_request(lua_State *L, struct ty_call *call);

/* The request is over: the table raises on every lazy field from now on. */
void ty_expire_request(lua_State *L, struct ty_call *call);

/* Pushes the metatable of requests. */
void ty_push_request_metatable(lua_State *L);

/* answer(call, result) -> goes on: sends what a handler returned. Throws if that cannot be sent.
 * True if a fiber of its own sends the rest, and frees the call. */
int ty_answer(lua_State *L);

/* The short cut for a string on top of `co`, without a protected call; false if it is none. */
bool ty_answer_text(struct ty_call *call, lua_State *co);

/* The 500 of last resort. */
void ty_answer_builtin_error(struct ty_call *call);

/* Pushes a table of decoded `application/x-www-form-urlencoded` text. With `all`, each value is
 * a list. Returns false, with nothing pushed, when there are too many names. */
bool ty_push_form(lua_State *L, struct ty_slice text, bool all);

/* Back to the pool; the request is over for Lua too. */
void ty_call_free(struct ty_call *call);

/* Is the error on top of `co` that of a wait that was cancelled? */
bool ty_call_was_cancelled(lua_State *co);

/* Logs the error on top of `co`, with a traceback of it. */
void ty_call_log_failure(struct ty_call *call, lua_State *co);

/* simulate(method, target, headers, body) -> status, headers, body: see http_simulate.c */
int ty_simulate(lua_State *L);

/* trace(): see http_request.c. */
int ty_current_trace(lua_State *L);

/* response_fault(status, headers): see http_make.c. */
int ty_response_fault(lua_State *L);

/* Pushes what ty_answer() has as upvalues 1 to 4: the metatable of responses, "status", "body",
 * "headers". */
void ty_push_response_names(lua_State *L, struct ty_generation *gen);

/* failed(err, traceback): a script answers the error itself; it is counted and logged all the
 * same. */
int ty_call_failed(lua_State *L);
