#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/mysql.h"
#include "tycho/memory.h"

enum { CACHED_SQL_MAX = 16 * 1024 };

/* ---- the cache: the least recently used goes first */

void ty_mysql_cache_init(struct ty_mysql_cache *cache, unsigned max)
{
    *cache = (struct ty_mysql_cache){.bucket_count = 8, .max = max};
    while (cache->bucket_count < max)
        cache->bucket_count *= 2;
    cache->buckets = ty_zalloc(cache->bucket_count * sizeof(struct ty_mysql_stmt *));
}

static uint32_t hash_of(const char *text, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash;
}

static void unlink_age(struct ty_mysql_cache *cache, struct ty_mysql_stmt *stmt)
{
    *(stmt->newer ? &stmt->newer->older : &cache->newest) = stmt->older;
    *(stmt->older ? &stmt->older->newer : &cache->oldest) = stmt->newer;
    stmt->newer = stmt->older = NULL;
}

static void link_newest(struct ty_mysql_cache *cache, struct ty_mysql_stmt *stmt)
{
    stmt->newer = NULL;
    stmt->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = stmt;
    cache->newest = stmt;
}

struct ty_mysql_stmt *ty_mysql_cache_find(struct ty_mysql_cache *cache, const struct ty_sql_op *op)
{
    if (!cache->count || op->sql_len > CACHED_SQL_MAX)
        return NULL;
    uint32_t hash = hash_of(op->sql, op->sql_len);
    struct ty_mysql_stmt *stmt = cache->buckets[hash & (cache->bucket_count - 1)];

    while (stmt && (stmt->hash != hash || stmt->sql_len != op->sql_len ||
                    memcmp(stmt->sql, op->sql, op->sql_len) != 0))
        stmt = stmt->next;
    if (stmt) {
        unlink_age(cache, stmt);
        link_newest(cache, stmt);
    }
    return stmt;
}

/* A statement that writes and returns "*" could not be run once more when its table has got
 * another column since: it is prepared each time. The server does not say before that it
 * returns something. */
static bool is_lasting(const struct ty_mysql_stmt *stmt)
{
    return ty_sql_reads(stmt->sql) || !memchr(stmt->sql, '*', stmt->sql_len) ||
           !ty_mysql_text_has_word(stmt->sql, stmt->sql_len, "RETURNING");
}

void ty_mysql_cache_keep(struct ty_mysql_cache *cache, struct ty_mysql_stmt *stmt)
{
    if (cache->max == 0 || stmt->sql_len > CACHED_SQL_MAX || !is_lasting(stmt))
        return;
    if (cache->count >= cache->max) {
        struct ty_mysql_stmt *oldest = cache->oldest;

        ty_mysql_cache_remove(cache, oldest);
        ty_mysql_stmt_free(oldest);
    }
    stmt->hash = hash_of(stmt->sql, stmt->sql_len);
    struct ty_mysql_stmt **bucket = &cache->buckets[stmt->hash & (cache->bucket_count - 1)];

    stmt->next = *bucket;
    *bucket = stmt;
    stmt->kept = true;
    link_newest(cache, stmt);
    cache->count++;
}

void ty_mysql_cache_remove(struct ty_mysql_cache *cache, struct ty_mysql_stmt *stmt)
{
    struct ty_mysql_stmt **at = &cache->buckets[stmt->hash & (cache->bucket_count - 1)];

    while (*at != stmt)
        at = &(*at)->next;
    *at = stmt->next;
    stmt->next = NULL;
    stmt->kept = false;
    unlink_age(cache, stmt);
    cache->count--;
}

void ty_mysql_cache_close(struct ty_mysql_cache *cache)
{
    for (struct ty_mysql_stmt *stmt = cache->newest, *older; stmt; stmt = older) {
        older = stmt->older;
        ty_mysql_stmt_free(stmt);
    }
    free(cache->buckets);
    *cache = (struct ty_mysql_cache){0};
}

/* ---- one statement */

bool ty_mysql_fits(const struct ty_mysql_conn *conn, uint64_t size)
{
    enum { AROUND = 512 };

    return !conn->packet_max || size + AROUND <= conn->packet_max;
}

struct ty_mysql_stmt *ty_mysql_stmt_new(struct ty_mysql_conn *conn, struct ty_sql_op *op)
{
    struct ty_mysql_stmt *stmt;
    struct ty_mysql_text text;
    const char *refusal;

    if (op->sql_len > TY_SQL_TEXT_MAX || !ty_mysql_fits(conn, op->sql_len)) {
        ty_sql_fail(op, "mysql", TY_ERR_TOO_LARGE, "42000", "the statement is too long");
        return NULL;
    }
    refusal = ty_mysql_text_read(&text, op->sql, op->sql_len);
    if (refusal) {
        ty_mysql_text_close(&text);
        bool of_text = strncmp(refusal, "place", 5) != 0;
        ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, of_text ? "42000" : "placeholder", "%s", refusal);
        return NULL;
    }
    stmt = ty_zalloc(sizeof(*stmt));
    stmt->text = text;
    stmt->sql = ty_strndup(op->sql, op->sql_len);
    stmt->sql_len = op->sql_len;
    stmt->binds = ty_zalloc((text.slot_count + 1) * sizeof(stmt->binds[0]));
    stmt->times = ty_zalloc((text.slot_count + 1) * sizeof(stmt->times[0]));
    stmt->handle = mysql_stmt_init(conn->link.mysql);
    if (!stmt->handle)
        abort(); /* no memory for one small struct */
    return stmt;
}

