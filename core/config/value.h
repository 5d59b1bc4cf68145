/* What one key means: its row of the table, and values of its type.
 *
 * Numbers, durations (milliseconds), sizes (bytes) and booleans are int64_t; choices and text
 * are strings; lists are strings too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/keys.h"
#include "config/tree.h"

struct ty_key {
    const char *path;     /* "databases.*.url" */
    const char *fallback; /* the default as a user would write it; NULL: there is none */
    const char *limits;
    const char *text;
    enum ty_config_type type;
    int flags;
};

extern const struct ty_key ty_keys[];
extern const size_t ty_key_count;

struct ty_value {
    int64_t number;
    char *text;         /* NULL: unset, or no text */
    const char **items; /* owned, each and all */
    size_t count;
};

/* "databases.main.url" is the path of the key "databases.*.url". */
bool ty_path_matches(const char *pattern, const char *path);
const struct ty_key *ty_key_of(const char *path); /* NULL: none */

/* Reads what the user wrote; false, with `value` empty, if it is not of the key's type or
 * outside of its limits. */
bool ty_value_parse(const struct ty_key *key, const struct ty_node *node, struct ty_value *value);
void ty_value_default(const struct ty_key *key, struct ty_value *value);
void ty_value_close(struct ty_value *value);
bool ty_value_equal(const struct ty_value *a, const struct ty_value *b);

/* As a user would write it: 64KiB, 5s, [a, b]; "" for unset text. */
void ty_value_format(const struct ty_key *key, const struct ty_value *value, struct ty_buf *out);

/* What the key takes, in words: "an integer from 1 to 65535". */
void ty_key_describe(const struct ty_key *key, struct ty_buf *out);

/* The environment variable: "TYCHO_HTTP__PORT". */
void ty_path_variable(const char *path, struct ty_buf *out);
