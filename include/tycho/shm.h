/* The shared memory file: what workers must share.
 *
 * Made by the master, inherited by every process it starts, gone with the last of them. A
 * header, one slot per worker, and the metrics. Each field of a slot has one writer (its
 * worker, or the master while the slot is empty) and is read by anybody: plain atomics,
 * nothing to repair after a kill.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tycho/http.h"

enum { TY_SHM_SLOTS_MAX = 128 };

enum ty_slot_state { TY_SLOT_EMPTY, TY_SLOT_STARTING, TY_SLOT_SERVING, TY_SLOT_DRAINING };

struct ty_slot {
    _Atomic int pid;
    _Atomic int state;             /* enum ty_slot_state */
    _Atomic uint64_t heartbeat_ms; /* monotonic, ty_now_ms() */
    _Atomic uint64_t started_ms;
    _Atomic uint32_t connections;
    _Atomic uint32_t requests; /* in flight */
    _Atomic uint32_t fibers;
    _Atomic uint32_t streams, old_streams; /* answers in pieces: now; of replaced generations */
    _Atomic uint64_t script_bytes;         /* of all live interpreter states */
    _Atomic uint64_t cpu_ms;               /* that the process has used */
    _Atomic uint64_t resident_bytes;       /* of the process: others may not be let into /proc */
    _Atomic uint32_t restarts;
    char generation[TY_GENERATION_ID_LEN + 4]; /* for display only */
    char running[128];                         /* "GET /a app/a.lua:3", for display only */
};

struct ty_shm; /* opaque: a mapping */

/* Master: makes and maps the file for `slots` workers; slot 0 is the master's own, the workers have
 * 1 to `slots`. The descriptor is closed on exec unless the caller arranges otherwise. NULL:
 * errno. */
struct ty_shm *ty_shm_create(unsigned slots);
/* Everybody else: maps an inherited descriptor and takes it over. NULL: errno, EINVAL if it is not
 * ours; the descriptor is still the caller's then. */
struct ty_shm *ty_shm_attach(int fd);
void ty_shm_detach(struct ty_shm *shm);

int ty_shm_fd(const struct ty_shm *shm);
unsigned ty_shm_slot_count(const struct ty_shm *shm);            /* with the master's */
struct ty_slot *ty_shm_slot(struct ty_shm *shm, unsigned index); /* NULL: there is no such slot */
void *ty_shm_metrics(struct ty_shm *shm);                        /* for ty_metrics_attach() */

/* The route that is running, "GET /a", without its line: "" if there is none. Async-signal-safe. */
void ty_slot_route(const struct ty_slot *slot, char *out, size_t size);

/* Is the slot's worker alive and not stuck: a heartbeat within `max_age_ms`? */
bool ty_slot_is_fresh(const struct ty_slot *slot, uint64_t max_age_ms);
