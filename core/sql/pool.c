#include "sql/pool.h"

#include <stdlib.h>
#include <string.h>

#include "sql/pool_private.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

enum { BUSY_TICK_MS = 20, IDLE_TICK_MS = 100 };

/* ---- opening */

static char *copy(const char *text)
{
    return text ? ty_strdup(text) : NULL;
}

static void add_handles(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;

    uv_timer_init(pool->loop, &state->tick);
    uv_idle_init(pool->loop, &state->soon);
    state->tick.data = state->soon.data = pool;
    uv_unref((uv_handle_t *)&state->tick); /* idle connections keep no program running */
}

struct ty_sql *ty_pool_new(uv_loop_t *loop, const struct ty_pool_driver *driver,
                           const struct ty_sql_options *options, void *own)
{
    struct ty_pool *pool = ty_zalloc(sizeof(*pool));
    struct ty_pool_state_ *state = ty_zalloc(sizeof(*state));

    pool->sql.driver = &driver->sql;
    pool->driver = driver;
    pool->loop = loop;
    pool->own = own;
    pool->options = *options;
    pool->options.name = copy(options->name);
    pool->options.url = copy(options->url);
    pool->options.password = copy(options->password);
    if (pool->options.pool_max == 0)
        pool->options.pool_max = 1;
    if (pool->options.pipelines == 0)
        pool->options.pipelines = 1;
    pool->figures = ty_sql_figures_new(driver->sql.system, pool->options.name);
    pool->state = state;
    pool_line_init(&state->share);
    pool_line_init(&state->alone);
    state->finished_tail = &state->finished;
    state->random = ty_now_ns() ^ (uint64_t)(uintptr_t)state;
    state->ledger = pool_ledger_open(pool->options.name, pool->options.pool_max);
    add_handles(pool);
    return &pool->sql;
}

/* xorshift: jitter needs no more. */
uint64_t pool_random(struct ty_pool *pool, uint64_t below)
{
    uint64_t x = pool->state->random | 1;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    pool->state->random = x;
    return below ? x % below : 0;
}

/* ---- telling: always from the loop, never from inside the call that started the operation */

static void tell(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;

    state->telling = state->finished;
    state->finished = NULL;
    state->finished_tail = &state->finished;
    while (state->telling) {
        struct ty_sql_op *op = state->telling;

        state->telling = op->next;
        op->place = WHERE_NOWHERE;
        if (op->verb == TY_SQL_BEGIN && op->tx && atomic_load(&op->cancelled)) {
            ty_pool_tx_drop(op->tx); /* nobody wants it any more */
            op->tx = NULL;
            ty_sql_fail(op, pool_system(pool), TY_ERR_CANCELLED, "cancelled", "cancelled");
            op->status = UV_ECANCELED;
        }
        op->done(op); /* may free it */
    }
}

static void on_soon(uv_idle_t *soon)
{
    struct ty_pool *pool = soon->data;

    uv_idle_stop(soon);
    pool_conn_chores(pool);
    tell(pool);
    pool_close_if_unused(pool);
}

void pool_do_soon(struct ty_pool *pool)
{
    uv_idle_t *soon = &pool->state->soon;

    if (!uv_is_closing((uv_handle_t *)soon)) /* which libuv does not look at */
        uv_idle_start(soon, on_soon);
}

void pool_finish_later(struct ty_pool *pool, struct ty_sql_op *op)
{
    struct ty_pool_state_ *state = pool->state;

    op->place = WHERE_FINISHED;
    op->next = NULL;
    *state->finished_tail = op;
    state->finished_tail = &op->next;
    pool_do_soon(pool);
}

void pool_fail(struct ty_pool *pool, struct ty_sql_op *op, enum ty_error_kind kind,
               const char *detail, const char *why)
{
    ty_sql_fail(op, pool_system(pool), kind, detail, "%s: %s", pool->options.name, why);
    pool_finish_later(pool, op);
}

void pool_fail_cancelled(struct ty_pool *pool, struct ty_sql_op *op)
{
    ty_sql_fail(op, pool_system(pool), TY_ERR_CANCELLED, "cancelled", "cancelled");
    op->status = UV_ECANCELED;
    pool_finish_later(pool, op);
}

void pool_fail_as(struct ty_pool *pool, struct ty_sql_op *op, const struct ty_error *error)
{
    op->status = error->kind == TY_ERR_CANCELLED ? UV_ECANCELED : -1;
    op->error = *error;
    pool_finish_later(pool, op);
}

void pool_forget_result(struct ty_pool *pool, struct ty_sql_op *op)
{
    op->conn = NULL;
    for (struct ty_sql_op *at = op; at; at = at->batch) {
        pool->driver->sql.op_close(at);
        at->result = NULL;
        at->status = 0;
        at->bounce = false;
        memset(&at->error, 0, sizeof(at->error));
        at->constraint[0] = at->table[0] = at->column[0] = '\0';
        at->changes = at->last_id = 0;
        at->row_count = 0;
        at->column_count = 0;
    }
}

/* ---- time */

void pool_stir(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;

    if (state->is_busy || state->handles_left)
        return;
    state->is_busy = true;
    uv_ref((uv_handle_t *)&state->tick);
    uv_timer_start(&state->tick, pool_on_tick, BUSY_TICK_MS, BUSY_TICK_MS);
}

/* ---- the outside */

static bool refuse(struct ty_pool *pool, struct ty_sql_op *op)
{
    struct ty_pool_state_ *state = pool->state;

    op->db = &pool->sql;
    if (!state->closing && !state->circuit.open)
        return false;
    if (state->closing)
        pool_fail(pool, op, TY_ERR_UNAVAILABLE, "pool.closed", "the database is being closed");
    else
        pool_fail_as(pool, op, &state->circuit.reason);
    ty_sql_count_op(pool->figures, op);
    return true;
}

