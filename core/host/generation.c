#include "host/generation.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/memory_file.h"
#include "tycho/memory.h"

struct generation *generation_new(uint64_t number, struct ty_bundle *bundle,
                                  struct ty_config *config)
{
    struct generation *generation = ty_zalloc(sizeof(*generation));

    generation->refs = 1;
    generation->number = number;
    generation->bundle = bundle;
    generation->config = config;
    ty_config_pack(config, &generation->packed);
    generation->config_fd =
        memory_file_write("tycho config", generation->packed.data, generation->packed.len);
    if (generation->config_fd >= 0)
        return generation;
    generation_unref(generation);
    return NULL;
}

struct generation *generation_ref(struct generation *generation)
{
    generation->refs++;
    return generation;
}

void generation_unref(struct generation *generation)
{
    if (!generation || --generation->refs > 0)
        return;
    if (generation->config_fd >= 0)
        close(generation->config_fd);
    ty_buf_close(&generation->packed);
    ty_bundle_unref(generation->bundle);
    ty_config_unref(generation->config);
    free(generation);
}

const char *generation_id(const struct generation *generation)
{
    return ty_bundle_id(generation->bundle);
}

bool generation_is_same(const struct generation *a, const struct generation *b)
{
    return strcmp(generation_id(a), generation_id(b)) == 0 && a->packed.len == b->packed.len &&
           memcmp(a->packed.data, b->packed.data, a->packed.len) == 0;
}

static void forget(struct history *history, unsigned at)
{
    generation_unref(history->list[at]);
    history->count--;
    memmove(history->list + at, history->list + at + 1,
            (history->count - at) * sizeof(*history->list));
}

void history_add(struct history *history, struct generation *generation, unsigned keep)
{
    generation_ref(generation);
    for (unsigned i = 0; i < history->count; i++)
        if (strcmp(generation_id(history->list[i]), generation_id(generation)) == 0)
            forget(history, i--);
    keep = keep < HISTORY_MAX ? keep : HISTORY_MAX;
    while (history->count > 0 && history->count >= keep)
        forget(history, 0);
    history->list[history->count++] = generation;
}

void history_close(struct history *history)
{
    while (history->count > 0)
        forget(history, 0);
}

struct generation *history_find(const struct history *history, const char *id)
{
    for (unsigned i = history->count; i > 0; i--)
        if (strncmp(generation_id(history->list[i - 1]), id, strlen(id)) == 0)
            return history->list[i - 1];
    return NULL;
}

struct generation *history_before(const struct history *history,
                                  const struct generation *generation)
{
    for (unsigned i = 1; i < history->count; i++)
        if (strcmp(generation_id(history->list[i]), generation_id(generation)) == 0)
            return history->list[i - 1];
    return NULL;
}
