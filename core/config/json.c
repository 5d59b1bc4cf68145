#include "tycho/config.h"

#include <math.h>
#include <stdlib.h>
#include <yyjson.h>

#include "config/entry.h"

/* A configuration as JSON: nested for programs and for Lua, flat with origins for `config show`. */

static const char redacted[] = "[redacted]";

/* A plain scalar is what YAML's core schema says; another one is a string. */
static yyjson_mut_val *scalar_json(yyjson_mut_doc *doc, const struct ty_node *node)
{
    const char *text = node->text;
    const char *digits = text + (*text == '-' || *text == '+');
    char *end;

    if (!node->plain || ty_node_is_null(node))
        return node->plain ? yyjson_mut_null(doc) : yyjson_mut_str(doc, text);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return yyjson_mut_bool(doc, *text == 't');
    if (*digits && strspn(digits, "0123456789") == strlen(digits) && strlen(digits) < 19)
        return yyjson_mut_sint(doc, strtoll(text, NULL, 10));
    if (*digits >= '0' && *digits <= '9' && strspn(digits, "0123456789.eE+-") == strlen(digits)) {
        double number = strtod(text, &end);
        if (!*end && isfinite(number))
            return yyjson_mut_real(doc, number);
    }
    return yyjson_mut_str(doc, text);
}

static yyjson_mut_val *node_json(yyjson_mut_doc *doc, const struct ty_node *node, bool secrets)
{
    yyjson_mut_val *json;

    if (!secrets && ty_app_is_secret(node))
        return yyjson_mut_str(doc, redacted);
    if (node->type == TY_NODE_SCALAR)
        return scalar_json(doc, node);
    json = node->type == TY_NODE_MAP ? yyjson_mut_obj(doc) : yyjson_mut_arr(doc);
    for (size_t i = 0; i < node->count; i++) {
        const struct ty_node *child = node->children[i];
        yyjson_mut_val *value = node_json(doc, child, secrets);

        if (node->type == TY_NODE_MAP)
            yyjson_mut_obj_add(json, yyjson_mut_str(doc, child->name), value);
        else
            yyjson_mut_arr_append(json, value);
    }
    return json;
}

static yyjson_mut_val *entry_json(yyjson_mut_doc *doc, const struct ty_entry *entry, bool secrets)
{
    const struct ty_value *value = &entry->value;
    yyjson_mut_val *list;

    if (entry->secret && !secrets)
        return yyjson_mut_str(doc, redacted);
    switch (entry->key->type) {
    case TY_CONFIG_BOOLEAN:
        return yyjson_mut_bool(doc, value->number != 0);
    case TY_CONFIG_DURATION:
        if (value->number % 1000)
            return yyjson_mut_real(doc, (double)value->number / 1000);
        return yyjson_mut_sint(doc, value->number / 1000);
    case TY_CONFIG_INTEGER:
    case TY_CONFIG_SIZE:
        return yyjson_mut_sint(doc, value->number);
    case TY_CONFIG_LIST:
    case TY_CONFIG_NETWORKS:
        list = yyjson_mut_arr(doc);
        for (size_t i = 0; i < value->count; i++)
            yyjson_mut_arr_append(list, yyjson_mut_str(doc, value->items[i]));
        return list;
    default:
        return value->text ? yyjson_mut_str(doc, value->text) : yyjson_mut_null(doc);
    }
}

/* The object at `path` less its last part, made where it is missing; *path becomes that part. */
static yyjson_mut_val *object_at(yyjson_mut_doc *doc, yyjson_mut_val *at, const char **path)
{
    const char *dot;

    for (; (dot = strchr(*path, '.')); *path = dot + 1) {
        yyjson_mut_val *below = yyjson_mut_obj_getn(at, *path, (size_t)(dot - *path));

        if (!below) {
            below = yyjson_mut_obj(doc);
            yyjson_mut_obj_add(at, yyjson_mut_strncpy(doc, *path, (size_t)(dot - *path)), below);
        }
        at = below;
    }
    return at;
}

