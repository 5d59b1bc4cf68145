#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"
#include "tycho/log.h"

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % sides;
}

static const char *const requests[] = {
    "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /later?x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "POST /show/%41 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    "GET http://b:80/show?q HTTP/1.1\r\nHost: a\r\nTraceparent: 00-0-0-0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
};

/* Some requests in a row, now and then with a byte changed, lost or doubled. */
static void write_stream(struct ty_buf *out, uint32_t *seed)
{
    uint32_t count = 1 + dice(seed, 6), wrong = dice(seed, 3);

    while (count--)
        ty_buf_adds(out, requests[dice(seed, sizeof(requests) / sizeof(requests[0]))]);
    while (wrong-- && out->len > 1) {
        uint32_t at = dice(seed, (uint32_t)out->len - 1), kind = dice(seed, 3);

        if (kind == 0) {
            out->data[at] = (char)dice(seed, 256);
        } else if (kind == 1) {
            memmove(out->data + at, out->data + at + 1, out->len - at - 1);
            out->len--;
        } else {
            ty_buf_addc(out, 0);
            memmove(out->data + at + 1, out->data + at, out->len - at - 1);
        }
    }
}

static void answer_one(struct fixture *f, uint32_t *seed)
{
    static char large[300000];
    struct ty_request *req = f->held[--f->held_count];

    switch (dice(seed, 4)) {
    case 0:
        ty_request_respond(req, 200, NULL, 0, TY_SLICE("held"));
        break;
    case 1:
        ty_request_respond(req, 200, NULL, 0, (struct ty_slice){large, sizeof(large)});
        break;
    case 2:
        ty_request_begin(req, 200, NULL, 0, 8);
        ty_request_write(req, TY_SLICE("1234567890"));
        ty_request_end(req, false);
        break;
    default:
        ty_request_begin(req, 200, NULL, 0, -1);
        ty_request_write(req, (struct ty_slice){large, dice(seed, sizeof(large))});
        ty_request_end(req, dice(seed, 2));
        break;
    }
}

static void hang_up(int *fd, uint32_t *seed)
{
    const struct linger linger = {.l_onoff = 1};

    if (dice(seed, 2))
        setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(*fd);
    *fd = -1;
}

/* One thing that one of the clients, or the site, may do. */
static void act(struct fixture *f, int *fd, struct ty_buf *out, uint32_t *seed)
{
    char bin[4096];

    if (*fd < 0) {
        *fd = dial(f);
        out->len = 0;
        write_stream(out, seed);
    }
    switch (dice(seed, 8)) {
    case 0:
        hang_up(fd, seed);
        break;
    case 1:
        shutdown(*fd, SHUT_WR);
        break;
    case 2:
    case 3:
        if (recv(*fd, bin, sizeof(bin), MSG_DONTWAIT) == 0)
            hang_up(fd, seed);
        break;
    case 4:
        if (f->held_count)
            answer_one(f, seed);
        break;
    default:
        if (out->len) {
            size_t len = 1 + dice(seed, (uint32_t)out->len);
            ssize_t n = send(*fd, out->data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

            ty_buf_consume(out, n > 0 ? (size_t)n : 0);
        }
        break;
    }
}

static bool is_busy(const struct fixture *f)
{
    struct ty_http_counts counts = ty_http_server_counts(f->server);

    return counts.connections || counts.requests;
}

static void whatever_clients_do_nothing_is_left_behind(void **state)
{
    enum { CLIENTS = 16, STEPS = 20000 };

    (void)state;
    ty_log_set_level(TY_LOG_OFF); /* it would be about answers that are too long */
    for (uint32_t round = 0; round < 8; round++) {
        struct fixture f;
        struct ty_buf out[CLIENTS] = {0};
        int fds[CLIENTS];
        uint32_t seed = round;

        prepare(&f);
        f.options.limits.send_max = 10000;
        f.options.limits.pending_max = 100;
        f.options.limits.linger_ms = 100;
        f.options.limits.header_timeout_ms = 200;
        f.options.limits.body_timeout_ms = 200;
        f.options.limits.keepalive_timeout_ms = 200;
        f.options.limits.send_timeout_ms = 200;
        start(&f);
        memset(fds, -1, sizeof(fds));
        for (int step = 0; step < STEPS; step++) {
            uint32_t client = dice(&seed, CLIENTS);

            act(&f, &fds[client], &out[client], &seed);
            if (dice(&seed, 3) == 0)
                uv_run(&f.loop, UV_RUN_NOWAIT);
        }
        while (f.held_count && round % 2)
            answer_one(&f, &seed);
        for (int i = 0; i < CLIENTS && round % 4 < 2; i++) {
            if (fds[i] >= 0)
                hang_up(&fds[i], &seed);
        }
        if (round % 2) {
            for (uint64_t give_up = ty_now_ms() + PATIENCE_MS; is_busy(&f); pump(&f, -1, 0)) {
                while (f.held_count) /* what was pipelined behind others */
                    answer_one(&f, &seed);
                assert_true(ty_now_ms() < give_up);
            }
        }
        stop(&f);
        for (int i = 0; i < CLIENTS; i++) {
            if (fds[i] >= 0)
                close(fds[i]);
            ty_buf_close(&out[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_clients_do_nothing_is_left_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
