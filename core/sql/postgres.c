#include "sql/postgres.h"

#include <limits.h>
#include <stdlib.h>

#include "tycho/log.h"
#include "tycho/memory.h"

enum { CANCELS = 4, KNOWN_MIN = 1024 };

static const struct ty_pool_driver driver;

static struct ty_sql *open_database(uv_loop_t *loop, const struct ty_sql_options *options,
                                    struct ty_error *error)
{
    struct ty_pg *own = ty_zalloc(sizeof(*own));

    if (ty_pg_target_parse(&own->target, options, error) < 0) {
        free(own);
        return NULL;
    }
    own->users = 1;
    own->loop = loop;
    own->name = ty_strdup(options->name);
    own->prepares_never = options->prepare == TY_SQL_PREPARE_NEVER || options->statements == 0;
    own->prepares_always = options->prepare == TY_SQL_PREPARE_ALWAYS;
    ty_pg_gather_init(own);
    own->lane = ty_lane_new(loop, "postgresql.cancel", CANCELS, UINT_MAX);
    ty_pg_known_init(&own->known,
                     options->statements > KNOWN_MIN ? options->statements : KNOWN_MIN);
    struct ty_sql *db = ty_pool_new(loop, &driver, options, own);
    own->pool = (struct ty_pool *)db;
    return db;
}

void ty_pg_unref(struct ty_pg *own)
{
    if (--own->users)
        return;
    ty_lane_free(own->lane);
    ty_pg_known_close(&own->known);
    ty_pg_target_close(&own->target);
    ty_buf_close(&own->scratch);
    ty_buf_close(&own->text);
    free(own->values);
    free(own->lengths);
    free(own->formats);
    free(own->offsets);
    free(own->name);
    free(own);
}

void ty_pg_log_notice(const struct ty_pg *own, const char *text)
{
    ty_log_debug("db", "postgresql: %s: %s", own->name, text);
}

static void on_gather_closed(uv_handle_t *handle)
{
    ty_pg_unref(handle->data);
}

static void free_own(struct ty_pool *pool)
{
    struct ty_pg *own = pool->own;

    uv_close((uv_handle_t *)&own->turn_end, on_gather_closed);
}

static bool is_fast(const struct ty_pool *pool, const struct ty_sql_op *op)
{
    struct ty_pg *own = pool->own;

    for (; op; op = op->batch) {
        const struct ty_pg_text *text = ty_pg_known_find(&own->known, op->sql, op->sql_len);

        if (!text || text->runs == 0 || text->mean_ns >= TY_PG_FAST_NS)
            return false;
    }
    return true;
}

/* Twice: for whoever looks for a driver, and for the pool, which has it inside. */
#define SQL_TABLE                                                                     \
    {                                                                                 \
        .system = "postgresql", .schemes = "postgres postgresql", .can_batch = true,  \
        .open = open_database, .close = ty_pg_close_all, .is_up = ty_pool_is_up,      \
        .start = ty_pool_start, .begin = ty_pool_begin, .tx_start = ty_pool_tx_start, \
        .tx_drop = ty_pool_tx_drop, .cancel = ty_pool_cancel, .name = ty_pg_name,     \
        .cell = ty_pg_cell, .op_close = ty_pg_op_close, .listen = ty_pg_listen,       \
        .unlisten = ty_pg_unlisten,                                                   \
    }

const struct ty_sql_driver ty_postgres_driver = SQL_TABLE;

static const struct ty_pool_driver driver = {
    .sql = SQL_TABLE,
    .conn_size = sizeof(struct ty_pg_conn),
    .depth = TY_PG_DEPTH,
    .connect = ty_pg_connect,
    .send = ty_pg_send,
    .cancel = ty_pg_cancel,
    .reset = ty_pg_reset,
    .check = ty_pg_check,
    .close = ty_pg_close,
    .changes_session = ty_pg_changes_session,
    .is_fast = is_fast,
    .is_quiet = ty_pg_is_quiet,
    .free = free_own,
};
