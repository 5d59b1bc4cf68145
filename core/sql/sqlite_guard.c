#include "sql/sqlite.h"

#include <string.h>

/* Settings that a script may name with an argument: they look something up, tidy up, or end with
 * the transaction. All others belong to the connection, which others will use next. */
static const char *const harmless[] = {
    "application_id",  "defer_foreign_keys", "foreign_key_check", "foreign_key_list",
    "index_info",      "index_list",         "index_xinfo",       "incremental_vacuum",
    "integrity_check", "optimize",           "quick_check",       "table_info",
    "table_list",      "table_xinfo",        "user_version",      "wal_checkpoint",
};

static bool is_harmless(const char *pragma)
{
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (sqlite3_stricmp(pragma, harmless[i]) == 0)
            return true;
    }
    return false;
}

int ty_sqlite_guard(void *arg, int action, const char *a, const char *b, const char *schema,
                    const char *trigger)
{
    struct ty_sqlite_conn *conn = arg;
    const char *refusal = NULL;

    (void)schema, (void)trigger;
    if (conn->trusted)
        return SQLITE_OK;

    switch (action) {
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        if (!conn->vacuums)
            refusal = "transactions are begun and ended with db.transaction()";
        break;
    case SQLITE_ATTACH:
        if (!conn->vacuums || *a)
            refusal = "other files are databases of their own in the configuration";
        break;
    case SQLITE_DETACH:
        refusal = "there is nothing to detach";
        break;
    case SQLITE_PRAGMA:
        if (b && !is_harmless(a))
            refusal = "this setting belongs to the server, and cannot be changed by a statement";
        break;
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
        refusal = "temporary tables would be seen by whoever uses the connection next";
        break;
    default:
        break;
    }
    if (!refusal)
        return SQLITE_OK;
    conn->refusal = refusal;
    return SQLITE_DENY;
}
