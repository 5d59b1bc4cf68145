#include "http/admission.h"

#include "http/conn.h"
#include "tycho/clock.h"

enum {
    NS_PER_MS = 1000000,
    SLICE_NS = 10 * NS_PER_MS, /* of one turn for those who waited */
    PAUSE_MS = 1000,           /* without refusing anybody: that was all */
    TRY_MS = 100,              /* one request that often while memory is short */
};

static const struct ty_metric shed = {
    .name = "tycho_http_shed_total",
    .help = "Requests refused with 503 so that others are answered.",
    .type = TY_COUNTER,
};
static const struct ty_metric length = {
    .name = "tycho_http_queued",
    .help = "Requests that wait for their turn.",
    .type = TY_GAUGE,
};
static const struct ty_metric wait_time = {
    .name = "tycho_http_queue_wait_seconds",
    .help = "How long those waited that had to.",
    .type = TY_HISTOGRAM,
};

static struct ty_http_server *server_of(const struct ty_exchange *ex)
{
    return ex->req.conn->server;
}

static struct ty_lane *lane_of(struct ty_exchange *ex)
{
    struct ty_route *route = ex->req.match.route;

    return route ? &route->lane : &server_of(ex)->admission.no_route;
}

static bool has_room(const struct ty_lane *lane)
{
    return !lane->max || lane->running < lane->max;
}

static bool is_full(const struct ty_http_server *server)
{
    return server->request_count >= server->options.limits.request_max;
}

/* ---- refusing */

/* A route that is at its own limit is no reason to take the worker out of service. */
static void count_shed(struct ty_http_server *server, enum ty_shed why)
{
    struct ty_admission *adm = &server->admission;
    uint64_t now = uv_now(server->loop);

    ty_counter_add(adm->shed[why], 1);
    if (why == TY_SHED_QUARANTINE || (why < TY_SHED_LAG && !is_full(server)))
        return;
    if (!adm->shed_since_ms || now - adm->shed_last_ms > PAUSE_MS)
        adm->shed_since_ms = now;
    adm->shed_last_ms = now;
}

static void refuse(struct ty_exchange *ex, enum ty_shed why)
{
    count_shed(server_of(ex), why);
    ty_conn_refuse(ex->req.conn, TY_REFUSE_OVERLOAD);
}

void ty_request_count_quarantined(struct ty_request *req)
{
    if (req->conn) /* else a test made it up */
        count_shed(req->conn->server, TY_SHED_QUARANTINE);
}

uint64_t ty_http_server_shedding_ms(const struct ty_http_server *server)
{
    const struct ty_admission *adm = &server->admission;

    if (!adm->shed_since_ms || uv_now(server->loop) - adm->shed_last_ms > PAUSE_MS)
        return 0;
    return adm->shed_last_ms - adm->shed_since_ms;
}

/* ---- waiting */

/* The lane comes last: the others are served before it. */
static void add_lane(struct ty_admission *adm, struct ty_lane *lane)
{
    if (!adm->lanes) {
        lane->prev = lane->next = lane;
        adm->lanes = lane;
        return;
    }
    lane->next = adm->lanes;
    lane->prev = adm->lanes->prev;
    lane->prev->next = lane;
    lane->next->prev = lane;
}

static void remove_lane(struct ty_admission *adm, struct ty_lane *lane)
{
    lane->prev->next = lane->next;
    lane->next->prev = lane->prev;
    if (adm->lanes == lane)
        adm->lanes = lane->next == lane ? NULL : lane->next;
    lane->prev = lane->next = NULL;
}

static void on_timer(uv_timer_t *timer);

static void arm(struct ty_http_server *server)
{
    struct ty_admission *adm = &server->admission;
    uint64_t at = adm->oldest->queued_ms + server->options.limits.queue_timeout_ms;
    uint64_t now = uv_now(server->loop);

    uv_timer_start(&adm->timer, on_timer, at > now ? at - now : 0, 0);
}

static void add(struct ty_exchange *ex, struct ty_lane *lane)
{
    struct ty_http_server *server = server_of(ex);
    struct ty_admission *adm = &server->admission;

    ex->queued_ms = ty_now_ms();
    ex->is_queued = true;
    ex->older = adm->newest;
    *(adm->newest ? &adm->newest->newer : &adm->oldest) = ex;
    adm->newest = ex;
    ex->before = lane->last;
    *(lane->last ? &lane->last->behind : &lane->first) = ex;
    lane->last = ex;
    if (lane->waiting++ == 0)
        add_lane(adm, lane);
    if (adm->queued++ == 0)
        arm(server);
    ty_gauge_set(adm->length, (double)adm->queued);
}

