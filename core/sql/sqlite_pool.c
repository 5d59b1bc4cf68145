#include "sql/sqlite.h"

#include <assert.h>
#include <string.h>

#include "tycho/clock.h"
#include "tycho/log.h"

enum { NS_PER_MS = 1000000, COMPLAIN_MS = 10000 };

/* ---- telling: always from the loop, never from inside the call that started the operation */

void ty_sqlite_finish(struct ty_sqlite *db)
{
    db->telling = db->finished;
    db->finished = NULL;
    db->finished_tail = &db->finished;
    while (db->telling) {
        struct ty_sql_op *op = db->telling;

        db->telling = op->next;
        op->place = PLACE_NONE;
        if (op->tx && atomic_load(&op->cancelled)) { /* nobody wants the connection any more */
            ty_sqlite_tx_drop(op->tx);
            op->tx = NULL;
            ty_sqlite_fail(op, TY_ERR_CANCELLED, "SQLITE_INTERRUPT", "cancelled");
        }
        op->done(op); /* may free it */
    }
}

static void on_soon(uv_idle_t *soon)
{
    uv_idle_stop(soon);
    ty_sqlite_finish(soon->data);
}

void ty_sqlite_finish_later(struct ty_sql_op *op)
{
    struct ty_sqlite *db = ty_sqlite_of(op);

    op->place = PLACE_FINISHED;
    op->next = NULL;
    *db->finished_tail = op;
    db->finished_tail = &op->next;
    if (!uv_is_closing((uv_handle_t *)&db->soon)) /* which libuv does not look at */
        uv_idle_start(&db->soon, on_soon);
}

/* ---- waiting */

static struct ty_sql_op *pop(struct ty_sqlite_queue *queue)
{
    struct ty_sql_op *op = queue->head;

    queue->head = op->next;
    if (!queue->head)
        queue->tail = &queue->head;
    queue->count--;
    op->place = PLACE_NONE;
    return op;
}

static bool remove_from(struct ty_sqlite_queue *queue, struct ty_sql_op *op)
{
    for (struct ty_sql_op **at = &queue->head; *at; at = &(*at)->next) {
        if (*at != op)
            continue;
        *at = op->next;
        if (queue->tail == &op->next)
            queue->tail = at;
        queue->count--;
        return true;
    }
    return false;
}

static void count_wait(struct ty_sqlite *db, struct ty_sql_op *op, bool in_vain)
{
    uint64_t waited = ty_now_ns() - op->queued_ns;

    op->wait_ns += waited;
    ty_sql_count_wait(db->figures, waited, in_vain);
}

static void give_up(struct ty_sqlite *db, struct ty_sql_op *op, const char *detail, const char *why)
{
    count_wait(db, op, true);
    ty_sqlite_fail(op, TY_ERR_UNAVAILABLE, detail, "%s: %s", db->name, why);
    ty_sql_count_op(db->figures, op);
    ty_sqlite_finish_later(op);
}

void ty_sqlite_give_up_all(struct ty_sqlite *db, const char *detail, const char *why)
{
    while (db->for_writer.head)
        give_up(db, pop(&db->for_writer), detail, why);
    while (db->for_readers.head)
        give_up(db, pop(&db->for_readers), detail, why);
}

static void start_wait_timer(struct ty_sqlite *db);

static void on_wait_timer(uv_timer_t *timer)
{
    struct ty_sqlite *db = timer->data;
    struct ty_sqlite_queue *queues[] = {&db->for_writer, &db->for_readers};
    uint64_t now = ty_now_ns();

    for (int i = 0; i < 2; i++) {
        while (queues[i]->head &&
               now - queues[i]->head->queued_ns >= db->options.wait_ms * NS_PER_MS)
            give_up(db, pop(queues[i]), "pool.timeout", "no connection became free in time");
    }
    ty_sqlite_count_conns(db);
    start_wait_timer(db);
}

