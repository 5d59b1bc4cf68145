#include "host/generation.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/memory_file.h"
#include "tycho/memory.h"

struct generation *ty_generation_new(uint64_t number, struct ty_bundle *bundle,
                                     struct ty_config *config)
{
    struct generation *generation = ty_zalloc(sizeof(*generation));

    generation->refs = 1;
    generation->number = number;
    generation->bundle = bundle;
    generation->config = config;
    ty_config_pack(config, &generation->packed);
    generation->config_fd =
        ty_memory_file_write("tycho config", generation->packed.data, generation->packed.len);
    if (generation->config_fd >= 0)
        return generation;
    ty_generation_unref(generation);
    return NULL;
}

struct generation *ty_generation_ref(struct generation *generation)
{
    generation->refs++;
    return generation;
}

void ty_generation_unref(struct generation *generation)
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

const char *ty_generation_id(const struct generation *generation)
{
    return ty_bundle_id(generation->bundle);
}

bool ty_generation_is_same(const struct generation *a, const struct generation *b)
{
    return strcmp(ty_generation_id(a), ty_generation_id(b)) == 0 &&
           a->packed.len == b->packed.len &&
           memcmp(a->packed.data, b->packed.data, a->packed.len) == 0;
}

static void forget(struct history *history, unsigned at)
{
    ty_generation_unref(history->list[at]);
    history->count--;
    for (; at < history->count; at++)
        history->list[at] = history->list[at + 1];
}

void ty_history_add(struct history *history, struct generation *generation, unsigned keep)
{
    ty_generation_ref(generation);
    for (unsigned i = 0; i < history->count; i++)
        if (strcmp(ty_generation_id(history->list[i]), ty_generation_id(generation)) == 0)
            forget(history, i--);
    keep = keep < HISTORY_MAX ? keep : HISTORY_MAX;
    while (history->count > 0 && history->count >= keep)
        forget(history, 0);
    history->list[history->count++] = generation;
}

void ty_history_close(struct history *history)
{
    while (history->count > 0)
        forget(history, 0);
}

struct generation *ty_history_find(const struct history *history, const char *id)
{
    for (unsigned i = history->count; i > 0; i--)
        if (strncmp(ty_generation_id(history->list[i - 1]), id, strlen(id)) == 0)
            return history->list[i - 1];
    return NULL;
}

struct generation *ty_history_before(const struct history *history,
                                     const struct generation *generation)
{
    for (unsigned i = 1; i < history->count; i++)
        if (strcmp(ty_generation_id(history->list[i]), ty_generation_id(generation)) == 0)
            return history->list[i - 1];
    return NULL;
}
