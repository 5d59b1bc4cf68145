/* Who is let in, who waits and who is refused. GET /hold stays with its site until the test
 * answers it; its route is one lane, /hello's another. */
#define _GNU_SOURCE /* memmem */
#include "http_fixture.h"
#include "support/figure.h"

#define HOST "Host: a\r\n\r\n"
#define HOLD "GET /hold HTTP/1.1\r\n" HOST
#define HELLO "GET /hello HTTP/1.1\r\n" HOST

enum { HOLD_ROUTE = 3, CLIENTS_MAX = 32 };

static int health(bool ready, struct ty_buf *body, void *arg)
{
    (void)arg;
    ty_buf_adds(body, ready ? "ready" : "alive");
    return 200;
}

static void prepare_limits(struct fixture *f, size_t requests, size_t queue, uint32_t timeout_ms)
{
    prepare(f);
    f->options.health = health;
    f->options.limits.request_max = requests;
    f->options.limits.queue_max = queue;
    f->options.limits.queue_timeout_ms = timeout_ms;
}

static double shed(const char *reason)
{
    char labels[64];

    snprintf(labels, sizeof(labels), "reason=\"%s\"", reason);
    return ty_metrics_value("tycho_http_shed_total", labels);
}

static size_t queued(void)
{
    return (size_t)ty_metrics_value("tycho_http_queued", NULL);
}

static int dial_and_say(struct fixture *f, const char *request)
{
    int fd = dial(f);

    say(f, fd, request);
    return fd;
}

/* So many more wait afterwards. */
static int dial_and_wait(struct fixture *f, const char *request)
{
    size_t before = queued();
    int fd = dial_and_say(f, request);

    WAIT_FOR(f, queued() == before + 1);
    return fd;
}

static void hear(struct fixture *f, int fd, int status)
{
    struct ty_buf in = {0};
    struct answer answer = await_answer(f, fd, &in, 0);

    assert_int_equal(answer.status, status);
    if (status == 503) {
        assert_string_equal(field(&answer, "Retry-After"), "1");
        assert_string_equal(field(&answer, "Content-Type"), "application/problem+json");
    }
    answer_close(&answer);
    ty_buf_close(&in);
}

static void hear_and_close(struct fixture *f, int fd, int status)
{
    hear(f, fd, status);
    close(fd);
}

/* Answers the request that its site has had for the longest. */
static void answer_first(struct fixture *f)
{
    struct ty_request *req = f->held[0];

    assert_true(f->held_count);
    f->held_count--;
    for (size_t i = 0; i < f->held_count; i++)
        f->held[i] = f->held[i + 1];
    ty_request_respond(req, 200, NULL, 0, req->query);
}

static void some(struct fixture *f, int turns)
{
    while (turns--)
        pump(f, -1, 0);
}

static void those_above_the_limit_are_answered_in_their_order(void **state)
{
    struct fixture f;
    int fds[6];
    char request[64];

    (void)state;
    prepare_limits(&f, 2, 10, 10000);
    start(&f);
    double waited = ty_metrics_value("tycho_http_queue_wait_seconds", NULL);

    for (int i = 0; i < 6; i++) {
        snprintf(request, sizeof(request), "GET /hold?%d HTTP/1.1\r\n" HOST, i);
        fds[i] = i < 2 ? dial_and_say(&f, request) : dial_and_wait(&f, request);
        WAIT_FOR(&f, f.held_count == (i < 2 ? (size_t)i + 1 : 2));
    }
    assert_int_equal(ty_http_server_counts(f.server).requests, 2);
    for (int i = 0; i < 6; i++) {
        struct ty_buf in = {0};

        answer_first(&f);
        struct answer answer = await_answer(&f, fds[i], &in, 0);

        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body[0], '0' + i);
        answer_close(&answer);
        ty_buf_close(&in);
        close(fds[i]);
        WAIT_FOR(&f, f.held_count == (i < 4 ? 2 : (size_t)(5 - i)));
    }
    assert_true(ty_metrics_value("tycho_http_queue_wait_seconds", NULL) == waited + 4);
    assert_int_equal(queued(), 0);
    stop(&f);
}

