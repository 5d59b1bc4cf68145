/* One generation, as engine.c (its life) and http*.c (its requests) see it. */
#pragma once

#include "tycho/http.h"
#include "vm.h"

struct ty_generation {
    struct ty_vm *vm;
    struct ty_site site;
    bool sealed;       /* loaded: no more routes */
    int handlers[4];   /* references, see enum below; LUA_NOREF until set */
    int requests_ref;  /* metatable of requests */
    int responses_ref; /* metatable of responses */
    int start_ref, answer_ref, answer_error_ref, log_failure_ref, pump_ref, fault_ref;
    uint32_t request_timeout_ms;
    struct ty_call *pool;
    size_t pooled;
    struct ty_call **calls; /* by anchor */
    size_t call_cap;

    ty_engine_loaded_fn *loaded; /* until the load has been answered */
    void *loaded_arg;
    char *faults;
    uv_timer_t timer; /* answers a load from the loop; ends draining */
    void (*gone)(void *arg);
    void *gone_arg;
    uint64_t retired_ms, age_ms; /* since when; for how long its streams may go on */
    size_t streams;              /* answers being sent in pieces */
    bool streams_over;           /* they were told to end */
    bool retired, unused, idle;
};

enum { TY_HANDLER_UNMATCHED, TY_HANDLER_ERROR };

/* The handle function of a generation's site. */
void ty_generation_handle(struct ty_request *req);

/* Frees what http.c keeps for a generation. */
void ty_generation_forget_calls(struct ty_generation *gen);

/* Frees a route that l_route() made; for ty_router_each(). */
void ty_route_free(struct ty_route *route, void *unused);

/* A state for one script: `tycho run`, `test`, `repl`. Routes can be declared, nothing is loaded.
 */
struct ty_generation *ty_generation_bare(struct ty_bundle *bundle);

/* engine_run.c: see struct ty_engine. */
int ty_engine_run(const char *script_name, const char *source, size_t len, int argc, char **argv);

/* Why the files on disk do not run, for development pages; NULL when they do. */
const char *ty_engine_fault(void);

/* The environment that the engine was opened with. */
const struct ty_engine_env *ty_engine_env(void);

/* start(call): runs the handler of a request in a fiber. */
int ty_call_start(lua_State *L);

/* answer_error(failure, error) and log_failure(call, coroutine or traceback, error): http_call.c
 * calls them protected. */
int ty_call_answer_error(lua_State *L);
int ty_call_log(lua_State *L);
