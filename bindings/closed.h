/* Routes that are closed for a while because their scripts had to be stopped too often.
 *
 * Which ones, and for how long, is the master's decision (core/host/quarantine.h): it is told of
 * every stop in every worker, and of workers that died in a route. A worker refuses their requests
 * with a 503 that says when to come again. The list belongs to the process, not to a generation:
 * workers that load a new generation are told anew.
 */
#pragma once

#include <stdint.h>

/* See struct ty_engine. Beyond 64 routes at a time nothing more is closed. */
void ty_route_close(const char *route, uint64_t ms);

/* For how many seconds the route, "GET /orders", is still closed; 0: it is open. */
unsigned ty_route_closed_for(const char *route);

/* Opens all. */
void ty_routes_open(void);