static void a_full_queue_refuses_at_once_and_the_connection_stays(void **state)
{
    struct fixture f;
    double before = shed("queue_full");

    (void)state;
    prepare_limits(&f, 1, 1, 10000);
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int waiting = dial_and_wait(&f, HOLD);
    int third = dial(&f);

    for (int i = 0; i < 3; i++) {
        uint64_t since = ty_now_ms();

        say(&f, third, HOLD);
        hear(&f, third, 503);
        /* The test's own pumping is most of it. */
        assert_true(ty_now_ms() - since < at_most_ms(500));
    }
    assert_true(shed("queue_full") == before + 3);
    answer_first(&f);
    hear_and_close(&f, held, 200);
    WAIT_FOR(&f, f.held_count);
    answer_first(&f);
    hear_and_close(&f, waiting, 200);
    say(&f, third, HELLO);
    hear_and_close(&f, third, 200);
    stop(&f);
}

static void nobody_waits_longer_than_the_limit(void **state)
{
    struct fixture f;
    double before = shed("queue_timeout");

    (void)state;
    prepare_limits(&f, 1, 10, 150);
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    uint64_t since = ty_now_ms();
    int first = dial_and_wait(&f, HOLD);
    int second = dial_and_wait(&f, HELLO);

    hear(&f, first, 503);
    assert_in_range(ty_now_ms() - since, 145, at_most_ms(400));
    hear(&f, second, 503);
    assert_int_equal(queued(), 0);
    assert_true(shed("queue_timeout") == before + 2);
    answer_first(&f);
    hear_and_close(&f, held, 200);
    say(&f, first, HELLO);
    hear_and_close(&f, first, 200);
    close(second);
    stop(&f);
}

static void a_limit_of_nobody_waiting_refuses_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fixture f;

        prepare_limits(&f, 1, i ? 10 : 0, i ? 0 : 10000);
        start(&f);
        int held = dial_and_say(&f, HOLD);

        WAIT_FOR(&f, f.held_count);
        hear_and_close(&f, dial_and_say(&f, HELLO), 503);
        answer_first(&f);
        hear_and_close(&f, held, 200);
        stop(&f);
    }
}

static void a_client_that_goes_while_it_waits_is_taken_out_at_once(void **state)
{
    static const struct linger linger = {.l_onoff = 1};
    struct fixture f;

    (void)state;
    prepare_limits(&f, 1, 10, 10000);
    start(&f);
    double aborted = ty_metrics_value("tycho_http_aborted_total", NULL);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int fds[3];

    for (int i = 0; i < 3; i++)
        fds[i] = dial_and_wait(&f, HOLD);
    close(fds[1]);
    WAIT_FOR(&f, queued() == 2);
    setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fds[0]);
    WAIT_FOR(&f, queued() == 1);
    assert_int_equal(f.handled, 1);
    assert_int_equal(f.aborted, 0); /* their site never saw them */
    assert_true(ty_metrics_value("tycho_http_aborted_total", NULL) == aborted + 2);
    answer_first(&f);
    hear_and_close(&f, held, 200);
    WAIT_FOR(&f, f.held_count);
    answer_first(&f);
    hear_and_close(&f, fds[2], 200);
    assert_int_equal(f.handled, 2);
    stop(&f);
}

