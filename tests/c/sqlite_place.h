/* A database in a folder of its own, and its loop, for the tests of the embedded database. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/clock.h"
#include "tycho/sql.h"

struct place {
    uv_loop_t loop;
    char folder[64];
    char url[160]; /* of a file that is not there yet */
    char file[128];
    struct ty_sql *db;
    int closed;
};

/* An operation and whether it is done. */
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
        uv_stop(running_loop); /* or it would wait for its next timer first */
}

static inline struct ty_sql_options place_options(struct place *place)
{
    return (struct ty_sql_options){
        .name = "test",
        .url = place->url,
        .readers = 2,
        .statements = 10,
        .queue_max = 100,
        .wait_ms = 1000,
        .busy_ms = 5000,
        .result_max = 1024 * 1024,
    };
}

static inline void place_make(struct place *place)
{
    *place = (struct place){0};
    snprintf(place->folder, sizeof(place->folder), "/tmp/tycho-sqlite-XXXXXX");
    if (!mkdtemp(place->folder))
        abort();
    snprintf(place->file, sizeof(place->file), "%s/test.db", place->folder);
    snprintf(place->url, sizeof(place->url), "sqlite://%s", place->file);
    uv_loop_init(&place->loop);
}

static inline void place_open(struct place *place)
{
    place_make(place);
    struct ty_sql_options options = place_options(place);
    place->db = ty_sql_new(&place->loop, &options, NULL);
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
    char command[128];

    if (place->db)
        place_shut(place);
    snprintf(command, sizeof(command), "rm -rf '%s'", place->folder);
    if (system(command) != 0) /* NOLINT(cert-env33-c) */
        abort();
    uv_run(&place->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&place->loop);
}

static inline void start(struct place *place, struct task *task, const char *sql)
{
    *task = (struct task){.op = {.sql = sql, .sql_len = strlen(sql), .done = on_task}};
    ty_sql_start(place->db, &task->op);
}

static inline void start_in(struct ty_sql_tx *tx, struct task *task, enum ty_sql_verb verb,
                            const char *sql)
{
    *task = (struct task){.op = {.verb = verb, .sql = sql, .done = on_task}};
    task->op.sql_len = sql ? strlen(sql) : 0;
    ty_sql_tx_start(tx, &task->op);
}

static inline void finish(struct place *place, const struct task *task)
{
    running_loop = &place->loop;
    while (!task->calls)
        uv_run(&place->loop, UV_RUN_ONCE);
    running_loop = NULL;
}

/* Runs a statement and returns its status; the first cell of its result, if that is a number, goes
 * to
 * `*number`. */
static inline int ask(struct place *place, const char *sql, int64_t *number)
{
    struct task task;
    struct ty_sql_cursor cursor = {0};
    struct ty_sql_value value = {.type = TY_SQL_NULL};

    start(place, &task, sql);
    finish(place, &task);
    if (task.op.row_count > 0) {
        for (unsigned i = 0; i < task.op.column_count; i++)
            ty_sql_name(&task.op, &cursor);
        ty_sql_cell(&task.op, &cursor, &value);
    }
    if (number)
        *number = value.type == TY_SQL_INTEGER ? value.integer : -1;
    if (task.op.status)
        fprintf(stderr, "%s\n", task.op.error.message);
    ty_sql_op_close(&task.op);
    return task.op.status;
}

static inline int64_t number_of(struct place *place, const char *sql)
{
    int64_t number;

    return ask(place, sql, &number) == 0 ? number : -1000000;
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

/* Runs a statement that must fail in just this way. */
static inline void assert_fails(struct place *place, const char *sql, enum ty_error_kind kind,
                                const char *detail, const char *constraint)
{
    struct task task;

    start(place, &task, sql);
    finish(place, &task);
    assert_int_equal(task.op.status, -1);
    assert_int_equal(task.op.error.kind, kind);
    assert_string_equal(task.op.error.detail, detail);
    assert_string_equal(task.op.constraint, constraint);
    ty_sql_op_close(&task.op);
}

static inline void make_table(struct place *place)
{
    assert_int_equal(ask(place, "create table t(n integer primary key)", NULL), 0);
}

static inline struct ty_sql_tx *begin(struct place *place)
{
    struct task task = {.op = {.done = on_task}};
    struct ty_sql_tx *tx = ty_sql_begin(place->db, &task.op);

    if (tx)
        return tx;
    finish(place, &task);
    return task.op.tx;
}

static inline int64_t rows(struct place *place)
{
    return number_of(place, "select count(*) from t");
}
