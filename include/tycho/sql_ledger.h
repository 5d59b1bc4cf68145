/* The file that keeps count of the connections of all workers to their databases, so that together
 * they never exceed databases.<name>.pool_max: core/sql/pool_ledger.h.
 *
 * Made by the first master, inherited by every worker, and by the master of an upgrade: while two
 * sets of workers run they count in one ledger.
 */
#pragma once

#include <stdbool.h>

/* A descriptor that is closed on exec, or -1: errno. */
int ty_sql_ledger_create(void);

/* Is the descriptor such a file, of this build's layout? */
bool ty_sql_ledger_is_one(int fd);

/* Databases of this process that are opened from now on count in it; the descriptor stays the
 * caller's. 0, or a negative UV_E* code. */
int ty_sql_ledger_attach(int fd);
void ty_sql_ledger_detach(void);