static void a_route_at_its_own_limit_holds_up_no_other(void **state)
{
    struct fixture f;
    int held[2], waiting[3];

    (void)state;
    prepare_limits(&f, 100, 3, 10000);
    start(&f);
    f.routes[HOLD_ROUTE].lane.max = 2;
    for (int i = 0; i < 2; i++)
        held[i] = dial_and_say(&f, HOLD);
    WAIT_FOR(&f, f.held_count == 2);
    for (int i = 0; i < 3; i++)
        waiting[i] = dial_and_wait(&f, HOLD);
    hear_and_close(&f, dial_and_say(&f, HOLD), 503);
    for (int i = 0; i < 10; i++)
        hear_and_close(&f, dial_and_say(&f, HELLO), 200);
    assert_int_equal(f.held_count, 2);
    assert_int_equal(ty_http_server_shedding_ms(f.server), 0);

    for (int i = 0; i < 5; i++) {
        answer_first(&f);
        hear_and_close(&f, i < 2 ? held[i] : waiting[i - 2], 200);
        WAIT_FOR(&f, f.held_count == (i < 3 ? 2 : (size_t)(4 - i)));
    }
    stop(&f);
}

static void a_short_lane_gets_a_place_of_the_longest_one(void **state)
{
    struct fixture f;

    (void)state;
    prepare_limits(&f, 1, 3, 10000);
    start(&f);
    int held = dial_and_say(&f, HOLD), fds[3];

    WAIT_FOR(&f, f.held_count);
    for (int i = 0; i < 3; i++)
        fds[i] = dial_and_wait(&f, HOLD);
    int other = dial_and_say(&f, HELLO);

    hear_and_close(&f, fds[2], 503); /* the newest of the longest lane */
    assert_int_equal(queued(), 3);
    hear_and_close(&f, dial_and_say(&f, HELLO), 503); /* 2 and 1: no lane is that much longer */

    /* The lanes take turns: /hold, /hello, /hold. */
    answer_first(&f);
    hear_and_close(&f, held, 200);
    WAIT_FOR(&f, f.held_count);
    assert_int_equal(f.handled, 2);
    answer_first(&f);
    hear_and_close(&f, fds[0], 200);
    hear_and_close(&f, other, 200);
    WAIT_FOR(&f, f.held_count);
    answer_first(&f);
    hear_and_close(&f, fds[1], 200);
    stop(&f);
}

static void finish_at_once(struct ty_request *req)
{
    fixture_of(req)->held_count--;
    ty_request_respond(req, 499, NULL, 0, TY_SLICE(""));
}

static void nobody_overtakes_who_waits(void **state)
{
    struct fixture f;

    (void)state;
    prepare_limits(&f, 1, 10, 10000);
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int waiting = dial_and_wait(&f, HOLD), late = dial(&f);

    some(&f, 3);
    /* The loop sees both in one turn: room, and one that could have it. */
    f.held[0]->on_abort = finish_at_once;
    close(held);
    assert_int_equal(send(late, HELLO, strlen(HELLO), 0), strlen(HELLO));
    WAIT_FOR(&f, f.handled == 2);
    assert_int_equal(f.held_count, 1);
    assert_int_equal(queued(), 1);
    answer_first(&f);
    hear_and_close(&f, waiting, 200);
    hear_and_close(&f, late, 200);
    stop(&f);
}

static void a_lane_that_cannot_use_the_room_does_not_keep_it(void **state)
{
    struct fixture f;

    (void)state;
    prepare_limits(&f, 2, 10, 10000);
    start(&f);
    f.routes[HOLD_ROUTE].lane.max = 1;
    f.site.handle = hold;
    int first = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count == 1);
    int blocked = dial_and_wait(&f, HOLD);
    int other = dial_and_say(&f, HELLO);

    WAIT_FOR(&f, f.held_count == 2);
    int next = dial_and_wait(&f, HELLO);
    struct ty_request *req = f.held[0];

    f.held[0] = f.held[1];
    f.held[1] = req;
    answer_first(&f); /* the other one */
    hear_and_close(&f, other, 200);
    WAIT_FOR(&f, f.held_count == 2);
    assert_int_equal(queued(), 1);
    answer_first(&f);
    hear_and_close(&f, first, 200);
    WAIT_FOR(&f, f.held_count == 2);
    answer_first(&f);
    hear_and_close(&f, next, 200);
    answer_first(&f);
    hear_and_close(&f, blocked, 200);
    stop(&f);
}