/* Lines are first in, first out, and everybody has the same patience: only heads matter. */
static void start_wait_timer(struct ty_sqlite *db)
{
    uint64_t oldest = UINT64_MAX, now = ty_now_ns();

    if (db->for_writer.head)
        oldest = db->for_writer.head->queued_ns;
    if (db->for_readers.head && db->for_readers.head->queued_ns < oldest)
        oldest = db->for_readers.head->queued_ns;
    if (oldest == UINT64_MAX) {
        uv_timer_stop(&db->wait_timer);
        return;
    }
    uint64_t due = oldest + db->options.wait_ms * NS_PER_MS;
    uint64_t left = due > now ? (due - now) / NS_PER_MS + 1 : 0;
    uv_update_time(db->loop);
    uv_timer_start(&db->wait_timer, on_wait_timer, left, 0);
}

static void wait_for(struct ty_sqlite *db, struct ty_sqlite_queue *queue, struct ty_sql_op *op)
{
    op->queued_ns = ty_now_ns();
    if (db->for_writer.count + db->for_readers.count >= db->options.queue_max) {
        give_up(db, op, "pool.queue", "too many are waiting for a connection");
        return;
    }
    op->place = PLACE_QUEUE;
    op->next = NULL;
    *queue->tail = op;
    queue->tail = &op->next;
    queue->count++;
    ty_sqlite_count_conns(db);
    if (!uv_is_active((uv_handle_t *)&db->wait_timer))
        start_wait_timer(db);
}

/* ---- connections */

static bool is_free(const struct ty_sqlite_conn *conn)
{
    return !conn->op && !conn->tx;
}

/* Until the writer was there once the file may be missing, or not in WAL mode. */
static bool readers_work(const struct ty_sqlite *db)
{
    return db->ready && db->conn_count > 1;
}

static struct ty_sqlite_conn *take(struct ty_sqlite *db, bool reads)
{
    struct ty_sqlite_conn *conn = db->conns;

    if (reads && readers_work(db)) {
        conn = db->free_readers;
        if (conn)
            db->free_readers = conn->next_free;
    } else if (!is_free(conn) || db->for_writer.head) {
        return NULL;
    }
    if (conn)
        db->used_count++;
    return conn;
}

static void on_run_done(struct ty_work *work, int status);

void ty_sqlite_submit(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    op->place = PLACE_THREAD;
    op->conn = conn;
    conn->op = op;
    memset(&op->work, 0, sizeof(op->work));
    /* A lane as wide as there are connections is never full. */
    int status = ty_lane_submit(conn->db->lane, &op->work, ty_sqlite_run, on_run_done);
    assert(status == 0);
    (void)status;
}

static void grant(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    if (op->verb != TY_SQL_BEGIN) {
        ty_sqlite_submit(conn, op);
        return;
    }
    op->tx = &ty_sqlite_tx_new(conn, op->read_only)->base;
    ty_sqlite_finish_later(op);
}

/* The connection is free: whoever waits longest for one of its kind gets it. */
void ty_sqlite_release(struct ty_sqlite_conn *conn)
{
    struct ty_sqlite *db = conn->db;
    struct ty_sqlite_queue *queue = conn->writes ? &db->for_writer : &db->for_readers;

    if (queue->head) {
        struct ty_sql_op *op = pop(queue);

        count_wait(db, op, false);
        grant(conn, op);
        ty_sqlite_count_conns(db);
        return;
    }
    db->used_count--;
    if (!conn->writes) {
        conn->next_free = db->free_readers;
        db->free_readers = conn;
    }
    ty_sqlite_count_conns(db);
    ty_sqlite_close_if_unused(db);
}

/* Gives the operation a connection, or a place in a line. */
static void place(struct ty_sqlite *db, struct ty_sql_op *op, bool reads)
{
    struct ty_sqlite_queue *queue = reads && readers_work(db) ? &db->for_readers : &db->for_writer;
    struct ty_sqlite_conn *conn = take(db, reads);

    if (!conn) {
        wait_for(db, queue, op);
        return;
    }
    ty_sqlite_count_conns(db);
    ty_sqlite_submit(conn, op);
}

