/* Is what a source says known, and of the right type? */
#pragma once

#include "config/fault.h"
#include "config/tree.h"

/* Checks one source's tree on its own; faults are in the order of the file. Sections without
 * content become empty maps. */
void ty_check_tree(struct ty_node *root, struct ty_faults *faults);

/* Checks what only the merged tree can tell: what is missing, what contradicts. */
void ty_check_whole(const struct ty_node *root, struct ty_faults *faults);

/* The key or section that `path` was perhaps meant to be, into `out`; false: no idea. */
bool ty_check_suggest(const char *path, struct ty_buf *out);

bool ty_path_is_section(const char *path);
/* Free of checks: `app` and all below it. */
bool ty_path_is_app(const char *path);
