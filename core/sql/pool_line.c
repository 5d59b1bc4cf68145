#include "sql/pool_private.h"
#include "tycho/clock.h"

void pool_line_init(struct pool_line *line)
{
    line->head = NULL;
    line->tail = &line->head;
    line->count = 0;
}

static void give_up(struct ty_pool *pool, struct ty_sql_op *op, const char *detail, const char *why)
{
    uint64_t waited = ty_now_ns() - op->queued_ns;

    op->wait_ns += waited;
    ty_sql_count_wait(pool->figures, waited, true);
    pool_fail(pool, op, TY_ERR_UNAVAILABLE, detail, why);
    ty_sql_count_op(pool->figures, op);
}

void pool_wait(struct ty_pool *pool, struct ty_sql_op *op, bool share)
{
    struct ty_pool_state_ *state = pool->state;
    struct pool_line *line = share ? &state->share : &state->alone;

    op->queued_ns = ty_now_ns();
    if (state->share.count + state->alone.count >= pool->options.queue_max) {
        give_up(pool, op, "pool.queue", "too many are waiting for a connection");
        return;
    }
    op->place = share ? WHERE_SHARE : WHERE_ALONE;
    op->next = NULL;
    *line->tail = op;
    line->tail = &op->next;
    line->count++;
}

void pool_wait_again(struct ty_pool *pool, struct ty_sql_op *op, bool share)
{
    struct ty_pool_state_ *state = pool->state;
    struct pool_line *line = share ? &state->share : &state->alone;

    op->queued_ns = ty_now_ns();
    op->place = share ? WHERE_SHARE : WHERE_ALONE;
    op->next = line->head;
    line->head = op;
    if (!op->next)
        line->tail = &op->next;
    line->count++;
}

bool pool_line_remove(struct pool_line *line, struct ty_sql_op *op)
{
    for (struct ty_sql_op **at = &line->head; *at; at = &(*at)->next) {
        if (*at != op)
            continue;
        *at = op->next;
        if (line->tail == &op->next)
            line->tail = at;
        line->count--;
        op->place = WHERE_NOWHERE;
        return true;
    }
    return false;
}

struct ty_sql_op *pool_line_pop(struct pool_line *line)
{
    struct ty_sql_op *op = line->head;

    line->head = op->next;
    if (!line->head)
        line->tail = &line->head;
    line->count--;
    op->place = WHERE_NOWHERE;
    return op;
}

/* Everybody has the same patience, so that only heads matter; but for those that came back. */
static void give_up_in(struct ty_pool *pool, struct pool_line *line, uint64_t now)
{
    uint64_t patience = pool->options.wait_ms * POOL_NS_PER_MS;

    for (struct ty_sql_op *op = line->head, *next; op; op = next) {
        next = op->next;
        if (now >= op->queued_ns && now - op->queued_ns >= patience) {
            pool_line_remove(line, op);
            give_up(pool, op, "pool.timeout", "no connection became free in time");
        } else if (op->tries == 0) {
            return;
        }
    }
}

void pool_line_give_up(struct ty_pool *pool, uint64_t now)
{
    give_up_in(pool, &pool->state->share, now);
    give_up_in(pool, &pool->state->alone, now);
}

static void fail_in(struct ty_pool *pool, struct pool_line *line, const struct ty_error *error)
{
    while (line->head) {
        struct ty_sql_op *op = pool_line_pop(line);
        uint64_t waited = ty_now_ns() - op->queued_ns;

        op->wait_ns += waited;
        ty_sql_count_wait(pool->figures, waited, true);
        pool_fail_as(pool, op, error);
        ty_sql_count_op(pool->figures, op);
    }
}

void pool_line_fail_all(struct ty_pool *pool, const struct ty_error *error)
{
    fail_in(pool, &pool->state->share, error);
    fail_in(pool, &pool->state->alone, error);
}
