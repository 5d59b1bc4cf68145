/* Blocking or CPU-heavy C, off the loop.
 *
 * Work runs on libuv's thread pool, through lanes: a lane is one kind of work (sqlite readers,
 * password hashing, file I/O) with a bound on how much of it runs at once and how much may
 * wait, so that no kind starves another. A lane belongs to one loop; while it is idle it holds no
 * handle of it, so that one that lives as long as the process need not be freed.
 */
#pragma once

#include <uv.h>

struct ty_lane;
struct ty_work;

typedef void ty_work_fn(struct ty_work *work); /* on a pool thread */

/* On the loop, exactly once per successful ty_lane_submit(), never from inside it. `status` is
 * 0, or UV_ECANCELED if `run` never ran. May free the work. */
typedef void ty_work_done_fn(struct ty_work *work, int status);

/* First member of the caller's request struct; the caller's memory until `done` has run. */
struct ty_work {
    uv_work_t req;
    struct ty_lane *lane;
    struct ty_work *next;
    ty_work_fn *run;
    ty_work_done_fn *done;
    int state;
};

/* `parallel` at once, `queue_max` more waiting. Appears in the metrics as `name`. */
struct ty_lane *ty_lane_new(uv_loop_t *loop, const char *name, unsigned parallel,
                            unsigned queue_max);

/* Once nothing runs or waits in it. */
void ty_lane_free(struct ty_lane *lane);

/* 0, or UV_ENOBUFS when the queue is full: nothing was started, `done` will not run. */
int ty_lane_submit(struct ty_lane *lane, struct ty_work *work, ty_work_fn *run,
                   ty_work_done_fn *done);

/* Takes waiting work out (its `done` runs later with UV_ECANCELED); running work goes on. */
void ty_work_cancel(struct ty_work *work);

/* Call once in main(), before any thread: sizes libuv's pool for all lanes. */
void ty_work_setup(void);
