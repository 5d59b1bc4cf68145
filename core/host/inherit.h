/* A master that another one has started in its own place (upgrade.h): what it inherits.
 *
 * It has the predecessor's listening sockets, but touches nobody and nothing with them until it has
 * proved that it can serve: its workers have loaded the scripts and wait, its control socket
 * and process id are under names beside the real ones. Then it says "ready", and takes over when it
 * is called - or when the predecessor is dead, because then nobody else can.
 */
#pragma once

#include "host/master.h"

/* NULL: nobody has left us anything. Puts standard error, which our predecessor reads until then,
 * back in its place. Call it once, before anything else is opened. */
struct inheritance *ty_inheritance_find(void);
/* Where a line goes that says why there is not even a beginning: to the predecessor, until
 * ty_inheritance_open(); without one to standard error. */
int ty_inheritance_voice(const struct inheritance *inheritance);
/* Talks to the predecessor from now on. */
void ty_inheritance_open(struct master *master);
/* Hangs up; it may be NULL. Memory goes in ty_inheritance_free(). */
void ty_inheritance_close(struct inheritance *inheritance);
void ty_inheritance_free(struct inheritance *inheritance);

/* The sockets; NULL without an inheritance. They are the caller's. */
const struct listen_legacy *ty_inheritance_web(const struct inheritance *inheritance);
const struct listen_legacy *ty_inheritance_admin(const struct inheritance *inheritance);

/* The ledger of connections to databases (tycho/sql_ledger.h), the caller's; -1: there is none. */
int ty_inheritance_ledger(const struct inheritance *inheritance);

/* Does the predecessor still live? Its id; 0: no, or there was none. */
int ty_inheritance_pid(const struct inheritance *inheritance);

/* What goes on, for whoever waits for the upgrade. Nothing happens without an inheritance. */
void ty_inheritance_say(const struct inheritance *inheritance, const char *text);
/* Everything is loaded: calls ty_master_take_over() when it may. */
void ty_inheritance_ready(struct master *master);
/* Serves; the predecessor may go. */
void ty_inheritance_taken(const struct inheritance *inheritance);
/* Stops because it was told to: the predecessor is not to serve again. */
void ty_inheritance_stopping(const struct inheritance *inheritance);
/* Will end, and why. */
void ty_inheritance_fail(const struct inheritance *inheritance, const char *why);
