/* Another program in this one's place, without a gap: `tycho upgrade`, SIGUSR2.
 *
 * The new program is started as a child with our listening sockets (inherit.h is its side of it).
 * While it gets ready nothing changes here; whatever goes wrong there, it is killed and we go on.
 * The decision is the message "take_over": from then on both accept, until the new one says that it
 * does, and we finish what runs and end. Should the new one die even then, we take everything back.
 *
 *   IDLE ── asked ──> STARTING ── ready ──> CALLED ── taken ──> DRAINING ── our workers end ──>
 * exit ^                  │                    │                    │
 *     └──────────────────┴────────────────────┴──── it dies ───────┘
 */
#pragma once

#include "host/master.h"

#define UPGRADE_VARIABLE "TYCHO_UPGRADE" /* number of sockets : of the admin's : our process id */

enum upgrade_fd { UPGRADE_STDERR_FD = 4, UPGRADE_LISTENER_FD = 5 };

struct upgrade *ty_upgrade_new(struct master *master);
void ty_upgrade_free(struct upgrade *upgrade); /* once the loop has run dry */

/* `program` is an absolute path; "": the one we were started as. `client` gets the progress and the
 * answer; NULL: the log says what became of it. */
void ty_upgrade_ask(struct upgrade *upgrade, struct client *client, const char *program);
/* Who asked is gone. */
void ty_upgrade_forget(struct upgrade *upgrade, const struct client *client);

bool ty_upgrade_is_busy(const struct upgrade *upgrade);
/* A member of `status`: {"state":"...","pid":...} or null. */
void ty_upgrade_add_status(const struct upgrade *upgrade, struct ty_buf *out);

/* We are told to stop: so is the new one. True: it serves already, and nothing is to be done here
 * but what is being done; only once, for who says it again means us. */
bool ty_upgrade_stop(struct upgrade *upgrade);
/* Our last moment: the new one lives on. */
void ty_upgrade_close(struct upgrade *upgrade);

/* ---- upgrade_start.c */

/* The absolute path of this program, as it was called: a later upgrade executes what is there then.
 * To be freed. */
char *ty_upgrade_program(const char *argv0);

/* Starts `program` with what it inherits. `*said` becomes our end of its standard error. NULL: a
 * UV_E* code in `status`. */
struct child *ty_upgrade_start(struct master *master, const char *program,
                               const struct child_events *events, int *said, int *status);
