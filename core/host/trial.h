/* The trial: a process that loads a generation before anybody else does, and says yes or no. */
#pragma once

#include "host/generation.h"
#include "host/master.h"

struct trial;

/* `done` runs once, perhaps from inside: `faults` is NULL if the generation may be used. */
typedef void trial_done_fn(const char *faults, void *arg);

struct trial *ty_trial_start(struct master *master, struct generation *generation,
                             trial_done_fn *done, void *arg);

/* Its answer is not wanted any more. */
void ty_trial_drop(struct trial *trial);
