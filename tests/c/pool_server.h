/* A server in memory and a driver of it, for the tests of the pool: the test says when a connection
 * opens, when a statement runs, when its answer arrives, when a request to cancel does, and when
 * everything breaks. What must never happen is asserted on the server's side: a statement in
 * somebody else's transaction or changed session, more connections than there may be.
 *
 * Texts of statements: "select" reads and is fast, "insert" writes and is fast, "slow" writes and
 * is not, "set" changes the session.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "sql/pool_private.h"
#include "tycho/log.h"

enum { FAKE_DEPTH = 4, FAKE_CONNS = 64 };

struct task {
    struct ty_sql_op op;
    int calls;
    int effects; /* how often it was done for good */
    bool in_tx;
};

/* Something that was sent, as the server sees it. */
struct fake_sent {
    struct ty_sql_op *op;
    bool is_done, is_cancelled, is_clean;
    const char *failure;
};

struct fake_conn {
    struct ty_pool_conn base;
    bool closing, resetting, gone; /* gone: the server knows nothing of it any more */
    bool cancel_comes;
    struct fake_sent sent[FAKE_DEPTH + 2];
    unsigned sent_count;
    bool in_tx, tx_failed, changed;
    struct task *undone[16]; /* of its transaction */
    unsigned undone_count;
};

static struct fake {
    struct fake_conn *conns[FAKE_CONNS];
    unsigned count, opened, cancels, resets, checks, max;
    bool fails_begin;
} fake;

static struct fake_conn *fake_of(struct ty_pool_conn *conn)
{
    return (struct fake_conn *)conn;
}

static void fake_connect(struct ty_pool_conn *conn)
{
    unsigned alive = 1;

    for (unsigned i = 0; i < fake.count; i++)
        alive += !fake.conns[i]->gone;
    assert_true(alive <= fake.max);
    assert_true(fake.count < FAKE_CONNS);
    fake.conns[fake.count++] = fake_of(conn);
    fake.opened++;
}

static void fake_send(struct ty_pool_conn *conn, struct ty_sql_op *op)
{
    struct fake_conn *at = fake_of(conn);

    assert_int_equal(conn->state, TY_POOL_OPEN);
    assert_false(at->cancel_comes);
    assert_true(at->sent_count < FAKE_DEPTH + 2);
    at->sent[at->sent_count++] = (struct fake_sent){.op = op};
}

static void fake_cancel(struct ty_pool_conn *conn)
{
    fake_of(conn)->cancel_comes = true;
    fake.cancels++;
}

static void fake_reset(struct ty_pool_conn *conn)
{
    assert_int_equal(conn->in_flight, 0);
    fake_of(conn)->resetting = true;
    fake.resets++;
}

static void fake_check(struct ty_pool_conn *conn)
{
    fake_of(conn)->resetting = true;
    fake.checks++;
}

static void fake_close(struct ty_pool_conn *conn)
{
    assert_false(fake_of(conn)->closing);
    fake_of(conn)->closing = true;
    fake_of(conn)->sent_count = 0; /* their memory is somebody else's now */
}

static bool fake_changes_session(const struct ty_sql_op *op)
{
    return op->sql && strncmp(op->sql, "set", 3) == 0;
}

static bool fake_is_fast(const struct ty_pool *pool, const struct ty_sql_op *op)
{
    (void)pool;
    return strncmp(op->sql, "slow", 4) != 0;
}

static void fake_op_close(struct ty_sql_op *op)
{
    (void)op;
}

static struct ty_pool_driver fake_driver = {
    .sql = {.system = "fake",
            .close = ty_pool_close,
            .is_up = ty_pool_is_up,
            .start = ty_pool_start,
            .begin = ty_pool_begin,
            .tx_start = ty_pool_tx_start,
            .tx_drop = ty_pool_tx_drop,
            .cancel = ty_pool_cancel,
            .op_close = fake_op_close},
    .conn_size = sizeof(struct fake_conn),
    .depth = FAKE_DEPTH,
    .connect = fake_connect,
    .send = fake_send,
    .cancel = fake_cancel,
    .reset = fake_reset,
    .check = fake_check,
    .close = fake_close,
    .changes_session = fake_changes_session,
    .is_fast = fake_is_fast,
};

/* ---- the server */

static inline bool is_task(const struct ty_sql_op *op)
{
    return op->done != NULL;
}