void ty_mysql_stmt_free(struct ty_mysql_stmt *stmt)
{
    /* A few bytes that nobody answers, to a connection on which nothing else is under way. */
    mysql_stmt_close(stmt->handle);
    ty_mysql_text_close(&stmt->text);
    free(stmt->sql);
    free(stmt->binds);
    free(stmt->times);
    free(stmt);
}

/* ---- parameters */

static void bind_bytes(MYSQL_BIND *bind, enum enum_field_types type, const char *data, size_t len)
{
    static const char nothing[1] = ""; /* NULL would be NULL */

    bind->buffer_type = type;
    bind->buffer = (void *)(uintptr_t)(data ? data : nothing); /* it is only read */
    bind->buffer_length = len;
    bind->length_value = len;
    bind->length = &bind->length_value;
}

/* "2026-11-21T16:00:00.123456Z", as the library's own struct: compared as a time, not as a text. */
static bool bind_time(MYSQL_BIND *bind, MYSQL_TIME *time, struct ty_slice text)
{
    char copy[40], zone = 'Z';
    unsigned year, month, day, hour = 0, minute = 0, second = 0;
    int at = 0, digits;

    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (sscanf(copy, "%4u-%2u-%2u%*1[T ]%2u:%2u:%2u%n", &year, &month, &day, &hour, &minute,
               &second, &at) < 6)
        return false;
    *time = (MYSQL_TIME){.year = year, .month = month, .day = day, .hour = hour};
    time->minute = minute;
    time->second = second;
    time->time_type = MYSQL_TIMESTAMP_DATETIME;
    if (copy[at] == '.') {
        unsigned long micros = 0;

        for (digits = 0, at++; copy[at] >= '0' && copy[at] <= '9'; at++, digits++) {
            if (digits < 6)
                micros = micros * 10 + (unsigned long)(copy[at] - '0');
        }
        for (; digits < 6; digits++)
            micros *= 10;
        time->second_part = micros;
    }
    if (copy[at] && (copy[at] != zone || copy[at + 1]))
        return false;
    bind->buffer_type = MYSQL_TYPE_DATETIME;
    bind->buffer = time;
    return true;
}

static bool bind_value(MYSQL_BIND *bind, MYSQL_TIME *time, const struct ty_sql_value *value)
{
    const struct ty_slice *bytes = &value->bytes;

    *bind = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_NULL};
    switch (value->type) {
    case TY_SQL_NULL:
        break;
    case TY_SQL_BOOLEAN:
    case TY_SQL_INTEGER:
    case TY_SQL_UNSIGNED:
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->buffer = (void *)(uintptr_t)&value->integer;
        bind->is_unsigned = value->type == TY_SQL_UNSIGNED;
        break;
    case TY_SQL_REAL:
        bind->buffer_type = MYSQL_TYPE_DOUBLE;
        bind->buffer = (void *)(uintptr_t)&value->real;
        break;
    case TY_SQL_TEXT:
    case TY_SQL_JSON:
        bind_bytes(bind, MYSQL_TYPE_STRING, bytes->data, bytes->len);
        break;
    case TY_SQL_BLOB:
        bind_bytes(bind, MYSQL_TYPE_BLOB, bytes->data, bytes->len);
        break;
    case TY_SQL_ARRAY:
        bind_bytes(bind, MYSQL_TYPE_STRING, bytes->data + bytes->len, value->other_len);
        break;
    case TY_SQL_TIMESTAMP:
        return bind_time(bind, time, *bytes);
    }
    return true;
}

static int check_count(const struct ty_mysql_stmt *stmt, struct ty_sql_op *op)
{
    if (op->param_count == stmt->text.param_max)
        return 0;
    return ty_sql_fail(op, "mysql", TY_ERR_INTERNAL, "placeholder",
                       "%u values were given for %u placeholders", op->param_count,
                       stmt->text.param_max);
}

int ty_mysql_stmt_bind(struct ty_mysql_conn *conn, struct ty_mysql_stmt *stmt, struct ty_sql_op *op)
{
    uint64_t size = 0;

    if (check_count(stmt, op) < 0)
        return -1;
    for (unsigned i = 0; i < stmt->text.slot_count; i++) {
        unsigned number = stmt->text.slots[i];
        const struct ty_sql_value *value = &op->params[number - 1];

        if (!bind_value(&stmt->binds[i], &stmt->times[i], value))
            return ty_sql_fail(op, "mysql", TY_ERR_INVALID, "22007",
                               "$%u is not a time such as 2026-11-21T16:00:00Z", number);
        if (value->type == TY_SQL_REAL && value->real - value->real != 0)
            return ty_sql_fail(op, "mysql", TY_ERR_INVALID, "22003",
                               "$%u is not a number that MySQL knows", number);
        if (value->type == TY_SQL_ARRAY && value->other_len == 0)
            return ty_sql_fail(op, "mysql", TY_ERR_INVALID, "22032",
                               "$%u is an array that JSON has no form for", number);
        size += 16 + (stmt->binds[i].length ? stmt->binds[i].length_value : 0);
    }
    if (!ty_mysql_fits(conn, size))
        return ty_sql_fail(op, "mysql", TY_ERR_TOO_LARGE, "08S01",
                           "the values are larger than the server's max_allowed_packet of %llu",
                           (unsigned long long)conn->packet_max);
    return 0;
}
