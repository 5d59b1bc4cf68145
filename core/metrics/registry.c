#include "metrics/registry.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAGIC = 0x74796d31, SUM_AND_INF = 2, DROPPED = 0 };

struct ty_series {
    _Atomic double *cells; /* NULL until asked for */
    const double *bounds;
    uint32_t bound_count;
};

static const double seconds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
                                 0.5,   0.75, 1,     2.5,  5,     7.5, 10};

static const struct ty_metric dropped_metric = {
    .name = "tycho_metrics_dropped_series_total",
    .help = "Series that were not registered because there was no room for them.",
    .type = TY_COUNTER,
};

/* Which registry this process counts in. */
static struct {
    struct ty_metric_registry *registry;
    uint32_t slot;
    struct ty_series handles[TY_METRIC_SERIES_MAX]; /* same index as in the registry */
    struct ty_series sink;
    _Atomic double sink_cells[TY_METRIC_BUCKETS_MAX + SUM_AND_INF];
} local; /* check: allow NO-GLOBALS because a process counts in one registry */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u; /* FNV-1a */
    return hash;
}

static uint64_t hash_series(const char *name, const char *labels)
{
    return hash_text(hash_text(hash_text(0xcbf29ce484222325u, name), "{"), labels);
}

size_t ty_metrics_size(unsigned slots)
{
    return sizeof(struct ty_metric_registry) + sizeof(double) * TY_METRIC_CELLS_MAX * slots;
}

uint32_t ty_metric_cell_count(const struct ty_metric_family *family)
{
    return family->type == TY_HISTOGRAM ? family->bound_count + SUM_AND_INF : 1;
}

