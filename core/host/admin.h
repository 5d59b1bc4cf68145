/* The operators' listener, in the master: /livez, /readyz, /metrics.
 *
 * It answers while every worker is busy, stuck or dead. An ordinary HTTP server whose site is
 * written in C.
 */
#pragma once

#include "host/master.h"

/* Has the socket, or the inherited one if that is the same. NULL: `error` is one line. */
struct admin *ty_admin_open(struct master *master, const char *host,
                            const struct listen_legacy *legacy, struct ty_error *error);
/* Listens and accepts, or again after ty_admin_yield(). 0, or -1 with `error`. */
int ty_admin_start(struct admin *admin, struct ty_error *error);
/* Another process answers from now on. `is_shared`: on this very socket, so nobody new is accepted
 * here. ty_admin_close() will finish what was begun. */
void ty_admin_yield(struct admin *admin, bool is_shared);
const struct listeners *ty_admin_listeners(const struct admin *admin);
const char *ty_admin_address(const struct admin *admin);
/* Cuts everything, unless it has yielded; memory goes in ty_admin_free(), once the loop has run
 * dry. */
void ty_admin_close(struct admin *admin);
void ty_admin_free(struct admin *admin);
