/* A generation as the master knows it: the bundle, and the configuration it was loaded with.
 *
 * The master never looks into the scripts. It keeps what it needs to hand a generation to a worker
 * at any time - to all of them in a reload, to one that replaces a dead one - and the last
 * ones for going back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tycho/buffer.h"
#include "tycho/bundle.h"
#include "tycho/config.h"

enum { HISTORY_MAX = 100 };

struct generation {
    unsigned refs;
    uint64_t number; /* of the attempt; the same scripts may be loaded twice */
    struct ty_bundle *bundle;
    struct ty_config *config;
    struct ty_buf packed; /* the configuration for a child */
    int config_fd;        /* the same as a memory file */
    int64_t committed_us; /* wall clock; 0: never */
};

/* Takes over both references. NULL with errno when there is no memory file to be had. */
struct generation *ty_generation_new(uint64_t number, struct ty_bundle *bundle,
                                     struct ty_config *config);
struct generation *ty_generation_ref(struct generation *generation);
void ty_generation_unref(struct generation *generation);
const char *ty_generation_id(const struct generation *generation);

/* Would loading `b` change anything where `a` is running? */
bool ty_generation_is_same(const struct generation *a, const struct generation *b);

/* What was committed, oldest first, each bundle once. */
struct history {
    struct generation *list[HISTORY_MAX];
    unsigned count;
};

/* Puts it last and forgets the oldest ones beyond `keep`. */
void ty_history_add(struct history *history, struct generation *generation, unsigned keep);
void ty_history_close(struct history *history);

/* The newest whose id begins with `id`; NULL: none. */
struct generation *ty_history_find(const struct history *history, const char *id);
/* The one before `generation`; NULL: none. */
struct generation *ty_history_before(const struct history *history,
                                     const struct generation *generation);
