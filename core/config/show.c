#include "tycho/config.h"

#include <stdlib.h>

#include "config/check.h"
#include "config/entry.h"

enum { KEY_WIDTH = 32, VALUE_WIDTH = 24 };

static void add_padded(struct ty_buf *out, const char *text, size_t width)
{
    size_t len = strlen(text);

    ty_buf_adds(out, text);
    do
        ty_buf_addc(out, ' ');
    while (++len < width);
}

static void add_row(struct ty_buf *out, const char *path, const char *value, const char *origin)
{
    add_padded(out, path, KEY_WIDTH);
    add_padded(out, *value ? value : "\"\"", VALUE_WIDTH);
    ty_buf_addf(out, "%s\n", origin);
}

static void add_value(const struct ty_entry *entry, struct ty_buf *out)
{
    if (entry->secret)
        ty_buf_adds(out, "[redacted]");
    else
        ty_value_format(entry->key, &entry->value, out);
    ty_buf_cstr(out);
}

static void add_text(const char *text, struct ty_buf *out)
{
    for (; *text; text++) {
        bool control = (unsigned char)*text < ' ' || *text == 127;
        ty_buf_add(out, control ? "?" : text, 1);
    }
}

static void add_app_value(const struct ty_node *node, struct ty_buf *out)
{
    if (ty_app_is_secret(node)) {
        ty_buf_adds(out, "[redacted]");
    } else if (node->type == TY_NODE_SCALAR) {
        add_text(node->text, out);
    } else {
        ty_buf_addc(out, node->type == TY_NODE_LIST ? '[' : '{');
        for (size_t i = 0; i < node->count; i++) {
            ty_buf_adds(out, i ? ", " : "");
            if (node->type == TY_NODE_MAP)
                ty_buf_addf(out, "%s: ", node->children[i]->name);
            add_app_value(node->children[i], out);
        }
        ty_buf_addc(out, node->type == TY_NODE_LIST ? ']' : '}');
    }
    ty_buf_cstr(out);
}

static void show_app(const struct ty_node *node, struct ty_buf *path, struct ty_buf *out)
{
    size_t len = path->len;

    if (node->type == TY_NODE_MAP && !ty_app_is_secret(node)) {
        for (size_t i = 0; i < node->count; i++) {
            ty_buf_addc(path, '.');
            add_text(node->children[i]->name, path);
            show_app(node->children[i], path, out);
            path->len = len;
        }
        return;
    }
    struct ty_buf value = {0};
    add_app_value(node, &value);
    add_row(out, ty_buf_cstr(path), value.data, node->origin);
    ty_buf_close(&value);
}

void ty_config_show(const struct ty_config *config, bool json, struct ty_buf *out)
{
    const struct ty_node *app = ty_node_child(config->tree, "app");
    struct ty_buf path = {0};

    if (json) {
        ty_config_show_json(config, out);
        return;
    }
    for (size_t i = 0; i < config->count; i++) {
        const struct ty_entry *entry = &config->entries[i];
        struct ty_buf value = {0};

        add_value(entry, &value);
        add_row(out, entry->path, value.data, entry->origin);
        ty_buf_close(&value);
    }
    ty_buf_adds(&path, "app");
    if (app)
        show_app(app, &path, out);
    ty_buf_close(&path);
}

static void add_fact(struct ty_buf *out, const char *name, const char *text)
{
    ty_buf_adds(out, "  ");
    add_padded(out, name, 12);
    ty_buf_addf(out, "%s\n", *text ? text : "\"\"");
}

static void explain_key(const struct ty_key *key, const char *path, const struct ty_entry *entry,
                        struct ty_buf *out)
{
    struct ty_buf text = {0};

    ty_buf_addf(out, "%s: %s\n\n", path, key->text);
    if (entry) {
        add_value(entry, &text);
        add_fact(out, "value", ty_buf_cstr(&text));
        add_fact(out, "source", entry->origin);
    }
    text.len = 0;
    ty_key_describe(key, &text);
    add_fact(out, "takes", ty_buf_cstr(&text));
    if (key->fallback)
        add_fact(out, "default",
                 key->type == TY_CONFIG_LIST || key->type == TY_CONFIG_NETWORKS ? "[]"
                                                                                : key->fallback);
    add_fact(out, "changes", key->flags & TY_CONFIG_LIVE ? "by a reload" : "by a restart");
    text.len = 0;
    ty_path_variable(path, &text);
    add_fact(out, "variable", ty_buf_cstr(&text));
    if (key->flags & TY_CONFIG_SECRET) {
        ty_buf_adds(&text, "_FILE reads it from a file");
        add_fact(out, "secret", ty_buf_cstr(&text));
    }
    ty_buf_close(&text);
}

/* All keys of a section. */
static void explain_section(const char *path, struct ty_buf *out)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < ty_key_count; i++) {
        const char *key = ty_keys[i].path;
        char start[128];

        if (len < sizeof(start) && strlen(key) > len && key[len] == '.') {
            memcpy(start, key, len);
            start[len] = '\0';
            if (ty_path_matches(start, path)) {
                add_padded(out, key, KEY_WIDTH);
                ty_buf_addf(out, "%s\n", ty_keys[i].text);
            }
        }
    }
}

static void explain_app(const struct ty_config *config, const char *path, struct ty_buf *out)
{
    const struct ty_node *node = ty_node_find(config->tree, path);
    struct ty_buf text = {0};

    ty_buf_adds(out, "app is the application's own: any keys, read with "
                     "require(\"tycho.config\").get\n");
    if (node) {
        ty_buf_adds(&text, path);
        show_app(node, &text, out);
    }
    ty_buf_close(&text);
}

bool ty_config_explain(const struct ty_config *config, const char *path, bool json,
                       struct ty_buf *out)
{
    const struct ty_key *key = ty_key_of(path);
    const struct ty_entry *entry = ty_entry_find(config, path);

    if (key && json) {
        ty_key_explain_json(key, path, entry, out);
    } else if (key) {
        explain_key(key, path, entry, out);
    } else if (ty_path_is_app(path)) {
        explain_app(config, path, out);
    } else if (ty_path_is_section(path)) {
        explain_section(path, out);
    } else {
        ty_buf_addf(out, "%s: no such key", path);
        struct ty_buf best = {0};
        if (ty_check_suggest(path, &best))
            ty_buf_addf(out, "; did you mean %s?", ty_buf_cstr(&best));
        ty_buf_close(&best);
        return false;
    }
    return true;
}
