/* What the master knows, as members of a JSON object: each begins with a comma. */
#pragma once

#include "host/master.h"

void ty_status_add(const struct master *master, struct ty_buf *out);
/* "" is the level of all modules that are not named. */
void ty_status_add_log_levels(const struct master *master, struct ty_buf *out);
void ty_status_add_generations(const struct master *master, struct ty_buf *out);
