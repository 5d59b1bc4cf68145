#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/remote.h"
#include "cli/terminal.h"

/* trace: where the next requests of a route spend their time. */

enum { COUNT = 5, TIMEOUT_S = 60, FIBERS_MAX = 512, INDENT_MAX = 8 };

struct result {
    struct cli *cli;
    unsigned shown;
    bool is_refused; /* and that was said */
};

/* How deep each fiber of the request is below its handler. */
static void measure_depths(yyjson_val *steps, unsigned depths[FIBERS_MAX])
{
    size_t i, count;
    yyjson_val *step;

    memset(depths, 0, FIBERS_MAX * sizeof(*depths));
    yyjson_arr_foreach(steps, i, count, step)
    {
        uint64_t fiber = yyjson_get_uint(yyjson_obj_get(step, "fiber"));
        uint64_t owner = yyjson_get_uint(yyjson_obj_get(step, "owner"));
        if (strcmp(answer_str(step, "kind"), "start") == 0 && fiber < FIBERS_MAX &&
            owner < FIBERS_MAX)
            depths[fiber] = depths[owner] + 1;
    }
}

/* Finer than term_duration(): much of this is microseconds. */
static void print_row(double at, double time, unsigned depth, const char *what, const char *line)
{
    printf("  %10.3f  %10.3f  %*s", at * 1000, time * 1000,
           2 * (int)(depth < INDENT_MAX ? depth : INDENT_MAX), "");
    term_print(stdout, TERM_PLAIN, what);
    if (*line) {
        fputs("  ", stdout);
        term_print(stdout, TERM_DIM, line);
    }
    fputc('\n', stdout);
}

struct totals {
    double lua, waits;
    double lua_until; /* the end of the last slice that was counted */
    double databases; /* statements of all fibers */
    unsigned statements;
};

