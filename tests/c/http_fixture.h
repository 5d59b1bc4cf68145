/* A server with a small site on a real loop and real sockets, and a client in the same thread:
 * whatever the client waits for, the loop runs meanwhile. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "tycho/clock.h"
#include "tycho/http.h"
#include "tycho/memory.h"
#include "tycho/metrics.h"

enum { PATIENCE_MS = 10000, ROUTES_MAX = 8, HELD_MAX = 128 };

struct fixture {
    uv_loop_t loop;
    struct ty_http_server *server;
    struct ty_http_options options;
    struct ty_site site;
    struct ty_route routes[ROUTES_MAX];
    int listener;
    int port;

    struct ty_request *held[HELD_MAX]; /* of GET /hold, until the test answers them */
    size_t held_count;
    size_t handled;
    size_t aborted;
    size_t drained;
    size_t unused; /* on_unused calls */
    size_t closed;
};

static inline struct fixture *fixture_of(struct ty_request *req)
{
    return req->site->data;
}

static inline void add_slice(struct ty_buf *out, const char *name, struct ty_slice value)
{
    ty_buf_addf(out, "%s=", name);
    ty_buf_add(out, value.data, value.len);
    ty_buf_addc(out, '\n');
}

/* All that the site was told, as text. */
static inline void describe(struct ty_request *req, struct ty_buf *out)
{
    ty_buf_addf(out, "method=%s\n", ty_method_name(req->method));
    add_slice(out, "target", req->target);
    add_slice(out, "path", req->path);
    add_slice(out, "query", req->query);
    add_slice(out, "host", req->host);
    ty_buf_addf(out, "route=%s\n", req->match.route ? req->match.route->pattern : "");
    for (size_t i = 0; i < req->match.param_count; i++)
        add_slice(out, "param", req->match.params[i].value);
    for (size_t i = 0; i < req->header_count; i++) {
        ty_buf_add(out, req->headers[i].name.data, req->headers[i].name.len);
        add_slice(out, "", req->headers[i].value);
    }
    ty_buf_addf(out, "has_body=%d\n", req->has_body);
    add_slice(out, "body", req->body);
    for (size_t i = 0; i < req->trailer_count; i++) {
        ty_buf_adds(out, "trailer ");
        ty_buf_add(out, req->trailers[i].name.data, req->trailers[i].name.len);
        add_slice(out, "", req->trailers[i].value);
    }
}

static inline void on_later(uv_timer_t *timer)
{
    struct ty_request *req = timer->data;

    ty_request_respond(req, 200, NULL, 0, req->query);
    uv_close((uv_handle_t *)timer, (uv_close_cb)free);
}

static inline void on_abort(struct ty_request *req)
{
    fixture_of(req)->aborted++;
}

static inline void on_drain(struct ty_request *req)
{
    fixture_of(req)->drained++;
}

static inline void hold(struct ty_request *req)
{
    struct fixture *f = fixture_of(req);

    assert_true(f->held_count < HELD_MAX);
    req->on_abort = on_abort;
    req->on_drain = on_drain;
    f->held[f->held_count++] = req;
}

static inline void handle(struct ty_request *req)
{
    static const struct ty_header fields[] = {{{"Content-Type", 12}, {"text/plain", 10}}};
    struct fixture *f = fixture_of(req);

    f->handled++;
    if (!req->match.route) {
        ty_request_respond(req, req->match.allow ? 405 : 404, NULL, 0, TY_SLICE("no\n"));
    } else if (ty_slice_is(req->path, "/hello")) {
        ty_request_respond(req, 200, fields, 1, TY_SLICE("hello"));
    } else if (ty_slice_is(req->path, "/echo")) {
        ty_request_respond(req, 200, fields, 1, req->body);
    } else if (ty_slice_is(req->path, "/later")) {
        uv_timer_t *timer = ty_zalloc(sizeof(*timer));

        uv_timer_init(&f->loop, timer);
        timer->data = req;
        uv_timer_start(timer, on_later, 0, 0);
    } else if (ty_slice_is(req->path, "/hold")) {
        hold(req);
    } else {
        struct ty_buf out = {0};

        describe(req, &out);
        ty_request_respond(req, 200, fields, 1, (struct ty_slice){out.data, out.len});
        ty_buf_close(&out);
    }
}

