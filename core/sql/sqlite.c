#include "sql/sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "sql/rows.h"
#include "tycho/memory.h"

/* The part behind the scheme: a path, or ":memory:". Two slashes start a host, which must be
 * empty; a third one then starts the path. */
static char *path_of(const char *url, struct ty_error *error)
{
    static const char scheme[] = "sqlite:";
    bool right = strncmp(url, scheme, sizeof(scheme) - 1) == 0;
    const char *path = right ? url + sizeof(scheme) - 1 : "";

    if (strncmp(path, "//", 2) == 0) {
        path += 2;
        right = *path == '/';
    }
    if (right && *path && !strchr(path, '?') && path[strlen(path) - 1] != '/')
        return ty_strdup(path);
    ty_error_set(error, TY_ERR_INTERNAL, "url",
                 "sqlite: a URL is sqlite:relative/path.db, sqlite:///absolute/path.db or "
                 "sqlite::memory:");
    return NULL;
}

static void add_conns(struct ty_sqlite *db)
{
    db->conn_count = db->in_memory ? 1 : db->options.readers + 1;
    db->conns = ty_zalloc(db->conn_count * sizeof(struct ty_sqlite_conn));
    for (unsigned i = 0; i < db->conn_count; i++) {
        struct ty_sqlite_conn *conn = &db->conns[i];

        conn->db = db;
        conn->writes = i == 0;
        if (i == 0)
            continue;
        conn->next_free = db->free_readers;
        db->free_readers = conn;
    }
}

static void add_handles(struct ty_sqlite *db)
{
    uv_timer_init(db->loop, &db->wait_timer);
    uv_idle_init(db->loop, &db->soon);
    db->wait_timer.data = db->soon.data = db;
}

static struct ty_sql *open_db(uv_loop_t *loop, const struct ty_sql_options *options,
                              struct ty_error *error)
{
    char *path = path_of(options->url, error);

    if (!path)
        return NULL;

    struct ty_sqlite *db = ty_zalloc(sizeof(*db));
    db->base.driver = &ty_sqlite_driver;
    db->loop = loop;
    db->name = ty_strdup(options->name);
    db->path = path;
    db->in_memory = strcmp(path, ":memory:") == 0;
    db->options = *options;
    db->options.name = NULL;
    db->options.url = NULL;
    db->up = true;
    add_conns(db);
    db->lane = ty_lane_new(loop, "sqlite", db->conn_count, db->conn_count);
    db->for_writer.tail = &db->for_writer.head;
    db->for_readers.tail = &db->for_readers.head;
    db->finished_tail = &db->finished;
    add_handles(db);
    db->figures = ty_sql_figures_new("sqlite", db->name);
    return &db->base;
}

static void free_db(struct ty_sqlite *db)
{
    void (*closed)(void *) = db->closed;
    void *arg = db->closed_arg;

    ty_lane_free(db->lane);
    ty_sql_figures_free(db->figures);
    free(db->conns);
    free(db->path);
    free(db->name);
    free(db);
    closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ty_sqlite *db = handle->data;

    if (--db->closes_left > 0)
        return;
    while (db->finished) /* also what was refused while the handles closed */
        ty_sqlite_finish(db);
    free_db(db);
}

static void run_close(struct ty_work *work)
{
    ty_sqlite_conn_close(
        (struct ty_sqlite_conn *)((char *)work - offsetof(struct ty_sqlite_conn, closing)));
}

static void on_conn_closed(struct ty_work *work, int status)
{
    struct ty_sqlite_conn *conn =
        (struct ty_sqlite_conn *)((char *)work - offsetof(struct ty_sqlite_conn, closing));
    struct ty_sqlite *db = conn->db;

    (void)status;
    if (--db->closes_left > 0)
        return;
    db->closes_left = 2;
    uv_close((uv_handle_t *)&db->wait_timer, on_handle_closed);
    uv_close((uv_handle_t *)&db->soon, on_handle_closed);
}

void ty_sqlite_close_if_unused(struct ty_sqlite *db)
{
    if (!db->closing || db->used_count > 0 || db->closes_left > 0)
        return;
    db->closes_left = db->conn_count;
    for (unsigned i = 0; i < db->conn_count; i++)
        ty_lane_submit(db->lane, &db->conns[i].closing, run_close, on_conn_closed);
}

/* Transactions of which their owners have not heard yet. */
static void drop_granted(struct ty_sql_op *op)
{
    for (; op; op = op->next) {
        if (!op->tx)
            continue;
        ty_sqlite_tx_drop(op->tx);
        op->tx = NULL;
        ty_sqlite_fail(op, TY_ERR_UNAVAILABLE, "pool.closed", "the database is being closed");
    }
}

static void close_db(struct ty_sql *sql, void (*closed)(void *arg), void *arg)
{
    struct ty_sqlite *db = (struct ty_sqlite *)sql;

    db->closing = true;
    db->closed = closed;
    db->closed_arg = arg;
    ty_sqlite_give_up_all(db, "pool.closed", "the database is being closed");
    uv_timer_stop(&db->wait_timer);
    drop_granted(db->finished);
    drop_granted(db->telling);
    for (unsigned i = 0; i < db->conn_count; i++) {
        if (db->conns[i].tx && !db->conns[i].tx->ended)
            ty_sqlite_tx_drop(&db->conns[i].tx->base);
    }
    ty_sqlite_close_if_unused(db);
}

const struct ty_sql_driver ty_sqlite_driver = {
    .system = "sqlite",
    .schemes = "sqlite",
    .open = open_db,
    .close = close_db,
    .is_up = ty_sqlite_is_up,
    .start = ty_sqlite_start,
    .begin = ty_sqlite_begin,
    .tx_start = ty_sqlite_tx_start,
    .tx_drop = ty_sqlite_tx_drop,
    .cancel = ty_sqlite_cancel,
    .name = ty_sql_rows_name,
    .cell = ty_sql_rows_cell,
    .op_close = ty_sql_rows_close,
};
