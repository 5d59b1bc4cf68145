/* Development: a saved file is a reload.
 *
 * Watches every folder below the scripts, and the folder of the configuration. A save is often
 * several events, so it waits until nothing has happened for a moment.
 */
#pragma once

#include "host/master.h"

struct watch *ty_watch_open(struct master *master);
void ty_watch_close(struct watch *watch);
void ty_watch_free(struct watch *watch); /* once the loop has run dry */
