/* The master: its parts, and what they tell each other.
 *
 *   supervise.c  starts workers, replaces them, kills the silent
 *   worker.c     talks to them: which generation each has, is to load, serves
 *   reload.c     changes the active generation: all workers or none
 *   upgrade.c    puts another program in our place; inherit.c is that program's side of it
 *   quarantine.c closes routes that had to be stopped too often; recycle.c workers grown too large
 *   control.c    commands from outside; admin.c the operators' listener; watch.c saved files
 *   master.c     puts them together, in order, and takes them apart again
 *
 * One loop, one thread. Parts call each other directly; what a part needs to remember
 * about itself is in its own struct here.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>
#include <yyjson.h>

#include "host/child.h"
#include "host/generation.h"
#include "host/listen.h"
#include "host/notify.h"
#include "host/pid_file.h"
#include "host/strikes.h"
#include "tycho/host.h"
#include "tycho/metrics.h"
#include "tycho/shm.h"

enum { HELD_MAX = 20, LEVELS_MAX = 32 };

enum worker_state { WORKER_DOWN, WORKER_STARTING, WORKER_SERVING, WORKER_STOPPING };

struct worker {
    struct master *master;
    unsigned slot; /* 1.. */
    enum worker_state state;
    struct child *child; /* NULL while it is down */
    struct ty_slot *shared;
    uv_timer_t retry;
    uint64_t started_ms;
    unsigned quick_deaths;        /* in a row */
    struct generation *offered;   /* PREPARE sent, not yet COMMIT or ABORT; NULL: none */
    bool is_prepared;             /* and it has loaded it */
    struct generation *committed; /* COMMIT sent; not acknowledged while it is not `serving` */
    uint64_t serving;             /* number; 0: none */
    uint64_t held[HELD_MAX];      /* numbers it has in memory, draining ones too */
    unsigned held_count;
    bool has_health, is_healthy, is_overloaded;
    struct ty_buf health; /* inside of a JSON array */
    uint64_t doomed_ms;   /* when it was told to say where it is stuck, and to die; 0: it was not */
    bool is_recycled;     /* it was told to make room for another */
    uint64_t recycled_ms; /* when one in this slot was told so last; 0: never */
    unsigned recycles;
};

struct log_level {
    char module[32]; /* "": all */
    char level[8];
};

struct reload;
struct control;
struct description;
struct observation;
struct admin;
struct watch;
struct upgrade;
struct inheritance;

struct master {
    uv_loop_t loop;
    const struct ty_host_options *options;
    struct ty_config *config; /* of the start: for what cannot change without a restart */
    struct ty_shm *shm;
    int ledger_fd; /* of all workers' connections to databases: also a successor's */
    struct listeners listeners;
    struct worker *workers;
    unsigned worker_count;
    struct generation *active; /* NULL until the first one has passed its trial */
    struct history history;
    uint64_t last_number;
    struct reload *reload;
    struct upgrade *upgrade;
    struct inheritance *inheritance; /* NULL: nobody served before us */
    struct control *control;
    struct admin *admin;              /* NULL: switched off */
    struct watch *watch;              /* NULL unless developing */
    struct description *descriptions; /* asked of the workers, not complete */
    struct observation *observations; /* profiles and traces being made: observe.h */
    uint64_t last_token;
    struct strikes strikes; /* of routes that had to be stopped */
    struct ty_buf fault; /* the message for workers while the last save does not run; else empty */
    struct notify notify;
    uv_signal_t signals[5];
    uv_timer_t tick, force, require;
    uint64_t watchdog_ms, notified_ms; /* when we last looked; when we last said so */
    uint64_t started_ms;
    struct log_level levels[LEVELS_MAX]; /* set by command, for workers that start later */
    unsigned level_count;
    char *program; /* absolute path, as we were called */
    struct pid_file pid_file;
    bool is_waiting;     /* a predecessor still serves: our workers do not accept */
    bool is_ready;       /* every worker has served */
    bool is_stopping;    /* no worker is replaced */
    bool is_handed_over; /* stopping, because a successor serves */
    bool is_closing;
    int exit_code;
};

/* ---- master.c */

