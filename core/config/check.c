#include "config/check.h"

#include <ctype.h>
#include <stdio.h>

#include "config/value.h"
#include "tycho/config.h"
#include "tycho/suggest.h"

enum { PATH_MAX_ = 256, NAME_MAX_ = 64, SHOWN_MAX = 60 };

static const struct ty_section {
    const char *path;
    const char *text;
} sections[] = {
#define X(path, text) {path, text},
    TY_CONFIG_SECTIONS(X)
#undef X
};

bool ty_path_is_section(const char *path)
{
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
        if (ty_path_matches(sections[i].path, path))
            return true;
    return false;
}

bool ty_path_is_app(const char *path)
{
    return strncmp(path, "app", 3) == 0 && (!path[3] || path[3] == '.');
}

/* Offers `pattern` with its stars replaced by what `path` has there. */
static void offer(struct ty_suggest *suggest, const char *pattern, const char *path)
{
    char candidate[TY_SUGGEST_MAX];
    size_t len = 0;

    for (;;) {
        size_t part = strcspn(pattern, "."), own = strcspn(path, ".");
        bool star = part == 1 && *pattern == '*' && own;
        const char *from = star ? path : pattern;
        size_t add = star ? own : part;

        if (len + add + 2 > sizeof(candidate))
            return;
        memcpy(candidate + len, from, add);
        len += add;
        if (!pattern[part])
            break;
        candidate[len++] = '.';
        pattern += part + 1;
        path += own + (path[own] != '\0');
    }
    candidate[len] = '\0';
    ty_suggest_offer(suggest, candidate);
}

/* A key of that last name in some other section. */
static const char *same_name_elsewhere(const char *path)
{
    const char *dot = strrchr(path, '.');
    const char *name = dot ? dot + 1 : path;

    for (size_t i = 0; i < ty_key_count; i++) {
        const char *last = strrchr(ty_keys[i].path, '.');
        if (last && strcmp(last + 1, name) == 0 && !strchr(ty_keys[i].path, '*'))
            return ty_keys[i].path;
    }
    return NULL;
}

bool ty_check_suggest(const char *path, struct ty_buf *out)
{
    struct ty_suggest suggest;

    ty_suggest_init(&suggest, path);
    for (size_t i = 0; i < ty_key_count; i++)
        offer(&suggest, ty_keys[i].path, path);
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
        offer(&suggest, sections[i].path, path);

    const char *elsewhere = suggest.distance > 1 ? same_name_elsewhere(path) : NULL;
    const char *best = elsewhere ? elsewhere : *suggest.best ? suggest.best : NULL;
    if (best)
        ty_buf_adds(out, best);
    return best != NULL;
}

static void fault_unknown(const struct ty_node *node, const char *path, struct ty_faults *faults)
{
    const char *what = node->type == TY_NODE_MAP ? "section" : "key";
    struct ty_buf best = {0};

    if (strchr(node->name, '.'))
        ty_fault(faults, "%s: %s: no such key; write each part of a name as a section of its own",
                 node->origin, path);
    else if (ty_check_suggest(path, &best))
        ty_fault(faults, "%s: %s: no such %s; did you mean %s?", node->origin, path, what,
                 ty_buf_cstr(&best));
    else
        ty_fault(faults, "%s: %s: no such %s; `tycho config default` lists all", node->origin, path,
                 what);
    ty_buf_close(&best);
}

static void add_text(const struct ty_key *key, const struct ty_node *node, struct ty_buf *out)
{
    bool typed = key->type == TY_CONFIG_INTEGER || key->type == TY_CONFIG_BOOLEAN;
    size_t len = strlen(node->text);

    ty_buf_adds(out, typed && !node->plain ? ", found the text \"" : ", found \"");
    ty_buf_add_json(out, node->text, len < SHOWN_MAX ? len : SHOWN_MAX);
    ty_buf_adds(out, len < SHOWN_MAX ? "\"" : "...\"");
}

/* What was found instead, unless it may be a secret. */
static void add_found(const struct ty_key *key, const struct ty_node *node, struct ty_buf *out)
{
    bool list = key->type == TY_CONFIG_LIST || key->type == TY_CONFIG_NETWORKS;
    bool secret = node->secret || (key->flags & TY_CONFIG_SECRET);

    if (node->type == TY_NODE_MAP)
        ty_buf_adds(out, ", found a section");
    else if (node->type == TY_NODE_LIST)
        ty_buf_adds(out, list ? "" : ", found a list");
    else if (ty_node_is_null(node))
        ty_buf_adds(out, ", found nothing");
    else if (secret || strstr(node->text, "://") || strchr(node->text, '@'))
        ty_buf_adds(out, ", found something else, not shown");
    else
        add_text(key, node, out);
}

static void check_value(const struct ty_key *key, const struct ty_node *node, const char *path,
                        struct ty_faults *faults)
{
    struct ty_value value;
    struct ty_buf what = {0};

    if (ty_value_parse(key, node, &value)) {
        ty_value_close(&value);
        return;
    }
    ty_key_describe(key, &what);
    add_found(key, node, &what);
    ty_fault(faults, "%s: %s: expected %s", node->origin, path, ty_buf_cstr(&what));
    ty_buf_close(&what);
}

