#include "sql/sqlite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/memory.h"

enum { CACHED_SQL_MAX = 16 * 1024, PARAMS_MAX = 32766 };

/* ---- the cache */

void ty_sqlite_cache_init(struct ty_sqlite_cache *cache, unsigned max)
{
    unsigned count = 16;

    while (count < max)
        count *= 2;
    *cache = (struct ty_sqlite_cache){.bucket_count = count, .max = max ? max : 1};
    cache->buckets = ty_zalloc(count * sizeof(struct ty_sqlite_stmt *));
}

static void destroy(struct ty_sqlite_stmt *stmt)
{
    sqlite3_finalize(stmt->handle);
    free(stmt->slots);
    free(stmt->sql);
    free(stmt);
}

static void unlink_age(struct ty_sqlite_cache *cache, struct ty_sqlite_stmt *stmt)
{
    *(stmt->newer ? &stmt->newer->older : &cache->newest) = stmt->older;
    *(stmt->older ? &stmt->older->newer : &cache->oldest) = stmt->newer;
}

static void link_newest(struct ty_sqlite_cache *cache, struct ty_sqlite_stmt *stmt)
{
    stmt->newer = NULL;
    stmt->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = stmt;
    cache->newest = stmt;
}

static void forget_oldest(struct ty_sqlite_cache *cache)
{
    struct ty_sqlite_stmt *stmt = cache->oldest;
    struct ty_sqlite_stmt **at = &cache->buckets[stmt->hash & (cache->bucket_count - 1)];

    while (*at != stmt)
        at = &(*at)->next;
    *at = stmt->next;
    unlink_age(cache, stmt);
    cache->count--;
    destroy(stmt);
}

void ty_sqlite_cache_close(struct ty_sqlite_cache *cache)
{
    while (cache->oldest)
        forget_oldest(cache);
    free(cache->buckets);
    *cache = (struct ty_sqlite_cache){0};
}

static uint32_t hash_of(const char *text, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash;
}

static struct ty_sqlite_stmt *find(struct ty_sqlite_cache *cache, const struct ty_sql_op *op,
                                   uint32_t hash)
{
    struct ty_sqlite_stmt *stmt = cache->buckets[hash & (cache->bucket_count - 1)];

    while (stmt && (stmt->hash != hash || stmt->sql_len != op->sql_len ||
                    memcmp(stmt->sql, op->sql, op->sql_len) != 0))
        stmt = stmt->next;
    return stmt;
}

static void keep(struct ty_sqlite_cache *cache, struct ty_sqlite_stmt *stmt)
{
    struct ty_sqlite_stmt **bucket = &cache->buckets[stmt->hash & (cache->bucket_count - 1)];

    if (cache->count >= cache->max)
        forget_oldest(cache);
    stmt->next = *bucket;
    *bucket = stmt;
    link_newest(cache, stmt);
    cache->count++;
}

/* ---- preparing */

/* Only blanks and comments may follow: one statement a call, so that nothing can be appended. */
static bool is_blank(const char *text)
{
    char word[16];

    ty_sql_first_word(text, word);
    return word[0] == '\0';
}

/* The number in "$3"; 0 for anything else, such as "$1::text", "?" or ":name". */
static unsigned number_of(const char *name)
{
    unsigned number = 0;

    if (!name || name[0] != '$' || name[1] == '0')
        return 0;
    for (name++; *name; name++) {
        if (*name < '0' || *name > '9')
            return 0;
        number = number * 10 + (unsigned)(*name - '0');
        if (number > PARAMS_MAX)
            return 0;
    }
    return number;
}

static int read_slots(struct ty_sqlite_stmt *stmt, struct ty_sql_op *op)
{
    stmt->slot_count = (unsigned)sqlite3_bind_parameter_count(stmt->handle);
    stmt->slots = ty_zalloc((stmt->slot_count + 1) * sizeof(stmt->slots[0]));
    for (unsigned i = 0; i < stmt->slot_count; i++) {
        const char *name = sqlite3_bind_parameter_name(stmt->handle, (int)i + 1);
        unsigned number = number_of(name);

        if (number == 0)
            return ty_sqlite_fail(op, TY_ERR_INTERNAL, "placeholder",
                                  "placeholders are $1, $2, ...; found %s", name ? name : "?");
        stmt->slots[i] = (unsigned short)number;
        if (number > stmt->param_max)
            stmt->param_max = number;
    }
    return 0;
}

int ty_sqlite_check_text(struct ty_sql_op *op)
{
    if (!memchr(op->sql, '\0', op->sql_len))
        return 0;
    return ty_sqlite_fail(op, TY_ERR_INTERNAL, "SQLITE_ERROR", "a NUL in the statement");
}

