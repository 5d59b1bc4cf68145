/* Clients that keep asking while a test does something to the server, and count what they got.
 *
 * Each is a process, and counts in memory that the test sees. New connections and kept-alive ones
 * by turns; an answer that is missing or wrong counts as failed, a connection that was refused
 * before anything was sent as refused.
 */
#pragma once

#include <sys/mman.h>

#include "server.h"

enum { CLIENTS = 4, REQUESTS_PER_CONNECTION = 5 };

struct tally {
    long answered, failed, refused;
};

struct load {
    int pids[CLIENTS];
    volatile struct tally *tallies; /* shared, of CLIENTS */
};

static volatile sig_atomic_t load_is_over;

static void on_over(int signal)
{
    (void)signal;
    load_is_over = 1;
}

/* One answer of a kept-alive connection. */
static bool read_answer(int fd)
{
    char text[2048];
    size_t len = 0;
    ssize_t n;

    while (len < sizeof(text) - 1) {
        n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
        if (strstr(text, "\r\n\r\n") && text[len - 1] == '\n' && strncmp(text + 9, "200", 3) == 0)
            return strstr(text, "Connection: close") == NULL || (load_is_over = 2);
    }
    return false;
}

static void ask_connection(int port, const char *path, volatile struct tally *tally)
{
    int fd = dial(port);
    char request[128];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);

    if (fd < 0) {
        tally->refused += errno != EINTR; /* told to end meanwhile */
        pause_ms(2);
        return;
    }
    for (int i = 0; i < REQUESTS_PER_CONNECTION && !load_is_over; i++) {
        bool ok = send(fd, request, (size_t)len, MSG_NOSIGNAL) == len && read_answer(fd);
        tally->answered += ok;
        tally->failed += !ok;
        if (!ok || load_is_over == 2)
            break;
    }
    if (load_is_over == 2) /* told to close: ask again on a new one */
        load_is_over = 0;
    close(fd);
}

static void run_client(int port, const char *path, volatile struct tally *tally)
{
    struct sigaction action = {.sa_handler = on_over};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigaction(SIGTERM, &action, NULL);
    while (!load_is_over)
        ask_connection(port, path, tally);
    _exit(0);
}

__attribute__((unused)) static void load_start(struct load *load, int port, const char *path)
{
    void *shared = mmap(NULL, CLIENTS * sizeof(*load->tallies), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(shared != MAP_FAILED);
    load->tallies = shared;
    for (int i = 0; i < CLIENTS; i++) {
        load->pids[i] = fork();
        if (load->pids[i] == 0)
            run_client(port, path, &load->tallies[i]);
    }
}

static struct tally load_tally(const struct load *load)
{
    struct tally sum = {0};

    for (int i = 0; i < CLIENTS; i++) {
        sum.answered += load->tallies[i].answered;
        sum.failed += load->tallies[i].failed;
        sum.refused += load->tallies[i].refused;
    }
    return sum;
}

/* Goes on until there were so many answers, and stops. How long that takes depends on the machine,
 * and on what else it does. */
__attribute__((unused)) static struct tally load_stop_after(struct load *load, long answers)
{
    struct tally tally;

    wait_for(load_tally(load).answered >= answers);
    for (int i = 0; i < CLIENTS; i++)
        kill(load->pids[i], SIGTERM);
    for (int i = 0; i < CLIENTS; i++)
        waitpid(load->pids[i], NULL, 0);
    tally = load_tally(load);
    munmap((void *)load->tallies, CLIENTS * sizeof(*load->tallies));
    return tally;
}

__attribute__((unused)) static struct tally load_stop(struct load *load)
{
    return load_stop_after(load, 0);
}
