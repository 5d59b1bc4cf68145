#include "guard.h"

#include <errno.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "error.h"
#include "fiber.h"
#include "lag.h"
#include "tycho/clock.h"
#include "tycho/log.h"
#include "tycho/metrics.h"
#include "vm.h"

enum {
    TICK_MS = 10,
    REST_MS = 25,         /* between looks at a worker that is idle */
    REST_AFTER = 8,       /* idle looks in a row */
    WARN_PAUSE_MS = 1000, /* between records of the same line */
};

enum wish { WISH_NONE, WISH_LINE, WISH_STOP };

/* check: allow SAME-NAME because tests/blackbox/runaway_spec.lua tests it */

struct ty_guard ty_guard; /* a process has one loop that runs Lua */

/* The watchdog, and what the signal handler and the hook have to know. */
static struct {
    pthread_t thread, loop;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* for the end */
    bool is_open, is_closing;
    _Atomic uint32_t warn_ms;    /* 0: never */
    _Atomic uint32_t elapsed_ms; /* of `wished`, as far as it was seen */
    _Atomic uint32_t wished;     /* the slice that is meant */
    _Atomic int wish;
    _Atomic bool has_line;
    uint32_t stopped;                       /* the last slice that was stopped: logged once */
    char owner[96];                         /* of the slice that the hook met */
    char line[160];                         /* and where */
    uint64_t warned_ms;                     /* when the log said so last */
    struct ty_series *slow, *slices, *cpus; /* counters */
    char warned[160];                       /* of which line */
} watchdog = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

/* ---- the watchdog's thread */

struct sight {
    uint32_t slice;
    uint32_t ms; /* for how long it has been met */
};

static void make_wish(uint32_t slice, enum wish wish)
{
    atomic_store(&watchdog.wished, slice);
    atomic_store(&watchdog.wish, wish);
    pthread_kill(watchdog.loop, SIGURG);
}

static bool look(struct sight *sight, uint32_t ms)
{
    uint32_t slice = atomic_load_explicit(&ty_guard.slice, memory_order_acquire);
    uint32_t warn = atomic_load_explicit(&watchdog.warn_ms, memory_order_relaxed);

    if (!(slice & 1))
        return false;
    atomic_fetch_add(&ty_guard.hits_ms, ms);
    if (slice != sight->slice) {
        *sight = (struct sight){.slice = slice};
        atomic_store(&watchdog.has_line, false);
        return true;
    }
    sight->ms += ms;
    atomic_store(&watchdog.elapsed_ms, sight->ms);
    if (sight->ms >= atomic_load_explicit(&ty_guard.max_ms, memory_order_relaxed))
        make_wish(slice, WISH_STOP); /* again each time, should the signal come at a bad moment */
    else if (warn && sight->ms >= warn && !atomic_load(&watchdog.has_line))
        make_wish(slice, WISH_LINE);
    return true;
}

/* Sleeps; false when the guard is closed. */
static bool rest(uint32_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&watchdog.lock);
    while (!watchdog.is_closing &&
           pthread_cond_timedwait(&watchdog.wake, &watchdog.lock, &until) != ETIMEDOUT)
        ;
    bool goes_on = !watchdog.is_closing;
    pthread_mutex_unlock(&watchdog.lock);
    return goes_on;
}

/* What passed since the last look counts, but never more than two ticks: the process, or the whole
 * machine, may have been stopped. */
static void *watch(void *arg)
{
    struct sight sight = {0};
    uint64_t last = ty_now_ms();
    unsigned idle = 0;

    (void)arg;
    while (rest(idle > REST_AFTER ? REST_MS : TICK_MS)) {
        uint64_t now = ty_now_ms(), passed = now - last;

        last = now;
        idle = look(&sight, passed > 2 * TICK_MS ? 2 * TICK_MS : (uint32_t)passed) ? 0 : idle + 1;
    }
    return NULL;
}

/* ---- in the loop's thread: the signal, the hook, the end of a slice */

static bool is_wished(void)
{
    return atomic_load(&watchdog.wish) != WISH_NONE &&
           atomic_load(&watchdog.wished) == atomic_load(&ty_guard.slice);
}

static void on_signal(int signal)
{
    int error = errno;

    (void)signal;
    if (is_wished())
        ty_vm_arm(atomic_load(&ty_guard.vm), TY_HOOK_SLICE);
    errno = error;
}

static void note_line(lua_State *L, struct ty_vm *vm)
{
    struct ty_slot *slot = vm->env->slot;
    struct ty_fiber *fiber = ty_fiber_running(L);

    snprintf(watchdog.owner, sizeof(watchdog.owner), "%s",
             fiber ? ty_fiber_owner(fiber) : "the error handler");
    watchdog.line[0] = '\0';
    ty_fiber_line(L, watchdog.line, sizeof(watchdog.line));
    if (slot) /* for the master, should it come to the worst */
        snprintf(slot->running, sizeof(slot->running), "%.80s %.44s", watchdog.owner,
                 watchdog.line);
    atomic_store(&watchdog.has_line, true);
}

static bool is_used_up(lua_State *L)
{
    struct ty_fiber *fiber = ty_fiber_running(L);
    const struct ty_budget *budget = fiber ? ty_fiber_budget(fiber) : NULL;

    return budget && ty_budget_left(budget) < budget->slice_max_ms;
}

static const char *limit_of(lua_State *L)
{
    return is_used_up(L) ? "lua.cpu_max" : "lua.slice_max";
}

