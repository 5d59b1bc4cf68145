#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "cli/command.h"
#include "cli/terminal.h"
#include "tycho/host.h"

/* reload, rollback, generations, status, ps: a running server is asked. */

struct answer {
    yyjson_doc *doc;
    yyjson_val *root;
    bool has_progress; /* is shown */
};

static const char *text_of(yyjson_val *object, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(object, name));

    return text ? text : "";
}

static double number_of(yyjson_val *object, const char *name)
{
    return yyjson_get_num(yyjson_obj_get(object, name));
}

static void on_reply(const char *json, size_t len, void *arg)
{
    struct answer *answer = arg;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);

    if (yyjson_get_bool(yyjson_obj_get(root, "done"))) {
        answer->doc = doc;
        answer->root = root;
        return;
    }
    if (yyjson_obj_get(root, "progress")) {
        term_progress(text_of(root, "progress"));
        answer->has_progress = true;
    }
    yyjson_doc_free(doc);
}

/* Faults of the files on disk must not keep an operator from looking at what runs, or from going
 * back; only a reload would meet them again. */
static int ask_at(struct cli *cli, const char *command, struct answer *answer)
{
    struct ty_config *config = cli_config(cli);
    const char *path = config ? ty_config_str(config, "host.socket") : NULL;
    const struct ty_config_source nothing = {.path = "/dev/null"};

    if (!config && cli->command->run == cli_reload)
        return TY_EXIT_FAILED;
    if (!config) {
        fputs("tycho: so the server is looked for on the default socket\n", stderr);
        config = ty_config_load(&nothing, NULL);
        path = config ? ty_config_str(config, "host.socket") : NULL;
    }
    int code = ty_host_command(path ? path : ".tycho/control.sock", command, on_reply, answer);
    ty_config_unref(config);
    if (answer->has_progress)
        term_progress(NULL);
    return code;
}

/* Prints the answer with `print`, or as JSON, or what is wrong. */
static int ask(struct cli *cli, const char *command, void (*print)(yyjson_val *root))
{
    struct answer answer = {0};
    int code = ask_at(cli, command, &answer);

    if (answer.doc && cli->values[OPTION_JSON]) {
        char *text = yyjson_val_write(answer.root, YYJSON_WRITE_PRETTY, NULL);
        puts(text ? text : "");
        free(text);
    } else if (answer.doc && code == TY_EXIT_DONE) {
        print(answer.root);
    } else if (answer.doc) {
        fprintf(stderr, "%s\n", text_of(answer.root, "error"));
    }
    yyjson_doc_free(answer.doc);
    return code;
}

static void print_reload(yyjson_val *root)
{
    struct ty_buf took = {0};
    bool unchanged = strcmp(text_of(root, "outcome"), "unchanged") == 0;

    term_duration(number_of(root, "ms") / 1000, &took);
    if (*text_of(root, "warning")) {
        term_print(stderr, TERM_YELLOW, text_of(root, "warning"));
        fputc('\n', stderr);
    }
    printf("%s: generation %s, %s\n", unchanged ? "unchanged" : "ok", text_of(root, "generation"),
           ty_buf_cstr(&took));
    ty_buf_close(&took);
}

int cli_reload(struct cli *cli)
{
    return ask(cli,
               cli->values[OPTION_FORCE] ? "{\"command\":\"reload\",\"force\":true}"
                                         : "{\"command\":\"reload\"}",
               print_reload);
}

int cli_rollback(struct cli *cli)
{
    struct ty_buf command = {0};

    ty_buf_adds(&command, "{\"command\":\"rollback\"");
    if (cli->arg_count) {
        ty_buf_adds(&command, ",\"id\":\"");
        ty_buf_add_json(&command, cli->args[0], strlen(cli->args[0]));
        ty_buf_addc(&command, '"');
    }
    ty_buf_addc(&command, '}');
    int code = ask(cli, ty_buf_cstr(&command), print_reload);
    ty_buf_close(&command);
    return code;
}

static void print_generations(yyjson_val *root)
{
    struct term_table table = {.columns = 5};
    size_t i, count;
    yyjson_val *gen;

    term_cell(&table, "GENERATION");
    term_cell(&table, "STATE");
    term_cell(&table, "WORKERS");
    term_cell(&table, "FILES");
    term_cell(&table, "SINCE");
    yyjson_arr_foreach(yyjson_obj_get(root, "generations"), i, count, gen)
    {
        term_cell(&table, "%s", text_of(gen, "id"));
        term_cell(&table, "%s", yyjson_get_bool(yyjson_obj_get(gen, "active")) ? "active" : "kept");
        term_cell(&table, "%.0f", number_of(gen, "workers"));
        term_cell(&table, "%.0f", number_of(gen, "files"));
        term_cell(&table, "%s", text_of(gen, "committed"));
    }
    term_table_print(&table, stdout);
}

int cli_generations(struct cli *cli)
{
    return ask(cli, "{\"command\":\"generations\"}", print_generations);
}

static void print_fact(const char *name, const char *text, enum term_style style)
{
    printf("%-13s", name);
    term_print(stdout, style, text);
    fputc('\n', stdout);
}

