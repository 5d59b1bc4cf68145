/* /livez and /readyz: answered before any route, also while the server drains. */
#pragma once

#include "tycho/http.h"

/* False: it is not one of these paths. */
bool ty_health_answer(struct ty_request *req);