static void take_out(struct ty_exchange *ex)
{
    struct ty_admission *adm = &server_of(ex)->admission;
    struct ty_lane *lane = lane_of(ex);

    ex->is_queued = false;
    *(ex->older ? &ex->older->newer : &adm->oldest) = ex->newer;
    *(ex->newer ? &ex->newer->older : &adm->newest) = ex->older;
    *(ex->before ? &ex->before->behind : &lane->first) = ex->behind;
    *(ex->behind ? &ex->behind->before : &lane->last) = ex->before;
    ex->older = ex->newer = ex->before = ex->behind = NULL;
    if (--lane->waiting == 0)
        remove_lane(adm, lane);
    if (--adm->queued == 0)
        uv_timer_stop(&adm->timer);
    ty_gauge_set(adm->length, (double)adm->queued);
    ty_histogram_observe(adm->wait, (double)(ty_now_ms() - ex->queued_ms) / 1e3);
}

static bool has_waited_too_long(const struct ty_exchange *ex, uint64_t now_ms)
{
    return now_ms - ex->queued_ms >= server_of(ex)->options.limits.queue_timeout_ms;
}

static void on_timer(uv_timer_t *timer)
{
    struct ty_http_server *server = timer->data;
    struct ty_admission *adm = &server->admission;
    uint64_t now_ms = ty_now_ms();

    while (adm->oldest && has_waited_too_long(adm->oldest, now_ms)) {
        struct ty_exchange *ex = adm->oldest;

        take_out(ex);
        refuse(ex, TY_SHED_QUEUE_TIMEOUT);
    }
    if (adm->oldest)
        arm(server);
}

static struct ty_lane *longest_lane(const struct ty_admission *adm)
{
    struct ty_lane *longest = adm->lanes;

    for (struct ty_lane *lane = longest->next; lane != adm->lanes; lane = lane->next) {
        if (lane->waiting > longest->waiting)
            longest = lane;
    }
    return longest;
}

/* False: there is no place. */
static bool queue(struct ty_exchange *ex)
{
    struct ty_http_server *server = server_of(ex);
    struct ty_admission *adm = &server->admission;
    const struct ty_http_limits *limits = &server->options.limits;
    struct ty_lane *lane = lane_of(ex);

    if (!limits->queue_max || !limits->queue_timeout_ms)
        return false;
    if (adm->queued >= limits->queue_max) {
        struct ty_lane *longest = longest_lane(adm);
        struct ty_exchange *last = longest->last;

        if (longest->waiting <= lane->waiting + 1)
            return false;
        take_out(last);
        refuse(last, TY_SHED_QUEUE_FULL);
    }
    add(ex, lane);
    return true;
}

/* ---- deciding */

/* The next lane where somebody waits and that may run one more; NULL: none. */
static struct ty_lane *next_lane(const struct ty_admission *adm)
{
    struct ty_lane *lane = adm->lanes;

    if (!lane)
        return NULL;
    do {
        if (has_room(lane))
            return lane;
        lane = lane->next;
    } while (lane != adm->lanes);
    return NULL;
}

/* Somebody must find out that there is memory again. */
static bool may_try(struct ty_admission *adm, uint64_t now_ms)
{
    if (now_ms - adm->tried_ms < TRY_MS)
        return false;
    adm->tried_ms = now_ms;
    return true;
}

static bool decide(struct ty_exchange *ex, bool is_late, uint64_t now_ns)
{
    struct ty_http_server *server = server_of(ex);
    struct ty_admission *adm = &server->admission;
    struct ty_lane *lane = lane_of(ex);

    if (ex->req.site->is_pressed && !may_try(adm, now_ns / NS_PER_MS)) {
        refuse(ex, TY_SHED_MEMORY);
        return false;
    }
    if (is_late && ty_turn_refuses(&adm->turn, now_ns)) {
        refuse(ex, TY_SHED_LAG);
        return false;
    }
    /* Nobody overtakes who could be let in. */
    if (!is_full(server) && has_room(lane) && !lane->waiting && !next_lane(adm))
        return true;
    if (!queue(ex))
        refuse(ex, TY_SHED_QUEUE_FULL);
    return false;
}

