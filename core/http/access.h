/* The access log: one record for every answer, and for every request that got none. */
#pragma once

#include "http/exchange.h"

void ty_access_log(struct ty_exchange *ex, uint64_t took_ns);