static inline void on_unused(struct ty_site *site)
{
    ((struct fixture *)site->data)->unused++;
}

static inline void listen_anywhere(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(f->listener, 1024), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&address, &len), 0);
    f->port = ntohs(address.sin_port);
}

/* Options with short enough times for a test; change them before start(). */
static inline void prepare(struct fixture *f)
{
    *f = (struct fixture){.listener = -1};
    ty_http_default_limits(&f->options.limits);
    f->options.limits.shed_lag_ms = 0; /* what the test does itself would count */
}

static inline void start(struct fixture *f)
{
    static const char *const patterns[] = {"/hello", "/echo",      "/later",         "/hold",
                                           "/show",  "/show/{id}", "/rest/{path...}"};
    struct ty_error error;

    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->site = (struct ty_site){
        .router = ty_router_new(),
        .handle = handle,
        .on_unused = on_unused,
        .data = f,
        .generation = "abcdef012345",
        .refs = 1,
    };
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        f->routes[i] = (struct ty_route){.pattern = patterns[i], .methods = TY_GET | TY_POST};
        assert_int_equal(ty_router_add(f->site.router, &f->routes[i], &error), 0);
    }
    f->routes[0].methods = TY_GET;
    f->server = ty_http_server_new(&f->loop, &f->options, &error);
    assert_non_null(f->server);
    ty_http_server_set_site(f->server, &f->site);
    listen_anywhere(f);
    assert_int_equal(ty_http_server_accept(f->server, f->listener), 0);
}

static inline void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed++;
}

/* Closes the server if the test has not, and sees that nothing is left. */
static inline void stop(struct fixture *f)
{
    if (f->server)
        ty_http_server_close(f->server, on_closed, f);
    while (f->held_count)
        ty_request_respond(f->held[--f->held_count], 503, NULL, 0, (struct ty_slice){0});
    uv_run(&f->loop, UV_RUN_DEFAULT);

    assert_int_equal(f->closed, 1);
    ty_site_unref(&f->site);
    assert_int_equal(f->unused, 1);
    assert_int_equal(f->site.requests, 0);
    ty_router_free(f->site.router);
    close(f->listener);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

/* ----------------------------------------------------------------------------- the client */

/* Runs the loop once and waits a little for the socket (-1: for nothing). */
static inline void pump(struct fixture *f, int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};

    uv_run(&f->loop, UV_RUN_NOWAIT);
    poll(&poll_fd, fd >= 0, 1);
}

