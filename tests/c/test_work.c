#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/metrics.h"
#include "tycho/work.h"

enum { MANY = 12 };

/* Work that runs until its gate opens. */
struct job {
    struct ty_work work;
    struct gate *gate;
    int status; /* 1: not done */
    int order;
};

struct gate {
    uv_mutex_t lock;
    uv_cond_t changed;
    bool is_open;
    int inside;
    int most_inside;
    int done; /* the loop's */
};

static void gate_init(struct gate *gate, bool is_open)
{
    memset(gate, 0, sizeof(*gate));
    uv_mutex_init(&gate->lock);
    uv_cond_init(&gate->changed);
    gate->is_open = is_open;
}

static void gate_open(struct gate *gate)
{
    uv_mutex_lock(&gate->lock);
    gate->is_open = true;
    uv_cond_broadcast(&gate->changed);
    uv_mutex_unlock(&gate->lock);
}

static void gate_wait_inside(struct gate *gate, int count)
{
    uv_mutex_lock(&gate->lock);
    while (gate->inside < count)
        uv_cond_wait(&gate->changed, &gate->lock);
    uv_mutex_unlock(&gate->lock);
}

static void gate_close(struct gate *gate)
{
    uv_mutex_destroy(&gate->lock);
    uv_cond_destroy(&gate->changed);
}

static void pass(struct ty_work *work)
{
    struct gate *gate = ((struct job *)work)->gate;

    uv_mutex_lock(&gate->lock);
    if (++gate->inside > gate->most_inside)
        gate->most_inside = gate->inside;
    uv_cond_broadcast(&gate->changed);
    while (!gate->is_open)
        uv_cond_wait(&gate->changed, &gate->lock);
    gate->inside--;
    uv_mutex_unlock(&gate->lock);
}

static void note(struct ty_work *work, int status)
{
    struct job *job = (struct job *)work;

    assert_int_equal(job->status, 1); /* once */
    job->status = status;
    job->order = job->gate->done++;
}

static int submit(struct ty_lane *lane, struct job *job, struct gate *gate)
{
    *job = (struct job){.gate = gate, .status = 1};
    return ty_lane_submit(lane, &job->work, pass, note);
}

static void finish(uv_loop_t *loop, struct ty_lane *lane)
{
    ty_lane_free(lane);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void a_lane_runs_no_more_at_once_than_its_bound(void **state)
{
    struct job jobs[MANY];
    struct gate gate;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    gate_init(&gate, false);
    struct ty_lane *lane = ty_lane_new(&loop, "bound", 3, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(submit(lane, &jobs[i], &gate), 0);
    gate_wait_inside(&gate, 3);
    assert_true(ty_metrics_value("tycho_work_running", "lane=\"bound\"") == 3);
    assert_true(ty_metrics_value("tycho_work_queued", "lane=\"bound\"") == MANY - 3);
    gate_open(&gate);
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_int_equal(gate.done, MANY);
    assert_int_equal(gate.most_inside, 3);
    assert_true(ty_metrics_value("tycho_work_running", "lane=\"bound\"") == 0);
    assert_true(ty_metrics_value("tycho_work_queued", "lane=\"bound\"") == 0);
    gate_close(&gate);
    finish(&loop, lane);
}

static void work_of_one_at_a_time_runs_in_order(void **state)
{
    struct job jobs[MANY];
    struct gate gate;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    gate_init(&gate, true);
    struct ty_lane *lane = ty_lane_new(&loop, "order", 1, MANY);
    for (int i = 0; i < MANY; i++)
        submit(lane, &jobs[i], &gate);
    uv_run(&loop, UV_RUN_DEFAULT);

    for (int i = 0; i < MANY; i++)
        assert_int_equal(jobs[i].order, i);
    gate_close(&gate);
    finish(&loop, lane);
}

static void a_full_queue_refuses_at_once(void **state)
{
    struct job jobs[4];
    struct gate gate;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    gate_init(&gate, false);
    struct ty_lane *lane = ty_lane_new(&loop, "full", 1, 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(submit(lane, &jobs[i], &gate), 0);
    assert_int_equal(submit(lane, &jobs[3], &gate), UV_ENOBUFS);
    gate_open(&gate);
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_int_equal(gate.done, 3);
    assert_int_equal(jobs[3].status, 1);
    assert_true(ty_metrics_value("tycho_work_refused_total", "lane=\"full\"") == 1);
    gate_close(&gate);
    finish(&loop, lane);
}

static void waiting_work_can_be_cancelled_and_running_work_goes_on(void **state)
{
    struct job jobs[4];
    struct gate gate;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    gate_init(&gate, false);
    struct ty_lane *lane = ty_lane_new(&loop, "cancel", 1, 8);
    for (int i = 0; i < 4; i++)
        submit(lane, &jobs[i], &gate);
    gate_wait_inside(&gate, 1);
    ty_work_cancel(&jobs[0].work);
    ty_work_cancel(&jobs[3].work);
    ty_work_cancel(&jobs[1].work);
    ty_work_cancel(&jobs[1].work);
    assert_int_equal(jobs[1].status, 1); /* never from inside */
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(jobs[1].status, UV_ECANCELED);
    assert_int_equal(jobs[3].status, UV_ECANCELED);
    gate_open(&gate);
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_int_equal(jobs[0].status, 0);
    assert_int_equal(jobs[2].status, 0);
    gate_close(&gate);
    finish(&loop, lane);
}

static void a_stuck_lane_does_not_stop_another(void **state)
{
    struct job stuck[MANY], free_job;
    struct gate shut, open;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    gate_init(&shut, false);
    gate_init(&open, true);
    struct ty_lane *slow = ty_lane_new(&loop, "slow", 4, MANY);
    struct ty_lane *fast = ty_lane_new(&loop, "fast", 1, MANY);
    for (int i = 0; i < MANY; i++)
        submit(slow, &stuck[i], &shut);
    gate_wait_inside(&shut, 4);
    submit(fast, &free_job, &open);
    while (free_job.status == 1)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(shut.done, 0);
    gate_open(&shut);
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_int_equal(shut.done, MANY);
    gate_close(&shut);
    gate_close(&open);
    ty_lane_free(fast);
    finish(&loop, slow);
}

static void an_idle_lane_keeps_no_loop_open(void **state)
{
    struct job jobs[2];
    struct gate gate;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    gate_init(&gate, true);
    struct ty_lane *lane = ty_lane_new(&loop, "idle", 1, MANY);
    submit(lane, &jobs[0], &gate);
    submit(lane, &jobs[1], &gate);
    ty_work_cancel(&jobs[1].work);
    uv_run(&loop, UV_RUN_DEFAULT);

    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(jobs[1].status, UV_ECANCELED);
    gate_close(&gate);
    ty_lane_free(lane);
}

static int set_up_pool(void **state)
{
    (void)state;
    ty_work_setup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_runs_no_more_at_once_than_its_bound),
        cmocka_unit_test(work_of_one_at_a_time_runs_in_order),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(waiting_work_can_be_cancelled_and_running_work_goes_on),
        cmocka_unit_test(a_stuck_lane_does_not_stop_another),
        cmocka_unit_test(an_idle_lane_keeps_no_loop_open),
    };

    return cmocka_run_group_tests(tests, set_up_pool, NULL);
}
