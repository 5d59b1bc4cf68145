/* What a driver of a database provides: tycho/sql.h, behind a table of functions.
 *
 *   sql.c        which driver a URL wants; hands every call to it
 *   text.c       what the text of a statement gives away
 *   outline.c    what of it may be shown
 *   rows.c       results as one run of bytes, for drivers that have to copy them anyway
 *   figures.c    metrics, under OpenTelemetry's names
 *   pool*.c      connections to a server: core/sql/pool.h
 *   sqlite*.c    the embedded database: core/sql/sqlite.h
 *   postgres*.c  core/sql/postgres.h
 *   mysql*.c     core/sql/mysql.h
 */
#pragma once

#include "tycho/sql.h"

struct ty_sql_driver {
    const char *system;  /* "sqlite": OpenTelemetry's db.system.name */
    const char *schemes; /* "postgres postgresql" */
    bool can_batch;
    struct ty_sql *(*open)(uv_loop_t *loop, const struct ty_sql_options *options,
                           struct ty_error *error);
    /* As those of tycho/sql.h. */
    void (*close)(struct ty_sql *db, void (*closed)(void *arg), void *arg);
    bool (*is_up)(const struct ty_sql *db);
    void (*start)(struct ty_sql *db, struct ty_sql_op *op);
    struct ty_sql_tx *(*begin)(struct ty_sql *db, struct ty_sql_op *op);
    void (*tx_start)(struct ty_sql_tx *tx, struct ty_sql_op *op);
    void (*tx_drop)(struct ty_sql_tx *tx);
    void (*cancel)(struct ty_sql_op *op);
    struct ty_slice (*name)(const struct ty_sql_op *op, struct ty_sql_cursor *cursor);
    void (*cell)(struct ty_sql_op *op, struct ty_sql_cursor *cursor, struct ty_sql_value *value);
    void (*op_close)(struct ty_sql_op *op); /* of this one, not of its batch */
    /* NULL where there is no LISTEN. */
    void (*listen)(struct ty_sql *db, struct ty_sql_listener *listener);
    void (*unlisten)(struct ty_sql_listener *listener);
};

/* First member of a driver's own. */
struct ty_sql {
    const struct ty_sql_driver *driver;
};

struct ty_sql_tx {
    struct ty_sql *db;
};

extern const struct ty_sql_driver ty_sqlite_driver, ty_postgres_driver, ty_mysql_driver;

/* ---- text.c */

/* The first word of a statement, upper case, cut to what fits; after blanks and comments. */
void ty_sql_first_word(const char *sql, char out[16]);

/* Behind blanks, comments and semicolons. */
const char *ty_sql_skip_blanks(const char *sql);

/* Is the word in a list that ends with NULL? */
bool ty_sql_is_one_of(const char *word, const char *const words[]);

/* ---- figures.c: metrics of one database in this process */

struct ty_sql_figures;

struct ty_sql_figures *ty_sql_figures_new(const char *system, const char *name);
void ty_sql_figures_free(struct ty_sql_figures *figures);
void ty_sql_count_op(struct ty_sql_figures *figures, const struct ty_sql_op *op);
void ty_sql_count_wait(struct ty_sql_figures *figures, uint64_t ns, bool in_vain);
void ty_sql_count_pool(struct ty_sql_figures *figures, bool is_open, unsigned used);
void ty_sql_count_conns(struct ty_sql_figures *figures, unsigned used, unsigned idle, unsigned max,
                        unsigned waiting);

/* ---- failing: fill op->status and op->error; return -1. Messages begin with the system's name. */

int ty_sql_fail(struct ty_sql_op *op, const char *system, enum ty_error_kind kind,
                const char *detail, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