static void expect_ok(struct fixture *f, int fd, struct ty_buf *in)
{
    struct answer answer = await_answer(f, fd, in, 0);

    assert_int_equal(answer.status, 200);
    answer_close(&answer);
}

static void pipelined_requests_wait_too(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare_limits(&f, 1, 10, 10000);
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int fd = dial_and_wait(&f, HELLO HELLO HOLD);

    answer_first(&f);
    hear_and_close(&f, held, 200);
    expect_ok(&f, fd, &in);
    expect_ok(&f, fd, &in);
    WAIT_FOR(&f, f.held_count);
    answer_first(&f);
    expect_ok(&f, fd, &in);
    close(fd);
    ty_buf_close(&in);
    stop(&f);
}

static void who_waits_is_served_while_the_server_drains(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare_limits(&f, 1, 10, 10000);
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int waiting = dial_and_wait(&f, HELLO);

    ty_http_server_drain(f.server, on_closed, &f);
    some(&f, 3);
    assert_int_equal(f.closed, 0);
    answer_first(&f);
    hear_and_close(&f, held, 200);
    struct answer answer = await_answer(&f, waiting, &in, 0);

    assert_int_equal(answer.status, 200);
    assert_string_equal(field(&answer, "Connection"), "close");
    answer_close(&answer);
    close(waiting);
    ty_buf_close(&in);
    WAIT_FOR(&f, f.closed);
    f.closed = 0;
    stop(&f);
}

static void who_waits_when_the_server_closes_is_told(void **state)
{
    struct fixture f;
    double before = shed("shutdown");

    (void)state;
    prepare_limits(&f, 1, 10, 10000);
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int waiting = dial_and_wait(&f, HELLO);

    ty_http_server_close(f.server, on_closed, &f);
    f.server = NULL;
    hear_and_close(&f, waiting, 503);
    assert_true(shed("shutdown") == before + 1);
    close(held);
    stop(&f);
}

static void who_waits_is_answered_by_the_site_it_was_routed_to(void **state)
{
    struct fixture f;
    struct ty_buf in = {0};

    (void)state;
    prepare_limits(&f, 1, 10, 10000);
    f.options.generation_header = "X-Generation";
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int waiting = dial_and_wait(&f, HELLO);
    struct ty_site next = f.site;

    next.router = ty_router_new();
    next.refs = 1;
    next.requests = 0;
    next.on_unused = NULL;
    memcpy(next.generation, "ffffffffffff", 12);
    ty_http_server_set_site(f.server, &next);
    answer_first(&f);
    hear_and_close(&f, held, 200);
    struct answer answer = await_answer(&f, waiting, &in, 0);

    assert_int_equal(answer.status, 200);
    assert_string_equal(field(&answer, "X-Generation"), "abcdef012345");
    answer_close(&answer);
    close(waiting);
    ty_buf_close(&in);
    ty_http_server_set_site(f.server, &f.site);
    ty_router_free(next.router);
    stop(&f);
}

static void health_is_answered_whatever_waits(void **state)
{
    struct fixture f;

    (void)state;
    prepare_limits(&f, 1, 1, 10000);
    start(&f);
    int held = dial_and_say(&f, HOLD);

    WAIT_FOR(&f, f.held_count);
    int waiting = dial_and_wait(&f, HOLD);

    hear_and_close(&f, dial_and_say(&f, HELLO), 503);
    hear_and_close(&f, dial_and_say(&f, "GET /livez HTTP/1.1\r\n" HOST), 200);
    hear_and_close(&f, dial_and_say(&f, "GET /readyz HTTP/1.1\r\n" HOST), 200);
    answer_first(&f);
    hear_and_close(&f, held, 200);
    WAIT_FOR(&f, f.held_count);
    answer_first(&f);
    hear_and_close(&f, waiting, 200);
    stop(&f);
}

