/* What the host asks of the script engine, and the only thing it knows of it.
 *
 * bindings/engine.c implements this with LuaJIT; main() hands it to the host. A generation is
 * one bundle loaded into a fresh interpreter state, with the routes it declared as a site.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "tycho/bundle.h"
#include "tycho/config.h"
#include "tycho/crash.h"
#include "tycho/http.h"
#include "tycho/shm.h"

struct ty_folded;
struct ty_generation;

/* JSON of one traced request: method, route, target, request, status, seconds, steps. */
typedef void ty_traced_fn(const char *json, size_t len, void *arg);

struct ty_trace_order {
    const char *route; /* "/orders/{id}", or "GET /orders/{id}" */
    unsigned count;    /* so many requests at most */
    ty_traced_fn *traced;
    void *arg;
};

struct ty_engine_env {
    uv_loop_t *loop;
    struct ty_config *config; /* the engine takes a reference */
    const char *role;         /* "web", "trial", "check", "run", "test" */
    bool development;         /* readable error pages, tracebacks in answers */
    struct ty_slot *slot;     /* a worker's: the engine keeps fibers, script_bytes and running up
                               * to date, the host the rest; NULL elsewhere */
    /* A route's script had to be stopped ("GET /orders"); once for each time. May be NULL. */
    void (*struck)(const char *route, void *arg);
    void *struck_arg;
};

/* What became of a load. `gen` is NULL if it failed; then `faults` has one or more lines,
 * each "file:line: what". */
typedef void ty_engine_loaded_fn(struct ty_generation *gen, const char *faults, void *arg);

struct ty_engine {
    const char *version; /* of the interpreter */
    bool stops_loops;    /* endless loops can be stopped from outside */

    /* Once per process, before anything else, and last of all. */
    void (*open)(const struct ty_engine_env *env);
    void (*close)(void (*done)(void *arg), void *arg);

    /* The configuration of every load from now on; the engine takes a reference. Generations that
     * are loaded keep the one they were loaded with. NULL: the engine has no use for it. */
    void (*set_config)(struct ty_config *config);

    /* Development: why the files on disk do not run, for error pages ("file:line: what", lines);
     * NULL when they do. The string is copied. May be NULL. */
    void (*set_fault)(const char *faults);

    /* Closes a route of every generation, named as to `struck`, for so long: its requests get 503
     * at once. 0 opens it. May be NULL. */
    void (*quarantine)(const char *route, uint64_t ms);

    /* Loads all of app/ and tasks/, resolves routes, runs the application's checks (which may
     * wait). Loading itself must not wait and is stopped after reload.load_timeout. `loaded` runs
     * exactly once, never from inside. */
    void (*load)(struct ty_bundle *bundle, ty_engine_loaded_fn *loaded, void *arg);

    struct ty_site *(*site)(struct ty_generation *gen); /* borrowed */
    const char *(*id)(struct ty_generation *gen);

    /* Committed: what the scripts declared to run on their own may start. */
    void (*start)(struct ty_generation *gen);

    /* No new work for it. What runs may finish for `drain_ms`, then it is cancelled; answers that
     * are sent in pieces may go on for reload.max_age. When all is done the state is closed and
     * freed and `gone` runs. */
    void (*retire)(struct ty_generation *gen, uint64_t drain_ms, void (*gone)(void *arg),
                   void *arg);

    /* How many answers of it are being sent in pieces; and the end of those of one that was
     * retired. May be NULL. */
    size_t (*streams)(struct ty_generation *gen);
    void (*end_streams)(struct ty_generation *gen);

    /* JSON, into `out`: an array of live fibers, with their whole stacks if asked; an array of
     * routes; an array of the lines that held the process's loop (may be NULL). */
    void (*describe_fibers)(struct ty_generation *gen, bool stacks, struct ty_buf *out);
    void (*describe_routes)(struct ty_generation *gen, struct ty_buf *out);
    void (*describe_lag)(struct ty_buf *out);

    /* What the process spends its CPU time on, as stacks (tycho/folded.h): 0, or UV_EBUSY and the
     * like; what was seen since then, the caller's to free, NULL if no profile was being made. Both
     * may be NULL. */
    int (*profile_open)(unsigned hz);
    struct ty_folded *(*profile_close)(void);

    /* Traces the next requests of a route, instead of what was ordered before; NULL: no more. May
     * be NULL. */
    void (*trace)(const struct ty_trace_order *order);

    /* Bytes that the generation's interpreter holds, and its live fibers. */
    size_t (*memory)(struct ty_generation *gen, size_t *fibers);

    /* Dependencies that this process needs: adds `{"name":"default","ok":true}`, comma-separated;
     * false if a required one is down. */
    bool (*ready)(struct ty_buf *out);

    /* In the handler of a fatal signal, see ty_crash_scripts_fn. May be NULL. */
    ty_crash_scripts_fn *crashed;

    /* `tycho run`, `test`, `repl`: runs one script as a fiber with the privileges of the standard
     * library, and the loop until it ends; returns the process's exit code. */
    int (*run)(const char *script_name, const char *source, size_t len, int argc, char **argv);
};

/* bindings/engine.c */
extern const struct ty_engine ty_lua_engine;
