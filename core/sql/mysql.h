/* What the files of the driver for MySQL and MariaDB share.
 *
 *   mysql.c            the driver's table; what a verb begins with
 *   mysql_url.c        mysql://user@host/name?tls=...
 *   mysql_link.c       one handle of the library, and its calls, in steps
 *   mysql_dial.c       connecting (thread)
 *   mysql_connect.c    setting up and resetting sessions, closing
 *   mysql_text.c       what the text of a statement says
 *   mysql_statement.c  prepared statements, their cache, their parameters
 *   mysql_row.c        cells of the binary protocol
 *   mysql_run.c        one statement, from its text to its result
 *   mysql_cursor.c     queries whose rows come in pieces
 *   mysql_control.c    transactions, savepoints, scripts
 *   mysql_cancel.c     ending what runs, from a connection beside it
 *   mysql_error.c      the server's numbers as errors
 *
 * All of it is for the loop's thread, but connecting: the library looks up names and shakes hands
 * for TLS without giving way. All its other calls run in little stacks of their own, which it
 * leaves whenever it would have to wait; whatever it calls back runs on those.
 *
 * A session of ours speaks UTF-8, keeps time in UTC, quotes names with "", knows no backslash in
 * strings, joins with || and refuses what does not fit a column: statements mean the same as on
 * the other databases. `changes` counts rows that were found, changed or not, as the others do.
 */
#pragma once

#include <mysql.h>

#include "sql/mysql_text.h"
#include "sql/pool.h"

enum { TY_MYSQL_CURSORS_MAX = 16 };

/* Numbers of errors that mysqld_error.h and errmsg.h share out. */
enum { TY_MYSQL_NEW_METADATA = 2057 };

/* ---- one handle and its calls */

enum ty_mysql_call {
    TY_MYSQL_NOTHING,
    TY_MYSQL_QUERY,     /* `text` */
    TY_MYSQL_STORE,     /* its rows, in memory: -> `rows` */
    TY_MYSQL_FREE_ROWS, /* `rows`: those not read yet are read away */
    TY_MYSQL_NEXT_RESULT,
    TY_MYSQL_MULTI, /* many statements in one text from now on, or not: `multi` */
    TY_MYSQL_PING,
    TY_MYSQL_RESET,
    TY_MYSQL_PREPARE, /* `text` for `stmt` */
    TY_MYSQL_EXECUTE, /* `stmt`, and so on */
    TY_MYSQL_FETCH,
    TY_MYSQL_FREE_RESULT,
    TY_MYSQL_NEXT_OF_STMT,
};

struct ty_mysql_link;
typedef void ty_mysql_then_fn(struct ty_mysql_link *link);

struct ty_mysql_link {
    uv_loop_t *loop;
    MYSQL *mysql;
    MYSQL_STMT *stmt;
    MYSQL_RES *rows;
    const char *text;
    size_t text_len;
    bool multi;
    int result; /* of the last call: 0, MYSQL_NO_DATA, -1 (no more), or another number: it failed */

    enum ty_mysql_call call;
    ty_mysql_then_fn *then;
    void (*stirred)(struct ty_mysql_link *link); /* it became readable though nothing runs */
    void (*late)(
        struct ty_mysql_link *link); /* the limit has passed though nothing runs, or NULL */
    bool started, running;
    int waits;       /* what the library waits for */
    unsigned steps;  /* since the loop had its turn */
    uv_poll_t *poll; /* of the socket; on the heap, for it outlives it */
    int polled_fd, polled_events;
    uv_timer_t limit;
    uv_idle_t soon;
    unsigned handles_left;
    void (*on_closed)(struct ty_mysql_link *link);
};

void ty_mysql_link_init(struct ty_mysql_link *link, uv_loop_t *loop);

/* Starts a call whose arguments are in the link; `then` runs later, never from inside. One at a
 * time. Called from a `then` it may run without a wait. */
void ty_mysql_link_call(struct ty_mysql_link *link, enum ty_mysql_call call,
                        ty_mysql_then_fn *then);

/* Has the other side said goodbye? For a link on which nothing runs. */
bool ty_mysql_link_is_gone(const struct ty_mysql_link *link);

/* Without a call: only lets `then` run later, so that whatever it tells is told from the loop. */
void ty_mysql_link_later(struct ty_mysql_link *link, ty_mysql_then_fn *then);

/* What has not ended in so many milliseconds fails, now and in later calls; 0: no limit. */
void ty_mysql_link_limit(struct ty_mysql_link *link, uint64_t ms);

/* The handle is closed at once, whatever runs, and `then` is not called any more. Without
 * `politely` the server is not told. The link may be used again with another handle. */
void ty_mysql_link_drop(struct ty_mysql_link *link, bool politely);

/* Also frees what the loop knows of it; then calls `on_closed`, never from inside. */
void ty_mysql_link_close(struct ty_mysql_link *link, void (*on_closed)(struct ty_mysql_link *link));

