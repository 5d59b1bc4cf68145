/* What the files of the pool share: core/sql/pool.h says what each is for.
 *
 * Everything that becomes due without an answer (limits, ages, places for other workers) is looked
 * for by one tick, which runs often while something happens and seldom else. Everything that must
 * not happen inside a call of the driver (closing, resetting) or of the owner (telling) is left to
 * `soon`, in the loop's next turn. That is no timer without a delay: the loop runs those until
 * there are no more of them, so that who is told of a failure, and at once fails again, would keep
 * it from all else.
 */
#pragma once

#include "sql/pool.h"
#include "sql/pool_ledger.h"

enum {
    POOL_NS_PER_MS = 1000000,
    POOL_YOUNG_MS = 20,      /* nobody is put behind what runs for longer */
    POOL_PATIENCE_MS = 100,  /* of who needs one of its own, while others share */
    POOL_SPARE_MS = 1000,    /* what was idle for so long another worker may need more */
    POOL_CONNECTING_MAX = 4, /* at once: a server that comes back is not stormed */
    POOL_TRIES_MAX = 5,
};

/* Where an operation is: op->place. */
enum pool_where { WHERE_NOWHERE, WHERE_SHARE, WHERE_ALONE, WHERE_TX, WHERE_SENT, WHERE_FINISHED };

struct pool_line {
    struct ty_sql_op *head, **tail;
    unsigned count;
};

struct pool_circuit {
    bool open;
    bool fatal;             /* somebody has to act */
    struct ty_error reason; /* why it is open */
    uint64_t pause_ms, next_ns;
};

struct ty_pool_tx {
    struct ty_sql_tx sql; /* first: the handle */
    struct ty_pool *pool;
    struct ty_pool_conn *conn;      /* NULL: it was lost */
    struct ty_sql_op *head, **tail; /* not sent yet */
    struct ty_sql_op *running;
    struct ty_error error; /* why it was lost, or is dead */
    bool read_only;
    enum ty_sql_isolation isolation;
    bool begun;                   /* BEGIN was sent */
    bool starting;                /* and not answered */
    bool misbegun;                /* it failed */
    bool dead;                    /* failed: only undoing helps */
    bool ended;                   /* its last operation was started */
    uint64_t dropped_ns;          /* 0: it has an owner */
    struct ty_sql_op begin, last; /* the pool's own: BEGIN; the ROLLBACK of what was dropped */
    struct ty_pool_tx *next, **prev;
};

struct ty_pool_state_ {
    struct ty_pool_conn *conns;
    unsigned conn_count, connecting_count;
    struct ty_pool_tx *txs;
    struct pool_line share, alone;               /* for any that takes more; for one of its own */
    struct ty_sql_op *finished, **finished_tail; /* not told yet */
    struct ty_sql_op *telling;                   /* those that are being told */
    struct pool_circuit circuit;
    struct pool_ledger *ledger;
    uint64_t refused_ns; /* when the ledger had no place for us */
    uint64_t gave_ns;    /* when we last closed one for another worker */
    uint64_t complained_ms;
    uint64_t ledger_ns; /* when it was last looked at for the dead */
    uint64_t random;
    bool was_up;  /* once: from then on pool_min is kept */
    bool is_busy; /* the tick runs often */
    uv_timer_t tick;
    uv_idle_t soon;
    bool closing;
    unsigned handles_left;
    void (*closed)(void *arg);
    void *closed_arg;
};

static inline struct ty_pool *pool_of(const struct ty_sql *db)
{
    return (struct ty_pool *)db;
}

static inline const char *pool_system(const struct ty_pool *pool)
{
    return pool->driver->sql.system;
}

/* ---- pool.c */

void pool_finish_later(struct ty_pool *pool, struct ty_sql_op *op);
/* Fails an operation that nothing was done for, and tells it later. */
void pool_fail(struct ty_pool *pool, struct ty_sql_op *op, enum ty_error_kind kind,
               const char *detail, const char *why);
