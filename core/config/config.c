#include "tycho/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/check.h"
#include "config/entry.h"
#include "config/sources.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { PATH_MAX_ = 256 };

/* ------------------------------------------------------------------------------- making */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void collect_names(struct ty_names *names, const struct ty_node *tree, const char *section)
{
    const struct ty_node *node = ty_node_find(tree, section);
    size_t count = node ? node->count : 0;

    names->section = section;
    names->names = ty_zalloc((count + 1) * sizeof(*names->names));
    for (size_t i = 0; i < count; i++)
        names->names[names->count++] = node->children[i]->name;
    qsort(names->names, names->count, sizeof(*names->names), compare_names);
}

static void add_entry(struct ty_config *config, const struct ty_key *key, const char *path)
{
    const struct ty_node *node = ty_node_find(config->tree, path);
    struct ty_entry *entry = &config->entries[config->count++];

    *entry = (struct ty_entry){.key = key, .path = ty_strdup(path), .origin = "default"};
    if (node && ty_value_parse(key, node, &entry->value))
        entry->origin = node->origin;
    else
        ty_value_default(key, &entry->value);

    /* What the program itself comes with is no secret. */
    bool secret = (key->flags & TY_CONFIG_SECRET) && strcmp(entry->origin, "default") != 0;
    entry->secret = secret || (node && node->secret);
}

/* The entries of one name below a star: all rows of the table that begin like it. */
static void add_named(struct ty_config *config, const struct ty_names *names)
{
    size_t len = strlen(names->section);
    char path[PATH_MAX_];

    for (size_t n = 0; n < names->count; n++) {
        for (size_t i = 0; i < ty_key_count; i++) {
            const char *pattern = ty_keys[i].path;
            if (strncmp(pattern, names->section, len) != 0 || strncmp(pattern + len, ".*", 2) != 0)
                continue;
            snprintf(path, sizeof(path), "%s.%s%s", names->section, names->names[n],
                     pattern + len + 2);
            add_entry(config, &ty_keys[i], path);
        }
    }
}

static void free_names(struct ty_names *names)
{
    free(names->names);
}

struct ty_config *ty_config_of_tree(struct ty_node *tree)
{
    static const char *const stars[TY_CONFIG_STARS] = {"log.levels", "databases"};
    struct ty_config *config = ty_zalloc(sizeof(*config));
    size_t named = 0, star = 0;

    config->refs = 1;
    config->tree = tree;
    for (size_t i = 0; i < TY_CONFIG_STARS; i++) {
        collect_names(&config->names[i], tree, stars[i]);
        named += config->names[i].count;
    }
    config->entries = ty_zalloc(ty_key_count * (named + 1) * sizeof(*config->entries));
    for (size_t i = 0; i < ty_key_count; i++) {
        if (!strchr(ty_keys[i].path, '*')) {
            add_entry(config, &ty_keys[i], ty_keys[i].path);
        } else if (star < TY_CONFIG_STARS &&
                   strncmp(ty_keys[i].path, stars[star], strlen(stars[star])) == 0) {
            add_named(config, &config->names[star++]);
        }
    }
    return config;
}

struct ty_config *ty_config_load(const struct ty_config_source *source, struct ty_error *error)
{
    struct ty_faults faults = {0};
    struct ty_node *tree = ty_sources_read(source, &faults);

    if (!faults.count)
        ty_check_whole(tree, &faults);
    if (!faults.count)
        return ty_config_of_tree(tree);
    ty_node_free(tree);
    ty_faults_close(&faults, error);
    return NULL;
}

struct ty_config *ty_config_ref(struct ty_config *config)
{
    atomic_fetch_add(&config->refs, 1);
    return config;
}

void ty_config_unref(struct ty_config *config)
{
    if (!config || atomic_fetch_sub(&config->refs, 1) > 1)
        return;
    for (size_t i = 0; i < config->count; i++) {
        free(config->entries[i].path);
        ty_value_close(&config->entries[i].value);
    }
    free(config->entries);
    for (size_t i = 0; i < TY_CONFIG_STARS; i++)
        free_names(&config->names[i]);
    ty_node_free(config->tree);
    free(config);
}

void ty_config_pack(const struct ty_config *config, struct ty_buf *out)
{
    ty_node_pack(config->tree, out);
}

struct ty_config *ty_config_unpack(const char *data, size_t len)
{
    struct ty_faults faults = {0};
    struct ty_node *tree = ty_node_unpack(data, len);

    if (!tree)
        return NULL;
    ty_check_tree(tree, &faults);
    if (!faults.count)
        return ty_config_of_tree(tree);
    ty_faults_close(&faults, NULL);
    ty_node_free(tree);
    return NULL;
}

/* ------------------------------------------------------------------------------ reading */

const struct ty_entry *ty_entry_find(const struct ty_config *config, const char *path)
{
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->entries[i].path, path) == 0)
            return &config->entries[i];
    return NULL;
}

static void check_type(const struct ty_key *key, const char *path, unsigned types)
{
    if (!key || !(types & 1U << key->type)) {
        fprintf(stderr, "tycho: bug: configuration key %s %s\n", path,
                key ? "is of another type" : "does not exist");
        abort();
    }
}

