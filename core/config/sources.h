/* Where values come from: files, the environment, the command line. */
#pragma once

#include "config/fault.h"
#include "config/tree.h"
#include "tycho/config.h"

/* Everything that `source` names, checked one by one and laid over one another, beginning with
 * the table's presets. Faults are added; the tree is there even then. */
struct ty_node *ty_sources_read(const struct ty_config_source *source, struct ty_faults *faults);
