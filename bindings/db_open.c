#include "db.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "db_private.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

enum { NS_PER_MS = 1000000, PROBE_EVERY_MS = 1000 };

static struct {
    struct ty_db *list;
    unsigned era;
    unsigned closing;
    void (*closed)(void *arg);
    void *closed_arg;
} databases;

unsigned ty_db_era(void)
{
    return databases.era;
}

static enum ty_sql_prepare read_prepare(const char *text)
{
    if (text && strcmp(text, "always") == 0)
        return TY_SQL_PREPARE_ALWAYS;
    return text && strcmp(text, "never") == 0 ? TY_SQL_PREPARE_NEVER : TY_SQL_PREPARE_AUTO;
}

static struct ty_sql *open_sql(uv_loop_t *loop, const struct ty_config *config, const char *name,
                               struct ty_error *error)
{
    static const char section[] = "databases";
    const char *url = ty_config_named_str(config, section, name, "url");

    if (!url) {
        ty_error_set(error, TY_ERR_INTERNAL, "databases",
                     "db: no database is configured under the name \"%s\": set databases.%s.url",
                     name, name);
        return NULL;
    }
    const char *synchronous = ty_config_named_str(config, section, name, "synchronous");
    struct ty_sql_options options = {
        .name = name,
        .url = url,
        .password = ty_config_named_str(config, section, name, "password"),
        .readers = (unsigned)ty_config_named_int(config, section, name, "readers"),
        .statements = (unsigned)ty_config_named_int(config, section, name, "statements"),
        .queue_max = (unsigned)ty_config_named_int(config, section, name, "queue_max"),
        .wait_ms = ty_config_named_ms(config, section, name, "wait_timeout"),
        .busy_ms = ty_config_named_ms(config, section, name, "busy_timeout"),
        .result_max = ty_config_named_bytes(config, section, name, "result_max"),
        .synchronous_full = synchronous && strcmp(synchronous, "full") == 0,
        .pool_max = (unsigned)ty_config_named_int(config, section, name, "pool_max"),
        .pool_min = (unsigned)ty_config_named_int(config, section, name, "pool_min"),
        .pipelines = (unsigned)ty_config_named_int(config, section, name, "pipelines"),
        .connect_ms = ty_config_named_ms(config, section, name, "connect_timeout"),
        .query_ms = ty_config_named_ms(config, section, name, "query_timeout"),
        .lifetime_ms = ty_config_named_ms(config, section, name, "lifetime"),
        .idle_ms = ty_config_named_ms(config, section, name, "idle_timeout"),
        .prepare = read_prepare(ty_config_named_str(config, section, name, "prepare")),
    };
    return ty_sql_new(loop, &options, error);
}

struct ty_db *ty_db_find(uv_loop_t *loop, const struct ty_config *config, const char *name,
                         struct ty_error *error)
{
    struct ty_db *db = databases.list;

    while (db && strcmp(db->name, name) != 0)
        db = db->next;
    if (db)
        return db;

    struct ty_sql *sql = open_sql(loop, config, name, error);
    if (!sql)
        return NULL;
    db = ty_zalloc(sizeof(*db));
    db->sql = sql;
    db->name = ty_strdup(name);
    db->what = ty_asprintf("db %s", name);
    db->slow_ns = ty_config_named_ms(config, "databases", name, "slow") * NS_PER_MS;
    db->next = databases.list;
    databases.list = db;
    return db;
}

/* ---- closing */

static void on_closed(void *arg)
{
    struct ty_db *db = arg;

    free(db->name);
    free(db->what);
    free(db);
    if (--databases.closing == 0 && databases.closed)
        databases.closed(databases.closed_arg);
}

void ty_db_close_all(void (*done)(void *arg), void *arg)
{
    struct ty_db *next = databases.list;

    ty_db_unlisten_all();
    databases.list = NULL;
    databases.era++;
    databases.closed = done;
    databases.closed_arg = arg;
    if (!next && done)
        done(arg);
    for (struct ty_db *db = next; db; db = next) {
        next = db->next;
        databases.closing++;
        ty_sql_close(db->sql, on_closed, db);
    }
}

/* ---- readiness */

static void on_probed(struct ty_sql_op *op)
{
    struct ty_db *db = (struct ty_db *)((char *)op - offsetof(struct ty_db, probe));

    ty_sql_op_close(op);
    db->probing = false;
    db->probed = true;
}

static void probe(struct ty_db *db)
{
    static const char embedded[] = "select count(*) from sqlite_schema"; /* reads the file */
    static const char server[] = "select 1";
    bool is_file = strcmp(ty_sql_system(db->sql), "sqlite") == 0;
    const char *sql = is_file ? embedded : server;
    uint64_t now = ty_now_ns();

    if (db->probing || now - db->probed_ns < (uint64_t)PROBE_EVERY_MS * NS_PER_MS)
        return;
    db->probing = true;
    db->probed_ns = now;
    db->probe = (struct ty_sql_op){.sql = sql, .sql_len = strlen(sql), .done = on_probed};
    ty_sql_start(db->sql, &db->probe);
}

bool ty_db_ready(struct ty_buf *out)
{
    bool ready = true;

    for (struct ty_db *db = databases.list; db; db = db->next) {
        bool up = db->probed && ty_sql_is_up(db->sql);

        if (db != databases.list)
            ty_buf_addc(out, ',');
        ty_buf_adds(out, "{\"name\":\"");
        ty_buf_add_json(out, db->name, strlen(db->name));
        ty_buf_adds(out, up ? "\",\"ok\":true}" : "\",\"ok\":false}");
        if (!up)
            probe(db);
        ready = ready && up;
    }
    return ready;
}