static void lock(struct ty_metric_registry *registry)
{
    /* Its owner died: what it did not finish was not counted, so there is nothing to repair. */
    if (pthread_mutex_lock(&registry->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&registry->lock);
}

static int find(struct ty_metric_registry *registry, const char *name, const char *labels)
{
    uint32_t count = atomic_load_explicit(&registry->series_count, memory_order_acquire);
    uint64_t hash = hash_series(name, labels);

    for (uint32_t i = 0; i < count; i++) {
        const struct ty_metric_series *series = &registry->series[i];

        if (registry->hashes[i] == hash && strcmp(series->labels, labels) == 0 &&
            strcmp(registry->families[series->family].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static void fill_family(struct ty_metric_family *family, const struct ty_metric *metric)
{
    const double *bounds = metric->bounds ? metric->bounds : seconds;
    size_t count = metric->bounds ? metric->bound_count : sizeof(seconds) / sizeof(*seconds);

    snprintf(family->name, sizeof(family->name), "%s", metric->name);
    snprintf(family->help, sizeof(family->help), "%s", metric->help ? metric->help : "");
    family->type = (uint32_t)metric->type;
    if (metric->type != TY_HISTOGRAM)
        count = 0;
    else if (count > TY_METRIC_BUCKETS_MAX)
        count = TY_METRIC_BUCKETS_MAX;
    family->bound_count = (uint32_t)count;
    memcpy(family->bounds, bounds, count * sizeof(*bounds));
}

static bool is_same(const struct ty_metric_family *a, const struct ty_metric_family *b)
{
    return a->type == b->type && a->bound_count == b->bound_count &&
           memcmp(a->bounds, b->bounds, a->bound_count * sizeof(*a->bounds)) == 0;
}

/* Finds or adds the family; -1 if there is no room, or one of that name that is different. */
static int enter_family(struct ty_metric_registry *registry, const struct ty_metric *metric)
{
    uint32_t count = atomic_load(&registry->family_count);
    struct ty_metric_family family = {0};

    if (strlen(metric->name) >= sizeof(family.name))
        return -1;
    fill_family(&family, metric);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(registry->families[i].name, family.name) == 0)
            return is_same(&registry->families[i], &family) ? (int)i : -1;
    if (count == TY_METRIC_FAMILIES_MAX)
        return -1;
    registry->families[count] = family;
    atomic_store_explicit(&registry->family_count, count + 1, memory_order_release);
    return (int)count;
}

/* The first cell behind those of the last series: derived, so that it cannot be wrong. */
static uint32_t next_cell(const struct ty_metric_registry *registry, uint32_t count)
{
    if (count == 0)
        return 0;
    const struct ty_metric_series *last = &registry->series[count - 1];
    return last->cell + ty_metric_cell_count(&registry->families[last->family]);
}

/* With the lock held. -1: no room. */
static int enter(struct ty_metric_registry *registry, const struct ty_metric *metric,
                 const char *labels)
{
    uint32_t count = atomic_load(&registry->series_count);
    int found = find(registry, metric->name, labels);

    if (found >= 0)
        return found;
    if (count == TY_METRIC_SERIES_MAX ||
        strlen(metric->name) + strlen(labels) >= TY_METRIC_TEXT_MAX)
        return -1;
    int family = enter_family(registry, metric);
    uint32_t cell = next_cell(registry, count);
    if (family < 0 ||
        cell + ty_metric_cell_count(&registry->families[family]) > TY_METRIC_CELLS_MAX)
        return -1;

    struct ty_metric_series *series = &registry->series[count];
    series->family = (uint32_t)family;
    series->cell = cell;
    memcpy(series->labels, labels, strlen(labels) + 1);
    registry->hashes[count] = hash_series(metric->name, labels);
    atomic_store_explicit(&registry->series_count, count + 1, memory_order_release);
    return (int)count;
}

void ty_metrics_format(void *memory, unsigned slots)
{
    struct ty_metric_registry *registry = memory;
    pthread_mutexattr_t shared;

    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&registry->lock, &shared);
    pthread_mutexattr_destroy(&shared);
    registry->slots = slots;
    enter(registry, &dropped_metric, "");
    registry->magic = MAGIC;
}

static _Atomic double *slot_cells(struct ty_metric_registry *registry, uint32_t slot)
{
    return registry->cells + (size_t)slot * TY_METRIC_CELLS_MAX;
}

void ty_metrics_attach(void *memory, unsigned slot)
{
    struct ty_metric_registry *registry = memory;
    uint32_t count = atomic_load_explicit(&registry->series_count, memory_order_acquire);

    if (registry->magic != MAGIC || slot >= registry->slots) {
        fprintf(stderr, "tycho: slot %u of the metrics does not exist\n", slot);
        abort();
    }
    memset(local.handles, 0, sizeof(local.handles));
    local.registry = registry;
    local.slot = slot;
    for (uint32_t i = 0; i < count; i++) {
        const struct ty_metric_series *series = &registry->series[i];

        if (registry->families[series->family].type == TY_GAUGE)
            atomic_store_explicit(&slot_cells(registry, slot)[series->cell], 0,
                                  memory_order_relaxed);
    }
}

struct ty_metric_registry *ty_metrics_registry(void)
{
    if (!local.registry) {
        /* Mostly never touched, so it costs only what is used of it. */
        void *memory = mmap(NULL, ty_metrics_size(1), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (memory == MAP_FAILED) {
            fprintf(stderr, "tycho: out of memory for metrics\n");
            abort();
        }
        ty_metrics_format(memory, 1);
        ty_metrics_attach(memory, 0);
    }
    return local.registry;
}

static struct ty_series *handle(struct ty_metric_registry *registry, int index)
{
    const struct ty_metric_series *series = &registry->series[index];
    const struct ty_metric_family *family = &registry->families[series->family];
    struct ty_series *handle = &local.handles[index];

    if (!handle->cells) {
        handle->bounds = family->bounds;
        handle->bound_count = family->bound_count;
        handle->cells = slot_cells(registry, local.slot) + series->cell;
    }
    return handle;
}

/* Cells that nobody reads; as many as any series has. */
static struct ty_series *sink(struct ty_metric_registry *registry)
{
    ty_counter_add(handle(registry, DROPPED), 1);
    local.sink.cells = local.sink_cells;
    local.sink.bounds = seconds;
    local.sink.bound_count = sizeof(seconds) / sizeof(*seconds);
    return &local.sink;
}

struct ty_series *ty_metrics_series(const struct ty_metric *metric, const char *labels)
{
    struct ty_metric_registry *registry = ty_metrics_registry();
    int index = find(registry, metric->name, labels ? labels : "");

    if (index < 0) {
        lock(registry);
        index = enter(registry, metric, labels ? labels : "");
        pthread_mutex_unlock(&registry->lock);
    } else {
        struct ty_metric_family family = {0};

        fill_family(&family, metric);
        if (!is_same(&registry->families[registry->series[index].family], &family))
            index = -1;
    }
    return index < 0 ? sink(registry) : handle(registry, index);
}

/* One writer per cell: a load and a store, not a locked instruction. */
static inline void add(_Atomic double *cell, double amount)
{
    double now = atomic_load_explicit(cell, memory_order_relaxed);

    atomic_store_explicit(cell, now + amount, memory_order_relaxed);
}

void ty_counter_add(struct ty_series *series, double amount)
{
    add(series->cells, amount);
}

void ty_gauge_set(struct ty_series *series, double value)
{
    atomic_store_explicit(series->cells, value, memory_order_relaxed);
}

void ty_gauge_add(struct ty_series *series, double amount)
{
    add(series->cells, amount);
}

void ty_histogram_observe(struct ty_series *series, double value)
{
    uint32_t bucket = 0;

    while (bucket < series->bound_count && !(value <= series->bounds[bucket]))
        bucket++;
    add(&series->cells[bucket], 1);
    add(&series->cells[series->bound_count + 1], value);
}

double ty_metric_sum(struct ty_metric_registry *registry, const struct ty_metric_series *series,
                     uint32_t offset)
{
    double sum = 0;

    for (uint32_t slot = 0; slot < registry->slots; slot++)
        sum += atomic_load_explicit(&slot_cells(registry, slot)[series->cell + offset],
                                    memory_order_relaxed);
    return sum;
}

double ty_metrics_value(const char *name, const char *labels)
{
    struct ty_metric_registry *registry = ty_metrics_registry();
    int index = find(registry, name, labels ? labels : "");
    double sum = 0;

    if (index < 0)
        return 0;
    const struct ty_metric_series *series = &registry->series[index];
    const struct ty_metric_family *family = &registry->families[series->family];
    for (uint32_t i = 0; i <= family->bound_count; i++)
        sum += ty_metric_sum(registry, series, i);
    return sum;
}

size_t ty_metrics_buckets(const char *name, const char *labels,
                          double bounds[TY_METRIC_BUCKETS_MAX + 1],
                          double counts[TY_METRIC_BUCKETS_MAX + 1])
{
    struct ty_metric_registry *registry = ty_metrics_registry();
    int index = find(registry, name, labels ? labels : "");

    if (index < 0 || registry->families[registry->series[index].family].type != TY_HISTOGRAM)
        return 0;
    const struct ty_metric_series *series = &registry->series[index];
    const struct ty_metric_family *family = &registry->families[series->family];
    for (uint32_t i = 0; i <= family->bound_count; i++) {
        bounds[i] = i < family->bound_count ? family->bounds[i] : (double)INFINITY;
        counts[i] = ty_metric_sum(registry, series, i);
    }
    return family->bound_count + 1;
}
