#define _GNU_SOURCE
#include "tycho/profile.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tycho/memory.h"
#include "tycho/unwind.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { RING_LEN = 1024 };

/* The handler adds at `head`, the same thread takes at `tail`. */
static struct {
    struct ty_sample *ring; /* NULL: nobody samples */
    _Atomic unsigned head, tail;
    _Atomic uint64_t lost;
    timer_t timer;
    struct ty_unwinder *unwinder;
    ty_profile_ask_fn *in_script;
} sampling; /* check: allow NO-GLOBALS because a signal handler has nothing else */

static void on_tick(int signal, siginfo_t *info, void *context)
{
    int error = errno;
    unsigned head = atomic_load_explicit(&sampling.head, memory_order_relaxed);
    bool has_missed = info->si_code == SI_TIMER && info->si_overrun > 0; /* others have no count */
    uint32_t weight = 1 + (has_missed ? (uint32_t)info->si_overrun : 0);

    (void)signal;
    if (!sampling.ring)
        return;
    bool in_script = sampling.in_script();
    if (head - atomic_load(&sampling.tail) == RING_LEN) {
        atomic_fetch_add(&sampling.lost, weight);
    } else {
        struct ty_sample *sample = &sampling.ring[head % RING_LEN];
        sample->weight = weight;
        sample->in_script = in_script;
        sample->depth = ty_unwind(sampling.unwinder, context, sample->stack, TY_PROFILE_DEPTH);
        atomic_store_explicit(&sampling.head, head + 1, memory_order_release);
    }
    errno = error;
}

static int start_timer(unsigned hz)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF};
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerspec every = {0};

    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    every.it_interval.tv_sec = hz == 1;
    every.it_interval.tv_nsec = hz == 1 ? 0 : 1000000000L / hz;
    every.it_value = every.it_interval;
    sigemptyset(&action.sa_mask);
    sigaction(SIGPROF, &action, NULL);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &sampling.timer) != 0)
        return -errno;
    timer_settime(sampling.timer, 0, &every, NULL);
    return 0;
}

int ty_profile_start(unsigned hz, ty_profile_ask_fn *in_script)
{
    int status;

    if (sampling.ring)
        return -EBUSY;
    sampling.head = sampling.tail = 0;
    sampling.lost = 0;
    sampling.in_script = in_script;
    sampling.unwinder = ty_unwinder_new();
    sampling.ring = ty_zalloc(RING_LEN * sizeof(*sampling.ring));
    if ((status = start_timer(hz)) != 0) {
        ty_unwinder_free(sampling.unwinder);
        free(sampling.ring);
        sampling.ring = NULL;
    }
    return status;
}

bool ty_profile_take(struct ty_sample *out)
{
    unsigned tail = atomic_load_explicit(&sampling.tail, memory_order_relaxed);

    if (!sampling.ring || tail == atomic_load_explicit(&sampling.head, memory_order_acquire))
        return false;
    *out = sampling.ring[tail % RING_LEN];
    atomic_store_explicit(&sampling.tail, tail + 1, memory_order_release);
    return true;
}

uint64_t ty_profile_lost(void)
{
    return atomic_load(&sampling.lost);
}

/* A signal may still be on its way: it finds no ring. */
void ty_profile_stop(void)
{
    struct ty_sample *ring = sampling.ring;

    if (!ring)
        return;
    timer_delete(sampling.timer);
    sampling.ring = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    ty_unwinder_free(sampling.unwinder);
    free(ring);
}