static int prepare(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt, struct ty_sql_op *op)
{
    const char *tail = NULL;
    unsigned flags = stmt->cached ? SQLITE_PREPARE_PERSISTENT : 0;

    if (op->sql_len > TY_SQL_TEXT_MAX)
        return ty_sqlite_fail(op, TY_ERR_TOO_LARGE, "SQLITE_TOOBIG", "the statement is too long");
    if (ty_sqlite_check_text(op) < 0)
        return -1;
    conn->refusal = NULL;
    int code = sqlite3_prepare_v3(conn->handle, op->sql, (int)op->sql_len + 1, flags, &stmt->handle,
                                  &tail);
    if (code != SQLITE_OK)
        return ty_sqlite_fail_code(conn, op, code);
    if (!stmt->handle)
        return ty_sqlite_fail(op, TY_ERR_INTERNAL, "SQLITE_ERROR", "the statement is empty");
    if (tail < op->sql + op->sql_len && !is_blank(tail))
        return ty_sqlite_fail(op, TY_ERR_INTERNAL, "SQLITE_ERROR",
                              "more than one statement; db.script() runs several");
    stmt->reads = sqlite3_stmt_readonly(stmt->handle);
    return read_slots(stmt, op);
}

struct ty_sqlite_stmt *ty_sqlite_stmt_get(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    /* A cursor keeps its statement to itself. */
    bool cached = op->sql_len <= CACHED_SQL_MAX && op->verb != TY_SQL_OPEN;
    uint32_t hash = cached ? hash_of(op->sql, op->sql_len) : 0;
    struct ty_sqlite_stmt *stmt = cached ? find(&conn->cache, op, hash) : NULL;

    if (stmt) {
        unlink_age(&conn->cache, stmt);
        link_newest(&conn->cache, stmt);
        return stmt;
    }

    stmt = ty_zalloc(sizeof(*stmt));
    stmt->cached = cached;
    stmt->hash = hash;
    if (prepare(conn, stmt, op) < 0) {
        destroy(stmt);
        return NULL;
    }
    if (cached) {
        stmt->sql = ty_strndup(op->sql, op->sql_len);
        stmt->sql_len = op->sql_len;
        keep(&conn->cache, stmt);
    }
    return stmt;
}

void ty_sqlite_stmt_put(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt)
{
    (void)conn;
    if (stmt->cached) {
        sqlite3_reset(stmt->handle);
        sqlite3_clear_bindings(stmt->handle);
    } else {
        destroy(stmt);
    }
}

/* ---- parameters */

/* SQLite takes NULL pointers for NULL, also where the length is 0. */
static int bind_value(sqlite3_stmt *handle, int index, const struct ty_sql_value *value,
                      sqlite3_destructor_type life)
{
    const struct ty_slice *bytes = &value->bytes;

    switch (value->type) {
    case TY_SQL_INTEGER:
    case TY_SQL_BOOLEAN:
        return sqlite3_bind_int64(handle, index, value->integer);
    case TY_SQL_REAL:
        return sqlite3_bind_double(handle, index, value->real);
    case TY_SQL_TEXT:
    case TY_SQL_JSON:
    case TY_SQL_TIMESTAMP:
        return sqlite3_bind_text64(handle, index, bytes->data ? bytes->data : "", bytes->len, life,
                                   SQLITE_UTF8);
    case TY_SQL_ARRAY: /* as JSON */
        return sqlite3_bind_text64(handle, index, bytes->data + bytes->len, value->other_len, life,
                                   SQLITE_UTF8);
    case TY_SQL_BLOB:
        return sqlite3_bind_blob64(handle, index, bytes->data ? bytes->data : "", bytes->len, life);
    case TY_SQL_UNSIGNED: /* refused before */
    case TY_SQL_NULL:
        break;
    }
    return sqlite3_bind_null(handle, index);
}

/* Why SQLite cannot hold the value as it is; NULL: it can. */
static const char *refusal(const struct ty_sql_value *value)
{
    if (value->type == TY_SQL_UNSIGNED)
        return "larger than 2^63 - 1";
    if (value->type == TY_SQL_REAL && isnan(value->real))
        return "not a number (NaN)";
    if (value->type == TY_SQL_ARRAY && value->other_len == 0)
        return "an array that JSON has no form for";
    return NULL;
}

int ty_sqlite_stmt_bind(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt,
                        struct ty_sql_op *op)
{
    if (op->param_count != stmt->param_max)
        return ty_sqlite_fail(op, TY_ERR_INTERNAL, "placeholder",
                              "%u values were given for %u placeholders", op->param_count,
                              stmt->param_max);
    /* The statement of a cursor outlives the operation that opened it. */
    sqlite3_destructor_type life = op->verb == TY_SQL_OPEN ? SQLITE_TRANSIENT : SQLITE_STATIC;

    for (unsigned i = 0; i < stmt->slot_count; i++) {
        const struct ty_sql_value *value = &op->params[stmt->slots[i] - 1];
        const char *why = refusal(value);

        if (why)
            return ty_sqlite_fail(op, TY_ERR_INVALID, "value", "$%u is %s", stmt->slots[i], why);
        int code = bind_value(stmt->handle, (int)i + 1, value, life);

        if (code != SQLITE_OK)
            return ty_sqlite_fail_code(conn, op, code);
    }
    return 0;
}
