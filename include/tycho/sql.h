/* Databases, whatever they are: one contract over several drivers.
 *
 * A database has a name and a URL; its scheme says which driver serves it. Statements that stand
 * alone are started with ty_sql_start() and may share connections with others; a transaction holds
 * a connection from its first statement to its end. What finds no connection waits in line, for a
 * limited time and in a line of limited length; what cannot be served fails as "unavailable" and
 * starts nothing. A statement that takes longer than the database's limit fails as "timeout" and is
 * ended on the server.
 *
 * Whatever happens to its owner, a connection is clean before anybody else gets it: rolled back,
 * without what a statement changed in its session, or closed. A statement can be cancelled at any
 * time, and a cancellation that comes too late never hits another one.
 *
 * Everything here is for the loop's thread.
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

struct ty_sql;
struct ty_sql_tx;
struct ty_sql_op;
struct ty_sql_driver;

enum { TY_SQL_NAME_MAX = 160, TY_SQL_TEXT_MAX = 1024 * 1024 };

enum ty_sql_prepare { TY_SQL_PREPARE_AUTO, TY_SQL_PREPARE_ALWAYS, TY_SQL_PREPARE_NEVER };

struct ty_sql_options {
    const char *name;      /* "default": in metrics, logs and messages. Copied, as all texts here */
    const char *url;       /* sqlite:FILE, postgres://user@host/name, mysql://user@host/name */
    const char *password;  /* NULL: the one in the URL, or none */
    unsigned statements;   /* prepared statements kept by each connection */
    unsigned queue_max;    /* statements and transactions that wait for a connection */
    uint64_t wait_ms;      /* how long they wait */
    size_t result_max;     /* bytes of one result */
    unsigned readers;      /* SQLite: besides the one that writes; in memory there are none */
    uint64_t busy_ms;      /* SQLite: how long a statement waits for another process */
    bool synchronous_full; /* SQLite: a commit survives a power cut, not only a crash */
    unsigned pool_max;     /* servers: connections of all workers together */
    unsigned pool_min;     /* kept open by this process, also when nobody needs them */
    unsigned pipelines;    /* connections of this process that single statements share */
    uint64_t connect_ms;   /* how long connecting may take */
    uint64_t query_ms;     /* how long a statement may take; 0: no limit but its owner's */
    uint64_t lifetime_ms;  /* a connection is replaced when it is that old, give or take a tenth */
    uint64_t idle_ms;      /* and closed when nobody needed it for that long */
    enum ty_sql_prepare prepare;
};

/* Opens nothing yet: connections open when they are first needed, and an error of opening is the
 * error of the statement that needed it. NULL if the options are not usable (the URL). */
struct ty_sql *ty_sql_new(uv_loop_t *loop, const struct ty_sql_options *options,
                          struct ty_error *error);

/* Refuses new work, waits for what runs, rolls back transactions that are open, closes all
 * connections and frees the database; then calls `closed(arg)`, never from inside. Transactions
 * must not be used afterwards. */
void ty_sql_close(struct ty_sql *db, void (*closed)(void *arg), void *arg);

/* Has the last attempt to reach it worked? True before the first. */
bool ty_sql_is_up(const struct ty_sql *db);

/* "sqlite", "postgresql", "mysql": OpenTelemetry's db.system.name. */
const char *ty_sql_system(const struct ty_sql *db);

/* ---- values */

enum ty_sql_type {
    TY_SQL_NULL,
    TY_SQL_BOOLEAN,
    TY_SQL_INTEGER,
    TY_SQL_UNSIGNED, /* an integer above 2^63 - 1 */
    TY_SQL_REAL,
    TY_SQL_TEXT, /* UTF-8 without NUL: checked by whoever binds it. Also decimals, dates, UUIDs */
    TY_SQL_BLOB,
    TY_SQL_JSON,      /* a document, as text */
    TY_SQL_ARRAY,     /* PostgreSQL's text form, "{1,NULL,\"a b\"}"; parameters: see `other_len` */
    TY_SQL_TIMESTAMP, /* parameters: "2026-11-21T16:00:00.123456Z", UTC */
};

struct ty_sql_value {
    enum ty_sql_type type;
    union {
        enum ty_sql_type element; /* ARRAY in results: what it is made of */
        size_t other_len; /* ARRAY as a parameter: behind `bytes` it is there as JSON, so long, for
                             databases without arrays */
    };
    union {
        int64_t integer;  /* BOOLEAN, INTEGER */
        uint64_t natural; /* UNSIGNED */
        double real;
        struct ty_slice bytes; /* all others */
    };
};

/* ---- operations */