bool ty_admission_take(struct ty_exchange *ex)
{
    struct ty_http_server *server = server_of(ex);
    struct ty_admission *adm = &server->admission;
    const struct ty_route *route = ex->req.match.route;
    uint64_t now_ns = ex->is_in_pieces ? ty_now_ns() : ex->req.began_ns;

    if (!adm->turn.began_ns)
        ty_turn_begin(&adm->turn, uv_now(server->loop));

    bool is_late = ty_turn_waited(&adm->turn, now_ns) > adm->turn.limit_ns;

    if (is_late || adm->queued || ex->req.site->is_pressed || is_full(server) ||
        (route && !has_room(&route->lane)))
        return decide(ex, is_late, now_ns);
    return true;
}

void ty_admission_enter(struct ty_exchange *ex)
{
    struct ty_http_server *server = server_of(ex);

    ex->is_with_site = true;
    server->request_count++;
    server->admission.turn.let_in++;
    lane_of(ex)->running++;
    ty_gauge_add(server->measure.active, 1);
}

void ty_admission_leave(struct ty_exchange *ex)
{
    struct ty_http_server *server = server_of(ex);

    if (ex->is_queued)
        take_out(ex);
    if (!ex->is_with_site)
        return;
    server->request_count--;
    lane_of(ex)->running--;
    ty_gauge_add(server->measure.active, -1);
    if (server->admission.queued)
        ty_server_wake(server);
}

void ty_admission_continue(struct ty_http_server *server)
{
    struct ty_admission *adm = &server->admission;
    uint64_t began_ns = adm->queued ? ty_now_ns() : 0;
    struct ty_lane *lane;

    while (!is_full(server) && (lane = next_lane(adm))) {
        struct ty_exchange *ex = lane->first;
        uint64_t now_ns = ty_now_ns();

        if (now_ns - began_ns > SLICE_NS) {
            ty_server_wake(server);
            return;
        }
        adm->lanes = lane->next;
        take_out(ex);
        if (has_waited_too_long(ex, now_ns / NS_PER_MS)) {
            refuse(ex, TY_SHED_QUEUE_TIMEOUT);
        } else {
            ty_admission_enter(ex);
            ex->req.site->handle(&ex->req);
        }
    }
}

void ty_admission_refuse_all(struct ty_http_server *server)
{
    struct ty_admission *adm = &server->admission;

    while (adm->oldest) {
        struct ty_exchange *ex = adm->oldest;

        take_out(ex);
        refuse(ex, TY_SHED_SHUTDOWN);
    }
}

/* ---- life cycle */

static void on_prepare(uv_prepare_t *prepare)
{
    struct ty_http_server *server = prepare->data;

    ty_turn_end(&server->admission.turn, ty_now_ns());
}

static void on_check(uv_check_t *check)
{
    struct ty_http_server *server = check->data;

    if (!server->admission.turn.began_ns)
        ty_turn_begin(&server->admission.turn, uv_now(server->loop));
}

static void open_series(struct ty_admission *adm)
{
    static const char *const labels[] = {
#define X(name, label) [TY_SHED_##name] = "reason=\"" label "\"",
        TY_SHEDS(X)
#undef X
    };

    for (int i = 0; i < TY_SHED_COUNT_OF; i++)
        adm->shed[i] = ty_metrics_series(&shed, labels[i]);
    adm->length = ty_metrics_series(&length, NULL);
    adm->wait = ty_metrics_series(&wait_time, NULL);
}

/* The handles do not keep the loop running: there is nothing to wait for while nobody connects. */
void ty_admission_open(struct ty_http_server *server)
{
    struct ty_admission *adm = &server->admission;

    open_series(adm);
    uv_prepare_init(server->loop, &adm->prepare);
    uv_check_init(server->loop, &adm->check);
    uv_timer_init(server->loop, &adm->timer);
    adm->prepare.data = adm->check.data = adm->timer.data = server;
    uv_prepare_start(&adm->prepare, on_prepare);
    uv_check_start(&adm->check, on_check);
    uv_unref((uv_handle_t *)&adm->prepare);
    uv_unref((uv_handle_t *)&adm->check);
}

void ty_admission_configure(struct ty_http_server *server)
{
    ty_turn_configure(&server->admission.turn, server->options.limits.shed_lag_ms);
}

void ty_admission_close(struct ty_http_server *server, uv_close_cb closed)
{
    struct ty_admission *adm = &server->admission;

    uv_close((uv_handle_t *)&adm->prepare, closed);
    uv_close((uv_handle_t *)&adm->check, closed);
    uv_close((uv_handle_t *)&adm->timer, closed);
}
