#include "config/sources.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "config/check.h"
#include "config/value.h"
#include "config/yaml.h"
#include "tycho/memory.h"

extern char **environ;

enum { SECRET_FILE_MAX = 64 * 1024, ENV_MAX = 64 };

static const char default_path[] = "conf/tycho.yaml";

static void lay_over(struct ty_node *root, struct ty_node *over, struct ty_faults *faults)
{
    if (!over)
        return;
    ty_check_tree(over, faults);
    ty_node_merge(root, over);
}

/* ------------------------------------------------- values that come as one line of text */

/* Does text without quotes mean something else than itself? Numbers only when they would be
 * written back the same, so that 007 and +1 stay what they are. */
static bool reads_as_value(const char *text)
{
    char *end;

    if (!strcmp(text, "true") || !strcmp(text, "false") || !strcmp(text, "null"))
        return true;
    const char *digits = text + (*text == '-');
    if (!isdigit((unsigned char)*digits) || (*digits == '0' && isdigit((unsigned char)digits[1])))
        return false;
    (void)strtod(text, &end);
    return *end == '\0' && strspn(digits, "0123456789.eE+-") == strlen(digits);
}

static struct ty_node *list_node(const char *text, const char *origin)
{
    struct ty_node *list = ty_node_new(TY_NODE_LIST, NULL, NULL, origin);

    while (*text) {
        size_t len = strcspn(text, ",");
        const char *from = text, *to = text + len;

        while (from < to && *from == ' ')
            from++;
        while (from < to && to[-1] == ' ')
            to--;
        char *item = ty_strndup(from, (size_t)(to - from));
        ty_node_add(list, ty_node_new(TY_NODE_SCALAR, NULL, item, origin));
        free(item);
        text += len + (text[len] == ',');
    }
    return list;
}

/* `text` as the value of `path`: as its key wants it, or in the application's tree as what it
 * replaces is, or else as YAML would read it. */
static struct ty_node *value_node(const struct ty_node *root, const char *path, const char *text,
                                  const char *origin)
{
    const struct ty_key *key = ty_key_of(path);
    const struct ty_node *old = ty_node_find(root, path);

    if (key && (key->type == TY_CONFIG_LIST || key->type == TY_CONFIG_NETWORKS))
        return list_node(text, origin);
    if (!key && old && old->type == TY_NODE_LIST)
        return list_node(text, origin);

    struct ty_node *node = ty_node_new(TY_NODE_SCALAR, NULL, text, origin);
    if (key)
        node->plain = key->type == TY_CONFIG_INTEGER || key->type == TY_CONFIG_BOOLEAN;
    else if (old && old->type == TY_NODE_SCALAR)
        node->plain = old->plain && reads_as_value(old->text) && reads_as_value(text);
    else
        node->plain = reads_as_value(text);
    return node;
}

static void set_value(struct ty_node *root, const char *path, struct ty_node *value,
                      struct ty_faults *faults)
{
    lay_over(root, ty_node_wrap(path, value), faults);
    ty_node_free(value);
}

/* --------------------------------------------------------------------- the environment */

/* The path that a variable's name stands for, in the case in which the application's tree has
 * it. False: empty parts. */
static bool path_of_variable(const struct ty_node *root, const char *name, size_t len,
                             struct ty_buf *path)
{
    const struct ty_node *at = root;

    for (size_t i = 0; i < len;) {
        size_t start = path->len;

        for (; i < len && !(name[i] == '_' && i + 1 < len && name[i + 1] == '_'); i++)
            ty_buf_addc(path, (char)tolower((unsigned char)name[i]));
        if (path->len == start)
            return false;
        ty_buf_cstr(path);
        const struct ty_node *below = NULL;
        for (size_t c = 0; at && at->type == TY_NODE_MAP && c < at->count; c++) {
            if (strcasecmp(at->children[c]->name, path->data + start) == 0)
                below = at->children[c];
        }
        if (below)
            memcpy(path->data + start, below->name, path->len - start);
        at = below;
        if (i < len) {
            i += 2;
            ty_buf_addc(path, '.');
            if (i == len)
                return false;
        }
    }
    return path->len > 0;
}

static struct ty_node *secret_from_file(const char *variable, const char *path,
                                        struct ty_faults *faults)
{
    struct ty_buf text = {0};
    struct ty_node *node = NULL;
    int code = ty_read_file(path, SECRET_FILE_MAX, &text);

    if (code == 0 && text.len && memchr(text.data, '\0', text.len))
        code = -EINVAL;
    if (code) {
        ty_fault(faults, "%s: %s: cannot be read: %s", variable, path, strerror(-code));
    } else {
        if (text.len && text.data[text.len - 1] == '\n')
            text.len--;
        if (text.len && text.data[text.len - 1] == '\r')
            text.len--;
        node = ty_node_new(TY_NODE_SCALAR, NULL, ty_buf_cstr(&text), variable);
        node->secret = true;
    }
    ty_buf_close(&text);
    return node;
}

static bool has_variable(const char *const *environ_, const char *name, size_t len)
{
    for (; *environ_; environ_++)
        if (strncmp(*environ_, name, len) == 0 && (*environ_)[len] == '=')
            return true;
    return false;
}

/* One `TYCHO_...=value`. Single words are the program's own (TYCHO_ENV), but for keys that
 * are in no section. */
