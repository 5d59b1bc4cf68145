/* A MariaDB server for a whole test program, a database of ours on it, and its loop. */
#pragma once

#include "support/database.h"
#include "tycho/clock.h"
#include "tycho/sql.h"

static struct database server; /* of the program */

static inline int start_server(void **state)
{
    static const char *const words[] = {"password=pass:word@1", "tls=on", NULL};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (database_start(&server, "mariadb", words) != 0)
        return -1;
    database_sql(&server, NULL, "create database app");
    return 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    database_remove(&server);
    return 0;
}

struct place {
    uv_loop_t loop;
    struct ty_sql *db;
    char url[256];
    int closed;
};

/* An operation, whether it is done, and the values of it. */
struct task {
    struct ty_sql_op op;
    int calls;
};

/* The loop that finish() runs. */
static uv_loop_t *running_loop;

static inline void on_task(struct ty_sql_op *op)
{
    ((struct task *)op)->calls++;
    if (running_loop)
        uv_stop(running_loop);
}

static inline struct ty_sql_options place_options(struct place *place)
{
    snprintf(place->url, sizeof(place->url), "mysql://tycho@127.0.0.1:%d/app", server.port);
    return (struct ty_sql_options){
        .name = "test",
        .url = place->url,
        .password = "pass:word@1",
        .statements = 10,
        .queue_max = 1000,
        .wait_ms = 5000,
        .result_max = 1024 * 1024,
        .pool_max = 4,
        .pipelines = 2,
        .connect_ms = 10000,
        .query_ms = 10000,
        .lifetime_ms = 1800 * 1000,
        .idle_ms = 600 * 1000,
    };
}

static inline void place_open_with(struct place *place, const struct ty_sql_options *options)
{
    uv_loop_init(&place->loop);
    place->closed = 0;
    place->db = ty_sql_new(&place->loop, options, NULL);
    assert_non_null(place->db);
}

static inline void place_open(struct place *place)
{
    struct ty_sql_options options = place_options(place);

    place_open_with(place, &options);
}

static inline void on_place_closed(void *arg)
{
    ((struct place *)arg)->closed = 1;
}

/* Closes everything, and answers what uv_loop_close() says. */
static inline int place_leave(struct place *place)
{
    ty_sql_close(place->db, on_place_closed, place);
    while (!place->closed)
        uv_run(&place->loop, UV_RUN_ONCE);
    uv_run(&place->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&place->loop);
}

static inline void task_init(struct task *task, enum ty_sql_verb verb, const char *sql)
{
    *task = (struct task){.op = {.verb = verb, .sql = sql, .done = on_task}};
    task->op.sql_len = sql ? strlen(sql) : 0;
}

static inline void start(struct place *place, struct task *task, const char *sql)
{
    task_init(task, TY_SQL_RUN, sql);
    ty_sql_start(place->db, &task->op);
    assert_int_equal(task->calls, 0); /* never from inside */
}

/* With values for $1, $2, ... */
static inline void start_with(struct place *place, struct task *task, const char *sql,
                              const struct ty_sql_value *values, unsigned count)
{
    task_init(task, TY_SQL_RUN, sql);
    task->op.params = values;
    task->op.param_count = count;
    ty_sql_start(place->db, &task->op);
    assert_int_equal(task->calls, 0);
}

static inline void start_in(struct ty_sql_tx *tx, struct task *task, enum ty_sql_verb verb,
                            const char *sql)
{
    task_init(task, verb, sql);
    ty_sql_tx_start(tx, &task->op);
    assert_int_equal(task->calls, 0);
}

static inline void finish(struct place *place, const struct task *task)
{
    running_loop = &place->loop;
    while (!task->calls)
        uv_run(&place->loop, UV_RUN_ONCE);
    running_loop = NULL;
}

/* The cell of a result, both counted from 0; good until the next call. */
static inline struct ty_sql_value cell(struct ty_sql_op *op, uint64_t row, unsigned column)
{
    struct ty_sql_cursor cursor = {0};
    struct ty_sql_value value = {.type = TY_SQL_NULL};

    assert_true(row < op->row_count && column < op->column_count);
    for (unsigned i = 0; i < op->column_count; i++)
        ty_sql_name(op, &cursor);
    for (uint64_t i = 0; i <= row * op->column_count + column; i++)
        ty_sql_cell(op, &cursor, &value);
    return value;
}

/* What is no number, as a text. */
static inline const char *text_of(struct ty_sql_op *op, uint64_t row, unsigned column)
{
    static char text[1024];
    struct ty_sql_value value = cell(op, row, column);

    if (value.type == TY_SQL_NULL)
        return "NULL";
    snprintf(text, sizeof(text), "%.*s", (int)value.bytes.len, value.bytes.data);
    return text;
}

static inline void say_error(const struct task *task)
{
    if (task->op.status)
        fprintf(stderr, "%s [%s]\n", task->op.error.message, task->op.error.detail);
}

/* Runs a statement that must work; the first cell of its result, if it is a number, or the changed
 * rows. */
static inline int64_t ask(struct place *place, const char *sql)
{
    struct task task;
    int64_t number;

    start(place, &task, sql);
    finish(place, &task);
    say_error(&task);
    assert_int_equal(task.op.status, 0);
    number = task.op.row_count && cell(&task.op, 0, 0).type != TY_SQL_TEXT
                 ? cell(&task.op, 0, 0).integer
                 : task.op.changes;
    ty_sql_op_close(&task.op);
    return number;
}

/* Runs a statement of which the first cell must be this text. */
static inline void assert_says(struct place *place, const char *sql, const char *text)
{
    struct task task;

    start(place, &task, sql);
    finish(place, &task);
    say_error(&task);
    assert_int_equal(task.op.status, 0);
    assert_string_equal(text_of(&task.op, 0, 0), text);
    ty_sql_op_close(&task.op);
}

/* Runs a statement that must fail in just this way. */
static inline void assert_fails(struct place *place, const char *sql, enum ty_error_kind kind,
                                const char *detail, const char *constraint)
{
    struct task task;

    start(place, &task, sql);
    finish(place, &task);
    if (task.op.error.kind != kind || strcmp(task.op.error.detail, detail) != 0 ||
        strcmp(task.op.constraint, constraint) != 0)
        fprintf(stderr, "%s: %s [%s] (%s)\n", sql, task.op.error.message, task.op.error.detail,
                task.op.constraint);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, kind);
    assert_string_equal(task.op.error.detail, detail);
    assert_string_equal(task.op.constraint, constraint);
    ty_sql_op_close(&task.op);
}

static inline struct ty_sql_tx *begin(struct place *place)
{
    struct task task = {.op = {.done = on_task}};
    struct ty_sql_tx *tx = ty_sql_begin(place->db, &task.op);

    if (tx)
        return tx;
    finish(place, &task);
    assert_int_equal(task.op.status, 0);
    return task.op.tx;
}

/* Runs it to its end, and answers its status. */
static inline int done_in(struct place *place, struct ty_sql_tx *tx, enum ty_sql_verb verb,
                          const char *sql)
{
    struct task task;

    start_in(tx, &task, verb, sql);
    finish(place, &task);
    ty_sql_op_close(&task.op);
    return task.op.status;
}
