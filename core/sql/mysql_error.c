#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <string.h>

#include "sql/mysql.h"

/* Numbers that only newer servers have, or only MySQL's. */
enum {
    CHECKREAD = 1020,   /* somebody else changed the row since the snapshot */
    NO_PASSWORD = 1698, /* access denied, by a plugin that wants none */
    FOREIGN_DUPLICATE_KEY = 1761,
    FOREIGN_DUPLICATE_KEY_2 = 1762,
    QUERY_TIMEOUT = 3024,  /* MySQL: max_execution_time */
    INVALID_JSON = 3140,   /* MySQL */
    CHECK_VIOLATED = 3819, /* MySQL */
    CHECK_FAILED = 4025,   /* MariaDB */
    DISCONNECTED = 4031,   /* MySQL: for being idle */
    TLS_FAILED = 2026,
    LOST_EXTENDED = 2055,
    NO_PLUGIN = 2059,
};

bool ty_mysql_is_lost(unsigned number)
{
    switch (number) {
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_SERVER_HANDSHAKE_ERR:
    case CR_MALFORMED_PACKET:
    case CR_COMMANDS_OUT_OF_SYNC:
    case CR_OUT_OF_MEMORY:
    case CR_NET_PACKET_TOO_LARGE:
    case LOST_EXTENDED:
    case ER_SERVER_SHUTDOWN:
    case ER_NORMAL_SHUTDOWN:
    case ER_NET_PACKET_TOO_LARGE:
    case ER_NET_PACKETS_OUT_OF_ORDER:
    case ER_NET_READ_ERROR:
    case ER_NET_READ_INTERRUPTED:
    case ER_NET_ERROR_ON_WRITE:
    case ER_NET_WRITE_INTERRUPTED:
    case ER_NEW_ABORTING_CONNECTION:
    case ER_ABORTING_CONNECTION:
    case ER_CONNECTION_KILLED:
    case ER_UNKNOWN_COM_ERROR:
    case DISCONNECTED:
        return true;
    default:
        return false;
    }
}

bool ty_mysql_is_fatal(unsigned number)
{
    switch (number) {
    case ER_ACCESS_DENIED_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_BAD_DB_ERROR:
    case ER_HOST_IS_BLOCKED:
    case ER_HOST_NOT_PRIVILEGED:
    case ER_NOT_SUPPORTED_AUTH_MODE:
    case NO_PASSWORD:
    case NO_PLUGIN:
    case TLS_FAILED:
        return true;
    default:
        return false;
    }
}

unsigned ty_mysql_number(const struct ty_mysql_link *link)
{
    if (link->result == 0)
        return 0;
    unsigned number = mysql_errno(link->mysql);
    return number ? number : CR_SERVER_LOST;
}

bool ty_mysql_ends_tx(const struct ty_mysql_conn *conn, unsigned number)
{
    switch (number) {
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_TABLE_FULL:
    case ER_ERROR_DURING_COMMIT:
    case CHECKREAD:
        return true;
    case ER_LOCK_WAIT_TIMEOUT:
        return conn->rolls_back_later;
    default:
        return false;
    }
}

static enum ty_error_kind kind_of(unsigned number)
{
    switch (number) {
    case ER_DUP_ENTRY:
    case ER_DUP_KEY:
    case ER_DUP_ENTRY_WITH_KEY_NAME:
    case FOREIGN_DUPLICATE_KEY:
    case FOREIGN_DUPLICATE_KEY_2:
    case ER_NO_REFERENCED_ROW:
    case ER_NO_REFERENCED_ROW_2:
    case ER_ROW_IS_REFERENCED:
    case ER_ROW_IS_REFERENCED_2:
    case ER_BAD_NULL_ERROR:
    case ER_NO_DEFAULT_FOR_FIELD:
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT:
    case CHECK_VIOLATED:
    case CHECK_FAILED:
    case CHECKREAD:
        return TY_ERR_CONFLICT;
    case ER_WARN_DATA_OUT_OF_RANGE:
    case ER_DATA_TOO_LONG:
    case ER_TRUNCATED_WRONG_VALUE:
    case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
    case WARN_DATA_TRUNCATED:
    case ER_DATA_OUT_OF_RANGE:
    case ER_DIVISION_BY_ZERO:
    case ER_INVALID_CHARACTER_STRING:
    case INVALID_JSON:
        return TY_ERR_INVALID;
    case ER_QUERY_INTERRUPTED:
        return TY_ERR_CANCELLED;
    case ER_STATEMENT_TIMEOUT:
    case QUERY_TIMEOUT:
        return TY_ERR_TIMEOUT;
    case ER_CON_COUNT_ERROR:
    case ER_TOO_MANY_USER_CONNECTIONS:
    case ER_OUT_OF_RESOURCES:
    case ER_DISK_FULL:
    case ER_RECORD_FILE_FULL:
    case ER_OPTION_PREVENTS_STATEMENT: /* --read-only: a replica */
        return TY_ERR_UNAVAILABLE;
    default:
        return ty_mysql_is_lost(number) || ty_mysql_is_fatal(number) ? TY_ERR_UNAVAILABLE
                                                                     : TY_ERR_INTERNAL;
    }
}