/* Names chosen by the user have to fit into environment variables too. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);

    if (!islower((unsigned char)*name) || len > NAME_MAX_ || strstr(name, "__"))
        return false;
    for (; *name; name++)
        if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name) && *name != '_')
            return false;
    return true;
}

static void check_map(struct ty_node *map, const char *above, struct ty_faults *faults);

static void check_member(struct ty_node *node, const char *above, struct ty_faults *faults)
{
    char path[PATH_MAX_];
    const struct ty_key *key;

    if (strlen(above) + strlen(node->name) + 2 > sizeof(path)) {
        ty_fault(faults, "%s: %.*s...: no such key", node->origin, SHOWN_MAX, node->name);
        return;
    }
    snprintf(path, sizeof(path), "%s%s", above, node->name);

    bool section = ty_path_is_section(path);
    if (section && ty_node_is_null(node))
        ty_node_empty(node);
    if (section && node->type != TY_NODE_MAP) {
        ty_fault(faults, "%s: %s: expected a section: its keys on lines of their own, indented",
                 node->origin, path);
    } else if (!strchr(node->name, '.') && ((key = ty_key_of(path)) || section)) {
        bool named = !strcmp(above, "databases.") || !strcmp(above, "log.levels.");
        if (named && !is_name(node->name))
            ty_fault(faults, "%s: %s: a name has lower-case letters, digits and single _ only",
                     node->origin, path);
        else if (key)
            check_value(key, node, path, faults);
        else if (!ty_path_is_app(path))
            check_map(node, path, faults);
    } else {
        fault_unknown(node, path, faults);
    }
}

static void check_map(struct ty_node *map, const char *above, struct ty_faults *faults)
{
    char prefix[PATH_MAX_ + 1];

    snprintf(prefix, sizeof(prefix), "%s%s", above, *above ? "." : "");
    for (size_t i = 0; i < map->count; i++)
        check_member(map->children[i], prefix, faults);
}

void ty_check_tree(struct ty_node *root, struct ty_faults *faults)
{
    check_map(root, "", faults);
}

/* The value in force, and the origin of it. */
static const char *value_of(const struct ty_node *root, const char *path, struct ty_value *value)
{
    const struct ty_key *key = ty_key_of(path);
    const struct ty_node *node = ty_node_find(root, path);

    if (node && ty_value_parse(key, node, value))
        return node->origin;
    ty_value_default(key, value);
    return "default";
}

static void check_order(const struct ty_node *root, const char *small, const char *large,
                        struct ty_faults *faults)
{
    struct ty_value low, high;
    const char *low_origin = value_of(root, small, &low);
    const char *high_origin = value_of(root, large, &high);

    if (low.number > high.number)
        ty_fault(faults, "%s: %s: must not be more than %s (%s)", low_origin, small, large,
                 high_origin);
    ty_value_close(&low);
    ty_value_close(&high);
}

/* Else the master kills the worker, with all its requests, before the guard can end the one. */
static void check_guard(const struct ty_node *root, struct ty_faults *faults)
{
    struct ty_value slice, silence;
    const char *origin = value_of(root, "lua.slice_max", &slice);
    const char *other = value_of(root, "host.heartbeat_timeout", &silence);
    bool is_close = slice.number + TY_CONFIG_GUARD_MARGIN_MS > silence.number;

    if (is_close && strcmp(origin, "default") == 0)
        ty_fault(faults,
                 "%s: host.heartbeat_timeout: must be at least %dms more than lua.slice_max (%s)",
                 other, TY_CONFIG_GUARD_MARGIN_MS, origin);
    else if (is_close)
        ty_fault(faults,
                 "%s: lua.slice_max: must be at least %dms less than host.heartbeat_timeout (%s)",
                 origin, TY_CONFIG_GUARD_MARGIN_MS, other);
    ty_value_close(&slice);
    ty_value_close(&silence);
}

static bool is_any_address(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static void check_ports(const struct ty_node *root, struct ty_faults *faults)
{
    struct ty_value host, port, admin_host, admin_port;

    value_of(root, "http.host", &host);
    const char *origin = value_of(root, "http.port", &port);
    value_of(root, "admin.host", &admin_host);
    const char *admin_origin = value_of(root, "admin.port", &admin_port);

    const char *a = host.text ? host.text : "0.0.0.0";
    const char *b = admin_host.text ? admin_host.text : "0.0.0.0";
    if (port.number && port.number == admin_port.number &&
        (strcmp(a, b) == 0 || is_any_address(a) || is_any_address(b)))
        ty_fault(faults, "%s: http.port: is also admin.port (%s); give each its own", origin,
                 admin_origin);
    ty_value_close(&host);
    ty_value_close(&port);
    ty_value_close(&admin_host);
    ty_value_close(&admin_port);
}

void ty_check_whole(const struct ty_node *root, struct ty_faults *faults)
{
    const struct ty_node *databases = ty_node_find(root, "databases");

    check_order(root, "http.field_max", "http.header_max", faults);
    check_order(root, "http.target_max", "http.header_max", faults);
    check_guard(root, faults);
    check_ports(root, faults);
    for (size_t i = 0; databases && i < databases->count; i++) {
        const struct ty_node *database = databases->children[i];
        if (!ty_node_child(database, "url"))
            ty_fault(faults, "%s: databases.%s.url: missing", database->origin, database->name);
    }
}
