/* A loaded configuration: the merged tree, and one entry for each key in force. */
#pragma once

#include <stdatomic.h>

#include "config/tree.h"
#include "config/value.h"
#include "tycho/config.h"

struct ty_entry {
    const struct ty_key *key;
    char *path;         /* "databases.default.url": stars filled in */
    const char *origin; /* the tree's, or "default" */
    struct ty_value value;
    bool secret; /* must not be printed */
};

struct ty_names {
    const char *section; /* the table's */
    const char **names;  /* the tree's, sorted */
    size_t count;
};

enum { TY_CONFIG_STARS = 2 };

struct ty_config {
    atomic_int refs;
    struct ty_node *tree;
    struct ty_entry *entries; /* in the order of the table; those of one name together */
    size_t count;
    struct ty_names names[TY_CONFIG_STARS];
};

/* Takes the tree, which has been checked. */
struct ty_config *ty_config_of_tree(struct ty_node *tree);

const struct ty_entry *ty_entry_find(const struct ty_config *config, const char *path);

/* Must this node of the application's tree not be printed: for its name, its contents, or
 * because it came from a file of its own? */
bool ty_app_is_secret(const struct ty_node *node);

/* For ty_config_show() and ty_config_explain(); `entry` is NULL for a key that is not set. */
void ty_config_show_json(const struct ty_config *config, struct ty_buf *out);
void ty_key_explain_json(const struct ty_key *key, const char *path, const struct ty_entry *entry,
                         struct ty_buf *out);
