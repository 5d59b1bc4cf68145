/* A web worker: one loop, one server, one live generation (others while they load or drain).
 *
 *   web.c         its life and the master's messages
 *   web_load.c    generations: prepare, commit, abort, retire
 *   web_accept.c  its own socket, and those of neighbours that cannot
 *   web_beat.c    heartbeat, figures, health; web_memory.c asks to be replaced when too large
 *   web_stop.c    finishing what was begun
 *   web_describe.c, web_observe.c   what operators ask
 */
#pragma once

#include <stdbool.h>
#include <uv.h>
#include <yyjson.h>

#include "host/child.h"
#include "tycho/config.h"
#include "tycho/engine.h"
#include "tycho/metrics.h"
#include "tycho/shm.h"

enum held_state { HELD_LOADING, HELD_READY, HELD_ACTIVE, HELD_RETIRED };

/* A generation in this process's memory. */
struct held {
    struct held *next;
    struct web *web;
    uint64_t number;
    enum held_state state;
    bool is_aborted; /* while it was loading */
    struct ty_config *config;
    struct ty_generation *generation; /* NULL while it is loading */
};

struct web {
    uv_loop_t loop;
    const struct ty_engine *engine;
    struct child_self self;
    struct ty_channel *channel; /* NULL at the very end */
    struct ty_shm *shm;
    struct ty_slot *slot;
    struct ty_config *staged;      /* for the next PREPARE */
    struct ty_http_server *server; /* NULL before the first COMMIT, and at the end */
    struct held *held;
    struct held *active;
    struct observation *observation; /* NULL until somebody asks for one */
    bool development, is_engine_open, is_stopping, is_accepting_all, is_closing;
    bool is_waiting;                /* for another server to go: accepts nobody yet */
    bool is_succeeded;              /* stopping, because another server has taken over */
    bool accepts[TY_SHM_SLOTS_MAX]; /* by listener */

    uv_prepare_t turn;
    uv_timer_t beat, neighbours, health, stop, deadline;
    uv_signal_t terminate;
    uint64_t beat_ns;      /* when it last fired */
    uint64_t log_dropped;  /* as last counted */
    unsigned memory_overs; /* looks in a row at which it held too much */
    size_t spare_bytes;    /* free ones in the heap, after the last that were given back */
    struct ty_buf last_health;
    struct ty_series *lag, *dropped;

    uint64_t stop_ms, stop_timeout_ms; /* when stopping began, and how long it may take */
};

/* ---- web_load.c */
void ty_web_stage(struct web *web, int config_fd, bool development);
void ty_web_prepare(struct web *web, uint64_t number, int bundle_fd);
void ty_web_commit(struct web *web, uint64_t number);
void ty_web_abort(struct web *web, uint64_t number);
/* For the end: `gone` runs (held_count() is 0) when none is left. */
void ty_web_retire_all(struct web *web, uint64_t drain_ms);

/* ---- web_describe.c */
/* Answers the master: "fibers", "stacks", "routes", "lag". */
/* Answers in pieces of a retired one are ended. */
void ty_web_end_streams(struct web *web, uint64_t number);
void ty_web_describe(struct web *web, const char *what, uint64_t token);

/* ---- web_observe.c */
/* The master's "observe": a profile, a trace, or the end of one. */
void ty_web_observe(struct web *web, yyjson_val *message);
/* The worker stops: what was seen is told. */
void ty_web_observe_close(struct web *web);

/* ---- web_accept.c */
void ty_web_look_after_neighbours(struct web *web);
/* Every socket: nothing that was queued may be lost when all workers stop. */
void ty_web_accept_all(struct web *web);
void ty_web_accept_none(struct web *web);
bool ty_web_has_waiting(const struct web *web);

/* ---- web_beat.c */
void ty_web_beat_open(struct web *web);
void ty_web_beat_close(struct web *web);
void ty_web_report_health(struct web *web, bool is_first);
/* The server's health callback. */
int ty_web_health(bool ready, struct ty_buf *body, void *arg);

/* ---- web_memory.c */
void ty_web_check_memory(struct web *web);

/* ---- web_stop.c */
/* `with_others`: the whole server stops; else neighbours or a successor take over. */
void ty_web_stop(struct web *web, uint64_t timeout_ms, bool with_others);
/* The last generation is gone. */
void ty_web_stop_continue(struct web *web);

int ty_web_run(const struct child_self *self, const struct ty_engine *engine);
int ty_trial_run(const struct child_self *self, const struct ty_engine *engine);
