#include "sql/sqlite.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SQL_SHOWN = 200 };

#define NAME(code)  \
    {               \
        code, #code \
    }

static const struct {
    int code;
    const char *name;
} names[] = {
    NAME(SQLITE_ERROR),
    NAME(SQLITE_INTERNAL),
    NAME(SQLITE_PERM),
    NAME(SQLITE_ABORT),
    NAME(SQLITE_BUSY),
    NAME(SQLITE_LOCKED),
    NAME(SQLITE_NOMEM),
    NAME(SQLITE_READONLY),
    NAME(SQLITE_INTERRUPT),
    NAME(SQLITE_IOERR),
    NAME(SQLITE_CORRUPT),
    NAME(SQLITE_NOTFOUND),
    NAME(SQLITE_FULL),
    NAME(SQLITE_CANTOPEN),
    NAME(SQLITE_PROTOCOL),
    NAME(SQLITE_SCHEMA),
    NAME(SQLITE_TOOBIG),
    NAME(SQLITE_CONSTRAINT),
    NAME(SQLITE_MISMATCH),
    NAME(SQLITE_MISUSE),
    NAME(SQLITE_NOLFS),
    NAME(SQLITE_AUTH),
    NAME(SQLITE_RANGE),
    NAME(SQLITE_NOTADB),
    NAME(SQLITE_BUSY_RECOVERY),
    NAME(SQLITE_BUSY_SNAPSHOT),
    NAME(SQLITE_BUSY_TIMEOUT),
    NAME(SQLITE_LOCKED_SHAREDCACHE),
    NAME(SQLITE_ABORT_ROLLBACK),
    NAME(SQLITE_CORRUPT_INDEX),
    NAME(SQLITE_CANTOPEN_ISDIR),
    NAME(SQLITE_CANTOPEN_FULLPATH),
    NAME(SQLITE_CANTOPEN_SYMLINK),
    NAME(SQLITE_CANTOPEN_DIRTYWAL),
    NAME(SQLITE_READONLY_RECOVERY),
    NAME(SQLITE_READONLY_CANTLOCK),
    NAME(SQLITE_READONLY_ROLLBACK),
    NAME(SQLITE_READONLY_DBMOVED),
    NAME(SQLITE_READONLY_CANTINIT),
    NAME(SQLITE_READONLY_DIRECTORY),
    NAME(SQLITE_IOERR_READ),
    NAME(SQLITE_IOERR_SHORT_READ),
    NAME(SQLITE_IOERR_WRITE),
    NAME(SQLITE_IOERR_FSYNC),
    NAME(SQLITE_IOERR_DIR_FSYNC),
    NAME(SQLITE_IOERR_TRUNCATE),
    NAME(SQLITE_IOERR_FSTAT),
    NAME(SQLITE_IOERR_LOCK),
    NAME(SQLITE_IOERR_NOMEM),
    NAME(SQLITE_IOERR_ACCESS),
    NAME(SQLITE_IOERR_CLOSE),
    NAME(SQLITE_IOERR_SHMOPEN),
    NAME(SQLITE_IOERR_SHMSIZE),
    NAME(SQLITE_IOERR_SHMLOCK),
    NAME(SQLITE_IOERR_SHMMAP),
    NAME(SQLITE_IOERR_MMAP),
    NAME(SQLITE_IOERR_GETTEMPPATH),
    NAME(SQLITE_IOERR_CORRUPTFS),
    NAME(SQLITE_CONSTRAINT_CHECK),
    NAME(SQLITE_CONSTRAINT_COMMITHOOK),
    NAME(SQLITE_CONSTRAINT_DATATYPE),
    NAME(SQLITE_CONSTRAINT_FOREIGNKEY),
    NAME(SQLITE_CONSTRAINT_FUNCTION),
    NAME(SQLITE_CONSTRAINT_NOTNULL),
    NAME(SQLITE_CONSTRAINT_PINNED),
    NAME(SQLITE_CONSTRAINT_PRIMARYKEY),
    NAME(SQLITE_CONSTRAINT_ROWID),
    NAME(SQLITE_CONSTRAINT_TRIGGER),
    NAME(SQLITE_CONSTRAINT_UNIQUE),
    NAME(SQLITE_CONSTRAINT_VTAB),
};

static const char *name_of(int code)
{
    for (int tries = 0; tries < 2; tries++, code &= 0xff) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (names[i].code == code)
                return names[i].name;
        }
    }
    return "SQLITE_UNKNOWN";
}

bool ty_sqlite_is_outage(int code)
{
    switch (code & 0xff) {
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_NOLFS:
    case SQLITE_NOTADB:
        return true;
    default:
        return false;
    }
}

static enum ty_error_kind kind_of(const struct ty_sql_op *op, int code)
{
    if (code == SQLITE_CONSTRAINT_DATATYPE)
        return TY_ERR_INVALID;
    if (op->verb == TY_SQL_COMMIT && (code & 0xff) == SQLITE_IOERR)
        return TY_ERR_UNKNOWN_OUTCOME; /* the disk failed between our order and its answer */
    if (ty_sqlite_is_outage(code))
        return TY_ERR_UNAVAILABLE;

    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
        return TY_ERR_UNAVAILABLE;
    case SQLITE_CONSTRAINT:
        return TY_ERR_CONFLICT;
    case SQLITE_INTERRUPT:
        return TY_ERR_CANCELLED;
    case SQLITE_TOOBIG:
        return TY_ERR_TOO_LARGE;
    case SQLITE_MISMATCH:
        return TY_ERR_INVALID;
    default:
        return TY_ERR_INTERNAL;
    }
}

int ty_sqlite_fail(struct ty_sql_op *op, enum ty_error_kind kind, const char *detail,
                   const char *fmt, ...)
{
    char message[TY_ERROR_MESSAGE_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);

    op->status = kind == TY_ERR_CANCELLED ? UV_ECANCELED : -1;
    ty_error_set(&op->error, kind, detail, "sqlite: %s", message);
    return -1;
}

/* "UNIQUE constraint failed: users.email": what follows the colon, an index without its quotes. */
static void find_constraint(struct ty_sql_op *op, const char *message)
{
    static const char mark[] = "constraint failed: ", index[] = "index '";
    const char *name = strstr(message, mark);

    if (!name)
        return;
    name += sizeof(mark) - 1;
    size_t len = strlen(name);
    if (strncmp(name, index, sizeof(index) - 1) == 0 && name[len - 1] == '\'') {
        name += sizeof(index) - 1;
        len -= sizeof(index);
    }
    snprintf(op->constraint, sizeof(op->constraint), "%.*s", (int)len, name);
}

int ty_sqlite_fail_code(struct ty_sqlite_conn *conn, struct ty_sql_op *op, int code)
{
    const char *message = conn->handle ? sqlite3_errmsg(conn->handle) : sqlite3_errstr(code);
    enum ty_error_kind kind = kind_of(op, code);
    const char *name = name_of(code);

    op->code = code;
    if ((code & 0xff) == SQLITE_AUTH && conn->refusal)
        return ty_sqlite_fail(op, kind, name, "%s", conn->refusal);
    if ((code & 0xff) == SQLITE_CONSTRAINT)
        find_constraint(op, message);
    if (ty_sqlite_is_outage(code))
        return ty_sqlite_fail(op, kind, name, "%s: %s", conn->db->path, message);
    const char *sql = op->statement ? op->statement : op->sql;
    if (code == SQLITE_ERROR && sql)
        return ty_sqlite_fail(op, kind, name, "%s, in: %.*s", message, SQL_SHOWN, sql);
    return ty_sqlite_fail(op, kind, name, "%s", message);
}