void pool_fail_cancelled(struct ty_pool *pool, struct ty_sql_op *op);
void pool_fail_as(struct ty_pool *pool, struct ty_sql_op *op, const struct ty_error *error);
void pool_do_soon(struct ty_pool *pool);
void pool_stir(struct ty_pool *pool); /* something happens: the tick runs often */
void pool_on_tick(uv_timer_t *timer); /* pool_tick.c */
void pool_close_if_unused(struct ty_pool *pool);
uint64_t pool_random(struct ty_pool *pool, uint64_t below);
void pool_count(struct ty_pool *pool); /* the gauges */
/* The result of an attempt is thrown away: the operation may be sent again. */
void pool_forget_result(struct ty_pool *pool, struct ty_sql_op *op);

/* ---- pool_line.c */

void pool_line_init(struct pool_line *line);
/* At its end; what fails finds no room and is told so later. */
void pool_wait(struct ty_pool *pool, struct ty_sql_op *op, bool share);
/* At its front: it was there before. */
void pool_wait_again(struct ty_pool *pool, struct ty_sql_op *op, bool share);
bool pool_line_remove(struct pool_line *line, struct ty_sql_op *op);
struct ty_sql_op *pool_line_pop(struct pool_line *line);
void pool_line_give_up(struct ty_pool *pool, uint64_t now); /* those who waited for too long */
void pool_line_fail_all(struct ty_pool *pool, const struct ty_error *error);

/* ---- pool_place.c */

bool pool_is_free(const struct ty_pool_conn *conn); /* open, and nobody's */
bool pool_can_share(const struct ty_pool *pool, const struct ty_sql_op *op);
struct ty_pool_conn *pool_pick_free(struct ty_pool *pool);
/* False: there is no room. `share`: with others. */
bool pool_place(struct ty_pool *pool, struct ty_sql_op *op, bool share);
void pool_pump(struct ty_pool *pool); /* the line moves on, connections open */
void pool_grow(struct ty_pool *pool);

/* ---- pool_conn.c */

/* False: the ledger has no place. */
bool pool_conn_open(struct ty_pool *pool);
void pool_conn_close(struct ty_pool_conn *conn); /* with nothing in flight */
/* It may be nobody's now: it is cleaned, closed, or given to who waits. */
void pool_conn_release(struct ty_pool_conn *conn);
void pool_conn_chores(struct ty_pool *pool); /* soon */
void pool_conn_check(struct ty_pool_conn *conn);
/* Is it to be closed because another worker waits for a place? One at a time. */
bool pool_conn_gives(struct ty_pool_conn *conn, uint64_t now);
bool pool_conn_is_old(const struct ty_pool_conn *conn, uint64_t now);

/* ---- pool_answer.c */

void pool_send(struct ty_pool_conn *conn, struct ty_sql_op *op);
/* The head is to end, if it can be ended. */
void pool_cancel_head(struct ty_pool_conn *conn, int blame);
/* Whatever runs is told that the connection is lost; it is closed. */
void pool_abort(struct ty_pool_conn *conn, const struct ty_error *error);

/* ---- pool_tx.c */

struct ty_pool_tx *pool_tx_new(struct ty_pool_conn *conn, const struct ty_sql_op *op);
void pool_tx_next(struct ty_pool_tx *tx); /* may free it */
/* One of its operations was answered; tells its owner. */
void pool_tx_done(struct ty_pool_tx *tx, struct ty_sql_op *op, bool clean);
/* Its connection is lost, with these operations in flight. */
void pool_tx_lost(struct ty_pool_tx *tx, struct ty_sql_op *ops, const struct ty_error *error);
bool pool_tx_remove(struct ty_pool_tx *tx, struct ty_sql_op *op);
bool pool_ends(const struct ty_sql_op *op); /* COMMIT, ROLLBACK */

/* ---- pool_circuit.c */

void pool_circuit_failed(struct ty_pool *pool, const struct ty_error *error, bool fatal);
void pool_circuit_worked(struct ty_pool *pool);
/* May a connection be opened now? */
bool pool_circuit_allows(const struct ty_pool *pool, uint64_t now);
void pool_circuit_tick(struct ty_pool *pool, uint64_t now);
