#include <inttypes.h>
#include <signal.h>

#include "host/master.h"
#include "tycho/clock.h"
#include "tycho/log.h"

/* Workers that have become too large finish and are replaced: one at a time, so that the others can
 * take over, and none too often, so that a limit that is too small does not stop the server. */

enum { PAUSE_MS = 10000, MIB = 1024 * 1024 };

static bool is_serving(const struct worker *worker)
{
    return worker->state == WORKER_SERVING && worker->shared->state == TY_SLOT_SERVING;
}

/* Also not in the middle of a reload, which a worker that leaves would end. */
static bool may_go(const struct worker *worker, uint64_t now_ms)
{
    const struct master *master = worker->master;

    if (master->is_stopping || !master->is_ready || ty_reload_is_busy(master->reload) ||
        worker->is_recycled || worker->offered ||
        (worker->recycled_ms && now_ms - worker->recycled_ms < PAUSE_MS))
        return false;
    for (unsigned i = 0; i < master->worker_count; i++)
        if (!is_serving(&master->workers[i]))
            return false;
    return true;
}

void ty_recycle_asked(struct worker *worker, uint64_t bytes, uint64_t max)
{
    uint64_t now = ty_now_ms();

    if (!may_go(worker, now))
        return; /* it asks again */
    ty_log_warn("host",
                "web worker %u holds %" PRIu64 " MiB, more than %" PRIu64
                " MiB (host.worker_memory_max): it finishes and is replaced",
                worker->slot, bytes / MIB, max / MIB);
    worker->is_recycled = true;
    worker->recycled_ms = now;
    worker->recycles++;
    ty_child_kill(worker->child, SIGTERM);
}
