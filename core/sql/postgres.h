/* What the files of PostgreSQL's driver share.
 *
 * A connection is libpq's, never blocking, and in pipeline mode for all but COPY: every operation
 * is sent at once, each with a Sync of its own, so that what fails in one does not touch its
 * neighbours. Answers come in the order of sending; a ring of what was sent says whose they are.
 *
 *   postgres.c            the driver's table
 *   postgres_url.c        where a database is, from its URL
 *   postgres_link.c       one connection of libpq's on the loop: names, connecting, waiting
 *   postgres_conn.c       the life of a connection, as the pool sees it
 *   postgres_session.c    what is set in a session, and what statements leave there
 *   postgres_known.c      what is known of texts of statements, by all connections
 *   postgres_prepared.c   prepared statements of one connection
 *   postgres_param.c      parameters, as text
 *   postgres_send.c       operations become messages
 *   postgres_gather.c     which leave together, where several start at once
 *   postgres_receive.c    messages become results
 *   postgres_received.c   how much has come
 *   postgres_script.c     where the statements of a script begin
 *   postgres_copy.c       COPY, outside of the pipeline
 *   postgres_cancel.c     asking the server to stop
 *   postgres_value.c      cells of results
 *   postgres_error.c      SQLSTATEs as errors
 *   postgres_listen.c     LISTEN, on a connection of its own: core/sql/postgres_listen.h
 */
#pragma once

#include <libpq-fe.h>

#include "sql/pool.h"

enum {
    TY_PG_DEPTH = 128,
    TY_PG_HOSTS_MAX = 16,
    TY_PG_CACHED_SQL_MAX = 16 * 1024,
    TY_PG_PARAMS_MAX = 65535,
    TY_PG_SCRATCH_KEPT = 1024 * 1024,
    TY_PG_FAST_NS = 5 * 1000 * 1000,
};

struct ty_pg;
struct ty_pg_link;

/* ---- postgres_url.c */

struct ty_pg_address {
    char *host; /* a name, an address, a folder of a Unix socket; "": the default one */
    char *hostaddr;
    char *port;
};

struct ty_pg_target {
    struct ty_pg_address hosts[TY_PG_HOSTS_MAX];
    unsigned host_count;
    unsigned first;        /* where to begin: the one behind one that did not answer */
    char **keys, **values; /* everything else, for libpq; ended by NULL */
    unsigned key_count;
};

/* 0, or -1 with `error`, which shows nothing of what the URL may hold of secrets. */
int ty_pg_target_parse(struct ty_pg_target *target, const struct ty_sql_options *options,
                       struct ty_error *error);
void ty_pg_target_close(struct ty_pg_target *target);

/* ---- postgres_known.c: texts of statements, least recently used forgotten first */

struct ty_pg_text {
    uint64_t number; /* never 0, never given twice; says which of known->texts it is */
    uint64_t mean_ns;
    unsigned runs;
    bool judged, changes_session;
    bool allowed; /* others may send it: it is none of ours, as "begin" is */
    uint32_t hash;
    size_t len;
    char *sql;
    struct ty_pg_text *next; /* in its bucket */
    struct ty_pg_text *newer, *older;
};

struct ty_pg_known {
    struct ty_pg_text *texts;    /* `max` of them, of which `count` are in use */
    struct ty_pg_text **buckets; /* a power of two of them */
    unsigned bucket_count, count, max;
    struct ty_pg_text *newest, *oldest;
    struct ty_pg_text *last; /* the one that was asked for last */
};

void ty_pg_known_init(struct ty_pg_known *known, unsigned max);
void ty_pg_known_close(struct ty_pg_known *known);
struct ty_pg_text *ty_pg_known_find(struct ty_pg_known *known, const char *sql, size_t len);

/* NULL: it was forgotten meanwhile. */
struct ty_pg_text *ty_pg_known_at(struct ty_pg_known *known, uint64_t number);

/* Finds or adds; NULL: too long to be remembered. */
struct ty_pg_text *ty_pg_known_use(struct ty_pg_known *known, const char *sql, size_t len);
void ty_pg_known_count(struct ty_pg_text *text, uint64_t ns);

/* ---- postgres_prepared.c */

struct ty_pg_prepared {
    uint64_t number; /* of its text */
    uint64_t serial; /* in its name; never given twice on a connection */
    char name[24];
    struct ty_pg_prepared *next;
    struct ty_pg_prepared *newer, *older;
};

struct ty_pg_cache {
    struct ty_pg_prepared **buckets;
    unsigned bucket_count, count, max;
    struct ty_pg_prepared *newest, *oldest;
    uint64_t serials;
};

void ty_pg_cache_init(struct ty_pg_cache *cache, unsigned max);
void ty_pg_cache_close(struct ty_pg_cache *cache);
void ty_pg_cache_clear(struct ty_pg_cache *cache);

/* NULL: it is not there. */
const struct ty_pg_prepared *ty_pg_cache_find(struct ty_pg_cache *cache, uint64_t number);
const struct ty_pg_prepared *ty_pg_cache_add(struct ty_pg_cache *cache, uint64_t number);

