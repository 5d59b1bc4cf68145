/* The operators' listener, in the master: /livez, /readyz, /metrics.
 *
 * It answers while every worker is busy, stuck or dead. An ordinary HTTP server whose site is
 * written in C.
 */
#pragma once

#include "host/master.h"

/* Listens. NULL: `error` is one line. */
struct admin *ty_admin_open(struct master *master, const char *host, struct ty_error *error);
const char *ty_admin_address(const struct admin *admin);
/* Cuts everything; memory goes in ty_admin_free(), once the loop has run dry. */
void ty_admin_close(struct admin *admin);
void ty_admin_free(struct admin *admin);
