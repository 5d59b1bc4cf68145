/* What configuration files and variables say, before anybody knows what it means.
 *
 * A tree of maps, lists and scalars that remembers where each of them came from. Sources are
 * merged by laying one tree over another; checking and reading work on the result. It is also
 * what travels to another process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tycho/buffer.h"

enum ty_node_type { TY_NODE_SCALAR, TY_NODE_LIST, TY_NODE_MAP };

struct ty_node {
    enum ty_node_type type;
    bool plain;   /* scalar without quotes: true, 5 and null mean what they look like */
    bool secret;  /* never printed, whatever its key */
    char *name;   /* in the map above; NULL in a list and at the top */
    char *text;   /* of a scalar */
    char *origin; /* "conf/tycho.yaml:3", "TYCHO_HTTP__PORT", "--set", "default" */
    struct ty_node **children;
    size_t count;
    size_t cap;
};

/* Strings are copied; `name` and `text` may be NULL. */
struct ty_node *ty_node_new(enum ty_node_type type, const char *name, const char *text,
                            const char *origin);
void ty_node_free(struct ty_node *node); /* with all below; NULL is fine */

void ty_node_add(struct ty_node *parent, struct ty_node *child);               /* takes the child */
struct ty_node *ty_node_child(const struct ty_node *parent, const char *name); /* NULL: none */

/* Follows `path` ("databases.default.url") down; NULL when it ends early. */
struct ty_node *ty_node_find(const struct ty_node *root, const char *path);

/* A copy of `node`, wrapped in the maps that `path` names: {a: {b: node}} for "a.b". The last
 * part becomes its name. */
struct ty_node *ty_node_wrap(const char *path, const struct ty_node *node);

/* A plain scalar that is empty, ~ or null. */
bool ty_node_is_null(const struct ty_node *node);

/* Turns a scalar into a map without members. */
void ty_node_empty(struct ty_node *node);

/* Lays `over` over `under`: maps are merged, everything else is replaced. Frees `over`. */
void ty_node_merge(struct ty_node *under, struct ty_node *over);

void ty_node_pack(const struct ty_node *node, struct ty_buf *out);
/* NULL when the bytes are not what ty_node_pack() wrote. */
struct ty_node *ty_node_unpack(const char *data, size_t len);
