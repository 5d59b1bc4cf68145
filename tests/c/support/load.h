/* Clients that keep asking while a test does something to the server, and count what they got.
 *
 * Each is a process. New connections and kept-alive ones by turns; an answer that is missing
 * or wrong counts as failed, a connection that was refused before anything was sent as refused.
 */
#pragma once

#include "server.h"

enum { CLIENTS = 4, REQUESTS_PER_CONNECTION = 5 };

struct tally {
    long answered, failed, refused;
};

struct load {
    int pids[CLIENTS], pipes[CLIENTS];
    struct tally total;
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

static void ask_connection(int port, const char *path, struct tally *tally)
{
    int fd = dial(port);
    char request[128];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);

    if (fd < 0) {
        tally->refused++;
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

static void run_client(int port, const char *path, int out)
{
    struct sigaction action = {.sa_handler = on_over};
    struct tally tally = {0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigaction(SIGTERM, &action, NULL);
    while (!load_is_over)
        ask_connection(port, path, &tally);
    (void)!write(out, &tally, sizeof(tally));
    _exit(0);
}

__attribute__((unused)) static void load_start(struct load *load, int port, const char *path)
{
    for (int i = 0; i < CLIENTS; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        load->pids[i] = fork();
        if (load->pids[i] == 0)
            run_client(port, path, fds[1]);
        close(fds[1]);
        load->pipes[i] = fds[0];
    }
}

__attribute__((unused)) static struct tally load_stop(struct load *load)
{
    struct tally tally, sum = {0};

    for (int i = 0; i < CLIENTS; i++)
        kill(load->pids[i], SIGTERM);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(read(load->pipes[i], &tally, sizeof(tally)), sizeof(tally));
        waitpid(load->pids[i], NULL, 0);
        close(load->pipes[i]);
        sum.answered += tally.answered;
        sum.failed += tally.failed;
        sum.refused += tally.refused;
    }
    return sum;
}
