/* A bundle: one immutable set of script files, read once, named by its content.
 *
 * Every process that loads a generation loads it from the same bytes, whatever happens on the
 * disk meanwhile: the master reads the files into a sealed memory file and passes that on.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tycho/error.h"
#include "tycho/http.h"

enum { TY_BUNDLE_FILES_MAX = 10000, TY_BUNDLE_BYTES_MAX = 64 * 1024 * 1024 };

struct ty_bundle;

struct ty_bundle_file {
    const char *name; /* relative to the root, '/' between parts: "app/orders.lua" */
    const char *data;
    size_t len;
};

/* Reads `root` (its sub-folders too; hidden files and symbolic links out of the root are left out).
 * NULL: error says which file and why: missing, unreadable, too many, too large. */
struct ty_bundle *ty_bundle_read(const char *root, struct ty_error *error);

/* From the memory file of another process; the descriptor stays the caller's. NULL if it is
 * not a bundle. */
struct ty_bundle *ty_bundle_open(int fd, struct ty_error *error);

/* A bundle of one process's making: `tycho run`, tests. Everything is copied. */
struct ty_bundle *ty_bundle_of(const struct ty_bundle_file *files, size_t count, const char *root);

struct ty_bundle *ty_bundle_ref(struct ty_bundle *bundle);
void ty_bundle_unref(struct ty_bundle *bundle);

int ty_bundle_fd(const struct ty_bundle *bundle); /* for passing on; the bundle's */
const char *ty_bundle_id(
    const struct ty_bundle *bundle); /* first 12 hex digits of SHA-256 over names and contents */
const char *ty_bundle_root(const struct ty_bundle *bundle); /* as given: "scripts" */
size_t ty_bundle_count(const struct ty_bundle *bundle);
const struct ty_bundle_file *ty_bundle_at(const struct ty_bundle *bundle,
                                          size_t index); /* sorted */
const struct ty_bundle_file *ty_bundle_find(const struct ty_bundle *bundle, const char *name);
