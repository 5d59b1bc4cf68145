#include "config/tree.h"

#include <stdint.h>
#include <stdlib.h>

#include "tycho/memory.h"

enum { DEPTH_MAX = 64 };

#define NO_TEXT UINT32_MAX

struct ty_node *ty_node_new(enum ty_node_type type, const char *name, const char *text,
                            const char *origin)
{
    struct ty_node *node = ty_zalloc(sizeof(*node));

    node->type = type;
    node->name = name ? ty_strdup(name) : NULL;
    node->text = text ? ty_strdup(text) : NULL;
    node->origin = origin ? ty_strdup(origin) : NULL;
    return node;
}

void ty_node_free(struct ty_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->count; i++)
        ty_node_free(node->children[i]);
    free(node->children);
    free(node->name);
    free(node->text);
    free(node->origin);
    free(node);
}

void ty_node_add(struct ty_node *parent, struct ty_node *child)
{
    if (parent->count == parent->cap) {
        parent->cap = parent->cap ? parent->cap * 2 : 4;
        parent->children = ty_realloc(parent->children, parent->cap * sizeof(struct ty_node *));
    }
    parent->children[parent->count++] = child;
}

static size_t child_index(const struct ty_node *parent, const char *name, size_t len)
{
    size_t i = 0;

    if (parent->type != TY_NODE_MAP)
        return parent->count;
    for (; i < parent->count; i++) {
        const char *other = parent->children[i]->name;
        if (strncmp(other, name, len) == 0 && other[len] == '\0')
            break;
    }
    return i;
}

struct ty_node *ty_node_child(const struct ty_node *parent, const char *name)
{
    size_t i = child_index(parent, name, strlen(name));

    return i < parent->count ? parent->children[i] : NULL;
}

struct ty_node *ty_node_find(const struct ty_node *root, const char *path)
{
    const struct ty_node *node = root;

    for (;;) {
        size_t len = strcspn(path, ".");
        size_t i = child_index(node, path, len);

        if (i == node->count)
            return NULL;
        if (path[len] == '\0')
            return node->children[i];
        node = node->children[i];
        path += len + 1;
    }
}

static struct ty_node *copy(const struct ty_node *node, const char *name)
{
    struct ty_node *twin = ty_node_new(node->type, name, node->text, node->origin);

    twin->plain = node->plain;
    twin->secret = node->secret;
    for (size_t i = 0; i < node->count; i++)
        ty_node_add(twin, copy(node->children[i], node->children[i]->name));
    return twin;
}

struct ty_node *ty_node_wrap(const char *path, const struct ty_node *node)
{
    struct ty_node *root = ty_node_new(TY_NODE_MAP, NULL, NULL, node->origin);
    struct ty_node *at = root;
    const char *dot;

    for (; (dot = strchr(path, '.')); path = dot + 1) {
        char *name = ty_strndup(path, (size_t)(dot - path));
        struct ty_node *map = ty_node_new(TY_NODE_MAP, name, NULL, node->origin);

        free(name);
        ty_node_add(at, map);
        at = map;
    }
    ty_node_add(at, copy(node, path));
    return root;
}

bool ty_node_is_null(const struct ty_node *node)
{
    return node->type == TY_NODE_SCALAR && node->plain &&
           (!*node->text || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

void ty_node_empty(struct ty_node *node)
{
    free(node->text);
    node->text = NULL;
    node->type = TY_NODE_MAP;
    node->plain = false;
}

void ty_node_merge(struct ty_node *under, struct ty_node *over)
{
    for (size_t i = 0; i < over->count; i++) {
        struct ty_node *child = over->children[i];
        size_t at = child_index(under, child->name, strlen(child->name));

        if (at == under->count) {
            ty_node_add(under, child);
        } else if (child->type == TY_NODE_MAP && under->children[at]->type == TY_NODE_MAP) {
            ty_node_merge(under->children[at], child);
        } else {
            ty_node_free(under->children[at]);
            under->children[at] = child;
        }
    }
    over->count = 0; /* all given away */
    ty_node_free(over);
}

static void pack_text(const char *text, struct ty_buf *out)
{
    uint32_t len = text ? (uint32_t)strlen(text) : NO_TEXT;

    ty_buf_add(out, &len, sizeof(len));
    if (text)
        ty_buf_add(out, text, len);
}

void ty_node_pack(const struct ty_node *node, struct ty_buf *out)
{
    uint32_t count = (uint32_t)node->count;

    ty_buf_addc(out, (char)node->type);
    ty_buf_addc(out, (char)((node->plain ? 1 : 0) | (node->secret ? 2 : 0)));
    pack_text(node->name, out);
    pack_text(node->text, out);
    pack_text(node->origin, out);
    ty_buf_add(out, &count, sizeof(count));
    for (size_t i = 0; i < node->count; i++)
        ty_node_pack(node->children[i], out);
}

static bool take(struct ty_slice *in, void *out, size_t len)
{
    if (in->len < len)
        return false;
    memcpy(out, in->data, len);
    in->data += len;
    in->len -= len;
    return true;
}

static bool take_text(struct ty_slice *in, char **out)
{
    uint32_t len;

    if (!take(in, &len, sizeof(len)))
        return false;
    if (len == NO_TEXT)
        return true;
    if (in->len < len || memchr(in->data, '\0', len))
        return false;
    *out = ty_strndup(in->data, len);
    in->data += len;
    in->len -= len;
    return true;
}

static bool unpack(struct ty_slice *in, struct ty_node *node, bool named, int depth)
{
    unsigned char type, flags;
    uint32_t count;

    if (depth > DEPTH_MAX || !take(in, &type, 1) || !take(in, &flags, 1) || type > TY_NODE_MAP ||
        !take_text(in, &node->name) || !take_text(in, &node->text) ||
        !take_text(in, &node->origin) || !take(in, &count, sizeof(count)))
        return false;
    node->type = (enum ty_node_type)type;
    node->plain = flags & 1;
    node->secret = flags & 2;
    if (named != (node->name != NULL) || (type == TY_NODE_SCALAR) != (node->text != NULL) ||
        (type == TY_NODE_SCALAR && count) || !node->origin)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct ty_node *child = ty_zalloc(sizeof(*child));

        ty_node_add(node, child);
        if (!unpack(in, child, type == TY_NODE_MAP, depth + 1))
            return false;
    }
    return true;
}

struct ty_node *ty_node_unpack(const char *data, size_t len)
{
    struct ty_slice in = {data, len};
    struct ty_node *root = ty_zalloc(sizeof(*root));

    if (unpack(&in, root, false, 0) && in.len == 0 && root->type == TY_NODE_MAP)
        return root;
    ty_node_free(root);
    return NULL;
}
