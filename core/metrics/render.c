#include "metrics/registry.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 32, DIGITS_MIN = 15, DIGITS_MAX = 17 };

static const char *const type_names[] = {
    [TY_COUNTER] = "counter", [TY_GAUGE] = "gauge", [TY_HISTOGRAM] = "histogram"};

struct scrape {
    struct ty_buf *out;
    struct ty_metric_registry *registry;
    bool openmetrics;
};

/* The shortest form that reads back as the same number. */
static void add_number(struct ty_buf *out, double value)
{
    char text[NUMBER_MAX];

    if (isnan(value)) {
        ty_buf_adds(out, "NaN");
    } else if (isinf(value)) {
        ty_buf_adds(out, value > 0 ? "+Inf" : "-Inf");
    } else if (value >= 0 && value < 9007199254740992.0 && value == floor(value)) {
        ty_buf_addu(out, (unsigned long long)value);
    } else {
        for (int digits = DIGITS_MIN; digits <= DIGITS_MAX; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, value);
            if (strtod(text, NULL) == value)
                break;
        }
        ty_buf_adds(out, text);
    }
}

static void add_escaped(struct ty_buf *out, const char *text, size_t len, bool quotes)
{
    for (size_t i = 0, n; i < len; i += n ? n : 1) {
        n = ty_utf8_len(text + i, len - i);
        if (n == 0)
            ty_buf_adds(out, "\xEF\xBF\xBD"); /* one bad byte would spoil the whole scrape */
        else if (text[i] == '\n')
            ty_buf_adds(out, "\\n");
        else if (text[i] == '\\' || (text[i] == '"' && quotes))
            ty_buf_add(out, (char[]){'\\', text[i]}, 2);
        else
            ty_buf_add(out, text + i, n);
    }
}

void ty_metrics_add_label(struct ty_buf *out, const char *name, const char *value, size_t len)
{
    if (out->len)
        ty_buf_addc(out, ',');
    ty_buf_adds(out, name);
    ty_buf_adds(out, "=\"");
    add_escaped(out, value, len, true);
    ty_buf_addc(out, '"');
}

static bool ends_in(const char *name, size_t len, const char *suffix)
{
    size_t n = strlen(suffix);

    return len > n && memcmp(name + len - n, suffix, n) == 0;
}

/* OpenMetrics wants the unit, which must be the end of the family's name. */
static void add_unit(struct ty_buf *out, const char *name, size_t len)
{
    static const char *const units[] = {"seconds", "bytes", "ratio"};

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        char suffix[16];

        snprintf(suffix, sizeof(suffix), "_%s", units[i]);
        if (ends_in(name, len, suffix))
            ty_buf_addf(out, "# UNIT %.*s %s\n", (int)len, name, units[i]);
    }
}

static void add_head(const struct scrape *scrape, const struct ty_metric_family *family)
{
    struct ty_buf *out = scrape->out;
    size_t len = strlen(family->name);

    /* In OpenMetrics a counter's family has no _total, only its samples have. */
    if (scrape->openmetrics && family->type == TY_COUNTER && ends_in(family->name, len, "_total"))
        len -= strlen("_total");
    ty_buf_addf(out, "# TYPE %.*s %s\n", (int)len, family->name, type_names[family->type]);
    if (scrape->openmetrics)
        add_unit(out, family->name, len);
    ty_buf_addf(out, "# HELP %.*s ", (int)len, family->name);
    add_escaped(out, family->help, strlen(family->help), scrape->openmetrics);
    ty_buf_addc(out, '\n');
}

static void add_sample(const struct scrape *scrape, const char *name, const char *suffix,
                       const char *labels, double value)
{
    struct ty_buf *out = scrape->out;

    ty_buf_adds(out, name);
    ty_buf_adds(out, suffix);
    if (*labels) {
        ty_buf_addc(out, '{');
        ty_buf_adds(out, labels);
        ty_buf_addc(out, '}');
    }
    ty_buf_addc(out, ' ');
    add_number(out, value);
    ty_buf_addc(out, '\n');
}

static void add_bound(const struct scrape *scrape, struct ty_buf *labels, double bound)
{
    if (labels->len)
        ty_buf_addc(labels, ',');
    ty_buf_adds(labels, "le=\"");
    size_t start = labels->len;
    add_number(labels, bound);
    /* OpenMetrics writes bounds as floats: 1.0 */
    if (scrape->openmetrics && isfinite(bound) &&
        !memchr(labels->data + start, '.', labels->len - start) &&
        !memchr(labels->data + start, 'e', labels->len - start))
        ty_buf_adds(labels, ".0");
    ty_buf_addc(labels, '"');
}

static void add_histogram(const struct scrape *scrape, const struct ty_metric_family *family,
                          const struct ty_metric_series *series)
{
    struct ty_buf labels = {0};
    double count = 0;

    for (uint32_t i = 0; i <= family->bound_count; i++) {
        bool last = i == family->bound_count;

        count += ty_metric_sum(scrape->registry, series, i);
        labels.len = 0;
        ty_buf_adds(&labels, series->labels);
        add_bound(scrape, &labels, last ? (double)INFINITY : family->bounds[i]);
        add_sample(scrape, family->name, "_bucket", ty_buf_cstr(&labels), count);
    }
    add_sample(scrape, family->name, "_sum", series->labels,
               ty_metric_sum(scrape->registry, series, family->bound_count + 1));
    add_sample(scrape, family->name, "_count", series->labels, count);
    ty_buf_close(&labels);
}

static void add_family(const struct scrape *scrape, uint32_t index, uint32_t series_count)
{
    const struct ty_metric_family *family = &scrape->registry->families[index];
    bool has_head = false;

    for (uint32_t i = 0; i < series_count; i++) {
        const struct ty_metric_series *series = &scrape->registry->series[i];

        if (series->family != index)
            continue;
        if (!has_head)
            add_head(scrape, family);
        has_head = true;
        if (family->type == TY_HISTOGRAM)
            add_histogram(scrape, family, series);
        else
            add_sample(scrape, family->name, "", series->labels,
                       ty_metric_sum(scrape->registry, series, 0));
    }
}

void ty_metrics_render(struct ty_buf *out, int openmetrics)
{
    struct ty_metric_registry *registry = ty_metrics_registry();
    struct scrape scrape = {out, registry, openmetrics != 0};
    /* In this order: a series that is counted has a family that is. */
    uint32_t series = atomic_load_explicit(&registry->series_count, memory_order_acquire);
    uint32_t families = atomic_load_explicit(&registry->family_count, memory_order_acquire);

    for (uint32_t i = 0; i < families; i++)
        add_family(&scrape, i, series);
    if (openmetrics)
        ty_buf_adds(out, "# EOF\n");
}
