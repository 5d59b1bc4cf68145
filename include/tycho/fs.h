/* Files, for the parts that may touch them: tests, tools, `tycho run`.
 *
 * Plain blocking functions, to be called from a pool thread. Writing replaces: a reader sees the
 * old content or the new, and after a crash one of both is there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tycho/buffer.h"
#include "tycho/error.h"

enum ty_fs_type { TY_FS_FILE, TY_FS_FOLDER, TY_FS_LINK, TY_FS_OTHER };

struct ty_fs_stat {
    enum ty_fs_type type;
    uint64_t size;
    int64_t modified_us; /* wall time */
    unsigned mode;       /* permission bits */
};

/* All return 0, or -1 with `error` filled: not_found, forbidden, conflict (exists, not empty),
 * invalid (a folder where a file was expected and so on), too_large, or unavailable; the detail is
 * the errno's name. */

/* Adds the whole file, at most `max` bytes. */
int ty_fs_read(const char *path, size_t max, struct ty_buf *out, struct ty_error *error);

/* Writes a file beside it, makes it durable, and puts it in the place of `path`. */
int ty_fs_write(const char *path, struct ty_slice data, struct ty_error *error);

/* Adds the names in a folder, in no order, each with a NUL behind it, without "." and "..". */
int ty_fs_list(const char *path, struct ty_buf *out, struct ty_error *error);

/* Makes a folder and those above it; it is no error that they exist. */
int ty_fs_mkdir(const char *path, struct ty_error *error);

/* Removes a file, a link (not what it leads to) or an empty folder, or, with `recursive`, a folder
 * and all in it. It is an error that it does not exist, unless `recursive`. */
int ty_fs_remove(const char *path, bool recursive, struct ty_error *error);

/* What is there; links are not followed. */
int ty_fs_stat(const char *path, struct ty_fs_stat *out, struct ty_error *error);