/* ---- the database */

enum ty_mysql_tls {
    TY_MYSQL_TLS_OFF,
    TY_MYSQL_TLS_PREFERRED, /* if the server can, and is on another machine */
    TY_MYSQL_TLS_REQUIRED,  /* whoever the server is */
    TY_MYSQL_TLS_VERIFY,    /* and it has a certificate for that name, from somebody we trust */
};

struct ty_mysql_url {
    char *user, *password, *host, *database, *socket, *ca;
    unsigned port;
    enum ty_mysql_tls tls;
};

int ty_mysql_url_read(struct ty_mysql_url *url, const char *text, struct ty_error *error);
void ty_mysql_url_close(struct ty_mysql_url *url);

struct ty_mysql_killer;

/* pool->own; lives until its last dial is over, too. */
struct ty_mysql {
    struct ty_mysql_url url;
    char *password;
    unsigned connect_s;
    struct ty_lane *lane; /* for connecting */
    unsigned refs;
    struct ty_mysql_killer *killer; /* NULL before the first cancellation */
};

void ty_mysql_unref(struct ty_mysql *own);

/* ---- mysql_dial.c: connecting, on a thread */

struct ty_mysql_dial;

/* From the loop. `failure` is NULL, or says why it has not worked; the handle belongs to the callee
 * (with the library's error in it) in both cases, and may be NULL in the second. */
typedef void ty_mysql_dialed_fn(void *arg, MYSQL *mysql, const char *failure);

/* `host`: another one than the URL's, as numbers; or NULL. Never tells from inside. */
struct ty_mysql_dial *ty_mysql_dial(struct ty_mysql *own, const char *host,
                                    ty_mysql_dialed_fn *dialed, void *arg);
void ty_mysql_dial_forget(struct ty_mysql_dial *dial); /* `dialed` is not called */
/* Who is on the other side, as numbers; "": a socket. */
void ty_mysql_peer(MYSQL *mysql, char *out, size_t out_len);

/* ---- connections */

struct ty_mysql_stmt {
    MYSQL_STMT *handle;
    char *sql; /* as the script wrote it */
    size_t sql_len;
    uint32_t hash;
    bool kept;       /* in the cache */
    unsigned number; /* of the cursor */
    struct ty_mysql_text text;
    MYSQL_BIND *binds; /* one per slot */
    MYSQL_TIME *times;
    struct ty_mysql_stmt *next; /* in its bucket, or of the cursors */
    struct ty_mysql_stmt *newer, *older;
};

struct ty_mysql_cache {
    struct ty_mysql_stmt **buckets; /* a power of two of them */
    unsigned bucket_count, count, max;
    struct ty_mysql_stmt *newest, *oldest;
};

struct ty_mysql_kind;

struct ty_mysql_conn {
    struct ty_pool_conn base; /* first */
    struct ty_mysql_link link;
    struct ty_mysql *own;

    struct ty_mysql_dial *dial; /* while it connects */
    char peer[64];              /* the server's address, as numbers; "": a socket */
    bool connected;
    uint64_t packet_max;   /* the server takes no more at once */
    bool rolls_back_later; /* a wait for a lock that is too long ends the transaction, too */

    struct ty_mysql_cache cache;
    struct ty_mysql_stmt *cursors;

    /* What runs. */
    struct ty_sql_op *op;
    struct ty_mysql_stmt *stmt;
    ty_mysql_then_fn *executed;
    struct ty_buf scratch;       /* the text of a statement of ours */
    bool retried;                /* it was prepared once more */
    uint64_t rows_seen;          /* kept or not */
    bool in_tx;                  /* since BEGIN */
    bool too_large;              /* the rest of the result is only read away */
    unsigned results;            /* SCRIPT: statements that are done */
    struct ty_mysql_kind *kinds; /* of the columns of what runs */
    unsigned kind_cap;

    /* Cancelling. */
    enum {
        TY_MYSQL_UNHURT,
        TY_MYSQL_KILLING,   /* the request was not answered yet */
        TY_MYSQL_KILLED,    /* it was; it may hit what runs, or what comes next */
        TY_MYSQL_ABSORBING, /* so the next one is ours */
    } wound;
    struct ty_mysql_conn *next_to_kill;
};

static inline struct ty_mysql_conn *ty_mysql_conn_of(struct ty_mysql_link *link)
{
    return (struct ty_mysql_conn *)((char *)link - offsetof(struct ty_mysql_conn, link));
}

/* mysql_connect.c, for the driver's table */
void ty_mysql_connect(struct ty_pool_conn *base);
void ty_mysql_reset(struct ty_pool_conn *base);
void ty_mysql_check(struct ty_pool_conn *base);
void ty_mysql_close(struct ty_pool_conn *base);
/* ---- mysql.c */