static const struct ty_value *get(const struct ty_config *config, const char *path, unsigned types)
{
    const struct ty_entry *entry = ty_entry_find(config, path);

    check_type(entry ? entry->key : NULL, path, types);
    return &entry->value;
}

enum {
    TEXTS = 1U << TY_CONFIG_TEXT | 1U << TY_CONFIG_CHOICE | 1U << TY_CONFIG_DATABASE,
    LISTS = 1U << TY_CONFIG_LIST | 1U << TY_CONFIG_NETWORKS,
    BOOLEANS = 1U << TY_CONFIG_BOOLEAN,
    INTEGERS = 1U << TY_CONFIG_INTEGER,
    DURATIONS = 1U << TY_CONFIG_DURATION,
    SIZES = 1U << TY_CONFIG_SIZE,
};

const char *ty_config_str(const struct ty_config *config, const char *key)
{
    return get(config, key, TEXTS)->text;
}

bool ty_config_bool(const struct ty_config *config, const char *key)
{
    return get(config, key, BOOLEANS)->number != 0;
}

int64_t ty_config_int(const struct ty_config *config, const char *key)
{
    return get(config, key, INTEGERS)->number;
}

double ty_config_seconds(const struct ty_config *config, const char *key)
{
    return (double)get(config, key, DURATIONS)->number / 1000;
}

uint64_t ty_config_ms(const struct ty_config *config, const char *key)
{
    return (uint64_t)get(config, key, DURATIONS)->number;
}

uint64_t ty_config_bytes(const struct ty_config *config, const char *key)
{
    return (uint64_t)get(config, key, SIZES)->number;
}

size_t ty_config_list(const struct ty_config *config, const char *key, const char *const **items)
{
    const struct ty_value *value = get(config, key, LISTS);

    *items = value->items;
    return value->count;
}

/* NULL when there is no such name. */
static const struct ty_value *get_named(const struct ty_config *config, const char *section,
                                        const char *name, const char *key, unsigned types)
{
    char path[PATH_MAX_];
    bool leaf = !key || !*key;

    snprintf(path, sizeof(path), "%s.*%s%s", section, leaf ? "" : ".", leaf ? "" : key);
    check_type(ty_key_of(path), path, types);
    snprintf(path, sizeof(path), "%s.%s%s%s", section, name, leaf ? "" : ".", leaf ? "" : key);
    const struct ty_entry *entry = ty_entry_find(config, path);
    return entry ? &entry->value : NULL;
}

/* The default of a key below a star, where the name is not there. */
static int64_t default_number(const char *section, const char *key)
{
    char path[PATH_MAX_];
    struct ty_value value;

    snprintf(path, sizeof(path), "%s.*.%s", section, key);
    ty_value_default(ty_key_of(path), &value);
    return value.number;
}

const char *ty_config_named_str(const struct ty_config *config, const char *section,
                                const char *name, const char *key)
{
    const struct ty_value *value = get_named(config, section, name, key, TEXTS);

    return value ? value->text : NULL;
}

int64_t ty_config_named_int(const struct ty_config *config, const char *section, const char *name,
                            const char *key)
{
    const struct ty_value *value = get_named(config, section, name, key, INTEGERS);

    return value ? value->number : default_number(section, key);
}

uint64_t ty_config_named_ms(const struct ty_config *config, const char *section, const char *name,
                            const char *key)
{
    const struct ty_value *value = get_named(config, section, name, key, DURATIONS);

    return (uint64_t)(value ? value->number : default_number(section, key));
}

uint64_t ty_config_named_bytes(const struct ty_config *config, const char *section,
                               const char *name, const char *key)
{
    const struct ty_value *value = get_named(config, section, name, key, SIZES);

    return (uint64_t)(value ? value->number : default_number(section, key));
}

size_t ty_config_names(const struct ty_config *config, const char *section,
                       const char *const **names)
{
    for (size_t i = 0; i < TY_CONFIG_STARS; i++) {
        if (strcmp(config->names[i].section, section) == 0) {
            *names = config->names[i].names;
            return config->names[i].count;
        }
    }
    check_type(NULL, section, 0);
    return 0;
}

/* --------------------------------------------------------------------------- comparing */

static void add_restart_keys(const struct ty_config *a, const struct ty_config *b, bool both,
                             struct ty_buf *out)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct ty_entry *one = &a->entries[i], *other = ty_entry_find(b, one->path);
        bool same = other ? both || ty_value_equal(&one->value, &other->value) : false;

        if (!same && (one->key->flags & TY_CONFIG_RESTART))
            ty_buf_addf(out, "%s%s", out->len ? ", " : "", one->path);
    }
}

void ty_config_restart_keys(const struct ty_config *old, const struct ty_config *now,
                            struct ty_buf *out)
{
    add_restart_keys(now, old, false, out);
    add_restart_keys(old, now, true, out); /* what is gone */
}

bool ty_app_is_secret(const struct ty_node *node)
{
    if (node->secret || (node->name && ty_log_is_secret(node->name, strlen(node->name))))
        return true;
    const char *address = node->text ? strstr(node->text, "://") : NULL;
    return address && strchr(address, '@');
}
