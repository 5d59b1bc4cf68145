/* The files below a folder, read into memory: what a bundle is made of.
 *
 * Hidden files and folders are left out, and so are symbolic links that lead out of the root,
 * or to a folder that they are in. Links within the root are followed, because deployments
 * switch versions with them.
 */
#pragma once

#include "tycho/bundle.h"

struct bundle_files {
    struct ty_bundle_file *list; /* names and data belong to it */
    size_t count;
    size_t cap;
    size_t bytes;
};

/* 0, or -1: `error` names the file. `files` is zeroed by the caller, and closed in either case. */
int ty_bundle_files_read(struct bundle_files *files, const char *root, struct ty_error *error);
void ty_bundle_files_close(struct bundle_files *files);