void ty_pool_start(struct ty_sql *db, struct ty_sql_op *op)
{
    struct ty_pool *pool = pool_of(db);
    struct ty_pool_state_ *state = pool->state;

    if (refuse(pool, op))
        return;
    bool share = pool_can_share(pool, op);
    struct pool_line *line = share ? &state->share : &state->alone;
    if (line->head || !pool_place(pool, op, share)) {
        pool_wait(pool, op, share);
        pool_pump(pool);
    }
    pool_stir(pool);
}

struct ty_sql_tx *ty_pool_begin(struct ty_sql *db, struct ty_sql_op *op)
{
    struct ty_pool *pool = pool_of(db);
    struct ty_pool_conn *conn;

    op->verb = TY_SQL_BEGIN;
    if (refuse(pool, op))
        return NULL;
    pool_stir(pool);
    conn = pool->state->alone.head ? NULL : pool_pick_free(pool);
    if (conn)
        return op->tx = &pool_tx_new(conn, op)->sql;
    pool_wait(pool, op, false);
    pool_pump(pool);
    return NULL;
}

void ty_pool_cancel(struct ty_sql_op *op)
{
    struct ty_pool *pool = pool_of(op->db);
    struct ty_pool_state_ *state = pool->state;
    struct ty_pool_conn *conn = op->conn;

    atomic_store(&op->cancelled, true);
    if (op->place == WHERE_SHARE || op->place == WHERE_ALONE) {
        uint64_t waited = ty_now_ns() - op->queued_ns;

        if (pool_line_remove(op->place == WHERE_SHARE ? &state->share : &state->alone, op)) {
            op->wait_ns += waited;
            ty_sql_count_wait(pool->figures, waited, false);
            pool_fail_cancelled(pool, op);
            ty_sql_count_op(pool->figures, op);
        }
    } else if (op->place == WHERE_TX) {
        if (pool_tx_remove((struct ty_pool_tx *)op->tx, op))
            pool_fail_cancelled(pool, op);
    } else if (op->place == WHERE_SENT && conn->head == op && !conn->shared) {
        pool_cancel_head(conn, TY_POOL_OWNER);
    } /* else: at the next tick, if it is the head then. Most are answered before */
}

bool ty_pool_is_up(const struct ty_sql *db)
{
    return !((const struct ty_pool *)db)->state->circuit.open;
}

void pool_count(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;
    unsigned used = 0, idle = 0;

    for (struct ty_pool_conn *conn = state->conns; conn; conn = conn->next) {
        if (conn->state == TY_POOL_OPEN && !conn->tx && !conn->in_flight)
            idle++;
        else
            used++;
    }
    bool tells = pool_ledger_tells(state->ledger);
    ty_sql_count_conns(pool->figures, used, idle, tells ? pool->options.pool_max : 0,
                       state->share.count + state->alone.count);
    ty_sql_count_pool(pool->figures, state->circuit.open,
                      tells ? pool_ledger_used(state->ledger) : 0);
}

/* ---- closing */

static void free_pool(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;
    void (*closed)(void *) = state->closed;
    void *arg = state->closed_arg;

    if (pool->driver->free)
        pool->driver->free(pool);
    pool_ledger_close(state->ledger);
    ty_sql_figures_free(pool->figures);
    free((char *)pool->options.name);
    free((char *)pool->options.url);
    if (pool->options.password)
        explicit_bzero((char *)pool->options.password, strlen(pool->options.password));
    free((char *)pool->options.password);
    free(state);
    free(pool);
    closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ty_pool *pool = handle->data;

    if (--pool->state->handles_left > 0)
        return;
    while (pool->state->finished) /* who was refused while the handles closed */
        tell(pool);
    free_pool(pool);
}

void pool_close_if_unused(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;

    if (!state->closing || state->conns || state->txs || state->finished || state->handles_left)
        return;
    state->handles_left = 2;
    uv_close((uv_handle_t *)&state->tick, on_handle_closed);
    uv_close((uv_handle_t *)&state->soon, on_handle_closed);
}

/* Transactions of which their owners have not heard yet. */
static void drop_granted(struct ty_pool *pool, struct ty_sql_op *op)
{
    for (; op; op = op->next) {
        if (op->verb != TY_SQL_BEGIN || !op->tx)
            continue;
        ty_pool_tx_drop(op->tx);
        op->tx = NULL;
        ty_sql_fail(op, pool_system(pool), TY_ERR_UNAVAILABLE, "pool.closed",
                    "%s: the database is being closed", pool->options.name);
    }
}

void ty_pool_close(struct ty_sql *db, void (*closed)(void *arg), void *arg)
{
    struct ty_pool *pool = pool_of(db);
    struct ty_pool_state_ *state = pool->state;
    struct ty_error error;

    state->closing = true;
    state->closed = closed;
    state->closed_arg = arg;
    ty_error_set(&error, TY_ERR_UNAVAILABLE, "pool.closed", "%s: %s: the database is being closed",
                 pool_system(pool), pool->options.name);
    pool_line_fail_all(pool, &error);
    drop_granted(pool, state->finished);
    drop_granted(pool, state->telling);
    for (struct ty_pool_tx *tx = state->txs, *next; tx; tx = next) {
        next = tx->next;
        if (!tx->ended)
            ty_pool_tx_drop(&tx->sql);
    }
    for (struct ty_pool_conn *conn = state->conns; conn; conn = conn->next) {
        conn->sealed = true;
        pool_conn_release(conn);
    }
    pool_stir(pool);
    pool_do_soon(pool);
}
