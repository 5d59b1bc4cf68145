/* A whole server for a test: this test program, executed again as `serve`, in a folder of its own.
 *
 * Real processes, real sockets, a fake engine. Waiting is for conditions, with a limit that
 * only a failure ever meets.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#include "fake_engine.h"
#include "figure.h"
#include "tycho/clock.h"
#include "tycho/host.h"

enum { LIMIT_MS = 20000, OVERRIDES_MAX = 16 };

struct server {
    char folder[64];
    int pid; /* 0: not running */
    int port, admin_port;
    int status;         /* of wait(2), once it has ended */
    char last[1 << 16]; /* what was read last: a body, an answer, a file */
    int last_status;    /* of HTTP */
};

/* ---- files */

__attribute__((unused)) static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    fputs(text, file);
    fclose(file);
}

__attribute__((unused)) static const char *get_file(struct server *server, const char *path)
{
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(server->last, 1, sizeof(server->last) - 1, file) : 0;

    server->last[len] = '\0';
    if (file)
        fclose(file);
    return server->last;
}

static int server_folder(void **state)
{
    struct server *server = calloc(1, sizeof(*server));

    *state = server;
    strcpy(server->folder, "/tmp/tycho-host-XXXXXX");
    if (!mkdtemp(server->folder) || chdir(server->folder) != 0)
        return -1;
    mkdir("scripts", 0755);
    mkdir("scripts/app", 0755);
    put_file("scripts/app/a.lua", "answer one\n");
    return 0;
}

/* ---- the process */

