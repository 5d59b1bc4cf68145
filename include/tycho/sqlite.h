/* The embedded database: one SQLite file, used by several threads, without blocking the loop.
 *
 * A database has one connection that writes and a few that read (query_only), each with its own
 * prepared statements, and each used by one job of the thread pool at a time. The file is in
 * WAL mode, so readers and the writer do not block each other, and other processes may use it as
 * well. Statements that only read go to any free reader; everything else goes to the writer, in
 * the order in which it came. What finds no free connection waits in line, for a limited time and
 * in a line of limited length; what cannot be served fails as "unavailable" and starts nothing.
 *
 * A transaction holds a connection from its first statement to its end. Whatever happens to its
 * owner, the connection is rolled back before anybody else gets it: a statement can be cancelled at
 * any time, and the flag that cancels belongs to the statement, so that a late one never hits
 * the next. Statements of scripts cannot change what is the connection's own: BEGIN and COMMIT,
 * ATTACH, settings, and temporary tables are refused.
 *
 * The whole result is copied into one buffer on the thread, bounded in size; the loop only reads
 * it. Everything here but ty_sqlite_next() and ty_sqlite_cell() is for the loop's thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "tycho/buffer.h"
#include "tycho/error.h"
#include "tycho/work.h"

struct ty_sqlite;
struct ty_sqlite_tx;
struct ty_sqlite_conn;
struct ty_sqlite_op;

enum { TY_SQLITE_CONSTRAINT_MAX = 160, TY_SQLITE_SQL_MAX = 1024 * 1024 };

struct ty_sqlite_options {
    const char *name;    /* "default": in metrics, logs and messages. Copied. */
    const char *url;     /* sqlite:relative/path.db, sqlite:///absolute/path.db, sqlite::memory: */
    unsigned readers;    /* besides the one that writes; a database in memory has none */
    unsigned statements; /* prepared statements kept by each connection */
    unsigned queue_max;  /* statements and transactions that wait for a connection */
    uint64_t wait_ms;    /* how long they wait */
    uint64_t busy_ms;    /* how long a statement waits for another process */
    size_t result_max;   /* bytes of one result */
    bool synchronous_full; /* a commit survives a power cut, not only a crash */
};

/* Opens nothing yet: connections open when they are first needed, and an error of opening is the
 * error of the statement that needed it. NULL if the options are not usable (the URL). */
struct ty_sqlite *ty_sqlite_new(uv_loop_t *loop, const struct ty_sqlite_options *options,
                                struct ty_error *error);

/* Refuses new work, waits for what runs, rolls back transactions that are open, closes all
 * connections and frees the database; then calls `closed(arg)`, never from inside. Transactions
 * must not be used afterwards. */
void ty_sqlite_close(struct ty_sqlite *db, void (*closed)(void *arg), void *arg);

/* Has the last attempt to reach the file worked? True before the first. */
bool ty_sqlite_is_up(const struct ty_sqlite *db);

/* ---- values */

enum ty_sqlite_type {
    TY_SQLITE_NULL,
    TY_SQLITE_INTEGER,
    TY_SQLITE_REAL,
    TY_SQLITE_TEXT, /* UTF-8 without NUL: checked by whoever binds it */
    TY_SQLITE_BLOB,
    TY_SQLITE_BOOLEAN, /* in results: an integer in a column that is declared BOOLEAN */
};

struct ty_sqlite_value {
    enum ty_sqlite_type type;
    union {
        int64_t integer;
        double real;
        struct ty_slice bytes; /* TEXT, BLOB */
    };
};

/* ---- statements */

enum ty_sqlite_verb {
    TY_SQLITE_RUN,    /* one statement; its rows are the result */
    TY_SQLITE_SCRIPT, /* several, without parameters, all or none; no result */
    TY_SQLITE_BEGIN,  /* takes a connection: ty_sqlite_begin() */
    TY_SQLITE_COMMIT, /* these four only in a transaction */
    TY_SQLITE_ROLLBACK,
    TY_SQLITE_SAVEPOINT,   /* opens the nested level `op->level` */
    TY_SQLITE_RELEASE,     /* closes it, and those in it, and keeps what they did */
    TY_SQLITE_ROLLBACK_TO, /* closes it, and those in it, and undoes them */
};