/* Returns its serial number, for whoever tells the server; 0: it was not there. */
uint64_t ty_pg_cache_forget(struct ty_pg_cache *cache, uint64_t number);

/* ---- the driver's own part of a database */

struct ty_pg {
    struct ty_pool *pool;
    uv_loop_t *loop;
    char *name; /* of the database in the configuration */
    struct ty_pg_target target;
    struct ty_pg_known known;
    struct ty_lane *lane; /* for cancel requests */
    struct ty_pg_listener *listener;
    uint64_t turn; /* of the loop */
    uv_prepare_t turn_end;
    struct ty_pg_link *held; /* what waits for it */
    bool prepares_never, prepares_always;
    unsigned users; /* who needs this memory: the pool, cancel requests */

    /* Parameters of what is sent now: libpq copies them. */
    struct ty_buf scratch, text;
    const char **values;
    int *lengths, *formats;
    size_t *offsets;
    unsigned param_max;
};

void ty_pg_unref(struct ty_pg *own);
void ty_pg_log_notice(const struct ty_pg *own, const char *text);

/* ---- postgres_link.c */

struct ty_pg_link_calls {
    void (*connected)(struct ty_pg_link *link);
    void (*failed)(struct ty_pg_link *link, const struct ty_error *error, bool fatal);
    void (*ready)(struct ty_pg_link *link, int events); /* once it is connected */
    void (*later)(struct ty_pg_link *link);             /* see ty_pg_link_later() */
};

struct ty_pg_link {
    struct ty_pg *own;
    bool is_ended; /* the server said so, between statements */
    const struct ty_pg_link_calls *calls;
    PGconn *pg;
    struct ty_pg_poll *poll;
    struct ty_pg_lookup *lookup; /* while names are looked up */
    uv_timer_t timer;
    uv_idle_t soon; /* for what is left to `later` */
    unsigned handles_left;
    uint64_t timeout_ms;
    int events;
    bool connected;
    void (*closed)(struct ty_pg_link *link);
    uint64_t turn; /* in which it last sent something */
    struct ty_pg_link *held_next, **held_prev;
};

void ty_pg_link_init(struct ty_pg_link *link, struct ty_pg *own,
                     const struct ty_pg_link_calls *calls);

/* Then `connected` or `failed` is called, never from inside. */
void ty_pg_link_connect(struct ty_pg_link *link, uint64_t timeout_ms);

/* What to wait for: UV_READABLE, UV_WRITABLE, both, or 0. */
void ty_pg_link_watch(struct ty_pg_link *link, int events);

/* To be called as soon as libpq may have closed the socket: somebody else will get its number. */
void ty_pg_link_unwatch(struct ty_pg_link *link);

/* Sends what libpq holds, and waits for room if there is none. False: the connection is gone. */
bool ty_pg_link_flush(struct ty_pg_link *link);

/* Calls `later`, once, from the loop; or does not any more. */
void ty_pg_link_later(struct ty_pg_link *link);
void ty_pg_link_never(struct ty_pg_link *link);

/* At once for the server; `closed` is called from the loop. */
void ty_pg_link_close(struct ty_pg_link *link, void (*closed)(struct ty_pg_link *link));

/* Bytes that TLS holds back, of which the socket says nothing? */
bool ty_pg_link_has_more(const struct ty_pg_link *link);

/* ---- postgres_gather.c */

void ty_pg_gather_init(struct ty_pg *own);

/* Something is about to be sent. */
void ty_pg_gather(struct ty_pg_link *link);
void ty_pg_gather_forget(struct ty_pg_link *link); /* its socket may be gone */

/* ---- connections of the pool */

enum ty_pg_what {
    TY_PG_OP,
    TY_PG_REFUSED, /* an operation that was not sent at all */
    TY_PG_DROP,    /* of a prepared statement */
    TY_PG_DISCARD,
    TY_PG_SETUP,
    TY_PG_CHECK,
};

/* What was sent, up to its Sync. */
struct ty_pg_sent {
    enum ty_pg_what what;
    struct ty_sql_op *op;
    struct ty_sql_op *at; /* who of the batch gets the next answer */
    unsigned step;        /* and which of its answers that is */
    bool begun;           /* is there any yet? */
};

enum ty_pg_mode {
    TY_PG_PIPELINE,
    TY_PG_COPY_STARTS,
    TY_PG_COPIES_IN,
    TY_PG_COPIES_OUT,
    TY_PG_COPY_ENDS,
};

struct ty_pg_conn {
    struct ty_pool_conn base;
    struct ty_pg_link link;
    struct ty_pg *own;
    enum ty_pg_mode mode;
    bool pooled; /* by something in between, such as PgBouncer: the session is not ours */
    bool ready;  /* it was set up */
    bool dead;
    bool broken;     /* found out while sending: it is told from the loop */
    bool tending;    /* it is checked, or reset */
    bool reads_only; /* its transaction was begun so */
    struct ty_pg_sent *ring;
    unsigned ring_size, ring_at, ring_count;
    struct ty_sql_op *unsent; /* the first one that has to wait; the others are behind it */
    struct ty_sql_op *copy;   /* what runs of a COPY */
    struct ty_pg_cache cache;
    uint64_t answered_ns;
    struct ty_pg_cancel *cancel;
    bool cancel_is_pools, cancel_again;
    bool too_large; /* what is read now is more than it may be: it is being cancelled */
    bool stray;     /* that may have hit what was sent behind it */
    uint64_t read_mark, read_len; /* of the result that is read now: postgres_receive.c */
};

