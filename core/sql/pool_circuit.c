#include "sql/pool_private.h"
#include "tycho/clock.h"
#include "tycho/log.h"

enum { PAUSE_MIN_MS = 50, PAUSE_MAX_MS = 1000, COMPLAIN_MS = 10000 };

/* Whoever asks gets a 503, which no log explains. Once in a while: it may be everybody. */
static void complain(struct ty_pool *pool, const struct ty_error *error)
{
    uint64_t now = ty_now_ms();

    if (pool->state->complained_ms && now - pool->state->complained_ms < COMPLAIN_MS)
        return;
    pool->state->complained_ms = now;
    ty_log_error("db", "database %s cannot be used: %s", pool->options.name, error->message);
}

static bool is_connected(const struct ty_pool *pool)
{
    for (const struct ty_pool_conn *conn = pool->state->conns; conn; conn = conn->next) {
        if (conn->state == TY_POOL_OPEN || conn->state == TY_POOL_RESETTING)
            return true;
    }
    return false;
}

static void pause_for(struct ty_pool *pool, bool fatal)
{
    struct pool_circuit *circuit = &pool->state->circuit;
    uint64_t pause = circuit->pause_ms * 2;

    if (fatal || pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    else if (pause < PAUSE_MIN_MS)
        pause = PAUSE_MIN_MS;
    circuit->pause_ms = pause;
    circuit->next_ns = ty_now_ns() + (pause - pool_random(pool, pause / 2)) * POOL_NS_PER_MS;
}

void pool_circuit_failed(struct ty_pool *pool, const struct ty_error *error, bool fatal)
{
    struct pool_circuit *circuit = &pool->state->circuit;

    if (pool->state->closing)
        return;
    pause_for(pool, fatal);
    complain(pool, error);
    if (is_connected(pool))
        return; /* it is there, and perhaps full */
    circuit->open = true;
    circuit->fatal = fatal;
    circuit->reason = *error;
    pool_line_fail_all(pool, error);
}

void pool_circuit_worked(struct ty_pool *pool)
{
    struct pool_circuit *circuit = &pool->state->circuit;

    if (circuit->open)
        ty_log_info("db", "database %s can be used again", pool->options.name);
    circuit->open = circuit->fatal = false;
    circuit->pause_ms = circuit->next_ns = 0;
    pool->state->complained_ms = 0;
    pool->state->was_up = true;
}

bool pool_circuit_allows(const struct ty_pool *pool, uint64_t now)
{
    const struct pool_circuit *circuit = &pool->state->circuit;

    return now >= circuit->next_ns && (!circuit->open || pool->state->connecting_count == 0);
}

/* One at a time asks whether it is back. */
void pool_circuit_tick(struct ty_pool *pool, uint64_t now)
{
    if (pool->state->circuit.open && !pool->state->closing && pool_circuit_allows(pool, now))
        pool_conn_open(pool);
}
