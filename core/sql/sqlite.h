/* What the files of the embedded database share.
 *
 *   sqlite.c             opening and closing a database (loop)
 *   sqlite_pool.c        who gets which connection, and when (loop)
 *   sqlite_tx.c          transactions, as the loop sees them (loop)
 *   sqlite_run.c         one operation on one connection (thread)
 *   sqlite_connection.c  opening and closing (thread)
 *   sqlite_guard.c       what statements of scripts may not do (thread)
 *   sqlite_statement.c   prepared statements, their cache, their parameters (thread)
 *   sqlite_cursor.c      queries whose rows come in pieces (thread)
 *   sqlite_result.c      results (thread)
 *   sqlite_error.c       SQLite's codes as errors
 *
 * A connection is touched by the thread that runs its operation, and by the loop only while it
 * has none; the hand-over is the thread pool's queue.
 */
#pragma once

#include <sqlite3.h>

#include "sql/driver.h"

/* Where an operation is. */
enum { PLACE_NONE, PLACE_QUEUE, PLACE_TX, PLACE_THREAD, PLACE_FINISHED };

struct ty_sqlite_stmt {
    sqlite3_stmt *handle;
    char *sql;
    size_t sql_len;
    uint32_t hash;
    bool reads;
    bool cached;
    unsigned slot_count;         /* placeholders in the order of SQLite's */
    unsigned param_max;          /* the highest number among them */
    unsigned short *slots;       /* slots[i] is the number in "$3" */
    struct ty_sqlite_stmt *next; /* in its bucket */
    struct ty_sqlite_stmt *newer, *older;
};

/* Prepared statements of one connection; the least recently used is dropped first. */
struct ty_sqlite_cache {
    struct ty_sqlite_stmt **buckets; /* a power of two of them */
    unsigned bucket_count, count, max;
    struct ty_sqlite_stmt *newest, *oldest;
};

struct ty_sqlite_cursor {
    unsigned number;
    bool ended;
    struct ty_sqlite_stmt *stmt;
    struct ty_sqlite_cursor *next;
};

struct ty_sqlite_conn {
    struct ty_sqlite *db;
    sqlite3 *handle;     /* NULL: not open */
    bool writes;         /* else query_only */
    bool trusted;        /* what runs is ours, not a script's */
    bool vacuums;        /* which attaches and begins on its own */
    bool broken;         /* to be closed when its operation or transaction ends */
    const char *refusal; /* why the guard said no */
    uint64_t busy_since_ns;
    struct ty_sqlite_cache cache;
    struct ty_sqlite_cursor *cursors; /* open in its transaction */
    struct ty_sql_op *op;             /* what runs on it */
    struct ty_sqlite_tx *tx;          /* who holds it */
    struct ty_sqlite_conn *next_free;
    struct ty_work closing;
};

struct ty_sqlite_tx {
    struct ty_sql_tx base;
    struct ty_sqlite *db;
    struct ty_sqlite_conn *conn;
    struct ty_sql_op *head, **tail; /* the first one runs */
    bool read_only;
    bool begun;            /* BEGIN was sent */
    bool keys_off;         /* foreign keys are looked at when it commits, not before */
    bool dead;             /* rolled back by an error, */
    struct ty_error why;   /* which may have been caught, and thrown away */
    bool ended;            /* its last operation was started */
    struct ty_sql_op last; /* the rollback of ty_sqlite_tx_drop() */
};

struct ty_sqlite_queue {
    struct ty_sql_op *head, **tail;
    unsigned count;
};

struct ty_sqlite {
    struct ty_sql base;
    uv_loop_t *loop;
    char *name;
    char *path; /* ":memory:", or of the file */
    bool in_memory;
    bool ready; /* the writer was open once, so the file is there and in WAL mode */
    bool up;
    uint64_t complained_ms; /* when the log last said that it is not; 0: never */
    struct ty_sql_options options;
    struct ty_lane *lane;

    struct ty_sqlite_conn *conns; /* the writer, then the readers */
    unsigned conn_count, used_count;
    struct ty_sqlite_conn *free_readers;
    struct ty_sqlite_queue for_writer, for_readers;
    uv_timer_t wait_timer; /* the end of somebody's patience */

    struct ty_sql_op *finished, **finished_tail; /* done, but not told yet */
    struct ty_sql_op *telling;                   /* those that are being told */
    uv_idle_t soon; /* they are told; see pool_private.h why this is no timer */