/* Runs exactly once per started operation, from the loop, never from inside the call that
 * started it. May free the op. */
typedef void ty_sqlite_done_fn(struct ty_sqlite_op *op);

/* One operation. The caller provides the memory, zeroed, fills in the first part, and keeps it (and
 * what it points to) until `done` has run. Then the second part says what became of it. */
struct ty_sqlite_op {
    enum ty_sqlite_verb verb;
    const char *sql; /* followed by a NUL */
    size_t sql_len;
    const struct ty_sqlite_value *params; /* for $1, $2, ...; those left out are NULL */
    unsigned param_count;
    uint64_t rows_max; /* keep no more rows than that; 0: all */
    bool read_only;    /* BEGIN: the transaction only reads */
    unsigned level;    /* SAVEPOINT, RELEASE, ROLLBACK_TO */
    ty_sqlite_done_fn *done;

    int status; /* 0, or -1: see error; UV_ECANCELED: it was cancelled, and did nothing or was
                   undone */
    struct ty_error error;
    char constraint[TY_SQLITE_CONSTRAINT_MAX]; /* "users.email", "" if the error tells none */
    unsigned line;            /* SCRIPT that failed: where the statement starts; 0: not told */
    int64_t changes;          /* rows inserted, updated or deleted */
    int64_t last_id;          /* rowid of the last insert of this connection */
    struct ty_sqlite_tx *tx;  /* BEGIN: the transaction */
    uint64_t wait_ns, run_ns; /* how long it waited in line, and then ran */

    /* The rest is private to core/sql. */
    struct ty_buf rows;
    unsigned column_count;
    uint64_t row_count;
    atomic_bool cancelled;
    bool bounce;           /* it turned out to write: give it to the writer */
    const char *statement; /* what runs of a script */
    int code;              /* SQLite's extended code */
    uint64_t queued_ns;
    int place; /* where it is: core/sql/sqlite.h */
    struct ty_sqlite *db;
    struct ty_sqlite_conn *conn;
    struct ty_sqlite_op *next;
    struct ty_work work;
};

/* Starts a statement outside of any transaction (RUN or SCRIPT). It always succeeds:
 * what cannot be done is told by `done`. */
void ty_sqlite_start(struct ty_sqlite *db, struct ty_sqlite_op *op);

/* Takes a connection for a transaction, which starts with its first statement: BEGIN
 * IMMEDIATE on the writer, or on a reader if `op->read_only`. If one is free it is
 * returned at once and `done` does not run; NULL: `done` will. */
struct ty_sqlite_tx *ty_sqlite_begin(struct ty_sqlite *db, struct ty_sqlite_op *op);

/* Starts an operation of a transaction; they run one after the other, in this order. COMMIT
 * and ROLLBACK end it: nothing may be started afterwards, and `tx` is gone when `done` runs.
 * A COMMIT that fails has rolled back. When the transaction was rolled back by an error already,
 * every operation but ROLLBACK fails. */
void ty_sqlite_tx_start(struct ty_sqlite_tx *tx, struct ty_sqlite_op *op);

/* Ends a transaction that nobody waits for: whatever of it runs is cancelled, the rest is undone.
 * Never waits, cannot fail; `tx` is gone. */
void ty_sqlite_tx_drop(struct ty_sqlite_tx *tx);

/* Asks for an early end; `done` runs later, perhaps with an answer that came first. A COMMIT that
 * runs already is not disturbed. */
void ty_sqlite_cancel(struct ty_sqlite_op *op);

/* Does this statement, by its first word, only read? */
bool ty_sqlite_reads(const char *sql);

/* ---- results, after `done` has run with status 0 */

/* Where a reader of the result is. Start with zeroes. */
struct ty_sqlite_cursor {
    size_t at;
};

/* The names of the columns come first: call it `op->column_count` times. */
struct ty_slice ty_sqlite_name(const struct ty_sqlite_op *op, struct ty_sqlite_cursor *cursor);

/* Then the cells, row by row: column_count times row_count. Texts and blobs point into the result.
 */
void ty_sqlite_cell(const struct ty_sqlite_op *op, struct ty_sqlite_cursor *cursor,
                    struct ty_sqlite_value *value);

/* Frees the result; the op may be used again after it was zeroed. */
void ty_sqlite_op_close(struct ty_sqlite_op *op);
