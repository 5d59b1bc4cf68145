#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/remote.h"
#include "cli/terminal.h"
#include "tycho/memory.h"

/* lag: how late a running server's loops are, and whose lines held them. */

enum { BAR_MAX = 40, LINES_MAX = 4096 };

static void print_bar(double count, double most)
{
    int width = most > 0 ? (int)(count / most * BAR_MAX + 0.5) : 0;

    for (int i = 0; i < (count > 0 && width == 0 ? 1 : width); i++)
        fputs("█", stdout);
    fputc('\n', stdout);
}

static void print_buckets(yyjson_val *buckets)
{
    size_t i, count;
    double total = 0, most = 0;
    yyjson_val *bucket;

    yyjson_arr_foreach(buckets, i, count, bucket)
    {
        double met = answer_num(bucket, "count");
        total += met;
        most = met > most ? met : most;
    }
    term_print(stdout, TERM_BOLD, "How late the loops ran a timer of 50 ms, since the start\n");
    yyjson_arr_foreach(buckets, i, count, bucket)
    {
        struct ty_buf bound = {0};
        double met = answer_num(bucket, "count");

        if (yyjson_is_null(yyjson_obj_get(bucket, "most")))
            ty_buf_adds(&bound, "more");
        else
            term_duration(answer_num(bucket, "most"), &bound);
        printf("%8s  %10.0f  %6.2f%%  ", ty_buf_cstr(&bound), met,
               total > 0 ? met / total * 100 : 0);
        print_bar(met, most);
        ty_buf_close(&bound);
    }
}

/* A line that held the loops of several workers. */
struct held {
    const char *route, *line;
    double count, total, max, last;
};

static unsigned merge(yyjson_val *root, struct held *list)
{
    size_t w, l, workers, lines;
    yyjson_val *worker, *line;
    unsigned count = 0, at;

    yyjson_arr_foreach(yyjson_obj_get(root, "workers"), w, workers, worker)
    {
        yyjson_arr_foreach(yyjson_obj_get(worker, "generations"), l, lines, line)
        {
            struct held held = {answer_str(line, "route"), answer_str(line, "line"),
                                answer_num(line, "count"), answer_num(line, "total"),
                                answer_num(line, "max"),   answer_num(line, "last")};
            for (at = 0; at < count; at++)
                if (strcmp(list[at].route, held.route) == 0 &&
                    strcmp(list[at].line, held.line) == 0)
                    break;
            if (at == LINES_MAX)
                continue;
            if (at == count) {
                list[count++] = held;
                continue;
            }
            list[at].count += held.count;
            list[at].total += held.total;
            list[at].max = held.max > list[at].max ? held.max : list[at].max;
            list[at].last = held.last < list[at].last ? held.last : list[at].last;
        }
    }
    return count;
}

static int by_total(const void *a, const void *b)
{
    double left = ((const struct held *)a)->total, right = ((const struct held *)b)->total;

    return (left < right) - (left > right);
}

static void add_duration(struct term_table *table, double seconds)
{
    struct ty_buf text = {0};

    term_duration(seconds, &text);
    term_cell(table, "%s", ty_buf_cstr(&text));
    ty_buf_close(&text);
}

static void print_lag(yyjson_val *root)
{
    static const char *const head[] = {"TIMES", "TOTAL", "LONGEST", "LAST AGO", "ROUTE", "LINE"};
    struct term_table table = {.columns = sizeof(head) / sizeof(*head)};
    struct held *list = ty_zalloc(LINES_MAX * sizeof(*list));
    unsigned count = merge(root, list);

    print_buckets(yyjson_obj_get(root, "buckets"));
    qsort(list, count, sizeof(*list), by_total);
    for (size_t i = 0; i < table.columns; i++)
        term_cell(&table, "%s", head[i]);
    for (unsigned i = 0; i < count; i++) {
        term_cell(&table, "%.0f", list[i].count);
        add_duration(&table, list[i].total);
        add_duration(&table, list[i].max);
        add_duration(&table, list[i].last);
        term_cell(&table, "%s", list[i].route);
        term_cell(&table, "%s", list[i].line);
    }
    term_print(stdout, TERM_BOLD,
               count ? "\nLines that held a loop (lua.slice_warn)\n"
                     : "\nNo line has held a loop for long (lua.slice_warn).\n");
    if (count)
        term_table_print(&table, stdout);
    else
        ty_buf_close(&table.text);
    free(list);
}

int cli_lag(struct cli *cli)
{
    return cli_ask(cli, "{\"command\":\"lag\"}", print_lag);
}
