#include "sql/pool_private.h"
#include "tycho/clock.h"

static bool is_usable(const struct ty_pool_conn *conn)
{
    return conn->state == TY_POOL_OPEN && !conn->tx && !conn->sealed && !conn->dirty &&
           !conn->doomed && !conn->cancelling;
}

bool pool_is_free(const struct ty_pool_conn *conn)
{
    return is_usable(conn) && conn->in_flight == 0;
}

/* All that the server ended at once are found at once, and not one by one by those who get them. */
static bool is_quiet(const struct ty_pool_conn *conn)
{
    return !conn->pool->driver->is_quiet || conn->pool->driver->is_quiet(conn);
}

bool pool_can_share(const struct ty_pool *pool, const struct ty_sql_op *op)
{
    return pool->driver->depth > 1 && op->verb == TY_SQL_RUN &&
           !pool->driver->changes_session(op) && pool->driver->is_fast(pool, op);
}

/* The one that was used last: those nobody needs grow old, and are closed. */
struct ty_pool_conn *pool_pick_free(struct ty_pool *pool)
{
    struct ty_pool_conn *best = NULL;

    for (struct ty_pool_conn *conn = pool->state->conns; conn; conn = conn->next) {
        if (pool_is_free(conn) && (!best || conn->used_ns > best->used_ns) && is_quiet(conn))
            best = conn;
    }
    return best;
}

/* Connections that single statements share now: those that one more could go to, and others. */
struct shared {
    struct ty_pool_conn *best;
    bool is_free; /* is there one that nobody uses? */
    unsigned count;
};

static void look_for_shared(struct ty_pool *pool, struct shared *found)
{
    uint64_t now = ty_now_ns();

    for (struct ty_pool_conn *conn = pool->state->conns; conn; conn = conn->next) {
        if (!is_usable(conn))
            continue;
        if (conn->in_flight == 0) {
            found->is_free = true;
        } else if (now - conn->head_ns < (uint64_t)POOL_YOUNG_MS * POOL_NS_PER_MS) {
            found->count++;
            if (conn->in_flight < pool->driver->depth &&
                (!found->best || conn->in_flight < found->best->in_flight))
                found->best = conn;
        }
    }
}

static bool place_shared(struct ty_pool *pool, struct ty_sql_op *op)
{
    struct shared found = {0};

    look_for_shared(pool, &found);
    struct ty_pool_conn *conn = found.best;
    bool is_few = found.count < pool->options.pipelines;
    struct ty_pool_conn *free = found.is_free && (!conn || is_few) ? pool_pick_free(pool) : NULL;
    if (free)
        conn = free;
    else if (conn && is_few && conn->in_flight > 1 && pool->state->connecting_count == 0)
        pool_conn_open(pool); /* for those to come */
    if (!conn)
        return false;
    conn->shared = true;
    pool_send(conn, op);
    return true;
}

static bool place_alone(struct ty_pool *pool, struct ty_sql_op *op)
{
    struct ty_pool_conn *conn = pool_pick_free(pool);

    if (!conn)
        return false;
    if (op->verb == TY_SQL_BEGIN) {
        op->tx = &pool_tx_new(conn, op)->sql;
        pool_finish_later(pool, op);
        return true;
    }
    conn->shared = false;
    conn->sealed = true;
    conn->dirty = pool->driver->changes_session(op);
    pool_send(conn, op);
    return true;
}

bool pool_place(struct ty_pool *pool, struct ty_sql_op *op, bool share)
{
    return share ? place_shared(pool, op) : place_alone(pool, op);
}

/* ---- the line */

/* The one in front, if there is room for it. */
static bool advance(struct ty_pool *pool, struct pool_line *line)
{
    struct ty_sql_op *op = line->head;
    uint64_t waited;

    if (!op)
        return false;
    pool_line_pop(line);
    /* Whether it is fast may have been found out meanwhile. */
    if (!pool_place(pool, op, pool_can_share(pool, op))) {
        uint64_t queued_ns = op->queued_ns;

        pool_wait_again(pool, op, line == &pool->state->share);
        op->queued_ns = queued_ns;
        return false;
    }
    waited = ty_now_ns() - op->queued_ns;
    op->wait_ns += waited;
    ty_sql_count_wait(pool->figures, waited, false);
    return true;
}

/* All there are serve those who share, and would go on to; or those that do not are not given back.
 * One is then for who waits for one of its own, as soon as it is empty. */
static void reserve(struct ty_pool *pool)
{
    uint64_t waited = ty_now_ns() - pool->state->alone.head->queued_ns;
    bool is_patient = waited < (uint64_t)POOL_PATIENCE_MS * POOL_NS_PER_MS, may_hope = false;
    struct ty_pool_conn *best = NULL;

    for (struct ty_pool_conn *conn = pool->state->conns; conn; conn = conn->next) {
        if (conn->state == TY_POOL_OPEN && conn->sealed && conn->shared)
            return; /* it is on its way */
        if (!is_usable(conn))
            may_hope = true;
        else if (!best || conn->in_flight < best->in_flight)
            best = conn;
    }
    if (best && !(may_hope && is_patient))
        best->sealed = true;
}

void pool_pump(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;
    struct pool_line *share = &state->share, *alone = &state->alone;

    while (share->head || alone->head) {
        bool share_first =
            !alone->head || (share->head && share->head->queued_ns <= alone->head->queued_ns);

        if (!advance(pool, share_first ? share : alone) &&
            !advance(pool, share_first ? alone : share))
            break;
    }
    pool_grow(pool);
    if (alone->head)
        reserve(pool);
}

/* How many more connections those who wait could use. */
static unsigned shortage(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;
    struct shared found = {0};
    unsigned want = state->alone.count;

    if (state->share.count) {
        unsigned depth = pool->driver->depth, share = (state->share.count + depth - 1) / depth;

        look_for_shared(pool, &found);
        unsigned room = pool->options.pipelines > found.count
                            ? pool->options.pipelines - found.count
                            : 1; /* nothing else helps */
        want += share < room ? share : room;
    }
    return want;
}

static uint64_t oldest_of(const struct pool_line *line)
{
    return line->head ? line->head->queued_ns : UINT64_MAX;
}

/* Not for the blink of an eye: connections would be closed here and opened there all the time. */
static void ask_others(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;
    uint64_t share = oldest_of(&state->share), alone = oldest_of(&state->alone);
    uint64_t oldest = share < alone ? share : alone, now = ty_now_ns();

    if (state->conn_count == 0 ||
        (now > oldest && now - oldest > (uint64_t)POOL_YOUNG_MS * POOL_NS_PER_MS))
        pool_ledger_want(state->ledger);
}

void pool_grow(struct ty_pool *pool)
{
    struct ty_pool_state_ *state = pool->state;
    unsigned want;

    if (state->closing || !(state->share.head || state->alone.head))
        return;
    want = shortage(pool);
    while (state->connecting_count < want && state->connecting_count < POOL_CONNECTING_MAX &&
           pool_circuit_allows(pool, ty_now_ns())) {
        if (!pool_conn_open(pool)) {
            ask_others(pool);
            return;
        }
    }
}
