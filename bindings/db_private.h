/* What the bindings of databases share.
 *
 *   db.c          the module: statements and scripts
 *   db_open.c     which databases there are
 *   db_batch.c    several statements in one go
 *   db_cursor.c   results in pieces, and COPY
 *   db_listen.c   notifications
 *   db_tx.c       transactions
 *   db_call.c     one operation and the fiber that waits for it
 *   db_trace.c    what `tycho trace` shows of all that
 *   db_values.c   parameters
 *   db_result.c   results
 *   db_array.c    PostgreSQL's arrays, in results
 */
#pragma once

#include <lua.h>
#include <stddef.h>

#include "db.h"
#include "fiber.h"
#include "tycho/config.h"
#include "tycho/sql.h"

struct ty_db {
    struct ty_sql *sql;
    char *name;
    char *what;       /* its fibers wait for: "db default" */
    uint64_t slow_ns; /* 0: nothing is slow */
    struct ty_db *next;
    struct ty_sql_op probe; /* runs while `probing` */
    bool probing;
    bool probed; /* at least once: before that nobody knows whether it works */
    uint64_t probed_ns;
};

/* The database of that name, opened if need be. NULL with `error`: it is not configured, or its URL
 * is not usable. */
struct ty_db *ty_db_find(uv_loop_t *loop, const struct ty_config *config, const char *name,
                         struct ty_error *error);

/* The same by the name at a stack index; throws if that is no string. */
struct ty_db *ty_db_check(lua_State *L, uv_loop_t *loop, int index, struct ty_error *error);

/* Changes when all databases are closed: what belongs to an earlier era is gone. */
unsigned ty_db_era(void);

/* Before databases are closed. */
void ty_db_unlisten_all(void);

/* ---- calls */

enum ty_db_shape { TY_DB_ROWS, TY_DB_ONE, TY_DB_VALUE, TY_DB_EXEC };

/* A transaction as Lua holds it: userdata. */
struct ty_db_handle {
    struct ty_sql_tx *tx; /* NULL: not begun yet, or over */
    struct ty_db *db;
    unsigned era;
    struct ty_span *span;    /* while it is traced */
    struct ty_fiber_end end; /* of the fiber that began it */
};

/* One operation, and the fiber that waits for it. */
struct ty_db_call {
    struct ty_wait wait;
    struct ty_sql_op op;
    struct ty_db *db;
    lua_State *L; /* whose line it was, as long as it waits */
    enum ty_db_shape shape;
    struct ty_db_handle *handle;  /* BEGIN: to be filled in; NULL once nobody wants it */
    int handle_ref;               /* keeps it from the collector */
    struct ty_sql_tx *tx;         /* COMMIT: to be dropped if it was cancelled before it ran */
    struct ty_span *tx_span;      /* COMMIT: of what it ends */
    void *batch;                  /* that it is a part of: db_batch.c */
    struct ty_fiber *fiber;       /* that waits; not once it was cancelled */
    struct ty_db_origin *origin;  /* where it came from, once somebody wants to know */
    struct ty_sql_value values[]; /* then their bytes, then the statement */
};

static inline struct ty_db_call *ty_db_call_of(struct ty_sql_op *op)
{
    return (struct ty_db_call *)((char *)op - offsetof(struct ty_db_call, op));
}

/* Room for one operation with `count` values of `bytes` bytes, and a statement. NULL: no memory. */
struct ty_db_call *ty_db_call_new(lua_State *L, struct ty_db *db, int count, size_t bytes,
                                  size_t sql_len);
void ty_db_call_free(struct ty_db_call *call);

/* Copies a statement to `to`, where there is room for it and a NUL. */
void ty_db_copy_sql(struct ty_sql_op *op, char *to, const char *sql, size_t len);

/* Starts the operation, in the transaction if there is a `handle`, and parks. */
int ty_db_call_start(lua_State *L, struct ty_db_call *call, const struct ty_db_handle *handle);
void ty_db_call_cancel(struct ty_wait *wait);

/* A word in the log, with the line of the script, if it was slow; when it is done. */
void ty_db_call_judge(struct ty_db_call *call);

/* Says why, if it was cancelled by others than the fiber that waits for it. */
void ty_db_explain(struct ty_sql_op *op);

int ty_db_push_no_memory(lua_State *L);

/* The transaction at `index`; throws, with the application's line, if it is over. */
struct ty_db_handle *ty_db_check_handle(lua_State *L, int index);

/* ---- tracing: for calls of a fiber that has a tracing (trace.h), when they start and when they
 * are done. A span that is NULL is not there to be told anything. */

/* Of a statement, or the first of a batch: for the `span` of whatever waits. */
struct ty_span *ty_db_trace(lua_State *L, const struct ty_db_call *call,
                            const struct ty_db_handle *handle);
void ty_db_trace_cancelled(struct ty_span *span);
void ty_db_trace_done(struct ty_span *span, const struct ty_sql_op *op);

/* Of a transaction: BEGIN has been asked for; was answered; COMMIT was; it was undone. */
struct ty_span *ty_db_trace_begin(lua_State *L, const struct ty_db *db);
void ty_db_trace_begun(struct ty_db_handle *handle, const struct ty_sql_op *op);
void ty_db_trace_committed(struct ty_span *span, const struct ty_sql_op *op);
void ty_db_trace_undone(struct ty_db_handle *handle);

/* ---- functions of the module that are not in db.c */

int ty_db_begin(lua_State *L);
int ty_db_commit(lua_State *L);
int ty_db_rollback(lua_State *L);
int ty_db_savepoint(lua_State *L);
int ty_db_release(lua_State *L);
int ty_db_undo(lua_State *L);

int ty_db_batch(lua_State *L);
int ty_db_open(lua_State *L);
int ty_db_fetch(lua_State *L);
int ty_db_shut(lua_State *L);
int ty_db_copy(lua_State *L);
int ty_db_listen(lua_State *L);
int ty_db_listening(lua_State *L);
int ty_db_hear(lua_State *L);
int ty_db_deafen(lua_State *L);

/* typed("blob"|"json"|"array"|"timestamp", text [, other]): a value that is stored as such. Of an
 * array `text` is PostgreSQL's form, and `other` JSON, for databases without arrays. */
int ty_db_typed(lua_State *L);

/* ---- values */

/* Room for the values at stack indices `first`..`last`: their bytes. Throws for a value of a type
 * that no database has; -1, with `error`, for one that cannot be stored (text that is no UTF-8). */
ptrdiff_t ty_db_measure(lua_State *L, int first, int last, struct ty_error *error);

/* Copies what was measured into `values`, and texts and blobs to `bytes`; returns what is behind
 * them. Does not throw. */
char *ty_db_read(lua_State *L, int first, int last, struct ty_sql_value *values, char *bytes);

/* Pushes the result in that shape, one value. */
int ty_db_push(lua_State *L, struct ty_sql_op *op, enum ty_db_shape shape);

/* Pushes a value that is not NULL, nor an array. */
void ty_db_push_value(lua_State *L, const struct ty_sql_value *value);

/* Pushes an array; if it cannot be read, its text. */
void ty_db_push_array(lua_State *L, const struct ty_sql_value *value);

/* Pushes nil and the error of an operation. */
int ty_db_push_error(lua_State *L, const struct ty_sql_op *op);
