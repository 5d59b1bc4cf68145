#include "sql/pool_private.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

#include <stdlib.h>

/* ---- the list */

static void link_conn(struct ty_pool_conn *conn)
{
    struct ty_pool_state_ *state = conn->pool->state;

    conn->next = state->conns;
    conn->prev = &state->conns;
    if (conn->next)
        conn->next->prev = &conn->next;
    state->conns = conn;
    state->conn_count++;
}

static void unlink_conn(struct ty_pool_conn *conn)
{
    *conn->prev = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    conn->pool->state->conn_count--;
}

/* ---- from the beginning to the end */

/* Does another worker wait, and would we have more than our share? */
static bool is_for_others(const struct ty_pool *pool, unsigned held)
{
    return pool_ledger_is_wanted(pool->state->ledger) &&
           pool_ledger_is_greedy(pool->state->ledger, held);
}

bool pool_conn_gives(struct ty_pool_conn *conn, uint64_t now)
{
    struct ty_pool *pool = conn->pool;
    struct ty_pool_state_ *state = pool->state;
    bool is_spare = state->conn_count > pool->options.pool_min &&
                    now - conn->used_ns > (uint64_t)POOL_SPARE_MS * POOL_NS_PER_MS;

    if (now - state->gave_ns < (uint64_t)POOL_YOUNG_MS * POOL_NS_PER_MS ||
        !pool_ledger_is_wanted(state->ledger) ||
        !(is_spare || is_for_others(pool, state->conn_count)))
        return false;
    state->gave_ns = now;
    return true;
}

static int claim(struct ty_pool *pool, uint64_t now)
{
    struct ty_pool_state_ *state = pool->state;
    int place = POOL_NO_PLACE;

    if (state->refused_ns && now - state->refused_ns < (uint64_t)POOL_YOUNG_MS * POOL_NS_PER_MS)
        return place;
    if (!is_for_others(pool, state->conn_count + 1))
        place = pool_ledger_claim(state->ledger);
    state->refused_ns = place == POOL_NO_PLACE ? now : 0;
    return place;
}

bool pool_conn_open(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;
    uint64_t now = ty_now_ns();
    int place = claim(pool, now);

    if (place == POOL_NO_PLACE)
        return false;

    struct ty_pool_conn *conn = ty_zalloc(pool->driver->conn_size);
    conn->pool = pool;
    conn->state = TY_POOL_CONNECTING;
    conn->tail = &conn->head;
    conn->place = (unsigned)place;
    conn->began_ns = now;
    link_conn(conn);
    state->connecting_count++;
    pool_stir(pool);
    pool->driver->connect(conn);
    return true;
}

static void enter(struct ty_pool_conn *conn, enum ty_pool_state state)
{
    if (conn->state == TY_POOL_CONNECTING)
        conn->pool->state->connecting_count--;
    conn->state = state;
    conn->began_ns = ty_now_ns();
}

void ty_pool_connected(struct ty_pool_conn *conn)
{
    struct ty_pool *pool = conn->pool;
    uint64_t life = pool->options.lifetime_ms * POOL_NS_PER_MS;

    if (conn->state != TY_POOL_CONNECTING)
        return;
    enter(conn, TY_POOL_OPEN);
    conn->opened_ns = conn->used_ns = conn->began_ns;
    conn->dies_ns =
        life ? conn->opened_ns + life - life / 10 + pool_random(pool, life / 5 + 1) : UINT64_MAX;
    pool_circuit_worked(pool);
    pool_conn_release(conn);
}

void pool_conn_close(struct ty_pool_conn *conn)
{
    if (conn->state == TY_POOL_CLOSING)
        return;
    enter(conn, TY_POOL_CLOSING);
    conn->to_reset = conn->to_check = false;
    conn->to_close = true;
    pool_do_soon(conn->pool);
}

void ty_pool_closed(struct ty_pool_conn *conn)
{
    struct ty_pool *pool = conn->pool;

    unlink_conn(conn);
    pool_ledger_release(pool->state->ledger, conn->place,
                        conn->abrupt ? POOL_GRACE_MS : POOL_CLOSED_MS);
    free(conn);
    if (pool->state->closing)
        pool_do_soon(pool);
    else
        pool_grow(pool);
}

/* ---- clean, or not */

bool pool_conn_is_old(const struct ty_pool_conn *conn, uint64_t now)
{
    return now >= conn->dies_ns;
}

void pool_conn_release(struct ty_pool_conn *conn)
{
    struct ty_pool *pool = conn->pool;
    struct ty_pool_state_ *state = pool->state;

    if (state->closing && conn->state == TY_POOL_CONNECTING)
        pool_conn_close(conn);
    if (conn->state != TY_POOL_OPEN || conn->in_flight || conn->tx || conn->cancelling)
        return;
    conn->sealed = false;
    if (conn->doomed || state->closing || pool_conn_is_old(conn, conn->used_ns) ||
        pool_conn_gives(conn, conn->used_ns)) {
        pool_conn_close(conn);
    } else if (conn->dirty) {
        enter(conn, TY_POOL_RESETTING);
        conn->to_reset = true;
        pool_do_soon(pool);
    } else if (state->share.head || state->alone.head) {
        pool_pump(pool);
    }
}

void pool_conn_check(struct ty_pool_conn *conn)
{
    enter(conn, TY_POOL_RESETTING);
    conn->to_check = true;
    pool_do_soon(conn->pool);
}

void ty_pool_was_reset(struct ty_pool_conn *conn)
{
    if (conn->state != TY_POOL_RESETTING)
        return;
    enter(conn, TY_POOL_OPEN);
    conn->dirty = false;
    pool_conn_release(conn);
}

void pool_conn_chores(struct ty_pool *pool)
{
    const struct ty_pool_driver *driver = pool->driver;

    for (struct ty_pool_conn *conn = pool->state->conns, *next; conn; conn = next) {
        bool close = conn->to_close, reset = conn->to_reset, check = conn->to_check;

        next = conn->next;
        conn->to_close = conn->to_reset = conn->to_check = false;
        if (close)
            driver->close(conn);
        else if (reset)
            driver->reset(conn);
        else if (check)
            driver->check(conn);
    }
}