static void log_stop(lua_State *L, struct ty_vm *vm, uint32_t ms)
{
    const struct ty_request *req = ty_fiber_request(L);
    struct ty_log_context context = {0};

    if (req) {
        context.request_id = req->id;
        context.generation = req->site->generation;
    }
    luaL_traceback(L, L, NULL, 0);
    ty_log(TY_LOG_ERROR, "guard", &context, "%s was stopped after %" PRIu32 " ms%s, in %s (%s)\n%s",
           watchdog.owner, ms, is_used_up(L) ? " in all" : " without a pause", watchdog.line,
           limit_of(L), lua_tostring(L, -1));
    lua_pop(L, 1);
    ty_lag_note(watchdog.owner, watchdog.line, ms);
    if (vm->env->struck)
        vm->env->struck(watchdog.owner, vm->env->struck_arg);
}

/* For how long: this slice, or all of its request's. */
static uint32_t ran_for(lua_State *L)
{
    uint32_t ms = atomic_load(&watchdog.elapsed_ms);

    return is_used_up(L) ? ms + ty_fiber_budget(ty_fiber_running(L))->cpu_ms : ms;
}

static int stop(lua_State *L, struct ty_vm *vm)
{
    uint32_t slice = atomic_load(&ty_guard.slice), ms = ran_for(L);

    if (watchdog.stopped != slice) {
        watchdog.stopped = slice;
        note_line(L, vm);
        ty_counter_add(is_used_up(L) ? watchdog.cpus : watchdog.slices, 1);
        if (strcmp(vm->env->role, "run") != 0) /* else somebody is looking on */
            log_stop(L, vm, ms);
    }
    ty_push_error(L, TY_ERR_UNAVAILABLE, "RUNAWAY", "%s: stopped after %" PRIu32 " ms (%s)",
                  watchdog.line, ms, limit_of(L));
    return lua_error(L);
}

void ty_guard_hook(lua_State *L, struct ty_vm *vm)
{
    if (!is_wished()) {
        ty_vm_disarm(vm, TY_HOOK_SLICE); /* the slice that was meant is over */
        return;
    }
    if (atomic_load(&watchdog.wish) == WISH_STOP)
        stop(L, vm);
    ty_vm_disarm(vm, TY_HOOK_SLICE);
    if (!atomic_load(&watchdog.has_line))
        note_line(L, vm);
}

void ty_guard_exhaust(struct ty_vm *vm)
{
    atomic_store(&watchdog.elapsed_ms, 0);
    atomic_store(&watchdog.wished, atomic_load(&ty_guard.slice));
    atomic_store(&watchdog.wish, WISH_STOP);
    ty_vm_arm(vm, TY_HOOK_SLICE);
}

static void log_slow(uint32_t ms)
{
    uint64_t now = ty_now_ms();

    ty_lag_note(watchdog.owner, watchdog.line, ms);
    ty_counter_add(watchdog.slow, 1);
    if (strcmp(watchdog.warned, watchdog.line) == 0 && now - watchdog.warned_ms < WARN_PAUSE_MS)
        return;
    snprintf(watchdog.warned, sizeof(watchdog.warned), "%s", watchdog.line);
    watchdog.warned_ms = now;
    ty_log_warn("guard", "%s held the loop for %" PRIu32 " ms: %s", watchdog.owner, ms,
                watchdog.line);
}

void ty_guard_settle(struct ty_vm *vm, struct ty_budget *budget)
{
    uint32_t hits = atomic_exchange(&ty_guard.hits_ms, 0);
    uint32_t slice = atomic_load(&ty_guard.slice) - 1;

    budget->cpu_ms +=
        hits < budget->cpu_max_ms - budget->cpu_ms ? hits : budget->cpu_max_ms - budget->cpu_ms;
    if (atomic_load(&watchdog.wished) != slice || atomic_load(&watchdog.wish) == WISH_NONE)
        return;
    atomic_store(&watchdog.wish, WISH_NONE);
    ty_vm_disarm(vm, TY_HOOK_SLICE);
    if (atomic_load(&watchdog.has_line) && watchdog.stopped != slice)
        log_slow(atomic_load(&watchdog.elapsed_ms));
}

/* ---- its life */

static void open_counters(void)
{
    static const struct ty_metric slow = {
        "tycho_scripts_slow_total", "Scripts that held the loop for longer than lua.slice_warn.",
        TY_COUNTER, NULL, 0};
    static const struct ty_metric stopped = {"tycho_scripts_stopped_total",
                                             "Scripts that were stopped.", TY_COUNTER, NULL, 0};

    watchdog.slow = ty_metrics_series(&slow, NULL);
    watchdog.slices = ty_metrics_series(&stopped, "limit=\"slice_max\"");
    watchdog.cpus = ty_metrics_series(&stopped, "limit=\"cpu_max\"");
}

void ty_guard_open(const struct ty_config *config)
{
    pthread_condattr_t attributes;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t all, old;

    ty_guard_configure(config);
    if (watchdog.is_open)
        return;
    watchdog.is_open = true;
    watchdog.is_closing = false;
    watchdog.loop = pthread_self();
    open_counters();
    sigemptyset(&action.sa_mask);
    sigaction(SIGURG, &action, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog.wake, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all); /* its signals are the loop's business */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&watchdog.thread, NULL, watch, NULL) != 0) {
        ty_log_error("guard", "no thread for the watchdog: scripts are not guarded");
        watchdog.is_open = false;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void ty_guard_configure(const struct ty_config *config)
{
    atomic_store(&watchdog.warn_ms, (uint32_t)ty_config_ms(config, "lua.slice_warn"));
}

void ty_guard_close(void)
{
    if (!watchdog.is_open)
        return;
    pthread_mutex_lock(&watchdog.lock);
    watchdog.is_closing = true;
    pthread_cond_signal(&watchdog.wake);
    pthread_mutex_unlock(&watchdog.lock);
    pthread_join(watchdog.thread, NULL);
    pthread_cond_destroy(&watchdog.wake);
    watchdog.is_open = false;
}