static bool has_ended(struct server *server)
{
    if (server->pid && waitpid(server->pid, &server->status, WNOHANG) == server->pid)
        server->pid = 0;
    return server->pid == 0;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void pause_or_fail(uint64_t until_ms, const char *condition)
{
    if (ty_now_ms() > until_ms)
        fail_msg("never true: %s", condition);
    pause_ms(5);
}

/* Tries again and again, until the limit. */
#define wait_for(condition) \
    for (uint64_t until_ = ty_now_ms() + LIMIT_MS; !(condition); pause_or_fail(until_, #condition))

/* Executes this program as `serve`, with settings such as "workers=2", ended by NULL. */
static void server_spawn(struct server *server, const char *first, ...)
{
    static char port[] = "http.port=0", admin[] = "admin.port=0";
    char *args[OVERRIDES_MAX + 6] = {"tycho", "serve", port, admin};
    int count = 4;
    va_list more;

    va_start(more, first);
    for (const char *arg = first; arg && count < OVERRIDES_MAX; arg = va_arg(more, const char *))
        args[count++] = (char *)arg;
    va_end(more);
    unlink("out"); /* of a server before this one */
    unlink("err");
    server->pid = fork();
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(open("out", O_WRONLY | O_CREAT | O_TRUNC, 0644), 1);
        dup2(open("err", O_WRONLY | O_CREAT | O_TRUNC, 0644), 2);
        execv("/proc/self/exe", args);
        _exit(127);
    }
}

static bool is_serving(struct server *server)
{
    const char *line = strstr(get_file(server, "out"), "http://127.0.0.1:");

    if (!line)
        return false;
    server->port = atoi(line + strlen("http://127.0.0.1:"));
    line = strstr(line + 1, "http://127.0.0.1:");
    if (line)
        server->admin_port = atoi(line + strlen("http://127.0.0.1:"));
    return line != NULL;
}

static void wait_until_serving(struct server *server)
{
    wait_for(has_ended(server) || is_serving(server));
    if (server->pid == 0)
        fail_msg("the server did not start: %s", get_file(server, "err"));
}

#define server_start(server, ...)                \
    do {                                         \
        server_spawn(server, __VA_ARGS__, NULL); \
        wait_until_serving(server);              \
    } while (0)

/* Returns the exit code; 128 + signal if it was killed. */
__attribute__((unused)) static int server_wait(struct server *server)
{
    wait_for(has_ended(server));
    return WIFSIGNALED(server->status) ? 128 + WTERMSIG(server->status)
                                       : WEXITSTATUS(server->status);
}

__attribute__((unused)) static int server_stop(struct server *server)
{
    kill(server->pid, SIGTERM);
    return server_wait(server);
}

/* What a sanitizer of any of the processes has to say ends the test. */
static bool is_sane(struct server *server)
{
    get_file(server, "err");
    if (!strstr(server->last, "Sanitizer") && !strstr(server->last, "runtime error"))
        return true;
    fputs(server->last, stderr);
    return false;
}

static int server_remove(void **state)
{
    struct server *server = *state;
    bool sane = is_sane(server);
    char command[128];
    int status;

    if (server->pid) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
    }
    snprintf(command, sizeof(command), "rm -rf %s", server->folder);
    status = chdir("/") == 0 ? system(command) : -1;
    free(server);
    return sane ? status : -1;
}

/* ---- HTTP */

/* Returns a connected socket, or -1. */
static int dial(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {LIMIT_MS / 1000, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

__attribute__((unused)) static void ask_http(int fd, const char *path)
{
    char request[256];
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path);

    (void)!send(fd, request, (size_t)len, MSG_NOSIGNAL);
}

/* Reads until the end of the connection and closes it; the body is in `last`. Returns the status; 0
 * if there was no answer. */
static int read_http(struct server *server, int fd)
{
    size_t len = 0;
    ssize_t n;
    char *body;

    while ((n = read(fd, server->last + len, sizeof(server->last) - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    server->last[len] = '\0';
    server->last_status = len > 12 ? atoi(server->last + 9) : 0;
    body = strstr(server->last, "\r\n\r\n");
    if (body)
        memmove(server->last, body + 4, strlen(body + 4) + 1);
    return server->last_status;
}

__attribute__((unused)) static int get(struct server *server, int port, const char *path)
{
    int fd = dial(port);

    if (fd < 0)
        return 0;
    ask_http(fd, path);
    return read_http(server, fd);
}

/* ---- commands */

static void on_reply(const char *json, size_t len, void *arg)
{
    struct server *server = arg;

    (void)len;
    snprintf(server->last, sizeof(server->last), "%s", json);
}

/* The exit code; the last answer is in `last`. */
static int command(struct server *server, const char *json)
{
    return ty_host_command(".tycho/control.sock", json, on_reply, server);
}

__attribute__((unused)) static bool said(const struct server *server, const char *text)
{
    return strstr(server->last, text) != NULL;
}

/* A number from the last answer, by JSON pointer. */
__attribute__((unused)) static long number_at(struct server *server, const char *pointer)
{
    yyjson_doc *doc = yyjson_read(server->last, strlen(server->last), 0);
    yyjson_val *value = yyjson_doc_ptr_get(doc, pointer);
    long number = yyjson_is_num(value) ? (long)yyjson_get_num(value) : -1;

    yyjson_doc_free(doc);
    return number;
}

/* A number from `status`. */
__attribute__((unused)) static long status_of(struct server *server, const char *pointer)
{
    return command(server, "{\"command\":\"status\"}") == 0 ? number_at(server, pointer) : -1;
}

/* ---- main() */

static int run_server(int argc, char **argv)
{
    const char *overrides[OVERRIDES_MAX + 1] = {0};
    struct ty_config_source source = {.overrides = overrides};
    struct ty_host_options options = {.source = &source, .argv = argv};
    struct ty_error error;
    int count = 0, status;

    for (int i = 2; i < argc && count < OVERRIDES_MAX; i++) {
        if (strcmp(argv[i], "--development") == 0)
            options.development = true;
        else if (strcmp(argv[i], "--require") == 0)
            options.require_dependencies = true;
        else
            overrides[count++] = argv[i];
    }
    options.config = ty_config_load(&source, &error);
    if (!options.config) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    status = ty_host_serve(&options, &fake_engine);
    ty_config_unref(options.config);
    return status;
}

/* What each of these programs is: a child, a server, or the tests. */
static int run_as(int argc, char **argv, int (*tests)(void))
{
    if (ty_host_is_child())
        return ty_host_child(&fake_engine);
    if (getenv("TYCHO_CHILD"))
        return 1; /* whatever went wrong: children that run the tests would be many soon */
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return run_server(argc, argv);
    return tests();
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, server_folder, server_remove)
