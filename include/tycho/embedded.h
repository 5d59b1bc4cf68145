/* The files that are part of the program: the standard library and the default configuration.
 *
 * The build turns every scripts/lib/.../x.lua (and .html) and conf/x.yaml into one constant
 * table, so that the program runs alone, wherever it is copied. Names are paths without the
 * `scripts/` in front: "lib/tycho/app.lua", "conf/tycho.yaml". Whether a checkout's own file
 * wins over the one in here is not decided here.
 */
#pragma once

#include <stddef.h>

/* `data` is followed by a NUL that `len` does not count. */
struct ty_embedded {
    const char *name;
    const char *data;
    size_t len;
};

/* The version of the program, e.g. "0.1.0". */
extern const char ty_version[];

/* All files, sorted by name. */
extern const struct ty_embedded ty_embedded_files[];
extern const size_t ty_embedded_count;

/* Returns the file of that name, or NULL. From any thread. */
const struct ty_embedded *ty_embedded_find(const char *name);

/* Walks over the files whose names start with `prefix`, in order: pass NULL, then what was
 * returned before. NULL when there are no more. */
const struct ty_embedded *ty_embedded_next(const char *prefix, const struct ty_embedded *after);