    bool closing;
    unsigned closes_left;
    void (*closed)(void *arg);
    void *closed_arg;

    struct ty_sql_figures *figures;
};

static inline struct ty_sqlite *ty_sqlite_of(const struct ty_sql_op *op)
{
    return (struct ty_sqlite *)op->db;
}

static inline struct ty_sqlite_tx *ty_sqlite_tx_of(const struct ty_sql_op *op)
{
    return (struct ty_sqlite_tx *)op->tx;
}

/* ---- errors: fill op->status, code, error, constraint; return -1 */

int ty_sqlite_fail(struct ty_sql_op *op, enum ty_error_kind kind, const char *detail,
                   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* From what SQLite says about the last call on the connection. */
int ty_sqlite_fail_code(struct ty_sqlite_conn *conn, struct ty_sql_op *op, int code);

/* Does the code say that the file, or the disk below it, is not usable? */
bool ty_sqlite_is_outage(int code);

/* ---- on the thread */

int ty_sqlite_conn_open(struct ty_sqlite_conn *conn, struct ty_sql_op *op);
void ty_sqlite_conn_close(struct ty_sqlite_conn *conn);

/* Runs one of our own statements. */
int ty_sqlite_conn_exec(struct ty_sqlite_conn *conn, struct ty_sql_op *op, const char *sql);

int ty_sqlite_guard(void *arg, int action, const char *a, const char *b, const char *schema,
                    const char *trigger);

void ty_sqlite_run(struct ty_work *work);

/* OPEN, FETCH, SHUT. */
int ty_sqlite_run_cursor(struct ty_sqlite_conn *conn, struct ty_sql_op *op);
void ty_sqlite_shut_cursors(struct ty_sqlite_conn *conn);

/* Refuses text with a NUL, where SQLite would stop reading and leave the rest undone. */
int ty_sqlite_check_text(struct ty_sql_op *op);

struct ty_sqlite_stmt *ty_sqlite_stmt_get(struct ty_sqlite_conn *conn, struct ty_sql_op *op);
int ty_sqlite_stmt_bind(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt,
                        struct ty_sql_op *op);
void ty_sqlite_stmt_put(struct ty_sqlite_conn *conn, struct ty_sqlite_stmt *stmt);
void ty_sqlite_cache_init(struct ty_sqlite_cache *cache, unsigned max);
void ty_sqlite_cache_close(struct ty_sqlite_cache *cache);

/* False: the result is larger than it may be. */
bool ty_sqlite_add_names(struct ty_sql_op *op, sqlite3_stmt *handle);
bool ty_sqlite_add_row(struct ty_sql_op *op, sqlite3_stmt *handle);

/* ---- on the loop */

void ty_sqlite_submit(struct ty_sqlite_conn *conn, struct ty_sql_op *op);
void ty_sqlite_release(struct ty_sqlite_conn *conn);
void ty_sqlite_finish_later(struct ty_sql_op *op);
void ty_sqlite_finish(struct ty_sqlite *db); /* tells all that is finished, now */
void ty_sqlite_give_up_all(struct ty_sqlite *db, const char *detail, const char *why);
void ty_sqlite_close_if_unused(struct ty_sqlite *db);
void ty_sqlite_count_conns(const struct ty_sqlite *db);
struct ty_sqlite_tx *ty_sqlite_tx_new(struct ty_sqlite_conn *conn, bool read_only);

/* An operation of a transaction is back from the thread. */
void ty_sqlite_tx_on_done(struct ty_sqlite_tx *tx, struct ty_sql_op *op);

/* Takes a waiting operation out of the transaction's line; false if it is not there. */
bool ty_sqlite_tx_remove(struct ty_sqlite_tx *tx, struct ty_sql_op *op);

/* ---- for the driver's table: tycho/sql.h */

void ty_sqlite_start(struct ty_sql *sql, struct ty_sql_op *op);
struct ty_sql_tx *ty_sqlite_begin(struct ty_sql *sql, struct ty_sql_op *op);
void ty_sqlite_tx_start(struct ty_sql_tx *base, struct ty_sql_op *op);
void ty_sqlite_tx_drop(struct ty_sql_tx *base);
void ty_sqlite_cancel(struct ty_sql_op *op);
bool ty_sqlite_is_up(const struct ty_sql *sql);