static bool is_client_error(unsigned number)
{
    return number >= CR_MIN_ERROR && number <= CR_MAX_ERROR;
}

/* MySQL's states are often "HY000", which says nothing; a client's always. */
static const char *detail_of(unsigned number, const char *state)
{
    if (number == CR_SERVER_GONE_ERROR || number == CR_SERVER_LOST)
        return "08S01";
    if (is_client_error(number) && strcmp(state, "HY000") == 0)
        return "08001";
    return state;
}

/* "Can't connect to server on '127.0.0.1' (115)" is true, but 115 is how the library waits. */
static const char *reword(unsigned number, const char *message)
{
    bool unanswered = number == CR_CONN_HOST_ERROR || number == CR_CONNECTION_ERROR;

    return unanswered && strstr(message, "(115)") ? "nobody answers there; is the server running?"
                                                  : message;
}

void ty_mysql_error(struct ty_error *error, unsigned number, const char *state, const char *message,
                    const char *during)
{
    message = reword(number, message);
    ty_error_set(error, during ? TY_ERR_UNAVAILABLE : kind_of(number), detail_of(number, state),
                 "mysql: %s%s%s (%u)", during ? during : "", during ? ": " : "", message, number);
}

/* ---- what the message names */

/* The text between the `open` that follows `mark` and the next `close`. */
static bool copy_between(char out[TY_SQL_NAME_MAX], const char *message, const char *mark,
                         const char quotes[2])
{
    const char *at = strstr(message, mark);
    const char *start = at ? strchr(at + strlen(mark), quotes[0]) : NULL;
    const char *end = start ? strchr(start + 1, quotes[1]) : NULL;

    if (!end)
        return false;
    snprintf(out, TY_SQL_NAME_MAX, "%.*s", (int)(end - start - 1), start + 1);
    return true;
}

/* "users.email" of MySQL 8 and later, or "email" */
static void split_key(struct ty_sql_op *op)
{
    char *dot = strchr(op->constraint, '.');

    if (!dot)
        return;
    snprintf(op->table, sizeof(op->table), "%.*s", (int)(dot - op->constraint), op->constraint);
    memmove(op->constraint, dot + 1, strlen(dot + 1) + 1);
}

/* The value that was there already may contain quotes: the name of the key is the last one. */
static void find_key(struct ty_sql_op *op, const char *message)
{
    static const char mark[] = "for key ";
    const char *at = NULL;

    for (const char *next = strstr(message, mark); next; next = strstr(next + 1, mark))
        at = next;
    if (at && copy_between(op->constraint, at, mark, "''"))
        split_key(op);
}

/* ... a foreign key constraint fails ("app"."pets", CONSTRAINT "pets_owner" FOREIGN KEY ("owner")
 * REFERENCES ... The quotes are those of the session. */
static void find_reference(struct ty_sql_op *op, const char *message)
{
    static const char *const quotes[] = {"``", "\"\""};

    for (size_t i = 0; i < 2; i++) {
        char dot[4] = {'.', '\0'};

        copy_between(op->constraint, message, "CONSTRAINT ", quotes[i]);
        copy_between(op->column, message, "FOREIGN KEY (", quotes[i]);
        copy_between(op->table, message, dot, quotes[i]);
    }
}

static void find_names(struct ty_sql_op *op, unsigned number, const char *message)
{
    switch (number) {
    case ER_DUP_ENTRY:
    case ER_DUP_ENTRY_WITH_KEY_NAME:
        find_key(op, message);
        break;
    case ER_NO_REFERENCED_ROW_2:
    case ER_ROW_IS_REFERENCED_2:
        find_reference(op, message);
        break;
    case CHECK_VIOLATED:
        copy_between(op->constraint, message, "constraint ", "''");
        break;
    case CHECK_FAILED: /* CONSTRAINT `a` failed for `app`.`users` */
        if (!copy_between(op->constraint, message, "CONSTRAINT ", "``"))
            copy_between(op->constraint, message, "CONSTRAINT ", "\"\"");
        if (!copy_between(op->table, message, ".", "``"))
            copy_between(op->table, message, ".", "\"\"");
        break;
    case ER_BAD_NULL_ERROR:
    case ER_NO_DEFAULT_FOR_FIELD:
    case ER_DATA_TOO_LONG:
    case ER_WARN_DATA_OUT_OF_RANGE:
    case ER_BAD_FIELD_ERROR:
        copy_between(op->column, message, "", "''");
        break;
    case ER_NO_SUCH_TABLE:
        if (copy_between(op->constraint, message, "", "''")) {
            split_key(op);
            snprintf(op->table, sizeof(op->table), "%s", op->constraint);
            op->constraint[0] = '\0';
        }
        break;
    default:
        break;
    }
}

void ty_mysql_fail(struct ty_sql_op *op, unsigned number, const char *state, const char *message)
{
    ty_mysql_error(&op->error, number, state, message, NULL);
    op->status = op->error.kind == TY_ERR_CANCELLED ? UV_ECANCELED : -1;
    find_names(op, number, message);
}
