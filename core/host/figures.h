/* Metrics that are not counted but looked up when they are asked for: generations, workers,
 * processes. (A series for each generation would fill the registry, which forgets nothing.)
 */
#pragma once

#include "host/master.h"

void ty_figures_add(const struct master *master, bool openmetrics, struct ty_buf *out);