enum ty_sql_verb {
    TY_SQL_RUN,    /* one statement; its rows are the result */
    TY_SQL_SCRIPT, /* several, without parameters, all or none where the database can; no result */
    TY_SQL_BEGIN,  /* takes a connection: ty_sql_begin() */
    TY_SQL_COMMIT, /* the rest only in a transaction */
    TY_SQL_ROLLBACK,
    TY_SQL_SAVEPOINT,   /* opens the nested level `op->level` */
    TY_SQL_RELEASE,     /* closes it, and those in it, and keeps what they did */
    TY_SQL_ROLLBACK_TO, /* closes it, and those in it, and undoes them. What still waits or runs
                           behind the savepoint is cancelled */
    TY_SQL_OPEN,        /* a query whose rows come in pieces, as cursor number `op->level` */
    TY_SQL_FETCH,       /* at most `rows_max` more of its rows; fewer: it has ended */
    TY_SQL_SHUT,        /* the cursor */
    TY_SQL_COPY_IN,     /* PostgreSQL: COPY ... FROM STDIN; then only PUT, and END or ROLLBACK */
    TY_SQL_COPY_PUT,    /* the bytes of `data` */
    TY_SQL_COPY_END,    /* `changes` says how many rows there were */
    TY_SQL_COPY_OUT,    /* COPY ... TO STDOUT; then only GET, or ROLLBACK */
    TY_SQL_COPY_GET,    /* some bytes more in `rows`; none: it has ended */
};

enum ty_sql_isolation {
    TY_SQL_ISOLATION_DEFAULT,
    TY_SQL_READ_COMMITTED,
    TY_SQL_REPEATABLE_READ,
    TY_SQL_SERIALIZABLE,
};

/* Runs exactly once per started operation, from the loop, never from inside the call that
 * started it. May free the op. */
typedef void ty_sql_done_fn(struct ty_sql_op *op);

/* One operation. The caller provides the memory, zeroed, fills in the first part, and keeps it (and
 * what it points to) until `done` has run. Then the second part says what became of it. */
struct ty_sql_op {
    enum ty_sql_verb verb;
    const char *sql; /* followed by a NUL */
    size_t sql_len;
    const struct ty_sql_value *params; /* for $1, $2, ...; those left out are NULL */
    unsigned param_count;
    uint64_t rows_max;               /* keep no more rows than that; 0: all */
    bool read_only;                  /* BEGIN: the transaction only reads */
    enum ty_sql_isolation isolation; /* BEGIN */
    unsigned level;                  /* of a savepoint; the number of a cursor */
    struct ty_slice data;            /* COPY_PUT */
    /* RUN, where ty_sql_can_batch(): the next statement of a batch. All of it is sent at once and
     * runs in one transaction. Only the first one is started and told of. Statements behind one
     * that failed did not run. */
    struct ty_sql_op *batch;
    ty_sql_done_fn *done;

    int status; /* 0, or -1: see error; UV_ECANCELED: it was cancelled, and did nothing or was
                   undone */
    struct ty_error error;
    char constraint[TY_SQL_NAME_MAX]; /* "users.email", "users_email_key"; "": not told */
    char table[TY_SQL_NAME_MAX], column[TY_SQL_NAME_MAX];
    unsigned line;            /* SCRIPT that failed: where the statement starts; 0: not told */
    int64_t changes;          /* rows inserted, updated or deleted */
    int64_t last_id;          /* SQLite, MySQL: the number that the last insert got; 0: none */
    struct ty_sql_tx *tx;     /* BEGIN: the transaction */
    uint64_t wait_ns, run_ns; /* how long it waited in line, and then ran */
    uint64_t row_count;
    unsigned column_count;

    /* The rest is private to core/sql. */
    struct ty_buf rows;                 /* sql/rows.h; or scratch */
    void *result;                       /* the driver's own form of it */
    const struct ty_sql_driver *driver; /* whose result it is, also when `db` is gone */
    struct ty_sql *db;
    void *conn;
    struct ty_sql_op *next;
    uint64_t queued_ns, sent_ns;
    int place; /* where it is: private to whoever keeps it */
    unsigned tries;
    atomic_bool cancelled;
    bool bounce;    /* it did nothing and is to be started again. SQLite: it turned out to write; by
                       the writer. PostgreSQL: it was prepared for a table that has changed */
    uint64_t known; /* PostgreSQL: the number of its text, */
    unsigned steps; /* how many answers it gets, */
    bool prepares;  /* and is the first one that of its preparation? */
    const char *statement; /* SQLite: what runs of a script */
    int code;              /* SQLite's extended code */
    struct ty_work work;
};

/* Starts a statement outside of any transaction (RUN or SCRIPT). It always succeeds:
 * what cannot be done is told by `done`. */
void ty_sql_start(struct ty_sql *db, struct ty_sql_op *op);

/* Can it run batches of statements in one go? */
bool ty_sql_can_batch(const struct ty_sql *db);

/* Takes a connection for a transaction, which starts with its first statement. If one is free it is
 * returned at once and `done` does not run; NULL: `done` will, with `op->tx`. */
struct ty_sql_tx *ty_sql_begin(struct ty_sql *db, struct ty_sql_op *op);

/* Starts an operation of a transaction; they run one after the other, in this order. COMMIT
 * and ROLLBACK end it: nothing may be started afterwards, and `tx` is gone when `done` runs.
 * A COMMIT that fails has rolled back, but for "unknown_outcome": then its answer was lost. When
 * the transaction was rolled back by an error already, every operation but ROLLBACK fails. */
void ty_sql_tx_start(struct ty_sql_tx *tx, struct ty_sql_op *op);