/* Says that the connection cannot be used any more, once. */
void ty_pg_lose(struct ty_pg_conn *conn, const struct ty_error *error, bool fatal);
void ty_pg_lose_by_libpq(struct ty_pg_conn *conn);
void ty_pg_lose_later(struct ty_pg_conn *conn); /* from inside of what the pool called */

void ty_pg_connect(struct ty_pool_conn *base);
void ty_pg_close(struct ty_pool_conn *base);
bool ty_pg_is_quiet(const struct ty_pool_conn *base);

/* The ring. */
struct ty_pg_sent *ty_pg_push(struct ty_pg_conn *conn, enum ty_pg_what what, struct ty_sql_op *op);
struct ty_pg_sent *ty_pg_front(struct ty_pg_conn *conn);
void ty_pg_pop(struct ty_pg_conn *conn);

/* ---- postgres_session.c */

void ty_pg_setup(struct ty_pg_conn *conn);
void ty_pg_on_setup(struct ty_pg_conn *conn, const PGresult *result);
void ty_pg_reset(struct ty_pool_conn *base);
void ty_pg_check(struct ty_pool_conn *base);
bool ty_pg_changes_session(const struct ty_sql_op *op);

/* Why a script may not run it; NULL: it may. */
const char *ty_pg_refusal(const char *sql);

/* As ty_sql_first_word(), by PostgreSQL's rules; what is behind it. */
const char *ty_pg_first_word(const char *sql, char out[16]);

/* ---- postgres_param.c */

/* Into own->values and so on; -1: a value is too large. */
int ty_pg_bind(struct ty_pg *own, const struct ty_sql_op *op);

/* ---- postgres_send.c */

/* A DEALLOCATE of its own. */
bool ty_pg_drop(struct ty_pg_conn *conn, uint64_t serial);
void ty_pg_send(struct ty_pool_conn *base, struct ty_sql_op *op);
void ty_pg_send_waiting(struct ty_pg_conn *conn); /* what may be sent by now */

/* ---- postgres_receive.c */

void ty_pg_receive(struct ty_pg_conn *conn);
void ty_pg_tell_refused(struct ty_pg_conn *conn);
bool ty_pg_is_clean(const struct ty_pg_conn *conn, const struct ty_sql_op *op);

/* ---- postgres_script.c */

struct ty_pg_script {
    const char *at, *end;
    unsigned line; /* of what comes next */
    struct ty_slice statement;
    unsigned statement_line;
};

/* The next statement, without the semicolon; false: there is none. */
bool ty_pg_script_next(struct ty_pg_script *script);

/* Behind blanks, semicolons and comments, which may have comments inside. */
const char *ty_pg_skip_blanks(const char *sql);
struct ty_pg_script ty_pg_script(const struct ty_sql_op *op);

/* ---- postgres_copy.c */

/* COPY_IN or COPY_OUT, with nothing else in flight. */
void ty_pg_copy_start(struct ty_pg_conn *conn, struct ty_sql_op *op);

/* Any other, while the connection copies. False: it has to wait until it does not any more, which
 * is seen to. */
bool ty_pg_copy_step(struct ty_pg_conn *conn, struct ty_sql_op *op);
void ty_pg_copy_ready(struct ty_pg_conn *conn, int events);

/* ---- postgres_cancel.c */

void ty_pg_cancel(struct ty_pool_conn *base);
void ty_pg_cancel_ours(struct ty_pg_conn *conn);
void ty_pg_cancel_detach(struct ty_pg_conn *conn);

/* ---- postgres_value.c */

struct ty_slice ty_pg_name(const struct ty_sql_op *op, struct ty_sql_cursor *cursor);
void ty_pg_cell(struct ty_sql_op *op, struct ty_sql_cursor *cursor, struct ty_sql_value *value);
void ty_pg_op_close(struct ty_sql_op *op);

/* ---- postgres_error.c */

/* Fills the op's error from the server's answer. */
void ty_pg_fail(struct ty_pg_conn *conn, struct ty_sql_op *op, const PGresult *result);

/* Is it one after which the server closes the connection? Then `error` is filled. */
bool ty_pg_is_fatal(const struct ty_pg *own, const PGresult *result, struct ty_error *error);

/* From libpq's own words about a connection; true: trying again is of no use. */
bool ty_pg_connect_error(const struct ty_pg *own, PGconn *pg, struct ty_error *error);

/* ---- postgres_listen.c */

void ty_pg_listen(struct ty_sql *db, struct ty_sql_listener *listener);
void ty_pg_unlisten(struct ty_sql_listener *listener);

/* The pool, and what listens. */
void ty_pg_close_all(struct ty_sql *db, void (*closed)(void *arg), void *arg);