static void a_site_short_of_memory_gets_a_request_now_and_then(void **state)
{
    struct fixture f;
    double before = shed("memory");
    int fd, answered = 0;

    (void)state;
    prepare_limits(&f, 100, 10, 10000);
    start(&f);
    f.site.is_pressed = true;
    fd = dial(&f);
    for (uint64_t until = ty_now_ms() + 350; ty_now_ms() < until;) {
        struct ty_buf in = {0};

        say(&f, fd, HELLO);
        struct answer answer = await_answer(&f, fd, &in, 0);

        assert_true(answer.status == 200 || answer.status == 503);
        answered += answer.status == 200;
        answer_close(&answer);
        ty_buf_close(&in);
    }
    assert_in_range(answered, 1, 5);
    assert_true(shed("memory") > before);
    f.site.is_pressed = false;
    say(&f, fd, HELLO);
    hear_and_close(&f, fd, 200);
    stop(&f);
}

static void burn(struct ty_request *req)
{
    uint64_t until = ty_now_ns() + 5000000;

    while (ty_now_ns() < until)
        ;
    ty_request_respond(req, 200, NULL, 0, TY_SLICE("burned"));
}

/* Every client asks again as soon as it has its answer: always more than the worker can do. */
static void a_worker_that_cannot_keep_up_refuses_some_and_stays_quick(void **state)
{
    struct fixture f;
    int fds[CLIENTS_MAX];
    struct ty_buf in[CLIENTS_MAX] = {{0}};
    double before = shed("lag");
    size_t answered = 0, refused = 0;

    (void)state;
    prepare_limits(&f, 1000, 1000, 10000);
    f.options.limits.shed_lag_ms = 50;
    start(&f);
    f.site.handle = burn;
    for (int i = 0; i < CLIENTS_MAX; i++)
        fds[i] = dial_and_say(&f, HELLO);
    for (uint64_t until = ty_now_ms() + 1500; ty_now_ms() < until;) {
        for (int i = 0; i < CLIENTS_MAX; i++) {
            struct answer answer;

            assert_true(receive(fds[i], &in[i]));
            if (!parse_answer(&in[i], 0, 0, &answer))
                continue;
            answered += answer.status == 200;
            refused += answer.status == 503;
            answer_close(&answer);
            send(fds[i], HELLO, strlen(HELLO), MSG_NOSIGNAL);
        }
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    assert_true(refused > 0);
    assert_true(shed("lag") >= before + (double)refused);
    assert_true(answered > 60); /* 300 are possible */
    assert_true(ty_http_server_shedding_ms(f.server) > 0);
    for (int i = 0; i < CLIENTS_MAX; i++) {
        close(fds[i]);
        ty_buf_close(&in[i]);
    }
    f.site.handle = handle;
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_above_the_limit_are_answered_in_their_order),
        cmocka_unit_test(a_full_queue_refuses_at_once_and_the_connection_stays),
        cmocka_unit_test(nobody_waits_longer_than_the_limit),
        cmocka_unit_test(a_limit_of_nobody_waiting_refuses_at_once),
        cmocka_unit_test(a_client_that_goes_while_it_waits_is_taken_out_at_once),
        cmocka_unit_test(a_route_at_its_own_limit_holds_up_no_other),
        cmocka_unit_test(a_short_lane_gets_a_place_of_the_longest_one),
        cmocka_unit_test(nobody_overtakes_who_waits),
        cmocka_unit_test(a_lane_that_cannot_use_the_room_does_not_keep_it),
        cmocka_unit_test(pipelined_requests_wait_too),
        cmocka_unit_test(who_waits_is_served_while_the_server_drains),
        cmocka_unit_test(who_waits_when_the_server_closes_is_told),
        cmocka_unit_test(who_waits_is_answered_by_the_site_it_was_routed_to),
        cmocka_unit_test(health_is_answered_whatever_waits),
        cmocka_unit_test(a_site_short_of_memory_gets_a_request_now_and_then),
        cmocka_unit_test(a_worker_that_cannot_keep_up_refuses_some_and_stays_quick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
