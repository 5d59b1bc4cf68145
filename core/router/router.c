#include "tycho/router.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "router/pattern.h"
#include "tycho/memory.h"

enum { METHODS_ALL = (1 << TY_METHOD_COUNT) - 1 };

/* A route as one pattern's end sees it: two routes of one shape may name their parameters
 * differently, so the names are kept here and not in the tree. */
struct entry {
    struct ty_route *route;
    struct entry *next; /* other methods of the same shape */
    size_t param_count;
    struct ty_slice names[];
};

/* Everything that patterns with one beginning share. A parameter is always a whole segment, so
 * each node can be met at one position of a path only: a match visits no node twice. */
struct node {
    char *text; /* static bytes from the parent to here; none for a parameter */
    size_t text_len;
    struct node **children; /* static, each with another first byte */
    size_t child_count;
    struct node *param;    /* after one {segment} */
    struct entry *rest;    /* {rest...} */
    struct entry *entries; /* a path may end here */
};

struct ty_router {
    struct node *root;
    struct ty_route **routes;
    size_t route_count;
};

static int fault(struct ty_error *error, const struct ty_route *route, const char *why)
{
    return ty_error_set(error, TY_ERR_INVALID, NULL, "%s: route \"%s\": %s",
                        route->where ? route->where : "?", route->pattern, why);
}

/* ----------------------------------------------------------------------------------- tree */

static struct node *node_new(const char *text, size_t len)
{
    struct node *node = ty_zalloc(sizeof(*node));

    node->text = ty_strndup(text, len);
    node->text_len = len;
    return node;
}

static void entries_free(struct entry *entry)
{
    while (entry) {
        struct entry *next = entry->next;

        free(entry);
        entry = next;
    }
}

/* Depth is bounded by the length of the longest pattern, which a developer wrote. */
static void node_free(struct node *node) /* NOLINT(misc-no-recursion) */
{
    if (!node)
        return;
    for (size_t i = 0; i < node->child_count; i++)
        node_free(node->children[i]);
    node_free(node->param);
    entries_free(node->rest);
    entries_free(node->entries);
    free(node->children);
    free(node->text);
    free(node);
}

static void add_child(struct node *node, struct node *child)
{
    node->children = ty_realloc(node->children, (node->child_count + 1) * sizeof(struct node *));
    node->children[node->child_count++] = child;
}

static size_t common_prefix(const struct node *node, const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && n < node->text_len && text[n] == node->text[n])
        n++;
    return n;
}

/* Cuts a node's text at `len`: what it held moves to a new child. */
static void split(struct node *node, size_t len)
{
    struct node *tail = node_new(node->text + len, node->text_len - len);
    char *text = tail->text;
    size_t text_len = tail->text_len;

    *tail = *node;
    tail->text = text;
    tail->text_len = text_len;

    text = ty_strndup(node->text, len);
    free(node->text);
    *node = (struct node){.text = text, .text_len = len};
    add_child(node, tail);
}

static struct node *descend(struct node *node, const char *text, size_t len)
{
    while (len) {
        struct node *child = NULL;

        for (size_t i = 0; i < node->child_count && !child; i++) {
            if (node->children[i]->text[0] == text[0])
                child = node->children[i];
        }
        if (!child) {
            child = node_new(text, len);
            add_child(node, child);
        }

        size_t n = common_prefix(child, text, len);

        if (n < child->text_len)
            split(child, n);
        node = child;
        text += n;
        len -= n;
    }
    return node;
}

/* Where the routes of this pattern's shape are listed; makes the nodes on the way. */
static struct entry **place_of(struct ty_router *router, const char *pattern)
{
    struct node *node = router->root;

    for (const char *at = pattern; *at;) {
        struct ty_part part;

        ty_pattern_next(&at, &part);
        if (part.kind == TY_PART_REST)
            return &node->rest;
        if (part.kind == TY_PART_STATIC) {
            node = descend(node, part.text.data, part.text.len);
        } else {
            if (!node->param)
                node->param = node_new("", 0);
            node = node->param;
        }
    }
    return &node->entries;
}

static int conflict(struct ty_error *error, const struct ty_route *new, const struct ty_route *old)
{
    struct ty_buf methods = {0};

    ty_method_list(new->methods & old->methods, &methods);
    int rc = ty_error_set(error, TY_ERR_CONFLICT, NULL,
                          "%s: route %s \"%s\" conflicts with \"%s\" declared at %s",
                          new->where ? new->where : "?", ty_buf_cstr(&methods), new->pattern,
                          old->pattern, old->where ? old->where : "?");
    ty_buf_close(&methods);
    return rc;
}

struct ty_router *ty_router_new(void)
{
    struct ty_router *router = ty_zalloc(sizeof(*router));

    router->root = node_new("", 0);
    return router;
}

void ty_router_free(struct ty_router *router)
{
    if (!router)
        return;
    node_free(router->root);
    free(router->routes);
    free(router);
}

