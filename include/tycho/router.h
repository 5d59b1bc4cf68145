/* Which route a path belongs to: a radix tree, built once per generation, then read-only.
 *
 * Patterns are static text, `{name}` for one whole, non-empty segment, and `{name...}` at the end
 * for the rest (at least one byte). A more specific pattern that lacks the method does not hide a
 * less specific one that has it. Static text wins over a parameter, a parameter over a catch-all,
 * decided byte by byte with backtracking bounded by the number of segments. Two routes that could
 * answer the same method and path with the same precedence are a conflict, refused when added.
 * Matching allocates nothing and visits no node of the tree twice: for a set of routes, its time is
 * linear in the path.
 *
 * Paths are matched after percent-decoding, except that an encoded slash never separates
 * segments: ty_path_decode() turns it into NUL (which cannot occur otherwise), and parameter values
 * give it back as '/'.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tycho/buffer.h"
#include "tycho/error.h"

enum ty_method {
    TY_GET = 1 << 0,
    TY_HEAD = 1 << 1,
    TY_POST = 1 << 2,
    TY_PUT = 1 << 3,
    TY_PATCH = 1 << 4,
    TY_DELETE = 1 << 5,
    TY_OPTIONS = 1 << 6,
};

enum { TY_METHOD_COUNT = 7, TY_ROUTE_PARAMS_MAX = 16, TY_ROUTE_STATUS_CLASSES = 6 };

struct ty_series;
struct ty_exchange;

/* Requests of one route, or of none, as the server counts them (core/http/admission.h). */
struct ty_lane {
    uint32_t max; /* the engine's: so many run at once in a process; 0: any number */
    uint32_t running;
    uint32_t waiting;
    struct ty_exchange *first, *last; /* of those that wait */
    struct ty_lane *prev, *next;      /* where somebody waits */
};

/* One declared route. The engine owns it; it lives as long as the router. */
struct ty_route {
    const char *pattern; /* "/api/order/{id}" */
    const char *where;   /* "app/orders.lua:12", for conflicts, `tycho routes` and ps */
    unsigned methods;    /* set of enum ty_method; HEAD and OPTIONS are added by the matcher */
    size_t body_max;     /* bytes; 0: the server's default */
    uint32_t timeout_ms; /* of the handler; 0: the server's default */
    int ref;             /* the engine's */
    void *data;          /* the engine's */
    /* the server's, by first digit */
    struct ty_series *series[TY_METHOD_COUNT][TY_ROUTE_STATUS_CLASSES];
    struct ty_lane lane;
};

struct ty_param {
    struct ty_slice name;  /* lives with the router */
    struct ty_slice value; /* inside the path given to ty_router_match(); may hold NUL for "%2F" */
};

struct ty_match {
    struct ty_route *route; /* NULL: no such path (allow is 0), or not with this method */
    unsigned allow; /* while route is NULL: what the path answers, automatic methods included */
    size_t param_count;
    struct ty_param params[TY_ROUTE_PARAMS_MAX];
};

struct ty_router;

struct ty_router *ty_router_new(void);
void ty_router_free(struct ty_router *router);

/* 0, or -1: `error` says what is wrong with the pattern, or names both places of a conflict. */
int ty_router_add(struct ty_router *router, struct ty_route *route, struct ty_error *error);

/* `path` is decoded. A route for GET also answers HEAD unless one is declared for HEAD. OPTIONS
 * without a route of its own: route NULL and allow set. */
void ty_router_match(const struct ty_router *router, enum ty_method method, struct ty_slice path,
                     struct ty_match *match);

/* Calls `each` for every route, in the order of adding. */
void ty_router_each(const struct ty_router *router, void (*each)(struct ty_route *, void *),
                    void *arg);

/* Percent-decodes `raw` into `out` (at least raw.len bytes; may be raw.data). Returns the length,
 * or -1 on a bad escape or an encoded NUL. */
ptrdiff_t ty_path_decode(struct ty_slice raw, char *out);

/* "GET" -> TY_GET; 0 if it is none that routes can have. */
unsigned ty_method_parse(const char *name, size_t len);
const char *ty_method_name(enum ty_method method);
/* "GET, HEAD, OPTIONS" for a set, into `out`. */
void ty_method_list(unsigned methods, struct ty_buf *out);
