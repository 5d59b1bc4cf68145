#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"
#include "tycho/memory.h"

void ty_pg_known_init(struct ty_pg_known *known, unsigned max)
{
    unsigned count = 64;

    while (count < max)
        count *= 2;
    *known = (struct ty_pg_known){.bucket_count = count, .max = max};
    known->buckets = ty_zalloc(count * sizeof(struct ty_pg_text *));
    known->texts = ty_zalloc(max * sizeof(known->texts[0]));
}

static uint32_t hash_of(const char *text, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash;
}

static void unlink_age(struct ty_pg_known *known, struct ty_pg_text *text)
{
    *(text->newer ? &text->newer->older : &known->newest) = text->older;
    *(text->older ? &text->older->newer : &known->oldest) = text->newer;
}

static void link_newest(struct ty_pg_known *known, struct ty_pg_text *text)
{
    text->newer = NULL;
    text->older = known->newest;
    *(known->newest ? &known->newest->newer : &known->oldest) = text;
    known->newest = text;
}

/* Takes the oldest one out; its place is free again. */
static struct ty_pg_text *forget(struct ty_pg_known *known)
{
    struct ty_pg_text *text = known->oldest;
    struct ty_pg_text **at = &known->buckets[text->hash & (known->bucket_count - 1)];

    while (*at != text)
        at = &(*at)->next;
    *at = text->next;
    unlink_age(known, text);
    if (known->last == text)
        known->last = NULL;
    free(text->sql);
    return text;
}

void ty_pg_known_close(struct ty_pg_known *known)
{
    while (known->oldest)
        forget(known);
    free(known->texts);
    free(known->buckets);
    *known = (struct ty_pg_known){0};
}

static bool is_it(const struct ty_pg_text *text, const char *sql, size_t len)
{
    return text->len == len && memcmp(text->sql, sql, len) == 0;
}

static struct ty_pg_text *find(struct ty_pg_known *known, uint32_t hash, const char *sql,
                               size_t len)
{
    struct ty_pg_text *text = known->buckets[hash & (known->bucket_count - 1)];

    while (text && (text->hash != hash || !is_it(text, sql, len)))
        text = text->next;
    return text;
}

/* The same statement is often asked for several times in a row. */
struct ty_pg_text *ty_pg_known_find(struct ty_pg_known *known, const char *sql, size_t len)
{
    if (len > TY_PG_CACHED_SQL_MAX)
        return NULL;
    if (known->last && is_it(known->last, sql, len))
        return known->last;
    struct ty_pg_text *text = find(known, hash_of(sql, len), sql, len);
    if (text)
        known->last = text;
    return text;
}

static struct ty_pg_text *add(struct ty_pg_known *known, const char *sql, size_t len)
{
    bool is_full = known->count == known->max;
    struct ty_pg_text *text = is_full ? forget(known) : &known->texts[known->count++];
    uint64_t number = is_full ? text->number : (uint64_t)(text - known->texts);
    struct ty_pg_text **bucket;

    *text =
        (struct ty_pg_text){.hash = hash_of(sql, len), .number = number + known->max, .len = len};
    text->sql = ty_strndup(sql, len);
    bucket = &known->buckets[text->hash & (known->bucket_count - 1)];
    text->next = *bucket;
    *bucket = text;
    link_newest(known, text);
    known->last = text;
    return text;
}

struct ty_pg_text *ty_pg_known_use(struct ty_pg_known *known, const char *sql, size_t len)
{
    if (len > TY_PG_CACHED_SQL_MAX)
        return NULL;
    struct ty_pg_text *text = ty_pg_known_find(known, sql, len);
    if (!text)
        return add(known, sql, len);
    if (known->newest != text) {
        unlink_age(known, text);
        link_newest(known, text);
    }
    return text;
}

struct ty_pg_text *ty_pg_known_at(struct ty_pg_known *known, uint64_t number)
{
    struct ty_pg_text *text = &known->texts[number % known->max];

    return number && text->number == number ? text : NULL;
}

void ty_pg_known_count(struct ty_pg_text *text, uint64_t ns)
{
    enum { WEIGHT = 8 };

    if (text->runs++ == 0)
        text->mean_ns = ns;
    else
        text->mean_ns = text->mean_ns - text->mean_ns / WEIGHT + ns / WEIGHT;
}