static void add_part(struct ty_buf *text, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void add_part(struct ty_buf *text, const char *fmt, ...)
{
    va_list args;

    if (text->data[text->len - 1] != '(')
        ty_buf_adds(text, ", ");
    va_start(args, fmt);
    ty_buf_vaddf(text, fmt, args);
    va_end(args);
}

static void add_outcome(yyjson_val *step, struct ty_buf *text)
{
    yyjson_val *rows = yyjson_obj_get(step, "rows"), *changes = yyjson_obj_get(step, "changes");
    yyjson_val *failed = yyjson_obj_get(step, "failed");
    const char *detail = answer_str(step, "detail");

    if (rows)
        add_part(text, "%" PRIu64 " row%s", yyjson_get_uint(rows),
                 yyjson_get_uint(rows) == 1 ? "" : "s");
    if (changes)
        add_part(text, "%" PRIu64 " changed", yyjson_get_uint(changes));
    if (*answer_str(step, "outcome"))
        add_part(text, "%s", answer_str(step, "outcome"));
    if (*answer_str(step, "error"))
        add_part(text, "%s%s%s", answer_str(step, "error"), *detail ? " " : "", detail);
    if (failed)
        add_part(text, "at its statement %" PRIu64, yyjson_get_uint(failed));
    if (yyjson_get_bool(yyjson_obj_get(step, "open")))
        add_part(text, "not over");
    if (yyjson_obj_get(step, "waited"))
        add_part(text, "waited %.3f ms", answer_num(step, "waited") * 1000);
    if (yyjson_obj_get(step, "ran"))
        add_part(text, "ran %.3f ms", answer_num(step, "ran") * 1000);
}

/* default: select * from orders where id = $1 (1 row, waited 0.000 ms, ran 0.310 ms) */
static void add_statement(yyjson_val *step, struct ty_buf *text)
{
    uint64_t count = yyjson_get_uint(yyjson_obj_get(step, "statements"));
    const char *sql = answer_str(step, "sql");

    ty_buf_addf(text, "%s: ", answer_str(step, "database"));
    if (count)
        ty_buf_addf(text, "batch of %" PRIu64 ": ", count);
    if (strcmp(answer_str(step, "kind"), "transaction") == 0)
        sql = "transaction";
    else if (!*sql)
        sql = answer_str(step, "operation");
    ty_buf_addf(text, "%s%s (", sql, count ? "; ..." : "");
    add_outcome(step, text);
    ty_buf_addc(text, ')');
}

static void count_step(yyjson_val *step, const char *kind, unsigned depth, struct totals *totals)
{
    double at = answer_num(step, "at"), time = answer_num(step, "time");

    if (strcmp(kind, "wait") == 0) {
        totals->waits += depth == 0 ? time : 0;
    } else if (strcmp(kind, "statement") == 0) {
        totals->databases += answer_num(step, "ran");
        totals->statements++;
    } else if (strcmp(kind, "lua") == 0 && at >= totals->lua_until) {
        totals->lua += time; /* else a child's, inside of its owner's */
        totals->lua_until = at + time;
    }
}

static void print_step(yyjson_val *step, const unsigned *depths, struct totals *totals)
{
    const char *kind = answer_str(step, "kind");
    uint64_t fiber = yyjson_get_uint(yyjson_obj_get(step, "fiber"));
    unsigned depth = depths[fiber < FIBERS_MAX ? fiber : 0];
    struct ty_buf text = {0};

    count_step(step, kind, depth, totals);
    if (strcmp(kind, "start") == 0)
        ty_buf_addf(&text, "child %" PRIu64, fiber);
    else if (strcmp(kind, "lua") == 0)
        ty_buf_adds(&text, "Lua");
    else if (strcmp(kind, "wait") == 0 && !yyjson_obj_get(step, "span")) /* else it has a row */
        ty_buf_addf(&text, "waits for %s", answer_str(step, "what"));
    else if (strcmp(kind, "wait") != 0)
        add_statement(step, &text);
    if (text.len)
        print_row(answer_num(step, "at"), answer_num(step, "time"),
                  depth + (yyjson_obj_get(step, "parent") != NULL), ty_buf_cstr(&text),
                  answer_str(step, "line"));
    ty_buf_close(&text);
}

static void print_omitted(yyjson_val *trace)
{
    double steps = answer_num(trace, "omitted");
    double statements = answer_num(trace, "statements_omitted");

    if (steps > 0)
        printf("  %24s  and %.0f steps more", "", steps);
    if (statements > 0)
        printf(", %.0f of them statements", statements);
    if (steps > 0)
        fputc('\n', stdout);
}

static void print_trace(yyjson_val *trace, double worker)
{
    unsigned depths[FIBERS_MAX];
    struct totals totals = {0};
    yyjson_val *steps = yyjson_obj_get(trace, "steps"), *step;
    struct ty_buf head = {0};
    size_t i, count;

    ty_buf_addf(&head, "%s %s", answer_str(trace, "method"), answer_str(trace, "target"));
    term_print(stdout, TERM_BOLD, ty_buf_cstr(&head));
    head.len = 0;
    ty_buf_addf(&head, "  %.0f  %.3f ms  request %s, worker %.0f\n", answer_num(trace, "status"),
                answer_num(trace, "total") * 1000, answer_str(trace, "request"), worker);
    term_print(stdout, TERM_PLAIN, ty_buf_cstr(&head));
    term_print(stdout, TERM_DIM, "       at ms     took ms\n");
    measure_depths(steps, depths);
    print_row(0, answer_num(trace, "before"), 0, "reading, queue", "");
    yyjson_arr_foreach(steps, i, count, step) print_step(step, depths, &totals);
    print_omitted(trace);
    print_row(answer_num(trace, "answered_at"), answer_num(trace, "answer"), 0, "answer", "");
    printf("  in all: Lua %.3f ms, waits of the handler %.3f ms", totals.lua * 1000,
           totals.waits * 1000);
    if (totals.statements)
        printf(", %u statements %.3f ms in databases", totals.statements, totals.databases * 1000);
    fputs("\n\n", stdout);
    fflush(stdout);
    ty_buf_close(&head);
}

static void on_reply(const char *json, size_t len, void *arg)
{
    struct result *result = arg;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *seen = yyjson_obj_get(root, "observed"), *trace = yyjson_obj_get(seen, "trace");

    if (yyjson_get_bool(yyjson_obj_get(root, "done"))) {
        if (yyjson_arr_size(yyjson_obj_get(root, "silent")))
            fputs("tycho: a worker ended meanwhile\n", stderr);
        if (!yyjson_get_bool(yyjson_obj_get(root, "ok")))
            fprintf(stderr, "tycho: %s\n", answer_str(root, "error"));
    } else if (trace && result->cli->values[OPTION_JSON]) {
        char *text = yyjson_val_write(trace, 0, NULL);
        puts(text ? text : "");
        fflush(stdout);
        free(text);
        result->shown++;
    } else if (trace) {
        print_trace(trace, answer_num(root, "worker"));
        result->shown++;
    } else if (*answer_str(seen, "error") && !result->is_refused) {
        fprintf(stderr, "tycho: %s\n", answer_str(seen, "error"));
        result->is_refused = true;
    }
    yyjson_doc_free(doc);
}

int cli_trace(struct cli *cli)
{
    const char *count_text = cli->values[OPTION_TIMES], *time_text = cli->values[OPTION_TIMEOUT];
    double wanted = COUNT, timeout = TIMEOUT_S;
    struct result result = {.cli = cli};
    struct ty_buf command = {0};

    if ((count_text && !cli_take_number(cli, "--count", count_text, &wanted)) ||
        (time_text && !cli_take_number(cli, "--timeout", time_text, &timeout)))
        return TY_EXIT_USAGE;
    if (!strchr(cli->args[0], '/'))
        return cli_misuse(cli->command, "%s is no route: see tycho routes", cli->args[0]);
    ty_buf_addf(&command, "{\"command\":\"trace\",\"count\":%.0f,\"seconds\":%g,\"route\":\"",
                wanted, timeout);
    ty_buf_add_json(&command, cli->args[0], strlen(cli->args[0]));
    ty_buf_adds(&command, "\"}");
    int code = cli_ask_all(cli, ty_buf_cstr(&command), on_reply, &result);
    ty_buf_close(&command);
    if (result.is_refused && result.shown == 0)
        return TY_EXIT_FAILED;
    if (code == TY_EXIT_DONE && result.shown < wanted) {
        fprintf(stderr, "tycho: %u of %.0f requests came in time\n", result.shown, wanted);
        return TY_EXIT_FAILED;
    }
    return code;
}
