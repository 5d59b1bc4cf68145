/* The processes: master, workers, trial.
 *
 * The master runs no scripts. It owns the listening sockets, the shared memory, the control
 * socket, the bundles of the last generations and the admin listener; it starts the others by
 * executing itself with inherited descriptors, and replaces what dies. docs/internals/host.md has
 * the reload protocol.
 */
#pragma once

#include <stdbool.h>

#include "tycho/config.h"
#include "tycho/engine.h"

struct ty_host_options {
    const struct ty_config_source *source; /* read again at every reload */
    struct ty_config *config;
    bool development; /* `tycho dev`: reload on save, readable error pages */
    bool require_dependencies;
    char **argv; /* as main() got them: shown in ps(1), reused for re-execution */
};

/* Serves until told to stop; returns the exit code. Faults at start are one clear line on standard
 * error and 1. */
int ty_host_serve(const struct ty_host_options *options, const struct ty_engine *engine);

/* What a process started by the master runs instead; main() calls it when ty_host_is_child().
 * Returns the exit code. */
bool ty_host_is_child(void);
int ty_host_child(const struct ty_engine *engine);

/* Sends one command to a running master and calls `reply` for each answer (progress, then the last
 * one with "done":true). Returns 0, 1 if the master said no, or 3 if it could not be reached (said
 * on standard error). */
int ty_host_command(const char *socket_path, const char *json,
                    void (*reply)(const char *json, size_t len, void *arg), void *arg);
