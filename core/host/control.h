/* The control socket: who may tell a running master what to do.
 *
 * A unix socket of mode 0600; the peer must be the same user, or root. A connection carries one
 * command at a time, written as a JSON object, and gets progress messages and one last answer.
 */
#pragma once

#include <stdbool.h>

#include "host/master.h"

/* Makes the socket and its folder: under a name beside it ("~" is added) while a predecessor
 * serves under this one. NULL: `error` is one line. */
struct control *ty_control_open(struct master *master, const char *path, struct ty_error *error);
/* Moves a hidden socket to its name. 0, or -1 with `error`. */
int ty_control_reveal(struct control *control, struct ty_error *error);
/* A successor may have taken our name, and has died: takes it back. Clients that are connected
 * notice nothing. */
void ty_control_reclaim(struct control *control);
/* Removes what a successor left that died before it could take the name. */
void ty_control_sweep(const struct control *control);
/* Now and then: it accepts again if it had run out of descriptors. */
void ty_control_retry(struct control *control);
/* Nobody new; removes the file if it is still ours. */
void ty_control_close(struct control *control);
/* Nobody at all. */
void ty_control_hang_up(struct control *control);
/* Once the loop has run dry. */
void ty_control_free(struct control *control);

/* {"progress":"..."} */
void ty_control_progress(struct client *client, const char *text);
/* Another message before the last. */
void ty_control_send(struct client *client, const struct ty_buf *json);
/* {"done":true,"ok":...} and the members in `more`, which begin with a comma or are "". */
void ty_control_answer(struct client *client, bool ok, const char *more);
/* The same with {"error":"..."}. */
void ty_control_refuse(struct client *client, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