/* The operation is done, with what it says; `clean` as in ty_pool_done(). */
void ty_mysql_done(struct ty_mysql_conn *conn, bool clean);
/* It failed, with what the library says of the last call. The connection may be lost with it. */
void ty_mysql_failed(struct ty_mysql_conn *conn);
/* The connection is lost, with what the library says; `during`: "connecting", or NULL. */
void ty_mysql_lost(struct ty_mysql_conn *conn, const char *during);
/* It failed before anything was sent. From the loop, or not. */
void ty_mysql_refused(struct ty_mysql_conn *conn);
/* Is the connection in a state from which the owner can go on? */
bool ty_mysql_is_clean(const struct ty_mysql_conn *conn);

/* ---- mysql_statement.c */

void ty_mysql_cache_init(struct ty_mysql_cache *cache, unsigned max);
struct ty_mysql_stmt *ty_mysql_cache_find(struct ty_mysql_cache *cache, const struct ty_sql_op *op);
/* Takes one that is prepared, if it is worth it; drops the oldest for it. */
void ty_mysql_cache_keep(struct ty_mysql_cache *cache, struct ty_mysql_stmt *stmt);
void ty_mysql_cache_remove(struct ty_mysql_cache *cache, struct ty_mysql_stmt *stmt);
/* All of them. */
void ty_mysql_cache_close(struct ty_mysql_cache *cache);
/* Does the server take so many bytes at once? It hangs up on who sends more. */
bool ty_mysql_fits(const struct ty_mysql_conn *conn, uint64_t size);
/* NULL: the op says why. */
struct ty_mysql_stmt *ty_mysql_stmt_new(struct ty_mysql_conn *conn, struct ty_sql_op *op);
/* The server forgets it, too, if the connection is there. Nothing of its result may be unread. */
void ty_mysql_stmt_free(struct ty_mysql_stmt *stmt);
int ty_mysql_stmt_bind(struct ty_mysql_conn *conn, struct ty_mysql_stmt *stmt,
                       struct ty_sql_op *op);

/* ---- mysql_row.c */

/* The library gives the cells of what this statement fetches to the operation that runs. */
void ty_mysql_rows_want(struct ty_mysql_conn *conn, MYSQL_STMT *handle);
/* Looks at the columns, and adds their names to the result. False: it is too large. */
bool ty_mysql_rows_begin(struct ty_mysql_conn *conn, MYSQL_STMT *handle);

/* ---- mysql_run.c, mysql_cursor.c, mysql_control.c */

void ty_mysql_run(struct ty_mysql_conn *conn);
/* Prepares, binds and executes conn->op; `then` runs when that has worked. */
void ty_mysql_execute(struct ty_mysql_conn *conn, ty_mysql_then_fn *then);
/* Reads away what is left of the results of conn->stmt, and is done. */
void ty_mysql_finish(struct ty_mysql_conn *conn);
void ty_mysql_cursor_open(struct ty_mysql_conn *conn);
void ty_mysql_cursor_fetch(struct ty_mysql_conn *conn);
void ty_mysql_cursor_shut(struct ty_mysql_conn *conn);
void ty_mysql_cursors_close(struct ty_mysql_conn *conn);
/* All statements and cursors, with what runs. */
void ty_mysql_forget_statements(struct ty_mysql_conn *conn);
void ty_mysql_control(struct ty_mysql_conn *conn);
void ty_mysql_script(struct ty_mysql_conn *conn);
/* Runs conn->op without preparing it; what it returns is read away. */
void ty_mysql_run_plain(struct ty_mysql_conn *conn);

/* ---- mysql_cancel.c */

void ty_mysql_cancel(struct ty_pool_conn *base);
/* What was running has ended: if a request may still hit, it shall hit ours. */
void ty_mysql_absorb(struct ty_mysql_conn *conn);
void ty_mysql_cancel_forget(struct ty_mysql_conn *conn); /* it closes */
/* It closes while the server runs something, which shall end. */
void ty_mysql_bury(struct ty_mysql_conn *conn);
void ty_mysql_killer_close(struct ty_mysql *own);

/* ---- mysql_error.c */

/* The number of the last call's error; 0: it has worked. */
unsigned ty_mysql_number(const struct ty_mysql_link *link);
/* Has the server ended the whole transaction with that error? */
bool ty_mysql_ends_tx(const struct ty_mysql_conn *conn, unsigned number);
/* Does an error with that number mean that the connection is of no use any more? */
bool ty_mysql_is_lost(unsigned number);
/* Is trying again of no use before somebody acts? */
bool ty_mysql_is_fatal(unsigned number);
/* `during`: "connecting", or NULL */
void ty_mysql_error(struct ty_error *error, unsigned number, const char *state, const char *message,
                    const char *during);
void ty_mysql_fail(struct ty_sql_op *op, unsigned number, const char *state, const char *message);