/* Ends a transaction that nobody waits for: whatever of it runs is cancelled, the rest is undone.
 * Never waits, cannot fail; `tx` is gone. */
void ty_sql_tx_drop(struct ty_sql_tx *tx);

/* Asks for an early end; `done` runs later, perhaps with an answer that came first. A COMMIT that
 * runs already is not disturbed. */
void ty_sql_cancel(struct ty_sql_op *op);

/* Does this statement, by its first word, only read? */
bool ty_sql_reads(const char *sql);

/* The same, by all of its words: it is no "with ... insert", no "explain analyze delete". May be in
 * doubt about what does read; what functions do it cannot know. */
bool ty_sql_only_reads(const char *sql);

/* ---- what may be shown of statements, to people who may not see what is in them */

enum { TY_SQL_OPERATION_MAX = 16 };

/* "SELECT", "COMMIT", "FETCH", "BATCH": the first word of a statement, in upper case, or what else
 * it does. */
void ty_sql_operation(const struct ty_sql_op *op, char out[TY_SQL_OPERATION_MAX]);

/* Its text; empty if it has none. */
struct ty_slice ty_sql_statement(const struct ty_sql_op *op);

/* Adds a statement in one line: without comments, with "?" for every literal, and "..." behind
 * `max` bytes. `system` is ty_sql_system(): they do not write their texts and comments alike. */
void ty_sql_outline(const char *system, struct ty_slice sql, size_t max, struct ty_buf *out);

/* ---- results, after `done` has run with status 0 */

/* Where a reader of the result is. Start with zeroes. */
struct ty_sql_cursor {
    size_t at;
};

/* The names of the columns come first: call it `op->column_count` times. */
struct ty_slice ty_sql_name(const struct ty_sql_op *op, struct ty_sql_cursor *cursor);

/* Then the cells, row by row: column_count times row_count. Texts and bytes point into the result
 * or into the op's scratch, and are good until the next call. */
void ty_sql_cell(struct ty_sql_op *op, struct ty_sql_cursor *cursor, struct ty_sql_value *value);

/* Reads an array. Start with its `bytes` and `element`. */
struct ty_sql_array {
    struct ty_slice rest;
    enum ty_sql_type element;
    bool inside; /* behind a value: a comma or an end must follow */
};

enum ty_sql_token { TY_SQL_BAD, TY_SQL_ITEM, TY_SQL_DOWN, TY_SQL_UP, TY_SQL_END };

/* The next thing in it: a value (NULL too), an array in the array begins or ends, or the end of
 * all. Texts are in `scratch`, which is overwritten by the next call. */
enum ty_sql_token ty_sql_array_next(struct ty_sql_array *array, struct ty_buf *scratch,
                                    struct ty_sql_value *value);

/* What a text of PostgreSQL means as a value of that type; "" is not NULL. False: it is none. What
 * has to be written anew (bytes, timestamps) is put into `scratch`. */
bool ty_sql_from_text(enum ty_sql_type type, struct ty_slice text, struct ty_buf *scratch,
                      struct ty_sql_value *value);

/* Frees the result, of a whole batch too; the op may be used again after it was zeroed. */
void ty_sql_op_close(struct ty_sql_op *op);

/* ---- notifications: LISTEN, where the database has it (PostgreSQL)
 *
 * A database has one connection in each process on which it listens, for all listeners, while there
 * are any. It comes back by itself when it is lost; what was sent meanwhile is lost, and listeners
 * are told so. It takes one place of `pool_max`. */

enum ty_sql_heard_event {
    TY_SQL_LISTENING, /* for the first time: from now on nothing is missed */
    TY_SQL_NOTIFIED,
    TY_SQL_DEAF,    /* it does not, for now: see `error`; tried again by itself, unless `over` */
    TY_SQL_HEARING, /* again: something may have been missed since TY_SQL_DEAF */
};

struct ty_sql_heard {
    enum ty_sql_heard_event event;
    struct ty_slice payload; /* NOTIFIED */
    int sender;              /* NOTIFIED: the server's process of whoever sent it */
    struct ty_error error;   /* DEAF */
    bool over;               /* DEAF: it will never listen: only ty_sql_unlisten() is left */
};

/* The caller's memory, zeroed, until ty_sql_unlisten(). */
struct ty_sql_listener {
    const char *channel; /* case matters: LISTEN "channel". At most 63 bytes */
    /* From the loop, never from inside of these functions. May call ty_sql_unlisten(). `heard` is
     * borrowed for the call. */
    void (*heard)(struct ty_sql_listener *listener, const struct ty_sql_heard *heard);
    void *arg; /* the caller's */

    /* Private to core/sql. */
    struct ty_sql *db;
    bool is_on, was_on, is_deaf;
    struct ty_sql_listener *next, **prev;
};

bool ty_sql_can_listen(const struct ty_sql *db);

/* Only where ty_sql_can_listen(). Notifications are sent with `select pg_notify($1, $2)`. */
void ty_sql_listen(struct ty_sql *db, struct ty_sql_listener *listener);

/* Nothing is told any more. All listeners end before ty_sql_close(). */
void ty_sql_unlisten(struct ty_sql_listener *listener);
