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

static struct ty_sqlite *open_sqlite(uv_loop_t *loop, const struct ty_config *config,
                                     const char *name, struct ty_error *error)
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
    struct ty_sqlite_options options = {
        .name = name,
        .url = url,
        .readers = (unsigned)ty_config_named_int(config, section, name, "readers"),
        .statements = (unsigned)ty_config_named_int(config, section, name, "statements"),
        .queue_max = (unsigned)ty_config_named_int(config, section, name, "queue_max"),
        .wait_ms = ty_config_named_ms(config, section, name, "wait_timeout"),
        .busy_ms = ty_config_named_ms(config, section, name, "busy_timeout"),
        .result_max = ty_config_named_bytes(config, section, name, "result_max"),
        .synchronous_full = synchronous && strcmp(synchronous, "full") == 0,
    };
    return ty_sqlite_new(loop, &options, error);
}

struct ty_db *ty_db_find(uv_loop_t *loop, const struct ty_config *config, const char *name,
                         struct ty_error *error)
{
    struct ty_db *db = databases.list;

    while (db && strcmp(db->name, name) != 0)
        db = db->next;
    if (db)
        return db;

    struct ty_sqlite *sqlite = open_sqlite(loop, config, name, error);
    if (!sqlite)
        return NULL;
    db = ty_zalloc(sizeof(*db));
    db->sqlite = sqlite;
    db->name = ty_strdup(name);
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
    free(db);
    if (--databases.closing == 0 && databases.closed)
        databases.closed(databases.closed_arg);
}

void ty_db_close_all(void (*done)(void *arg), void *arg)
{
    struct ty_db *next = databases.list;

    databases.list = NULL;
    databases.era++;
    databases.closed = done;
    databases.closed_arg = arg;
    if (!next && done)
        done(arg);
    for (struct ty_db *db = next; db; db = next) {
        next = db->next;
        databases.closing++;
        ty_sqlite_close(db->sqlite, on_closed, db);
    }
}

/* ---- readiness */

static void on_probed(struct ty_sqlite_op *op)
{
    struct ty_db *db = (struct ty_db *)((char *)op - offsetof(struct ty_db, probe));

    ty_sqlite_op_close(op);
    db->probing = false;
    db->probed = true;
}

static void probe(struct ty_db *db)
{
    static const char sql[] = "select count(*) from sqlite_schema";
    uint64_t now = ty_now_ns();

    if (db->probing || now - db->probed_ns < (uint64_t)PROBE_EVERY_MS * NS_PER_MS)
        return;
    db->probing = true;
    db->probed_ns = now;
    db->probe = (struct ty_sqlite_op){.sql = sql, .sql_len = sizeof(sql) - 1, .done = on_probed};
    ty_sqlite_start(db->sqlite, &db->probe);
}

bool ty_db_ready(struct ty_buf *out)
{
    bool ready = true;

    for (struct ty_db *db = databases.list; db; db = db->next) {
        bool up = db->probed && ty_sqlite_is_up(db->sqlite);

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
