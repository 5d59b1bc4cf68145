#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/remote.h"
#include "cli/terminal.h"

/* ps: what a running server's fibers wait for, and where. */

static void add_waits(yyjson_val *fiber, struct ty_buf *out)
{
    const char *what = answer_str(fiber, "waits_for");

    ty_buf_adds(out, *what ? what : "(runs)");
    if (*what) {
        ty_buf_addc(out, ' ');
        term_duration(answer_num(fiber, "waiting"), out);
    }
    if (yyjson_get_bool(yyjson_obj_get(fiber, "cancelled")))
        ty_buf_adds(out, ", cancelled");
}

static void add_left(yyjson_val *fiber, struct ty_buf *out)
{
    double left = answer_num(fiber, "left");

    if (yyjson_is_null(yyjson_obj_get(fiber, "left")))
        ty_buf_addc(out, '-');
    else
        term_duration(left > 0 ? left : 0, out);
}

typedef void fiber_fn(yyjson_val *worker, yyjson_val *gen, yyjson_val *fiber, void *arg);

/* Every fiber of the answer; what it leaves out, and who is silent, is said. */
static void each_fiber(yyjson_val *root, fiber_fn *each, void *arg)
{
    size_t w, g, f, workers, gens, fibers;
    yyjson_val *worker, *gen, *fiber;

    yyjson_arr_foreach(yyjson_obj_get(root, "workers"), w, workers, worker)
    {
        yyjson_arr_foreach(yyjson_obj_get(worker, "generations"), g, gens, gen)
        {
            yyjson_arr_foreach(yyjson_obj_get(gen, "fibers"), f, fibers, fiber)
            {
                if (yyjson_obj_get(fiber, "omitted"))
                    fprintf(stderr, "tycho: worker %.0f has %.0f more\n",
                            answer_num(worker, "worker"), answer_num(fiber, "omitted"));
                else
                    each(worker, gen, fiber, arg);
            }
        }
    }
}

static void say_silent(yyjson_val *root)
{
    size_t i, count;
    yyjson_val *worker;

    yyjson_arr_foreach(yyjson_obj_get(root, "silent"), i, count, worker)
        fprintf(stderr, "tycho: worker %" PRIu64 " did not answer\n", yyjson_get_uint(worker));
}

static void add_fiber(yyjson_val *worker, yyjson_val *gen, yyjson_val *fiber, void *arg)
{
    struct term_table *table = arg;
    struct ty_buf age = {0}, left = {0}, waits = {0};

    term_duration(answer_num(fiber, "age"), &age);
    add_left(fiber, &left);
    add_waits(fiber, &waits);
    term_cell(table, "%.0f", answer_num(worker, "worker"));
    term_cell(table, "%s", answer_str(gen, "generation"));
    term_cell(table, "%s", answer_str(fiber, "owner"));
    term_cell(table, "%s", ty_buf_cstr(&age));
    term_cell(table, "%s", ty_buf_cstr(&left));
    term_cell(table, "%s", ty_buf_cstr(&waits));
    term_cell(table, "%s", answer_str(fiber, "line"));
    term_cell(table, "%s", answer_str(fiber, "request"));
    ty_buf_close(&age);
    ty_buf_close(&left);
    ty_buf_close(&waits);
}

static void print_ps(yyjson_val *root)
{
    static const char *const head[] = {"WORKER", "GENERATION", "OWNER", "AGE",
                                       "LEFT",   "WAITS FOR",  "LINE",  "REQUEST"};
    struct term_table table = {.columns = sizeof(head) / sizeof(*head)};

    for (size_t i = 0; i < table.columns; i++)
        term_cell(&table, "%s", head[i]);
    each_fiber(root, add_fiber, &table);
    term_table_print(&table, stdout);
    say_silent(root);
}

/* The library's own lines are in the way, but for the innermost, which says what is waited for. */
static void print_frames(yyjson_val *stack)
{
    size_t i, count;
    yyjson_val *frame;

    yyjson_arr_foreach(stack, i, count, frame)
    {
        bool library = yyjson_get_bool(yyjson_obj_get(frame, "library"));
        struct ty_buf text = {0};

        if (library && i > 0)
            continue;
        ty_buf_addf(&text, "    %s", answer_str(frame, "line"));
        if (*answer_str(frame, "name"))
            ty_buf_addf(&text, "  %s", answer_str(frame, "name"));
        term_print(stdout, library ? TERM_DIM : TERM_PLAIN, ty_buf_cstr(&text));
        fputc('\n', stdout);
        ty_buf_close(&text);
    }
}

static void print_stack(yyjson_val *worker, yyjson_val *gen, yyjson_val *fiber, void *arg)
{
    struct ty_buf text = {0};
    const char *request = answer_str(fiber, "request");

    (void)arg;
    term_print(stdout, TERM_BOLD, answer_str(fiber, "owner"));
    ty_buf_addf(&text, "  worker %.0f, generation %s", answer_num(worker, "worker"),
                answer_str(gen, "generation"));
    if (*request)
        ty_buf_addf(&text, ", request %s", request);
    ty_buf_adds(&text, ", age ");
    term_duration(answer_num(fiber, "age"), &text);
    if (!yyjson_is_null(yyjson_obj_get(fiber, "left"))) {
        ty_buf_adds(&text, ", left ");
        add_left(fiber, &text);
    }
    ty_buf_adds(&text, "\n  waits for ");
    add_waits(fiber, &text);
    term_print(stdout, TERM_PLAIN, ty_buf_cstr(&text));
    fputc('\n', stdout);
    ty_buf_close(&text);
    print_frames(yyjson_obj_get(fiber, "stack"));
}

static void print_stacks(yyjson_val *root)
{
    each_fiber(root, print_stack, NULL);
    say_silent(root);
}

int cli_ps(struct cli *cli)
{
    if (cli->values[OPTION_STACK])
        return cli_ask(cli, "{\"command\":\"ps\",\"stacks\":true}", print_stacks);
    return cli_ask(cli, "{\"command\":\"ps\"}", print_ps);
}
