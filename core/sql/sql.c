#include "tycho/sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sql/driver.h"

static const struct ty_sql_driver *const drivers[] = {
    &ty_sqlite_driver,
    &ty_postgres_driver,
    &ty_mysql_driver,
};

/* Is `scheme`, of that length, one of the words? */
static bool has_scheme(const char *words, const char *scheme, size_t len)
{
    for (const char *word = words; word; word = strchr(word, ' ')) {
        word += *word == ' ';
        if (strcspn(word, " ") == len && strncmp(word, scheme, len) == 0)
            return true;
    }
    return false;
}

static const struct ty_sql_driver *find_driver(const char *url)
{
    size_t len = strcspn(url, ":");

    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        if (has_scheme(drivers[i]->schemes, url, len))
            return drivers[i];
    }
    return NULL;
}

struct ty_sql *ty_sql_new(uv_loop_t *loop, const struct ty_sql_options *options,
                          struct ty_error *error)
{
    const struct ty_sql_driver *driver = find_driver(options->url);

    if (driver)
        return driver->open(loop, options, error);
    ty_error_set(error, TY_ERR_INTERNAL, "url",
                 "db: the URL of a database begins with sqlite:, postgres:// or mysql://");
    return NULL;
}

void ty_sql_close(struct ty_sql *db, void (*closed)(void *arg), void *arg)
{
    db->driver->close(db, closed, arg);
}

bool ty_sql_is_up(const struct ty_sql *db)
{
    return db->driver->is_up(db);
}

const char *ty_sql_system(const struct ty_sql *db)
{
    return db->driver->system;
}

bool ty_sql_can_batch(const struct ty_sql *db)
{
    return db->driver->can_batch;
}

static void belong(struct ty_sql *db, struct ty_sql_op *op)
{
    for (; op; op = op->batch) {
        op->db = db;
        op->driver = db->driver;
    }
}

void ty_sql_start(struct ty_sql *db, struct ty_sql_op *op)
{
    belong(db, op);
    db->driver->start(db, op);
}

struct ty_sql_tx *ty_sql_begin(struct ty_sql *db, struct ty_sql_op *op)
{
    belong(db, op);
    return db->driver->begin(db, op);
}

void ty_sql_tx_start(struct ty_sql_tx *tx, struct ty_sql_op *op)
{
    belong(tx->db, op);
    tx->db->driver->tx_start(tx, op);
}

void ty_sql_tx_drop(struct ty_sql_tx *tx)
{
    tx->db->driver->tx_drop(tx);
}

void ty_sql_cancel(struct ty_sql_op *op)
{
    op->db->driver->cancel(op);
}

struct ty_slice ty_sql_name(const struct ty_sql_op *op, struct ty_sql_cursor *cursor)
{
    return op->driver->name(op, cursor);
}

void ty_sql_cell(struct ty_sql_op *op, struct ty_sql_cursor *cursor, struct ty_sql_value *value)
{
    op->driver->cell(op, cursor, value);
}

bool ty_sql_can_listen(const struct ty_sql *db)
{
    return db->driver->listen;
}

void ty_sql_listen(struct ty_sql *db, struct ty_sql_listener *listener)
{
    listener->db = db;
    db->driver->listen(db, listener);
}

void ty_sql_unlisten(struct ty_sql_listener *listener)
{
    listener->db->driver->unlisten(listener);
}

void ty_sql_op_close(struct ty_sql_op *op)
{
    for (; op; op = op->batch) {
        if (op->driver)
            op->driver->op_close(op);
    }
}

int ty_sql_fail(struct ty_sql_op *op, const char *system, enum ty_error_kind kind,
                const char *detail, const char *fmt, ...)
{
    char message[TY_ERROR_MESSAGE_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);

    op->status = kind == TY_ERR_CANCELLED ? UV_ECANCELED : -1;
    return ty_error_set(&op->error, kind, detail, "%s: %s", system, message);
}