#define WAIT_FOR(f, condition)                                                         \
    for (uint64_t give_up = ty_now_ms() + PATIENCE_MS; !(condition); pump(f, -1, 0)) { \
        if (ty_now_ms() > give_up)                                                     \
            fail_msg("%s:%d: waited in vain for %s", __FILE__, __LINE__, #condition);  \
    }

static inline int dial(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* False when the server has closed the connection before it took all. */
static inline int transmit(struct fixture *f, int fd, const char *data, size_t len)
{
    uint64_t give_up = ty_now_ms() + PATIENCE_MS;

    while (len) {
        ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return 0;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
        pump(f, fd, POLLOUT);
        if (ty_now_ms() > give_up)
            fail_msg("the server takes no more");
    }
    return 1;
}

static inline void say(struct fixture *f, int fd, const char *text)
{
    assert_true(transmit(f, fd, text, strlen(text)));
}

/* Reads what is there. False at the end of the stream. */
static inline int receive(int fd, struct ty_buf *in)
{
    for (;;) {
        ssize_t n = recv(fd, ty_buf_reserve(in, 65536), 65536, MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return 0;
        in->len += (size_t)n;
    }
}

struct answer {
    int status;
    char *head; /* NUL-terminated */
    char *body;
    size_t body_len;
    size_t size; /* of all of it on the wire */
};

static inline void answer_close(struct answer *answer)
{
    free(answer->head);
    free(answer->body);
    *answer = (struct answer){0};
}

/* The value of a field into `out`; empty if there is none. */
static inline const char *field(const struct answer *answer, const char *name)
{
    static char out[1024];
    const char *at = answer->head;
    size_t len = strlen(name);

    out[0] = '\0';
    while ((at = strstr(at, "\r\n"))) {
        at += 2;
        if (strncasecmp(at, name, len) == 0 && at[len] == ':') {
            snprintf(out, sizeof(out), "%.*s", (int)strcspn(at + len + 2, "\r"), at + len + 2);
            break;
        }
    }
    return out;
}

static inline int parse_chunks(const char *data, size_t len, struct answer *answer)
{
    struct ty_buf body = {0};
    size_t at = 0;

    for (;;) {
        const char *line_end = len > at ? memmem(data + at, len - at, "\r\n", 2) : NULL;

        if (!line_end)
            break;

        size_t size = strtoul(data + at, NULL, 16);

        at = (size_t)(line_end - data) + 2;
        if (len - at < size + 2)
            break;
        ty_buf_add(&body, data + at, size);
        at += size + 2;
        if (size == 0) {
            answer->body = (char *)(uintptr_t)ty_buf_cstr(&body);
            answer->body_len = body.len;
            answer->size += at;
            return 1;
        }
    }
    ty_buf_close(&body);
    return 0;
}

/* Takes one whole answer from the front of `in`; false if there is none yet. */
static inline int parse_answer(struct ty_buf *in, int is_head, int is_closed, struct answer *answer)
{
    const char *end = in->len ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL;

    if (!end)
        return 0;
    *answer = (struct answer){.size = (size_t)(end - in->data) + 4};
    answer->head = ty_strndup(in->data, answer->size);
    answer->status = atoi(answer->head + sizeof("HTTP/1.1"));

    const char *data = in->data + answer->size;
    size_t left = in->len - answer->size, len = strtoul(field(answer, "Content-Length"), NULL, 10);
    int complete = 1;

    if (is_head || answer->status < 200 || answer->status == 204 || answer->status == 304)
        len = 0;
    if (!is_head && field(answer, "Transfer-Encoding")[0]) {
        complete = parse_chunks(data, left, answer);
    } else if (!is_head && answer->status == 200 && !field(answer, "Content-Length")[0]) {
        complete = is_closed;
        len = left;
    }
    if (!answer->body && complete && left >= len) {
        answer->body = ty_strndup(data, 0);
        answer->body = ty_realloc(answer->body, len + 1);
        memcpy(answer->body, data, len);
        answer->body[len] = '\0';
        answer->body_len = len;
        answer->size += len;
    }
    if (!complete || !answer->body) {
        answer_close(answer);
        return 0;
    }
    ty_buf_consume(in, answer->size);
    return 1;
}

/* Waits for one answer. What comes behind it stays in `in`. */
static inline struct answer await_answer(struct fixture *f, int fd, struct ty_buf *in, int is_head)
{
    uint64_t give_up = ty_now_ms() + PATIENCE_MS;
    struct answer answer = {0};

    for (;;) {
        int open = receive(fd, in);

        if (parse_answer(in, is_head, !open, &answer))
            return answer;
        if (!open)
            return (struct answer){.head = ty_strdup(""), .body = ty_strdup("")};
        if (ty_now_ms() > give_up)
            fail_msg("no answer; so far: %.*s", (int)in->len, in->data ? in->data : "");
        pump(f, fd, POLLIN);
    }
}

/* Everything until the server closes. */
static inline void await_close(struct fixture *f, int fd, struct ty_buf *in)
{
    uint64_t give_up = ty_now_ms() + PATIENCE_MS;

    while (receive(fd, in)) {
        if (ty_now_ms() > give_up)
            fail_msg("not closed; got: %.*s", (int)in->len, in->data ? in->data : "");
        pump(f, fd, POLLIN);
    }
}

/* One request on a connection of its own. */
static inline struct answer ask(struct fixture *f, const char *request)
{
    struct ty_buf in = {0};
    int fd = dial(f);

    say(f, fd, request);
    struct answer answer = await_answer(f, fd, &in, strncmp(request, "HEAD", 4) == 0);

    close(fd);
    ty_buf_close(&in);
    return answer;
}
