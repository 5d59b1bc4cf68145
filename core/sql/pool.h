/* Connections to a database server, whatever its protocol: one implementation of what every pool
 * must get right.
 *
 * Single statements go to connections that they share (`shared`, at most options.pipelines of them
 * in this process), up to the driver's `depth` at once; transactions, cursors, COPY and statements
 * that change the session hold one of their own. Nobody is put behind a statement that is slow, or
 * whose speed is not known yet: such a connection is sealed until it is empty again. What finds no
 * place waits in one line, first in, first out, for options.wait_ms at most, of options.queue_max
 * at most.
 *
 * The number of connections of all workers together never exceeds options.pool_max: each needs a
 * place in a ledger in shared memory (pool_ledger.c), also while a binary upgrade has two sets of
 * workers, and a place of a worker that died is free only when the server must have noticed. A
 * worker that finds the ledger full asks the others for what they have idle.
 *
 * A connection goes back only when it is clean: idle, not in a transaction, no state left in the
 * session. In doubt it is reset by the driver, or closed. Idle connections are watched (a FIN is
 * noticed at once), replaced at the end of their life (with jitter), closed when nobody needed
 * them. While the server cannot be reached the circuit is open: statements fail at once, and one
 * connection at a time tries again, with growing and jittered pauses.
 *
 *   pool.c          opening, closing, starting, telling
 *   pool_line.c     who waits, and how long
 *   pool_place.c    which connection gets what; how many there should be
 *   pool_conn.c     the life of a connection
 *   pool_answer.c   answers, cancellations, and what is lost with a connection
 *   pool_tick.c     what only time brings: limits, ages, gifts to other workers
 *   pool_tx.c       transactions
 *   pool_ledger.c   how many there are in all processes
 *   pool_circuit.c  is the server there, and when to try again
 */
#pragma once

#include "sql/driver.h"

struct ty_pool;

enum ty_pool_state {
    TY_POOL_CONNECTING,
    TY_POOL_OPEN,
    TY_POOL_RESETTING, /* also: being checked */
    TY_POOL_CLOSING,
};

/* What the pool knows of a connection: first member of the driver's own. */
struct ty_pool_conn {
    struct ty_pool *pool;
    enum ty_pool_state state;
    struct ty_sql_op *head, **tail; /* sent, not answered; answers come in this order */
    unsigned in_flight;
    struct ty_pool_tx *tx; /* who holds it */
    bool shared;           /* for single statements */
    bool sealed;           /* takes no more before it is empty */
    bool dirty;            /* the session was changed: reset it before anybody else gets it */
    bool cancelling;       /* a cancel request is on its way: nothing new before it has arrived */
    bool doomed;           /* close it as soon as it is empty */
    unsigned place;        /* in the ledger */
    uint64_t opened_ns, used_ns, dies_ns;
    struct ty_pool_conn *next, **prev;
    /* Private to the pool. */
    enum { TY_POOL_NO_BLAME, TY_POOL_OWNER, TY_POOL_LIMIT } blame; /* who has the head cancelled */
    unsigned suspects; /* so many of those in flight may be hit by a cancel request */
    bool answered;     /* since it was idle */
    bool abrupt;       /* closed while something ran: the server may notice late */
    bool to_close, to_reset, to_check; /* as soon as the driver is not in the middle of something */
    uint64_t head_ns;                  /* since when the head is the head */
    uint64_t cancel_ns, began_ns;      /* when the request was made; when the state was entered */
};

/* What a protocol provides. Functions start something and return at once; its end is told by the
 * call named beside it, from the loop, never from inside.
 *
 * ty_pool_done() and the like may call send() and cancel() of the same connection before they
 * return; close(), reset() and check() are called later, from the loop. After the first of
 * ty_pool_lost() and close() the driver touches no operation any more. */
struct ty_pool_driver {
    struct ty_sql_driver sql; /* open, name, cell, op_close are the driver's; the rest the pool's */
    size_t conn_size;
    unsigned depth; /* statements in flight on a shared connection; 1: no pipelining */