/* Whoever asked gets a 503, which no log explains. Once in a while: it may be everybody. */
static void complain(struct ty_sqlite *db, const struct ty_sql_op *op)
{
    uint64_t now = ty_now_ms();

    if (db->complained_ms && now - db->complained_ms < COMPLAIN_MS)
        return;
    db->complained_ms = now;
    ty_log_error("db", "database %s cannot be used: %s", db->name, op->error.message);
}

static void note_health(struct ty_sqlite *db, const struct ty_sql_op *op)
{
    if (db->conns[0].op == NULL && db->conns[0].handle)
        db->ready = true;
    if (op->status == 0) {
        db->up = true;
    } else if (ty_sqlite_is_outage(op->code)) {
        db->up = false;
        complain(db, op);
    }
}

static void on_run_done(struct ty_work *work, int status)
{
    struct ty_sql_op *op = (struct ty_sql_op *)((char *)work - offsetof(struct ty_sql_op, work));
    struct ty_sqlite_conn *conn = op->conn;
    struct ty_sqlite *db = conn->db;

    (void)status; /* never cancelled in the lane */
    conn->op = NULL;
    op->place = PLACE_NONE;
    note_health(db, op);
    if (conn->tx) {
        ty_sql_count_op(db->figures, op);
        ty_sqlite_tx_on_done(conn->tx, op);
        return;
    }
    bool bounce = op->bounce;
    op->bounce = false;
    if (bounce) {
        place(db, op, false);
        ty_sqlite_release(conn);
        return;
    }
    ty_sql_count_op(db->figures, op);
    ty_sqlite_release(conn);
    op->done(op);
}

/* ---- the outside */

static bool refuse(struct ty_sqlite *db, struct ty_sql_op *op)
{
    if (!db->closing)
        return false;
    ty_sqlite_fail(op, TY_ERR_UNAVAILABLE, "pool.closed", "%s: the database is being closed",
                   db->name);
    ty_sqlite_finish_later(op);
    return true;
}

void ty_sqlite_start(struct ty_sql *sql, struct ty_sql_op *op)
{
    struct ty_sqlite *db = (struct ty_sqlite *)sql;

    if (!refuse(db, op))
        place(db, op, op->verb == TY_SQL_RUN && ty_sql_reads(op->sql));
}

struct ty_sql_tx *ty_sqlite_begin(struct ty_sql *sql, struct ty_sql_op *op)
{
    struct ty_sqlite *db = (struct ty_sqlite *)sql;

    op->verb = TY_SQL_BEGIN;
    if (refuse(db, op))
        return NULL;

    struct ty_sqlite_conn *conn = take(db, op->read_only);
    if (conn) {
        op->tx = &ty_sqlite_tx_new(conn, op->read_only)->base;
        ty_sqlite_count_conns(db);
        return op->tx;
    }
    wait_for(db, op->read_only && readers_work(db) ? &db->for_readers : &db->for_writer, op);
    return NULL;
}

void ty_sqlite_cancel(struct ty_sql_op *op)
{
    struct ty_sqlite *db = ty_sqlite_of(op);
    bool removed = false, was_waiting = op->place == PLACE_QUEUE;

    atomic_store(&op->cancelled, true);
    if (was_waiting) {
        removed = remove_from(&db->for_writer, op) || remove_from(&db->for_readers, op);
        count_wait(db, op, false);
    } else if (op->place == PLACE_TX) {
        removed = ty_sqlite_tx_remove(ty_sqlite_tx_of(op), op);
    }
    if (!removed)
        return;
    ty_sqlite_count_conns(db);
    ty_sqlite_fail(op, TY_ERR_CANCELLED, "SQLITE_INTERRUPT", "cancelled");
    if (was_waiting)
        ty_sql_count_op(db->figures, op);
    ty_sqlite_finish_later(op);
}

bool ty_sqlite_is_up(const struct ty_sql *sql)
{
    return ((const struct ty_sqlite *)sql)->up;
}

void ty_sqlite_count_conns(const struct ty_sqlite *db)
{
    ty_sql_count_conns(db->figures, db->used_count, db->conn_count - db->used_count, db->conn_count,
                       db->for_writer.count + db->for_readers.count);
}
