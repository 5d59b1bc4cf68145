/* How the registry lies in shared memory.
 *
 * Families and series are tables that only grow. An entry is filled in first and counted last, so
 * that what is counted is complete and never changes: readers need no lock, and a process that
 * dies while it registers leaves nothing behind that anybody sees. Behind the tables every slot has
 * its cells; a series has the same place in each of them.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "tycho/metrics.h"

enum {
    TY_METRIC_FAMILIES_MAX = 512,
    TY_METRIC_NAME_MAX = 128,
    TY_METRIC_HELP_MAX = 256,
    TY_METRIC_CELLS_MAX = 32768, /* of one slot */
};

struct ty_metric_family {
    char name[TY_METRIC_NAME_MAX];
    char help[TY_METRIC_HELP_MAX];
    uint32_t type; /* enum ty_metric_type */
    uint32_t bound_count;
    double bounds[TY_METRIC_BUCKETS_MAX];
};

struct ty_metric_series {
    uint32_t family;
    uint32_t cell; /* first; a histogram has a bucket per bound, +Inf, and the sum */
    char labels[TY_METRIC_TEXT_MAX];
};

struct ty_metric_registry {
    uint32_t magic;
    uint32_t slots;
    pthread_mutex_t lock; /* robust; held while registering */
    _Atomic uint32_t family_count;
    _Atomic uint32_t series_count;
    uint64_t hashes[TY_METRIC_SERIES_MAX]; /* of the series, for finding them */
    struct ty_metric_family families[TY_METRIC_FAMILIES_MAX];
    struct ty_metric_series series[TY_METRIC_SERIES_MAX];
    _Atomic double cells[]; /* TY_METRIC_CELLS_MAX for each slot */
};

/* The registry in use. */
struct ty_metric_registry *ty_metrics_registry(void);

uint32_t ty_metric_cell_count(const struct ty_metric_family *family);

/* The sum over all slots of the cell that is `offset` behind the first of the series. */
double ty_metric_sum(struct ty_metric_registry *registry, const struct ty_metric_series *series,
                     uint32_t offset);