    /* Not more than options.connect_ms. -> ty_pool_connected() or ty_pool_lost() */
    void (*connect)(struct ty_pool_conn *conn);
    /* Of any verb. -> ty_pool_done() for each, in the order of sending; or ty_pool_lost() */
    void (*send)(struct ty_pool_conn *conn, struct ty_sql_op *op);
    /* Asks the server to end the operation that runs. -> ty_pool_cancel_sent(), when the request
     * can hit nothing any more that is sent from then on; the operation ends as usual. */
    void (*cancel)(struct ty_pool_conn *conn);
    /* Back to a fresh session. -> ty_pool_was_reset() or ty_pool_lost() */
    void (*reset)(struct ty_pool_conn *conn);
    /* Is it alive? -> ty_pool_was_reset() or ty_pool_lost() */
    void (*check)(struct ty_pool_conn *conn);
    /* Always possible, once. -> ty_pool_closed() */
    void (*close)(struct ty_pool_conn *conn);
    /* Might the statement leave something behind in its session (SET, LISTEN, temporary tables,
     * advisory locks ...)? Then it gets a connection of its own, which is reset afterwards. By its
     * text, if its verb has one. */
    bool (*changes_session)(const struct ty_sql_op *op);
    /* May it be sent behind others, by what is known of it: seen before, and fast? */
    bool (*is_fast)(const struct ty_pool *pool, const struct ty_sql_op *op);
    /* Has an idle connection received nothing, not even its end? What has is passed over until the
     * loop has looked at it. NULL: it is not asked. */
    bool (*is_quiet)(const struct ty_pool_conn *conn);
    void (*free)(struct ty_pool *pool); /* the driver's own, when the pool closes; may be NULL */
};

struct ty_pool {
    struct ty_sql sql; /* first: tycho/sql.h's handle */
    const struct ty_pool_driver *driver;
    uv_loop_t *loop;
    struct ty_sql_options options; /* with texts of its own */
    struct ty_sql_figures *figures;
    struct ty_pool_state_ *state; /* the pool's private part */
    void *own;                    /* the driver's */
};

/* For a driver's open(): `own` is the driver's. */
struct ty_sql *ty_pool_new(uv_loop_t *loop, const struct ty_pool_driver *driver,
                           const struct ty_sql_options *options, void *own);

/* ---- told by the driver */

void ty_pool_connected(struct ty_pool_conn *conn);

/* It cannot be used any more (or never could): all operations on it fail with `error`, but a COMMIT
 * that was sent with "unknown_outcome". `fatal`: trying again is of no use before somebody acts (a
 * wrong password, no such database). Those that were certainly not received may be sent elsewhere.
 */
void ty_pool_lost(struct ty_pool_conn *conn, const struct ty_error *error, bool fatal);

/* `op` is conn->head, with status and results filled in. `clean`: the connection is not in a
 * transaction (a RUN outside of one; after COMMIT and ROLLBACK), or in a working one; false: the
 * transaction failed (only ROLLBACK helps, or ROLLBACK_TO), or is gone. What a cancel request has
 * ended has error.kind TY_ERR_CANCELLED (or status UV_ECANCELED): whose request that was the pool
 * finds out. */
void ty_pool_done(struct ty_pool_conn *conn, struct ty_sql_op *op, bool clean);

void ty_pool_cancel_sent(struct ty_pool_conn *conn);
void ty_pool_was_reset(struct ty_pool_conn *conn);
void ty_pool_closed(struct ty_pool_conn *conn);

/* The functions of tycho/sql.h for the driver's table. */
void ty_pool_close(struct ty_sql *db, void (*closed)(void *arg), void *arg);
bool ty_pool_is_up(const struct ty_sql *db);
void ty_pool_start(struct ty_sql *db, struct ty_sql_op *op);
struct ty_sql_tx *ty_pool_begin(struct ty_sql *db, struct ty_sql_op *op);
void ty_pool_tx_start(struct ty_sql_tx *handle, struct ty_sql_op *op);
void ty_pool_tx_drop(struct ty_sql_tx *handle);
void ty_pool_cancel(struct ty_sql_op *op);
