#define _GNU_SOURCE /* gettid, tgkill */
#include "tycho/crash.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "crash/record.h"
#include "tycho/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

enum {
    STACK_SIZE = 64 * 1024,
    GUARD_SIZE = 64 * 1024, /* a multiple of any page */
    GATHER_MS = 100,        /* for each kind of fact; the master gives a stuck worker 200 */
    WRITE_MS = 100,         /* for a log that takes nothing at the moment */
    LAST_WORDS_MS = 30,     /* for the log's thread: what was said before the end */
};

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/* check: allow NO-GLOBALS because a signal's handler has no other way to its data */
static struct {
    bool is_open;
    struct crash_facts facts;
    const struct ty_slot *slot;
    ty_crash_scripts_fn *scripts;
    pid_t thread; /* that opened it: the loop's */
    const void *context;
    _Atomic pid_t owner; /* the thread that crashed first; 0: none */
    volatile sig_atomic_t is_guarded;
    sigjmp_buf point; /* where a fault while gathering goes on */
    char record[CRASH_RECORD_MAX];
} crash_state;

/* ---- gathering: each step may fault or hang */

static void gather_place(void)
{
    prctl(PR_GET_NAME, crash_state.facts.thread);
    if (!crash_state.slot)
        return;
    memcpy(crash_state.facts.generation, crash_state.slot->generation,
           sizeof(crash_state.facts.generation) - 1);
    ty_slot_route(crash_state.slot, crash_state.facts.route, sizeof(crash_state.facts.route));
}

static void gather_time(void)
{
    ty_rfc3339(ty_wall_us(), crash_state.facts.time);
}

static void gather_scripts(void)
{
    if (crash_state.scripts && crash_state.owner == crash_state.thread)
        crash_state.scripts(&crash_state.facts.scripts);
}

static void gather_frames(void)
{
    if (crash_state.owner == crash_state.thread)
        crash_backtrace(&crash_state.facts, crash_state.context);
}

static void gather_more_frames(void)
{
    crash_backtrace_again(&crash_state.facts, crash_state.context);
}

/* Interrupts what hangs, in whichever thread that is. */
static void on_late(int signal)
{
    pid_t owner = crash_state.owner;

    if (owner != gettid())
        tgkill(getpid(), owner, signal);
    else if (crash_state.is_guarded)
        siglongjmp(crash_state.point, 1);
}

/* `ms` 0: it may take its time, as it cannot hang. */
static void attempt(void (*gather)(void), long ms)
{
    const struct itimerval soon = {.it_value = {.tv_usec = ms * 1000}}, never = {{0}, {0}};

    crash_state.is_guarded = 1;
    if (sigsetjmp(crash_state.point, 1) == 0) {
        setitimer(ITIMER_REAL, &soon, NULL);
        gather();
    }
    crash_state.is_guarded = 0;
    setitimer(ITIMER_REAL, &never, NULL);
}

static void take(int signal, const siginfo_t *info)
{
    struct crash_facts *facts = &crash_state.facts;
    struct sigaction late = {.sa_handler = on_late, .sa_flags = SA_ONSTACK | SA_NODEFER};

    facts->signal = signal;
    facts->is_fault = info->si_code > 0 && signal != SIGABRT;
    facts->address = facts->is_fault ? info->si_addr : NULL;
    facts->sender = facts->is_fault ? 0 : info->si_pid;
    facts->is_stuck = signal == SIGABRT && info->si_pid == getppid();
    sigaction(SIGALRM, &late, NULL);
    attempt(gather_place, 0);
    attempt(gather_time, GATHER_MS);
    attempt(gather_scripts, GATHER_MS);
    attempt(gather_frames, GATHER_MS);
    attempt(gather_more_frames, GATHER_MS);
}

/* ---- writing */

static void wait_for_log(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    for (int ms = 0; ms < LAST_WORDS_MS && !ty_log_is_idle(); ms++)
        nanosleep(&pause, NULL);
}

static bool write_to(int fd, size_t len)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};

    while (poll(&pfd, 1, WRITE_MS) == 1) {
        if (write(fd, crash_state.record, len) == (ssize_t)len)
            return true;
        if (errno != EINTR && errno != EAGAIN)
            break;
    }
    return false;
}

/* Past the log's own thread and locks; to standard error if the log's disk is full. */
static void write_record(void)
{
    struct ty_log_sink sink = ty_log_sink();
    size_t len = sink.pretty
                     ? crash_format_pretty(&crash_state.facts, crash_state.record, CRASH_RECORD_MAX)
                     : crash_format_json(&crash_state.facts, crash_state.record, CRASH_RECORD_MAX);

    if (!write_to(sink.fd, len) && sink.fd != STDERR_FILENO)
        write_to(STDERR_FILENO, len);
}

/* What the signal does when nobody handles it. */
static void die(int signal)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};

    sigaction(signal, &by_default, NULL);
    raise(signal);
}

static void on_fatal(int signal, siginfo_t *info, void *context)
{
    pid_t self = gettid(), nobody = 0;

    if (!atomic_compare_exchange_strong(&crash_state.owner, &nobody, self)) {
        while (nobody != self)
            pause(); /* another thread has come first: it ends us all */
        if (crash_state.is_guarded)
            siglongjmp(crash_state.point, 1);
        die(signal);
    }
    crash_state.context = context;
    take(signal, info);
    wait_for_log();
    write_record();
    die(signal);
}

/* ---- */

/* Also a stack that has run over can be reported. The page below the handler's own is
 * left out, so that it cannot do harm. */
static bool take_stack(void)
{
    char *memory = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = {.ss_sp = memory + GUARD_SIZE, .ss_size = STACK_SIZE};

    return memory != MAP_FAILED && mprotect(memory, GUARD_SIZE, PROT_NONE) == 0 &&
           sigaltstack(&stack, NULL) == 0;
}

static void install(void)
{
    /* While it runs nothing else does, but what may end it. */
    struct sigaction action = {.sa_sigaction = on_fatal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGALRM);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(*fatal); i++)
        sigdelset(&action.sa_mask, fatal[i]);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(*fatal); i++)
        sigaction(fatal[i], &action, NULL);
}

void ty_crash_open(const struct ty_crash_options *options)
{
    if (IS_SANITIZED)
        return;
    snprintf(crash_state.facts.who, sizeof(crash_state.facts.who), "%s", options->who);
    snprintf(crash_state.facts.role, sizeof(crash_state.facts.role), "%s", options->role);
    crash_state.slot = options->slot;
    crash_state.scripts = options->scripts;
    crash_state.thread = gettid();
    if (crash_state.is_open)
        return;
    crash_state.is_open = true;
    crash_backtrace_prepare();
    if (take_stack())
        install();
}

void ty_crash_allow_cores(bool allowed)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = allowed ? limit.rlim_max : 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
    prctl(PR_SET_DUMPABLE, allowed ? 1 : 0); /* the limit says nothing to a core_pattern's pipe */
}
