/* The lines that held the loop: where this worker's time went when it answered late.
 *
 * Whoever notices a slice of Lua that ran too long notes its route and line here. The table has a
 * fixed size and belongs to the process; when it is full, the line that cost least so far makes
 * room, so that what keeps coming back stays. Nothing is allocated: it may be called from a hook.
 */
#pragma once

#include "tycho/buffer.h"

/* `route` is the fiber's owner ("GET /orders"), `line` is "scripts/app/orders.lua:12"; either may
 * be NULL, long ones are cut. `ms` is how long the slice has run in all: noting the same slice
 * again would count it twice. From the loop's thread only. */
void ty_lag_note(const char *route, const char *line, double ms);

/* Adds a JSON array, the dearest first:
 * {"route":...,"line":...,"count":...,"total":seconds,"max":seconds,"last":seconds ago}. */
void ty_lag_describe(struct ty_buf *out);
