/* A database on a real PostgreSQL, and its loop, for the tests of that driver. The server is one
 * for a whole program; the database `test` in it is made anew by whoever wants it empty. */
#pragma once

#include "support/database.h"

#include "sql/pool.h"
#include "sql/postgres.h"
#include "tycho/clock.h"
#include "tycho/memory.h"
#include "tycho/sql.h"

struct place {
    uv_loop_t loop;
    char url[256];
    struct ty_sql *db;
    int closed;
};

/* An operation and whether it is done. */
struct task {
    struct ty_sql_op op;
    int calls;
};

static struct database the_server;

/* The loop that finish() runs. */
static uv_loop_t *running_loop;

static inline int start_server(void **state)
{
    static const char *const words[] = {"max_connections=60", "lc_messages=C", NULL};

    (void)state;
    return database_start(&the_server, "postgres", words);
}

static inline int remove_server(void **state)
{
    (void)state;
    database_remove(&the_server);
    return 0;
}

static inline void on_task(struct ty_sql_op *op)
{
    ((struct task *)op)->calls++;
    if (running_loop)
        uv_stop(running_loop);
}

static inline struct ty_sql_options place_options(const struct place *place)
{
    return (struct ty_sql_options){
        .name = "test",
        .url = place->url,
        .statements = 20,
        .queue_max = 10000,
        .wait_ms = 15000,
        .result_max = 4 * 1024 * 1024,
        .pool_max = 6,
        .pipelines = 2,
        .connect_ms = 10000,
        .query_ms = 20000,
    };
}

static inline void place_make(struct place *place, int port)
{
    *place = (struct place){0};
    snprintf(place->url, sizeof(place->url), "postgres://tycho@127.0.0.1:%d/postgres", port);
    uv_loop_init(&place->loop);
}

static inline void place_open_with(struct place *place, const struct ty_sql_options *options)
{
    struct ty_error error = {0};

    place->db = ty_sql_new(&place->loop, options, &error);
    if (!place->db)
        fail_msg("%s", error.message);
}

static inline void place_open(struct place *place)
{
    place_make(place, the_server.port);
    struct ty_sql_options options = place_options(place);
    place_open_with(place, &options);
}

static inline void on_place_closed(void *arg)
{
    ((struct place *)arg)->closed = 1;
}

static inline void place_shut(struct place *place)
{
    ty_sql_close(place->db, on_place_closed, place);
    while (!place->closed)
        uv_run(&place->loop, UV_RUN_ONCE);
    place->db = NULL;
}

/* Closes everything, and answers what uv_loop_close() says. */
static inline int place_leave(struct place *place)
{
    if (place->db)
        place_shut(place);
    uv_run(&place->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&place->loop);
}

static inline void finish(struct place *place, const struct task *task)
{
    running_loop = &place->loop;
    while (!task->calls)
        uv_run(&place->loop, UV_RUN_ONCE);
    running_loop = NULL;
}

static inline void start_with(struct place *place, struct task *task, const char *sql,
                              const struct ty_sql_value *params, unsigned count)
{
    *task = (struct task){.op = {.sql = sql, .done = on_task, .params = params}};
    task->op.sql_len = strlen(sql);
    task->op.param_count = count;
    ty_sql_start(place->db, &task->op);
}

static inline void start(struct place *place, struct task *task, const char *sql)
{
    start_with(place, task, sql, NULL, 0);
}

/* The cell in a row and column of a result, counted from 0. */
static inline struct ty_sql_value cell_at(struct ty_sql_op *op, uint64_t row, unsigned column)
{
    struct ty_sql_cursor cursor = {0};
    struct ty_sql_value value = {.type = TY_SQL_NULL};

    for (unsigned i = 0; i < op->column_count; i++)
        ty_sql_name(op, &cursor);
    for (uint64_t i = 0; i <= row * op->column_count + column; i++)
        ty_sql_cell(op, &cursor, &value);
    return value;
}

static inline void done_well(const struct task *task)
{
    if (task->op.status != 0)
        fail_msg("%s (%s)", task->op.error.message, task->op.error.detail);
}

/* The first cell of what a statement answers, which is a number. */
static inline int64_t number_of(struct place *place, const char *sql)
{
    struct task task;

    start(place, &task, sql);
    finish(place, &task);
    done_well(&task);
    int64_t number = task.op.row_count ? cell_at(&task.op, 0, 0).integer : -1;
    ty_sql_op_close(&task.op);
    return number;
}

static inline void run(struct place *place, const char *sql)
{
    struct task task;

    start(place, &task, sql);
    finish(place, &task);
    done_well(&task);
    ty_sql_op_close(&task.op);
}

/* Runs a statement that must fail in just this way. */
static inline void assert_fails(struct place *place, const char *sql, enum ty_error_kind kind,
                                const char *detail)
{
    struct task task;

    start(place, &task, sql);
    finish(place, &task);
    if (task.op.status == 0)
        fail_msg("did not fail: %s", sql);
    if (task.op.error.kind != kind || strcmp(task.op.error.detail, detail) != 0)
        fail_msg("%s: %s (%s)", ty_error_kind_name(task.op.error.kind), task.op.error.message,
                 task.op.error.detail);
    ty_sql_op_close(&task.op);
}

static inline struct ty_sql_tx *begin_with(struct place *place, bool read_only)
{
    struct task task = {.op = {.done = on_task, .read_only = read_only}};
    struct ty_sql_tx *tx = ty_sql_begin(place->db, &task.op);

    if (tx)
        return tx;
    finish(place, &task);
    done_well(&task);
    return task.op.tx;
}

static inline struct ty_sql_tx *begin(struct place *place)
{
    return begin_with(place, false);
}

static inline void start_in(struct ty_sql_tx *tx, struct task *task, enum ty_sql_verb verb,
                            const char *sql)
{
    *task = (struct task){.op = {.verb = verb, .sql = sql, .done = on_task}};
    task->op.sql_len = sql ? strlen(sql) : 0;
    ty_sql_tx_start(tx, &task->op);
}

static inline int done_in(struct place *place, struct ty_sql_tx *tx, enum ty_sql_verb verb,
                          const char *sql)
{
    struct task task;

    start_in(tx, &task, verb, sql);
    finish(place, &task);
    ty_sql_op_close(&task.op);
    return task.op.status;
}

static inline int done_at(struct place *place, struct ty_sql_tx *tx, enum ty_sql_verb verb,
                          unsigned level)
{
    struct task task = {.op = {.verb = verb, .level = level, .done = on_task}};

    ty_sql_tx_start(tx, &task.op);
    finish(place, &task);
    ty_sql_op_close(&task.op);
    return task.op.status;
}
