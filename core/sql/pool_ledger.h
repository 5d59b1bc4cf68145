/* How many connections there are in all processes.
 *
 * A file in shared memory: for each database a row of places, each free, or owned by a process, or
 * free from a moment on. A connection needs a place below the maximum, claimed by compare-and-swap:
 * the maximum holds at every instant, without a lock that a killed process could keep. What a
 * closed connection leaves is free a little later, as the server has to notice the end as well; the
 * places of a dead process after POOL_GRACE_MS, in which a server that asks for the client while it
 * works (client_connection_check_interval) has found out.
 *
 * A process that finds no place says that it wants one: others then close what they do not need,
 * and what is more than their share.
 *
 * Before ty_sql_ledger_attach() every pool counts for itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tycho/sql_ledger.h"

enum { POOL_PLACES_MAX = 1000, POOL_GRACE_MS = 1200, POOL_CLOSED_MS = 100, POOL_NO_PLACE = -1 };

struct pool_ledger;

struct pool_ledger *pool_ledger_open(const char *name, unsigned max);
void pool_ledger_close(struct pool_ledger *ledger);

/* POOL_NO_PLACE: there is none. */
int pool_ledger_claim(struct pool_ledger *ledger);
/* It may be claimed again in `grace_ms`. */
void pool_ledger_release(struct pool_ledger *ledger, unsigned place, unsigned grace_ms);

/* Somebody of this process waits for a place. Holds for a moment: say it again. */
void pool_ledger_want(struct pool_ledger *ledger);
/* Does another process? */
bool pool_ledger_is_wanted(const struct pool_ledger *ledger);
/* Does this process have more than its share, of `held`? */
bool pool_ledger_is_greedy(const struct pool_ledger *ledger, unsigned held);

/* Finds places of processes that died. */
void pool_ledger_sweep(struct pool_ledger *ledger);
/* Places that are not free, of all processes. */
unsigned pool_ledger_used(const struct pool_ledger *ledger);

/* Metrics of workers are added up: is this the one that tells what is the same for all? */
bool pool_ledger_tells(struct pool_ledger *ledger);
