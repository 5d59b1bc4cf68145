#include "tycho/work.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/buffer.h"
#include "tycho/memory.h"
#include "tycho/metrics.h"

/* At least the sum of what all lanes run at once, so that no lane takes another's threads. They
 * are cheap while they sleep. */
#define POOL_THREADS "32"

enum state { IDLE, WAITING, STARTED, CANCELLED };

struct queue {
    struct ty_work *head;
    struct ty_work *tail;
};

struct ty_lane {
    uv_loop_t *loop;
    unsigned parallel;
    unsigned queue_max;
    unsigned running;
    unsigned queued;
    struct queue waiting;
    struct queue cancelled; /* `done` still to run, by the timer */
    uv_timer_t *later;      /* only while there are any: an idle lane keeps no loop open */
    struct ty_series *running_gauge;
    struct ty_series *queued_gauge;
    struct ty_series *refused_counter;
};

static const struct ty_metric running_metric = {
    .name = "tycho_work_running", .help = "Pieces of work on pool threads.", .type = TY_GAUGE};
static const struct ty_metric queued_metric = {.name = "tycho_work_queued",
                                               .help = "Pieces of work that wait for a thread.",
                                               .type = TY_GAUGE};
static const struct ty_metric refused_metric = {
    .name = "tycho_work_refused_total",
    .help = "Pieces of work refused because the lane's queue was full.",
    .type = TY_COUNTER};

static void push(struct queue *queue, struct ty_work *work)
{
    work->next = NULL;
    if (queue->tail)
        queue->tail->next = work;
    else
        queue->head = work;
    queue->tail = work;
}

static struct ty_work *pop(struct queue *queue)
{
    struct ty_work *work = queue->head;

    if (work) {
        queue->head = work->next;
        if (!queue->head)
            queue->tail = NULL;
    }
    return work;
}

static void take_out(struct queue *queue, struct ty_work *work)
{
    struct ty_work *before = NULL;

    for (struct ty_work *at = queue->head; at != work; at = at->next)
        before = at;
    if (before)
        before->next = work->next;
    else
        queue->head = work->next;
    if (queue->tail == work)
        queue->tail = before;
}

static void show(const struct ty_lane *lane)
{
    ty_gauge_set(lane->running_gauge, lane->running);
    ty_gauge_set(lane->queued_gauge, lane->queued);
}

struct ty_lane *ty_lane_new(uv_loop_t *loop, const char *name, unsigned parallel,
                            unsigned queue_max)
{
    struct ty_lane *lane = ty_zalloc(sizeof(*lane));
    struct ty_buf labels = {0};

    lane->loop = loop;
    lane->parallel = parallel;
    lane->queue_max = queue_max;
    ty_metrics_add_label(&labels, "lane", name, strlen(name));
    lane->running_gauge = ty_metrics_series(&running_metric, ty_buf_cstr(&labels));
    lane->queued_gauge = ty_metrics_series(&queued_metric, ty_buf_cstr(&labels));
    lane->refused_counter = ty_metrics_series(&refused_metric, ty_buf_cstr(&labels));
    ty_buf_close(&labels);
    return lane;
}

void ty_lane_free(struct ty_lane *lane)
{
    if (!lane)
        return;
    assert(lane->running == 0 && lane->queued == 0 && !lane->cancelled.head);
    free(lane);
}

static void on_thread(uv_work_t *req)
{
    struct ty_work *work = req->data;

    work->run(work);
}

static void start_waiting(struct ty_lane *lane);

static void on_done(uv_work_t *req, int status)
{
    struct ty_work *work = req->data;
    struct ty_lane *lane = work->lane;

    work->state = IDLE;
    lane->running--;
    start_waiting(lane);
    work->done(work, status); /* may free the work, and an empty lane */
}

static void start_waiting(struct ty_lane *lane)
{
    while (lane->running < lane->parallel && lane->waiting.head) {
        struct ty_work *work = pop(&lane->waiting);

        lane->queued--;
        lane->running++;
        work->state = STARTED;
        work->req.data = work;
        uv_queue_work(lane->loop, &work->req, on_thread, on_done);
    }
    show(lane);
}

int ty_lane_submit(struct ty_lane *lane, struct ty_work *work, ty_work_fn *run,
                   ty_work_done_fn *done)
{
    if (lane->running >= lane->parallel && lane->queued >= lane->queue_max) {
        ty_counter_add(lane->refused_counter, 1);
        return UV_ENOBUFS;
    }
    work->lane = lane;
    work->run = run;
    work->done = done;
    work->state = WAITING;
    lane->queued++;
    push(&lane->waiting, work);
    start_waiting(lane);
    return 0;
}

static void on_closed(uv_handle_t *later)
{
    free(later);
}

static void on_later(uv_timer_t *later)
{
    struct ty_lane *lane = later->data;
    struct queue cancelled = lane->cancelled;

    /* One that is cancelled from inside a `done` waits for the next time. */
    lane->cancelled = (struct queue){0};
    lane->later = NULL;
    uv_close((uv_handle_t *)later, on_closed);
    for (struct ty_work *work; (work = pop(&cancelled));) {
        work->state = IDLE;
        work->done(work, UV_ECANCELED);
    }
}

static void deliver_later(struct ty_lane *lane)
{
    if (lane->later)
        return;
    lane->later = ty_zalloc(sizeof(*lane->later));
    uv_timer_init(lane->loop, lane->later);
    lane->later->data = lane;
    uv_timer_start(lane->later, on_later, 0, 0);
}

void ty_work_cancel(struct ty_work *work)
{
    struct ty_lane *lane = work->lane;

    if (work->state == STARTED) {
        uv_cancel((uv_req_t *)&work->req); /* fails harmlessly once a thread has it */
    } else if (work->state == WAITING) {
        take_out(&lane->waiting, work);
        lane->queued--;
        work->state = CANCELLED;
        push(&lane->cancelled, work);
        deliver_later(lane);
        show(lane);
    }
}

void ty_work_setup(void)
{
    setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 0);
}