/* The start failed, or it makes no sense to go on: says so on standard error, ends everything. */
void ty_master_fail(struct master *master, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Graceful; a second call kills. */
void ty_master_stop(struct master *master);
/* Ends when the workers have, and cuts them short when `timeout_ms` is over. */
void ty_master_wind_down(struct master *master, uint64_t timeout_ms);
/* Everything is loaded, and no predecessor is in the way: accepts, under our own name. */
void ty_master_take_over(struct master *master);
/* The active generation's configuration is in force. */
void ty_master_adopt_settings(struct master *master);
void ty_master_reopen_logs(struct master *master);
/* A worker began or ceased to serve. */
void ty_master_look(struct master *master);
/* Is somebody serving, with everything that is required? Dependencies into `body`. */
bool ty_master_is_healthy(const struct master *master, struct ty_buf *body);

/* ---- start.c */

/* Takes the port and the files, and begins to load. 0, or -1 with `error`. */
int ty_master_begin(struct master *master, struct ty_error *error);

/* ---- supervise.c: processes */

void ty_workers_open(struct master *master);
void ty_workers_start(struct master *master);
/* `is_succeeded`: on these sockets somebody else accepts already. */
void ty_workers_stop(struct master *master, uint64_t timeout_ms, bool is_succeeded);
/* Those that are down, and not about to be started anyway. */
void ty_workers_resume(struct master *master);
void ty_workers_kill(struct master *master);
void ty_workers_close(struct master *master); /* all are dead */
/* Kills the silent. */
void ty_workers_watch(struct master *master);
unsigned ty_workers_alive(const struct master *master);
unsigned ty_workers_serving(const struct master *master);

/* ---- worker.c: what is said to them, and what they have loaded */

/* To every worker that is up. */
void ty_workers_tell(struct master *master, const char *json, size_t len);
/* Offers the active generation to those that are not on it and not in a reload. */
void ty_workers_offer(struct master *master);
/* Numbers of generations that any worker has in memory; counts them. */
unsigned ty_workers_generations(const struct master *master, uint64_t *numbers, unsigned max);

/* Who only goes on for answers in pieces makes room: the oldest generation behind the active one.
 */
void ty_workers_end_oldest_streams(struct master *master);
/* Answers in pieces that are being sent: of the active generation, or, `old`, of replaced ones. */
unsigned ty_workers_streams(const struct master *master, bool old);

void ty_worker_prepare(struct worker *worker, struct generation *generation);
void ty_worker_commit(struct worker *worker);
void ty_worker_abort(struct worker *worker);
/* Its process has ended. */
void ty_worker_forget(struct worker *worker);
/* NULL while it is down or going away. */
struct ty_channel *ty_worker_channel(struct worker *worker);
/* A message of its process; `arg` is the worker. */
void ty_worker_heard(struct child *child, const char *json, size_t len, void *arg);

/* ---- quarantine.c; routes as in struct ty_engine_env */

/* A script of it was stopped; "": nothing happens. */
void ty_quarantine_strike(struct master *master, const char *route);
/* The worker has died of what it was running. */
void ty_quarantine_strike_of(struct worker *worker);
/* Says to a new worker what was said to all before it came. */
void ty_quarantine_catch_up(struct worker *worker);
/* All are open, and have never been struck. */
void ty_quarantine_clear(struct master *master);
unsigned ty_quarantine_count(const struct master *master);
/* A JSON array: route, and seconds that are left. */
void ty_quarantine_describe(const struct master *master, struct ty_buf *out);

/* ---- recycle.c */

/* It says that it holds more memory than it may; it will say so again. */
void ty_recycle_asked(struct worker *worker, uint64_t bytes, uint64_t max);

/* ---- reload.c */

enum reload_kind { RELOAD_FIRST, RELOAD_FILES, RELOAD_BACK };
enum reload_outcome { RELOAD_COMMITTED, RELOAD_UNCHANGED, RELOAD_REFUSED, RELOAD_FAILED };

struct reload_result {
    enum reload_outcome outcome;
    const char *text;    /* faults, or why; may have several lines */
    const char *warning; /* "" if there is none */
    const char *id;      /* of the active generation now */
    uint64_t ms;
};

struct reload_ask {
    enum reload_kind kind;
    bool force;
    bool is_said; /* whoever asks tells people: nothing in the log */
    char id[16];  /* RELOAD_BACK: which; "": the one before */
    struct generation *first;
    void (*progress)(const char *text, void *arg); /* may be NULL */
    void (*done)(const struct reload_result *result, void *arg);
    void *arg;
};

struct reload *ty_reload_new(struct master *master);
void ty_reload_free(struct reload *reload); /* once the loop has run dry */
/* Queues it; `done` runs once, perhaps from inside. */
void ty_reload_ask(struct reload *reload, const struct reload_ask *ask);
/* Who asked is gone: its callbacks will not run. */
void ty_reload_forget(struct reload *reload, const void *arg);
/* The server stops: what is under way fails. Nothing is begun any more. */
void ty_reload_cancel(struct reload *reload);
void ty_reload_close(struct reload *reload);
bool ty_reload_is_busy(const struct reload *reload);
/* Is this worker's `offered` the reload's business? */
bool ty_reload_wants(const struct reload *reload, const struct generation *offered);
/* A worker answered, died, or a generation was drained. `faults` is NULL unless a load failed. */
void ty_reload_heard(struct reload *reload, struct worker *worker, const char *faults);

/* ---- reload_source.c: what there is to load. NULL: `error` says why there is nothing. */

struct generation *ty_reload_from_files(struct master *master, struct ty_buf *warning,
                                        struct ty_error *error);
/* `id` is the beginning of one; "": the generation before the active one. */
struct generation *ty_reload_from_history(struct master *master, const char *id,
                                          struct ty_buf *warning, struct ty_error *error);

/* ---- commands.c */

/* Runs `json`; answers go through ty_control_answer(). */
struct client;
void ty_command_run(struct master *master, struct client *client, const char *json, size_t len);
/* A worker's answer to "describe". */
void ty_command_described(struct master *master, struct worker *worker, yyjson_val *message);
/* Who asked is gone. */
void ty_command_forget(struct master *master, const struct client *client);
/* Nothing more is waited for. */
void ty_commands_cancel(struct master *master);