static void read_variable(struct ty_node *root, const char *entry, const char *const *environ_,
                          struct ty_faults *faults)
{
    enum { PREFIX = 6, SUFFIX = 5 };
    size_t len = strcspn(entry, "=");
    struct ty_buf path = {0};
    char *name = ty_strndup(entry, len);
    const char *text = entry + len + 1;
    bool nested = strstr(name + PREFIX, "__") != NULL;
    bool valid = path_of_variable(root, name + PREFIX, len - PREFIX, &path);
    bool file = nested && len > PREFIX + SUFFIX && !strcasecmp(name + len - SUFFIX, "_FILE") &&
                !(valid && ty_key_of(ty_buf_cstr(&path)));

    if (file) {
        path.len = 0;
        valid = path_of_variable(root, name + PREFIX, len - PREFIX - SUFFIX, &path);
    }
    ty_buf_cstr(&path);
    if (!valid) {
        if (nested)
            ty_fault(faults, "%s: expected TYCHO_SECTION__KEY", name);
    } else if (file && has_variable(environ_, name, len - SUFFIX)) {
        ty_fault(faults, "%s: %.*s is set as well; remove one", name, (int)(len - SUFFIX), name);
    } else if (file) {
        struct ty_node *secret = secret_from_file(name, text, faults);
        if (secret)
            set_value(root, path.data, secret, faults);
    } else if (nested || (ty_key_of(path.data) && strcmp(path.data, "env") != 0)) {
        set_value(root, path.data, value_node(root, path.data, text, name), faults);
    }
    ty_buf_close(&path);
    free(name);
}

static const char *variable(const char *const *environ_, const char *name)
{
    size_t len = strlen(name);

    for (; *environ_; environ_++)
        if (strncmp(*environ_, name, len) == 0 && (*environ_)[len] == '=')
            return *environ_ + len + 1;
    return NULL;
}

/* --------------------------------------------------------------------- the command line */

static void read_override(struct ty_node *root, const char *text, struct ty_faults *faults)
{
    size_t len = strcspn(text, "=");
    char *path = ty_strndup(text, len);

    /* The text may be a secret that came without its key: it is not repeated. */
    if (!text[len] || !*path || *path == '.' || path[len - 1] == '.' || strstr(path, ".."))
        ty_fault(faults, "--set: expected KEY=VALUE, such as http.port=8080");
    else
        set_value(root, path, value_node(root, path, text + len + 1, "--set"), faults);
    free(path);
}

/* -------------------------------------------------------------------------------- files */

/* "conf/tycho.yaml" and "dev" make "conf/tycho.dev.yaml". */
static char *path_for_env(const char *path, const char *env)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    size_t stem = dot ? (size_t)(dot - path) : strlen(path);

    return ty_asprintf("%.*s.%s%s", (int)stem, path, env, path + stem);
}

static bool is_env(const char *env)
{
    return *env && strlen(env) < ENV_MAX &&
           strspn(env, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(env);
}

static void read_env_file(struct ty_node *root, const char *base, const char *env,
                          const char *origin, struct ty_faults *faults)
{
    static const char *const usual[] = {"dev", "test", "production"};
    bool missing = false;

    if (!is_env(env)) {
        ty_fault(faults, "%s: an environment's name has lower-case letters, digits, - and _ only",
                 origin);
        return;
    }
    char *path = path_for_env(base, env);
    lay_over(root, ty_yaml_read(path, &missing, faults), faults);
    for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
        missing = missing && strcmp(env, usual[i]) != 0;
    if (missing)
        ty_fault(faults, "%s: environment %s has no file: %s is not there", origin, env, path);
    free(path);

    struct ty_node *value = ty_node_new(TY_NODE_SCALAR, NULL, env, origin);
    set_value(root, "env", value, faults);
}

/* The file, and the file of the environment: who names that last is heard. */
static void read_files(struct ty_node *root, const struct ty_config_source *source,
                       const char *const *environ_, struct ty_faults *faults)
{
    const char *base = source->path ? source->path : default_path;
    const char *origin = "--env", *env = source->env;
    bool missing = false;

    lay_over(root, ty_yaml_read(base, source->path ? NULL : &missing, faults), faults);
    for (const char *const *at = source->overrides; !env && at && *at; at++) {
        if (strncmp(*at, "env=", 4) == 0) {
            env = *at + 4;
            origin = "--set";
        }
    }
    if (!env) {
        env = variable(environ_, "TYCHO_ENV");
        origin = "TYCHO_ENV";
    }
    const struct ty_node *own = ty_node_find(root, "env");
    if ((!env || !*env) && own && own->type == TY_NODE_SCALAR) {
        char *copy = ty_strdup(own->text), *from = ty_strdup(own->origin);
        if (*copy)
            read_env_file(root, base, copy, from, faults);
        free(copy);
        free(from);
    } else if (env && *env) {
        read_env_file(root, base, env, origin, faults);
    }
}

struct ty_node *ty_sources_read(const struct ty_config_source *source, struct ty_faults *faults)
{
    const char *const *environ_ =
        source->environ_ ? source->environ_ : (const char *const *)environ;
    struct ty_node *root = ty_node_new(TY_NODE_MAP, NULL, NULL, "default");

#define X(path, text) \
    set_value(root, path, ty_node_new(TY_NODE_SCALAR, NULL, text, "default"), faults);
    TY_CONFIG_PRESETS(X)
#undef X
    read_files(root, source, environ_, faults);
    for (const char *const *at = environ_; *at; at++)
        if (strncmp(*at, "TYCHO_", 6) == 0 && strchr(*at, '='))
            read_variable(root, *at, environ_, faults);
    for (const char *const *at = source->overrides; at && *at; at++)
        if (strncmp(*at, "env=", 4) != 0)
            read_override(root, *at, faults);
    return root;
}
