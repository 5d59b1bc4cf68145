#include "tycho/embedded.h"

#include <stdlib.h>
#include <string.h>

static int compare_name(const void *name, const void *file)
{
    return strcmp(name, ((const struct ty_embedded *)file)->name);
}

const struct ty_embedded *ty_embedded_find(const char *name)
{
    return bsearch(name, ty_embedded_files, ty_embedded_count, sizeof(*ty_embedded_files),
                   compare_name);
}

const struct ty_embedded *ty_embedded_next(const char *prefix, const struct ty_embedded *after)
{
    const struct ty_embedded *end = ty_embedded_files + ty_embedded_count;
    size_t len = strlen(prefix);

    for (const struct ty_embedded *file = after ? after + 1 : ty_embedded_files; file < end; file++)
        if (strncmp(file->name, prefix, len) == 0)
            return file;
    return NULL;
}
