#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sql/postgres.h"
#include "tycho/memory.h"

void ty_pg_cache_init(struct ty_pg_cache *cache, unsigned max)
{
    unsigned count = 16;

    while (count < max)
        count *= 2;
    *cache = (struct ty_pg_cache){.bucket_count = count, .max = max ? max : 1};
    cache->buckets = ty_zalloc(count * sizeof(struct ty_pg_prepared *));
}

static struct ty_pg_prepared **place_of(struct ty_pg_cache *cache, uint64_t number)
{
    struct ty_pg_prepared **at = &cache->buckets[number & (cache->bucket_count - 1)];

    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

static void unlink_age(struct ty_pg_cache *cache, struct ty_pg_prepared *at)
{
    *(at->newer ? &at->newer->older : &cache->newest) = at->older;
    *(at->older ? &at->older->newer : &cache->oldest) = at->newer;
}

static void link_newest(struct ty_pg_cache *cache, struct ty_pg_prepared *at)
{
    at->newer = NULL;
    at->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = at;
    cache->newest = at;
}

uint64_t ty_pg_cache_forget(struct ty_pg_cache *cache, uint64_t number)
{
    struct ty_pg_prepared **place = place_of(cache, number), *gone = *place;
    uint64_t serial = gone ? gone->serial : 0;

    if (gone) {
        *place = gone->next;
        unlink_age(cache, gone);
        cache->count--;
        free(gone);
    }
    return serial;
}

void ty_pg_cache_clear(struct ty_pg_cache *cache)
{
    while (cache->oldest)
        ty_pg_cache_forget(cache, cache->oldest->number);
}

void ty_pg_cache_close(struct ty_pg_cache *cache)
{
    if (!cache->buckets)
        return;
    ty_pg_cache_clear(cache);
    free(cache->buckets);
    *cache = (struct ty_pg_cache){0};
}

const struct ty_pg_prepared *ty_pg_cache_find(struct ty_pg_cache *cache, uint64_t number)
{
    struct ty_pg_prepared *at = *place_of(cache, number);

    if (at && at != cache->newest) {
        unlink_age(cache, at);
        link_newest(cache, at);
    }
    return at;
}

const struct ty_pg_prepared *ty_pg_cache_add(struct ty_pg_cache *cache, uint64_t number)
{
    struct ty_pg_prepared *at = ty_zalloc(sizeof(*at));
    struct ty_pg_prepared **bucket = &cache->buckets[number & (cache->bucket_count - 1)];

    at->number = number;
    at->serial = ++cache->serials;
    snprintf(at->name, sizeof(at->name), "t%" PRIu64, at->serial);
    at->next = *bucket;
    *bucket = at;
    link_newest(cache, at);
    cache->count++;
    return at;
}
