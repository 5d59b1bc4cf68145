/* Ways to die, each for a process of its own. */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tycho/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif

static volatile int *volatile nowhere; /* NULL */

static void write_to_null(void)
{
    *nowhere = 1;
}

static void call_null(void)
{
    ((void (*)(void))(uintptr_t)nowhere)();
}

static void divide_by_zero(void)
{
    static volatile int zero;

    zero = 42 / zero;
}

static void run_an_illegal_instruction(void)
{
    __builtin_trap();
}

static int run_over(volatile char *above)
{
    volatile char frame[4096];

    frame[0] = above ? above[0] : 0;
    return frame[0] ? 0 : run_over(frame) + frame[0];
}

static void run_over_the_stack(void)
{
    run_over(NULL);
}

static void be_sent_a_signal(void)
{
    kill(getpid(), SIGBUS);
    pause();
}

static void *die_in_a_thread(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "other");
    write_to_null();
    return NULL;
}

static void be_killed_by_a_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, die_in_a_thread, NULL);
    pthread_join(thread, NULL);
}

static void die_in_two_threads(void)
{
    pthread_t threads[8];

    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, die_in_a_thread, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

static void log_and_die(void)
{
    for (int i = 0; i < 20; i++)
        ty_log_info("test", "last words");
    write_to_null();
}
