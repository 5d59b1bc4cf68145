/* From the configuration to what the parts want: the keys are named here and nowhere else. */
#pragma once

#include "tycho/config.h"
#include "tycho/http.h"

/* Fills everything but `health`. Strings are the configuration's. */
void ty_settings_http(const struct ty_config *config, struct ty_http_options *options);

/* Opens the log of this process. 0, or -errno. */
int ty_settings_open_log(const struct ty_config *config, const char *role);

/* The levels, which may change while the log is open. */
void ty_settings_log_levels(const struct ty_config *config);
