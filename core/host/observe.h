/* Looking on: profiles and traces, which workers make for a while and an operator waits for.
 *
 * One of each at a time. What a worker has seen is passed on as it comes, in {"observed":...}; the
 * last answer says which workers were asked and which of them did not answer. A client that goes
 * away ends it.
 */
#pragma once

#include "host/control.h"
#include "host/master.h"

void ty_observe_profile(struct master *master, struct client *client, yyjson_val *command);
void ty_observe_trace(struct master *master, struct client *client, yyjson_val *command);

/* A worker's "observed". */
void ty_observe_heard(struct worker *worker, yyjson_val *message);
/* Its process has ended: nothing more comes. */
void ty_observe_lost(const struct worker *worker);
/* Adds what is being made: ["profile","trace"]. */
void ty_observe_describe(const struct master *master, struct ty_buf *out);
/* Who asked is gone. */
void ty_observe_forget(struct master *master, const struct client *client);
/* The server stops. */
void ty_observe_cancel(struct master *master);