int ty_router_add(struct ty_router *router, struct ty_route *route, struct ty_error *error)
{
    struct ty_slice names[TY_ROUTE_PARAMS_MAX];
    size_t count;
    const char *why = ty_pattern_check(route->pattern, names, &count);

    if (!why && (!route->methods || (route->methods & ~(unsigned)METHODS_ALL)))
        why = "it has no methods, or unknown ones";
    if (why)
        return fault(error, route, why);

    struct entry **place = place_of(router, route->pattern);

    for (struct entry *e = *place; e; e = e->next) {
        if (e->route->methods & route->methods)
            return conflict(error, route, e->route);
    }

    struct entry *entry = ty_alloc(sizeof(*entry) + count * sizeof(names[0]));

    *entry = (struct entry){.route = route, .next = *place, .param_count = count};
    if (count)
        memcpy(entry->names, names, count * sizeof(names[0]));
    *place = entry;

    router->routes =
        ty_realloc(router->routes, (router->route_count + 1) * sizeof(struct ty_route *));
    router->routes[router->route_count++] = route;
    return 0;
}

void ty_router_each(const struct ty_router *router, void (*each)(struct ty_route *, void *),
                    void *arg)
{
    for (size_t i = 0; i < router->route_count; i++)
        each(router->routes[i], arg);
}

/* ---------------------------------------------------------------------------------- match */

/* A node that a match went past by static text or a parameter, and what it had till then. */
struct point {
    const struct node *node;
    size_t at;
    size_t param_count;
    bool tried_param;
};

struct walk {
    struct ty_slice path;
    enum ty_method method;
    struct ty_match *match;
    size_t point_count;
    struct point points[TY_PATTERN_SEGMENTS_MAX];
};

static const struct entry *entry_for(const struct entry *entry, unsigned method)
{
    while (entry && !(entry->route->methods & method))
        entry = entry->next;
    return entry;
}

/* The path matches a pattern that has these routes: done if one is for the method. */
static bool take(struct walk *walk, const struct entry *entries)
{
    const struct entry *entry = entry_for(entries, walk->method);

    if (!entry && walk->method == TY_HEAD)
        entry = entry_for(entries, TY_GET);
    if (!entry) {
        for (const struct entry *e = entries; e; e = e->next)
            walk->match->allow |= e->route->methods;
        return false;
    }
    walk->match->route = entry->route;
    walk->match->param_count = entry->param_count;
    for (size_t i = 0; i < entry->param_count; i++)
        walk->match->params[i].name = entry->names[i];
    return true;
}

static const struct node *static_child(const struct node *node, struct ty_slice path, size_t at)
{
    size_t left = path.len - at;

    if (!left)
        return NULL;
    for (size_t i = 0; i < node->child_count; i++) {
        const struct node *child = node->children[i];

        if (child->text[0] != path.data[at])
            continue;
        if (child->text_len <= left && memcmp(child->text, path.data + at, child->text_len) == 0)
            return child;
        return NULL;
    }
    return NULL;
}

static size_t segment_end(struct ty_slice path, size_t at)
{
    const char *slash = at < path.len ? memchr(path.data + at, '/', path.len - at) : NULL;

    return slash ? (size_t)(slash - path.data) : path.len;
}

static void keep_point(struct walk *walk, const struct point *point, bool tried_param)
{
    assert(walk->point_count < TY_PATTERN_SEGMENTS_MAX);
    walk->points[walk->point_count] = *point;
    walk->points[walk->point_count++].tried_param = tried_param;
}

/* Static text first: moves on over it if it can. */
static bool step_static(struct walk *walk, struct point *here)
{
    const struct node *child = static_child(here->node, walk->path, here->at);

    if (!child)
        return false;
    if (here->node->param || here->node->rest)
        keep_point(walk, here, false);
    here->at += child->text_len;
    here->node = child;
    return true;
}

static bool step_param(struct walk *walk, struct point *here)
{
    const struct node *node = here->node;

    if (!node->param || here->tried_param)
        return false;

    size_t end = segment_end(walk->path, here->at);

    if (end == here->at)
        return false;
    if (node->rest)
        keep_point(walk, here, true);
    walk->match->params[here->param_count++].value =
        (struct ty_slice){walk->path.data + here->at, end - here->at};
    here->at = end;
    here->node = node->param;
    return true;
}

static bool take_rest(struct walk *walk, const struct point *here)
{
    if (!here->node->rest || here->at == walk->path.len)
        return false;
    walk->match->params[here->param_count].value =
        (struct ty_slice){walk->path.data + here->at, walk->path.len - here->at};
    return take(walk, here->node->rest);
}

static void find(struct walk *walk, const struct node *root)
{
    struct point here = {.node = root};
    bool fresh = true; /* not gone back to */

    for (;;) {
        if (fresh) {
            if (here.at == walk->path.len && here.node->entries && take(walk, here.node->entries))
                return;
            if (step_static(walk, &here))
                continue;
        }
        fresh = step_param(walk, &here);
        if (fresh) {
            here.tried_param = false;
            continue;
        }
        if (take_rest(walk, &here) || !walk->point_count)
            return;
        here = walk->points[--walk->point_count];
    }
}

void ty_router_match(const struct ty_router *router, enum ty_method method, struct ty_slice path,
                     struct ty_match *match)
{
    struct walk walk;

    walk.path = path;
    walk.method = method;
    walk.match = match;
    walk.point_count = 0;
    match->route = NULL;
    match->allow = 0;
    match->param_count = 0;
    find(&walk, router->root);

    if (match->route) {
        match->allow = 0;
    } else if (match->allow) {
        match->allow |= TY_OPTIONS;
        if (match->allow & TY_GET)
            match->allow |= TY_HEAD;
    }
}
