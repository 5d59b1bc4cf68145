#include "sql/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tycho/clock.h"
#include "tycho/memory.h"

enum {
    PROGRESS_STEPS = 2000, /* of SQLite's machine, between two looks at the cancel flag */
    BUSY_SLEEP_MAX_MS = 20,
    LIKE_PATTERN_MAX = 1000,
    LENGTH_MIN = 16 * 1024 * 1024,
    FOLDER_MODE = 0700,
    FILE_MODE = 0600,
};

static bool must_stop(const struct ty_sqlite_conn *conn)
{
    const struct ty_sql_op *op = conn->op;

    return op && op->verb != TY_SQL_COMMIT && op->verb != TY_SQL_ROLLBACK &&
           atomic_load_explicit(&op->cancelled, memory_order_relaxed);
}

static int on_progress(void *arg)
{
    return must_stop(arg);
}

static void sleep_ms(unsigned ms)
{
    struct timespec time = {.tv_nsec = (long)ms * 1000000};
    nanosleep(&time, NULL);
}

/* Somebody else, in another process, holds the lock. */
static int on_busy(void *arg, int tries)
{
    struct ty_sqlite_conn *conn = arg;
    uint64_t now = ty_now_ns();

    if (tries == 0)
        conn->busy_since_ns = now;
    if (must_stop(conn) || now - conn->busy_since_ns >= conn->db->options.busy_ms * 1000000)
        return 0;
    sleep_ms(tries < 5 ? 1u << tries : BUSY_SLEEP_MAX_MS);
    return 1;
}

/* Makes the folders above `path` that are missing. */
static int make_folders(const char *path)
{
    char folder[4096];
    int len = snprintf(folder, sizeof(folder), "%s", path);

    if (len < 0 || (size_t)len >= sizeof(folder))
        return ENAMETOOLONG;
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, FOLDER_MODE) < 0 && errno != EEXIST)
            return errno;
        *slash = '/';
    }
    return 0;
}

/* A new file is its owner's alone; SQLite gives the files beside it the same mode. Only a file that
 * nobody can have open yet is touched: closing one drops the locks that SQLite holds on it. */
static int make_file(struct ty_sqlite *db, struct ty_sql_op *op)
{
    int error = 0;

    if (access(db->path, F_OK) == 0)
        return 0;
    int fd = open(db->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0 && errno == ENOENT) {
        error = make_folders(db->path);
        if (!error)
            fd = open(db->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    }
    if (fd < 0 && !error && errno != EEXIST)
        error = errno;
    if (fd >= 0)
        close(fd);
    if (!error)
        return 0;
    op->code = SQLITE_CANTOPEN;
    return ty_sqlite_fail(op, TY_ERR_UNAVAILABLE, "SQLITE_CANTOPEN", "cannot create %s: %s",
                          db->path, strerror(error));
}

int ty_sqlite_conn_exec(struct ty_sqlite_conn *conn, struct ty_sql_op *op, const char *sql)
{
    conn->trusted = true;
    int code = sqlite3_exec(conn->handle, sql, NULL, NULL, NULL);
    conn->trusted = false;
    return code == SQLITE_OK ? 0 : ty_sqlite_fail_code(conn, op, code);
}

/* Several processes may do this to a new file at once; SQLite then says "busy" without asking the
 * busy handler. */
static int enter_wal(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    uint64_t start = ty_now_ns();
    uint64_t limit_ns = conn->db->options.busy_ms * 1000000;
    int code;

    while ((code = sqlite3_exec(conn->handle, "PRAGMA journal_mode=WAL", NULL, NULL, NULL)) &&
           (code & 0xff) == SQLITE_BUSY && !must_stop(conn) && ty_now_ns() - start < limit_ns)
        sleep_ms(BUSY_SLEEP_MAX_MS / 4);
    return code == SQLITE_OK ? 0 : ty_sqlite_fail_code(conn, op, code);
}

static void bound(struct ty_sqlite_conn *conn)
{
    size_t length = conn->db->options.result_max;

    if (length < LENGTH_MIN)
        length = LENGTH_MIN;
    sqlite3_limit(conn->handle, SQLITE_LIMIT_LENGTH, length < INT32_MAX ? (int)length : INT32_MAX);
    sqlite3_limit(conn->handle, SQLITE_LIMIT_SQL_LENGTH, TY_SQL_TEXT_MAX);
    sqlite3_limit(conn->handle, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LIKE_PATTERN_MAX);
}

static int set_up(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    sqlite3 *handle = conn->handle;

    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_handler(handle, on_busy, conn);
    sqlite3_progress_handler(handle, PROGRESS_STEPS, on_progress, conn);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    bound(conn);

    if (conn->writes && !conn->db->in_memory && enter_wal(conn, op) < 0)
        return -1;
    if (ty_sqlite_conn_exec(conn, op,
                            conn->db->options.synchronous_full ? "PRAGMA synchronous=FULL"
                                                               : "PRAGMA synchronous=NORMAL") < 0)
        return -1;
    if (ty_sqlite_conn_exec(conn, op, "PRAGMA journal_size_limit=67108864") < 0)
        return -1;
    if (!conn->writes && ty_sqlite_conn_exec(conn, op, "PRAGMA query_only=ON") < 0)
        return -1;
    sqlite3_set_authorizer(handle, ty_sqlite_guard, conn);
    return 0;
}

int ty_sqlite_conn_open(struct ty_sqlite_conn *conn, struct ty_sql_op *op)
{
    struct ty_sqlite *db = conn->db;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

    if (conn->broken && !(conn->tx && conn->tx->begun))
        ty_sqlite_conn_close(conn);
    if (conn->handle)
        return 0;
    if (!db->in_memory && make_file(db, op) < 0)
        return -1;

    int code = sqlite3_open_v2(db->path, &conn->handle, flags, NULL);
    int status = code == SQLITE_OK ? set_up(conn, op) : ty_sqlite_fail_code(conn, op, code);
    if (status < 0) {
        sqlite3_close(conn->handle);
        conn->handle = NULL;
        return -1;
    }
    ty_sqlite_cache_init(&conn->cache, db->options.statements);
    return 0;
}

void ty_sqlite_conn_close(struct ty_sqlite_conn *conn)
{
    conn->broken = false;
    if (!conn->handle)
        return;
    ty_sqlite_cache_close(&conn->cache);
    sqlite3_close_v2(conn->handle);
    conn->handle = NULL;
}
