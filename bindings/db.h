/* The databases of this process, by name.
 *
 * They belong to the host and not to a generation: each is opened from the configuration when
 * scripts that serve name it, else when a script first uses it, and serves all generations until
 * the engine closes.
 */
#pragma once

#include <stdbool.h>

#include "tycho/buffer.h"

/* Closes all databases, then calls `done(arg)` (which may be NULL); at once if there are none. No
 * script may run any more. */
void ty_db_close_all(void (*done)(void *arg), void *arg);

/* Adds {"name":"default","ok":true}, comma-separated, for each database in use. False if one of
 * them does not work, or was not tried yet; that one is tried (again) in the background. */
bool ty_db_ready(struct ty_buf *out);