static void add_at(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *path,
                   yyjson_mut_val *value)
{
    yyjson_mut_val *object = object_at(doc, root, &path);

    yyjson_mut_obj_add(object, yyjson_mut_str(doc, path), value);
}

static void write_json(yyjson_mut_doc *doc, yyjson_write_flag flags, struct ty_buf *out)
{
    size_t len;
    char *text = yyjson_mut_write(doc, flags | YYJSON_WRITE_ALLOW_INVALID_UNICODE, &len);

    if (!text)
        abort(); /* out of memory, for something small */
    ty_buf_add(out, text, len);
    free(text);
    yyjson_mut_doc_free(doc);
}

void ty_config_json(const struct ty_config *config, bool secrets, struct ty_buf *out)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    const struct ty_node *app = ty_node_child(config->tree, "app");

    yyjson_mut_doc_set_root(doc, root);
    for (size_t i = 0; i < config->count; i++)
        add_at(doc, root, config->entries[i].path, entry_json(doc, &config->entries[i], secrets));
    if (!config->names[0].count)
        add_at(doc, root, "log.levels", yyjson_mut_obj(doc));
    add_at(doc, root, "app", app ? node_json(doc, app, secrets) : yyjson_mut_obj(doc));
    write_json(doc, 0, out);
}

static void add_shown(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *path,
                      yyjson_mut_val *value, const char *origin)
{
    yyjson_mut_val *shown = yyjson_mut_obj(doc);

    yyjson_mut_obj_add_val(doc, shown, "value", value);
    yyjson_mut_obj_add_str(doc, shown, "source", origin);
    yyjson_mut_obj_add(root, yyjson_mut_strcpy(doc, path), shown);
}

static void show_app(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct ty_node *node,
                     struct ty_buf *path)
{
    size_t len = path->len;

    if (node->type != TY_NODE_MAP || ty_app_is_secret(node)) {
        add_shown(doc, root, ty_buf_cstr(path), node_json(doc, node, false), node->origin);
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        ty_buf_addf(path, ".%s", node->children[i]->name);
        show_app(doc, root, node->children[i], path);
        path->len = len;
    }
}

void ty_config_show_json(const struct ty_config *config, struct ty_buf *out)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    const struct ty_node *app = ty_node_child(config->tree, "app");
    struct ty_buf path = {0};

    yyjson_mut_doc_set_root(doc, root);
    for (size_t i = 0; i < config->count; i++) {
        const struct ty_entry *entry = &config->entries[i];
        add_shown(doc, root, entry->path, entry_json(doc, entry, false), entry->origin);
    }
    ty_buf_adds(&path, "app");
    if (app)
        show_app(doc, root, app, &path);
    write_json(doc, YYJSON_WRITE_PRETTY, out);
    ty_buf_addc(out, '\n');
    ty_buf_close(&path);
}

void ty_key_explain_json(const struct ty_key *key, const char *path, const struct ty_entry *entry,
                         struct ty_buf *out)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    struct ty_buf takes = {0}, variable = {0};

    ty_key_describe(key, &takes);
    ty_path_variable(path, &variable);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "key", path);
    yyjson_mut_obj_add_str(doc, root, "text", key->text);
    yyjson_mut_obj_add_str(doc, root, "takes", ty_buf_cstr(&takes));
    if (key->fallback)
        yyjson_mut_obj_add_str(doc, root, "default", key->fallback);
    yyjson_mut_obj_add_str(doc, root, "changes",
                           key->flags & TY_CONFIG_LIVE ? "reload" : "restart");
    yyjson_mut_obj_add_bool(doc, root, "secret", key->flags & TY_CONFIG_SECRET);
    yyjson_mut_obj_add_str(doc, root, "variable", ty_buf_cstr(&variable));
    if (entry) {
        yyjson_mut_obj_add_val(doc, root, "value", entry_json(doc, entry, false));
        yyjson_mut_obj_add_str(doc, root, "source", entry->origin);
    }
    write_json(doc, YYJSON_WRITE_PRETTY, out);
    ty_buf_addc(out, '\n');
    ty_buf_close(&takes);
    ty_buf_close(&variable);
}
