/* YAML files as trees, with the line of everything.
 *
 * Only what a configuration needs: one document of maps, lists and scalars. Anchors, aliases,
 * tags and complex keys are refused, and so is the same key twice in one map. Size, depth and
 * number of nodes are bounded.
 */
#pragma once

#include <stddef.h>

#include "config/fault.h"
#include "config/tree.h"

enum {
    TY_YAML_BYTES_MAX = 1024 * 1024,
    TY_YAML_DEPTH_MAX = 16,
    TY_YAML_NODES_MAX = 20000,
};

/* `path` is for messages. NULL after a fault. An empty document is an empty map. */
struct ty_node *ty_yaml_parse(const char *path, const char *data, size_t len,
                              struct ty_faults *faults);

/* Reads a whole file of at most `max` bytes into `out`. Returns 0 or -errno; -EFBIG: larger. */
int ty_read_file(const char *path, size_t max, struct ty_buf *out);

/* NULL after a fault. `missing` (may be NULL: that is a fault) is set instead when there is no
 * such file. */
struct ty_node *ty_yaml_read(const char *path, bool *missing, struct ty_faults *faults);