static void print_workers(yyjson_val *workers)
{
    struct term_table table = {.columns = 10};
    size_t i, count;
    yyjson_val *worker;

    static const char *const head[] = {"WORKER",      "PID",      "STATE",  "AGE",    "RESTARTS",
                                       "CONNECTIONS", "REQUESTS", "FIBERS", "MEMORY", "GENERATION"};
    for (i = 0; i < table.columns; i++)
        term_cell(&table, "%s", head[i]);
    yyjson_arr_foreach(workers, i, count, worker)
    {
        struct ty_buf age = {0}, memory = {0};

        term_duration(number_of(worker, "age"), &age);
        term_size((uint64_t)number_of(worker, "script_bytes"), &memory);
        term_cell(&table, "%.0f", number_of(worker, "slot"));
        term_cell(&table, "%.0f", number_of(worker, "pid"));
        term_cell(&table, "%s", text_of(worker, "state"));
        term_cell(&table, "%s", ty_buf_cstr(&age));
        term_cell(&table, "%.0f", number_of(worker, "restarts"));
        term_cell(&table, "%.0f", number_of(worker, "connections"));
        term_cell(&table, "%.0f", number_of(worker, "requests"));
        term_cell(&table, "%.0f", number_of(worker, "fibers"));
        term_cell(&table, "%s", ty_buf_cstr(&memory));
        term_cell(&table, "%s", text_of(worker, "generation"));
        ty_buf_close(&age);
        ty_buf_close(&memory);
    }
    term_table_print(&table, stdout);
}

static void print_status(yyjson_val *root)
{
    struct ty_buf text = {0};
    bool ready = yyjson_get_bool(yyjson_obj_get(root, "ready"));
    size_t i, count;
    yyjson_val *dependency;

    ty_buf_addf(&text, "%s, %s", text_of(root, "state"), ready ? "ready" : "not ready");
    print_fact("state", ty_buf_cstr(&text), ready ? TERM_GREEN : TERM_RED);
    text.len = 0;
    ty_buf_addf(&text, "%s, pid %.0f, up ", text_of(root, "version"), number_of(root, "pid"));
    term_duration(number_of(root, "uptime"), &text);
    print_fact("tycho", ty_buf_cstr(&text), TERM_PLAIN);
    print_fact("http", text_of(root, "http"), TERM_PLAIN);
    print_fact("admin", text_of(root, "admin"), TERM_PLAIN);
    text.len = 0;
    ty_buf_addf(&text, "%s%s", text_of(root, "generation"),
                yyjson_get_bool(yyjson_obj_get(root, "reloading")) ? ", reloading" : "");
    print_fact("generation", ty_buf_cstr(&text), TERM_PLAIN);
    yyjson_arr_foreach(yyjson_obj_get(root, "dependencies"), i, count, dependency)
    {
        bool fine = yyjson_get_bool(yyjson_obj_get(dependency, "ok"));
        text.len = 0;
        ty_buf_addf(&text, "%s %s", text_of(dependency, "name"), fine ? "ok" : "down");
        print_fact(i ? "" : "dependencies", ty_buf_cstr(&text), fine ? TERM_PLAIN : TERM_RED);
    }
    if (number_of(root, "log_dropped") > 0)
        printf("%-13s%.0f log records were dropped\n", "log", number_of(root, "log_dropped"));
    fputc('\n', stdout);
    print_workers(yyjson_obj_get(root, "workers"));
    ty_buf_close(&text);
}

int cli_status(struct cli *cli)
{
    return ask(cli, "{\"command\":\"status\"}", print_status);
}

static void add_fiber(struct term_table *table, yyjson_val *worker, yyjson_val *gen,
                      yyjson_val *fiber)
{
    struct ty_buf age = {0}, waits = {0};
    const char *what = text_of(fiber, "waits_for");

    term_duration(number_of(fiber, "age"), &age);
    ty_buf_adds(&waits, *what ? what : "(runs)");
    if (*what) {
        ty_buf_addc(&waits, ' ');
        term_duration(number_of(fiber, "waiting"), &waits);
    }
    if (yyjson_get_bool(yyjson_obj_get(fiber, "cancelled")))
        ty_buf_adds(&waits, ", cancelled");
    term_cell(table, "%.0f", number_of(worker, "worker"));
    term_cell(table, "%s", text_of(gen, "generation"));
    term_cell(table, "%s", text_of(fiber, "owner"));
    term_cell(table, "%s", ty_buf_cstr(&age));
    term_cell(table, "%s", ty_buf_cstr(&waits));
    term_cell(table, "%s", text_of(fiber, "line"));
    ty_buf_close(&age);
    ty_buf_close(&waits);
}

static void print_ps(yyjson_val *root)
{
    static const char *const head[] = {"WORKER", "GENERATION", "OWNER", "AGE", "WAITS FOR", "LINE"};
    struct term_table table = {.columns = sizeof(head) / sizeof(*head)};
    size_t w, g, f, workers, gens, fibers;
    yyjson_val *worker, *gen, *fiber;

    for (f = 0; f < table.columns; f++)
        term_cell(&table, "%s", head[f]);
    yyjson_arr_foreach(yyjson_obj_get(root, "workers"), w, workers, worker)
    {
        yyjson_arr_foreach(yyjson_obj_get(worker, "generations"), g, gens, gen)
        {
            yyjson_arr_foreach(yyjson_obj_get(gen, "fibers"), f, fibers, fiber)
                add_fiber(&table, worker, gen, fiber);
        }
    }
    term_table_print(&table, stdout);
    yyjson_arr_foreach(yyjson_obj_get(root, "silent"), w, workers, worker)
        fprintf(stderr, "tycho: worker %" PRIu64 " did not answer\n", yyjson_get_uint(worker));
}

int cli_ps(struct cli *cli)
{
    return ask(cli, "{\"command\":\"ps\"}", print_ps);
}