static inline void fake_undo(struct fake_conn *conn)
{
    conn->undone_count = 0;
    conn->in_tx = conn->tx_failed = false;
}

static inline void fake_run_statement(struct fake_conn *conn, struct fake_sent *sent)
{
    struct task *task = (struct task *)sent->op;

    assert_int_equal(task->in_tx, conn->in_tx);
    assert_true(conn->in_tx || !conn->changed);
    if (conn->tx_failed) {
        sent->failure = "in a failed transaction";
    } else if (sent->op->sql && strstr(sent->op->sql, "fail")) {
        sent->failure = "it fails";
        conn->tx_failed = conn->in_tx;
    } else if (conn->in_tx) {
        assert_true(conn->undone_count < 16);
        conn->undone[conn->undone_count++] = task;
    } else {
        task->effects++;
    }
    if (fake_changes_session(sent->op))
        conn->changed = true;
}

static inline void fake_end(struct fake_conn *conn, struct fake_sent *sent)
{
    if (sent->op->verb == TY_SQL_COMMIT && conn->tx_failed)
        sent->failure = "rolled back";
    for (unsigned i = 0;
         sent->op->verb == TY_SQL_COMMIT && !sent->failure && i < conn->undone_count; i++)
        conn->undone[i]->effects++;
    fake_undo(conn);
}

/* Where the server is. NULL: it has nothing to do. */
static inline struct fake_sent *fake_running(struct fake_conn *conn)
{
    for (unsigned i = 0; i < conn->sent_count; i++)
        if (!conn->sent[i].is_done)
            return &conn->sent[i];
    return NULL;
}

/* It runs the next thing that was sent. */
static inline void fake_run(struct fake_conn *conn)
{
    struct fake_sent *sent = conn->gone ? NULL : fake_running(conn);

    if (!sent)
        return;
    switch (sent->op->verb) {
    case TY_SQL_BEGIN:
        if (fake.fails_begin)
            sent->failure = "no";
        assert_false(conn->in_tx);
        conn->in_tx = !fake.fails_begin;
        break;
    case TY_SQL_COMMIT:
    case TY_SQL_ROLLBACK:
        assert_true(conn->in_tx);
        fake_end(conn, sent);
        break;
    default:
        fake_run_statement(conn, sent);
    }
    sent->is_done = true;
    sent->is_clean = !conn->tx_failed && !(fake.fails_begin && sent->op->verb == TY_SQL_BEGIN);
}

/* An answer arrives. */
static inline void fake_answer(struct fake_conn *conn)
{
    struct fake_sent sent = conn->sent[0];

    if (conn->base.state != TY_POOL_OPEN || !conn->sent_count || !sent.is_done)
        return;
    conn->sent_count--;
    memmove(conn->sent, conn->sent + 1, conn->sent_count * sizeof(sent));
    if (sent.is_cancelled)
        ty_sql_fail(sent.op, "fake", TY_ERR_CANCELLED, "57014", "cancelled");
    else if (sent.failure)
        ty_sql_fail(sent.op, "fake", TY_ERR_INVALID, "42", "%s", sent.failure);
    ty_pool_done(&conn->base, sent.op, sent.is_clean);
}

/* A request to cancel arrives: it hits whatever runs. */
static inline void fake_cancel_arrives(struct fake_conn *conn)
{
    struct fake_sent *sent = conn->gone ? NULL : fake_running(conn);

    if (!conn->cancel_comes)
        return;
    conn->cancel_comes = false;
    if (sent) {
        sent->is_done = sent->is_cancelled = true;
        assert_int_not_equal(sent->op->verb, TY_SQL_BEGIN);
        conn->tx_failed = conn->in_tx;
        sent->is_clean = !conn->tx_failed;
    }
    ty_pool_cancel_sent(&conn->base);
}

static inline void fake_die(struct fake_conn *conn, bool fatal)
{
    struct ty_error error;

    if (conn->closing || conn->base.state == TY_POOL_CLOSING)
        return;
    conn->gone = true;
    conn->sent_count = 0;
    fake_undo(conn);
    conn->cancel_comes = false;
    ty_error_set(&error, TY_ERR_UNAVAILABLE, "lost", "fake: 127.0.0.1:1: the connection was lost");
    ty_pool_lost(&conn->base, &error, fatal);
}

