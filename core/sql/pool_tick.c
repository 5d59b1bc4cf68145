#include "sql/pool_private.h"
#include "tycho/clock.h"

enum {
    GRACE_MS = 450,   /* for the server to end what it was asked to end */
    DROP_MS = 1000,   /* and to roll back what nobody waits for */
    COMMIT_MS = 1000, /* more than a statement: ending it makes its outcome unknown */
    CANCEL_MS = 2000, /* for a request that nobody seems to take */
    CHECK_MS = 30000, /* idle for so long: is it still alive? */
    CALM_MS = 100,    /* between ticks, when nothing happens */
    SWEEP_MS = 1000,
    HURRIED_SWEEP_MS = 100,
};

static bool is_past(uint64_t since_ns, uint64_t ms, uint64_t now)
{
    return now > since_ns && now - since_ns >= ms * POOL_NS_PER_MS;
}

/* Scripts are limited by their owners alone: a migration may take its time. */
static uint64_t limit_of(const struct ty_pool *pool, const struct ty_sql_op *op)
{
    if (!pool->options.query_ms || op->verb == TY_SQL_SCRIPT)
        return 0;
    return pool->options.query_ms + (pool_ends(op) ? COMMIT_MS : 0);
}

static void abort_for(struct ty_pool_conn *conn, const char *detail, const char *why)
{
    struct ty_error error;

    ty_error_set(&error, TY_ERR_UNAVAILABLE, detail, "%s: %s: %s", pool_system(conn->pool),
                 conn->pool->options.name, why);
    pool_abort(conn, &error);
}

static void watch_head(struct ty_pool_conn *conn, uint64_t now)
{
    struct ty_sql_op *op = conn->head;
    uint64_t limit = limit_of(conn->pool, op);
    bool is_overdue = limit && is_past(op->sent_ns, limit, now);

    if ((conn->blame && is_past(conn->cancel_ns, GRACE_MS, now)) ||
        (is_overdue && is_past(op->sent_ns, limit + GRACE_MS, now)))
        abort_for(conn, "connection.closed",
                  "the connection was closed: the server did not end a statement in time");
    else if (is_overdue)
        pool_cancel_head(conn, TY_POOL_LIMIT);
    else if (atomic_load(&op->cancelled))
        pool_cancel_head(conn, TY_POOL_OWNER);
}

static void watch_free(struct ty_pool_conn *conn, uint64_t now)
{
    struct ty_pool *pool = conn->pool;
    struct ty_pool_state_ *state = pool->state;
    bool is_spare = state->conn_count > pool->options.pool_min;

    if (conn->doomed || pool_conn_is_old(conn, now) ||
        (is_spare && pool->options.idle_ms && is_past(conn->used_ns, pool->options.idle_ms, now)) ||
        pool_conn_gives(conn, now))
        pool_conn_close(conn);
    else if (is_past(conn->used_ns, CHECK_MS, now) && is_past(conn->began_ns, CHECK_MS, now))
        pool_conn_check(conn);
}

static void watch_open(struct ty_pool_conn *conn, uint64_t now)
{
    if (conn->tx && conn->tx->dropped_ns && is_past(conn->tx->dropped_ns, DROP_MS, now))
        abort_for(conn, "connection.closed", "the server did not roll back in time");
    else if (conn->in_flight)
        watch_head(conn, now);
    else if (conn->cancelling && is_past(conn->cancel_ns, CANCEL_MS, now))
        abort_for(conn, "connection.closed", "the server did not take a cancel request");
    else if (conn->doomed && !conn->tx && !conn->cancelling)
        pool_conn_close(conn); /* its driver found out while nobody used it */
    else if (pool_is_free(conn))
        watch_free(conn, now);
    if (conn->state == TY_POOL_OPEN && conn->in_flight && conn->shared &&
        pool_conn_is_old(conn, now))
        conn->doomed = true;
}

static void watch(struct ty_pool_conn *conn, uint64_t now)
{
    uint64_t connect_ms = conn->pool->options.connect_ms;
    struct ty_error error;

    if (conn->state == TY_POOL_OPEN) {
        watch_open(conn, now);
    } else if (conn->state == TY_POOL_RESETTING && is_past(conn->began_ns, connect_ms, now)) {
        abort_for(conn, "connection.closed", "the server did not answer");
    } else if (conn->state == TY_POOL_CONNECTING &&
               is_past(conn->began_ns, connect_ms + DROP_MS, now)) {
        ty_error_set(&error, TY_ERR_UNAVAILABLE, "connect_timeout",
                     "%s: %s: the server did not answer within %.3g s", pool_system(conn->pool),
                     conn->pool->options.name, (double)connect_ms / 1000);
        ty_pool_lost(conn, &error, false);
    }
}

static void keep_minimum(struct ty_pool *pool, uint64_t now)
{
    struct ty_pool_state_ *state = pool->state;

    if (state->was_up && !state->closing && state->conn_count < pool->options.pool_min &&
        state->connecting_count == 0 && !state->circuit.open && pool_circuit_allows(pool, now) &&
        !pool_ledger_is_wanted(state->ledger))
        pool_conn_open(pool);
}

static bool is_busy(const struct ty_pool *pool)
{
    const struct ty_pool_state_ *state = pool->state;

    if (state->share.head || state->alone.head || state->txs || state->circuit.open ||
        state->closing)
        return true;
    for (const struct ty_pool_conn *conn = state->conns; conn; conn = conn->next) {
        if (conn->state != TY_POOL_OPEN || conn->in_flight || conn->cancelling)
            return true;
    }
    return false;
}

static void calm_down(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;

    if (!state->is_busy || is_busy(pool))
        return;
    state->is_busy = false;
    uv_unref((uv_handle_t *)&state->tick);
    uv_timer_start(&state->tick, pool_on_tick, CALM_MS, CALM_MS);
}

void pool_on_tick(uv_timer_t *timer)
{
    struct ty_pool *pool = timer->data;
    struct ty_pool_state_ *state = pool->state;
    uint64_t now = ty_now_ns();
    bool is_short = state->share.head || state->alone.head;

    for (struct ty_pool_conn *conn = state->conns, *next; conn; conn = next) {
        next = conn->next; /* closed ones stay until the driver has closed them */
        watch(conn, now);
    }
    pool_line_give_up(pool, now);
    pool_circuit_tick(pool, now);
    keep_minimum(pool, now);
    if (is_past(state->ledger_ns, is_short ? HURRIED_SWEEP_MS : SWEEP_MS, now)) {
        state->ledger_ns = now;
        pool_ledger_sweep(state->ledger);
    }
    if (is_short)
        pool_pump(pool);
    calm_down(pool);
    pool_count(pool);
    if (!state->is_busy && !state->conns && state->conn_count >= pool->options.pool_min)
        uv_timer_stop(&state->tick);
}