/* The other ends of what was started: opening, resetting, closing. */
static inline void fake_settle(struct fake_conn *conn)
{
    if (conn->closing) {
        for (unsigned i = 0; i < fake.count; i++) {
            if (fake.conns[i] == conn)
                fake.conns[i] = fake.conns[--fake.count];
        }
        ty_pool_closed(&conn->base);
    } else if (conn->base.state == TY_POOL_CONNECTING) {
        ty_pool_connected(&conn->base);
    } else if (conn->resetting && conn->base.state == TY_POOL_RESETTING) {
        conn->resetting = conn->changed = false;
        fake_undo(conn);
        ty_pool_was_reset(&conn->base);
    }
}

/* ---- the client */

struct world {
    uv_loop_t loop;
    uv_timer_t alive; /* a pool that has nothing to do keeps no loop running */
    struct ty_sql *db;
    int closed;
};

static inline void on_alive(uv_timer_t *timer)
{
    (void)timer;
}

static inline struct ty_pool *pool_in(struct world *world)
{
    return (struct ty_pool *)world->db;
}

static inline struct ty_sql_options fake_options(void)
{
    return (struct ty_sql_options){
        .name = "test",
        .url = "fake://",
        .queue_max = 100,
        .wait_ms = 1000,
        .pool_max = 4,
        .pipelines = 2,
        .connect_ms = 2000,
        .query_ms = 5000,
        .lifetime_ms = 1800 * 1000,
        .idle_ms = 600 * 1000,
    };
}

static inline void world_open(struct world *world, const struct ty_sql_options *options)
{
    *world = (struct world){0};
    fake = (struct fake){.max = options->pool_max};
    uv_loop_init(&world->loop);
    uv_timer_init(&world->loop, &world->alive);
    uv_timer_start(&world->alive, on_alive, 5, 5);
    world->db = ty_pool_new(&world->loop, &fake_driver, options, NULL);
}

static inline void turn(struct world *world)
{
    uv_update_time(&world->loop);
    uv_run(&world->loop, UV_RUN_NOWAIT);
}

/* Everything happens that can. */
static inline void go_on(struct world *world)
{
    for (int round = 0; round < 8; round++) {
        for (unsigned i = fake.count; i-- > 0;) {
            struct fake_conn *conn = fake.conns[i];

            fake_cancel_arrives(conn);
            while (fake_running(conn) && !conn->gone)
                fake_run(conn);
            while (conn->base.state == TY_POOL_OPEN && conn->sent_count && conn->sent[0].is_done)
                fake_answer(conn);
            fake_settle(conn);
        }
        turn(world);
    }
}

static inline void on_closed(void *arg)
{
    ((struct world *)arg)->closed++;
}

static inline int world_leave(struct world *world)
{
    ty_sql_close(world->db, on_closed, world);
    for (int i = 0; i < 100 && !world->closed; i++)
        go_on(world);
    assert_int_equal(world->closed, 1);
    assert_int_equal(fake.count, 0);
    uv_close((uv_handle_t *)&world->alive, NULL);
    turn(world);
    return uv_loop_close(&world->loop);
}

static inline void on_task(struct ty_sql_op *op)
{
    ((struct task *)op)->calls++;
}

static inline void task_init(struct task *task, const char *sql)
{
    *task = (struct task){.op = {.sql = sql, .sql_len = strlen(sql), .done = on_task}};
}

static inline void start(struct world *world, struct task *task, const char *sql)
{
    task_init(task, sql);
    ty_sql_start(world->db, &task->op);
    assert_int_equal(task->calls, 0);
}

static inline void start_in(struct ty_sql_tx *tx, struct task *task, enum ty_sql_verb verb,
                            const char *sql)
{
    task_init(task, sql);
    task->op.verb = verb;
    task->in_tx = true;
    ty_sql_tx_start(tx, &task->op);
    assert_int_equal(task->calls, 0);
}

/* The connection that an operation was sent on. */
static inline struct fake_conn *conn_of(const struct task *task)
{
    return task->op.place == WHERE_SENT ? fake_of(task->op.conn) : NULL;
}

/* How long something takes, in milliseconds, when the machine is not busy with something else. */
static inline uint64_t best_of(uint64_t (*run)(void), uint64_t enough)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < 5 && best > enough; i++) {
        uint64_t took = run();

        best = took < best ? took : best;
    }
    return best;
}

/* Time passes without anything happening, for what looks at its clock. */
static inline void wait_ms(struct world *world, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000;

    while (uv_hrtime() < end)
        uv_run(&world->loop, UV_RUN_ONCE);
}
