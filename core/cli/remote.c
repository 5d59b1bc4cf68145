#include "cli/remote.h"

#include <stdlib.h>
#include <string.h>

#include "cli/terminal.h"
#include "tycho/host.h"

/* reload, rollback, generations, status: a running server is asked. */

struct answer {
    yyjson_doc *doc;
    yyjson_val *root;
    bool has_progress; /* is shown */
};

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
        term_progress(answer_str(root, "progress"));
        answer->has_progress = true;
    }
    yyjson_doc_free(doc);
}

/* Faults of the files on disk must not keep an operator from looking at what runs, or from going
 * back; only a reload would meet them again. */
int cli_ask_all(struct cli *cli, const char *command, cli_reply_fn *reply, void *arg)
{
    struct ty_config *config = cli_config(cli);
    const char *path = config ? ty_config_str(config, "host.socket") : NULL;
    const struct ty_config_source nothing = {.path = "/dev/null"};

    if (!config && (cli->command->run == cli_reload || cli->command->run == cli_upgrade))
        return TY_EXIT_FAILED;
    if (!config) {
        fputs("tycho: so the server is looked for on the default socket\n", stderr);
        config = ty_config_load(&nothing, NULL);
        path = config ? ty_config_str(config, "host.socket") : NULL;
    }
    int code = ty_host_command(path ? path : ".tycho/control.sock", command, reply, arg);
    ty_config_unref(config);
    return code;
}

int cli_ask(struct cli *cli, const char *command, void (*print)(yyjson_val *root))
{
    struct answer answer = {0};
    int code = cli_ask_all(cli, command, on_reply, &answer);

    if (answer.has_progress)
        term_progress(NULL);
    if (answer.doc && cli->values[OPTION_JSON]) {
        char *text = yyjson_val_write(answer.root, YYJSON_WRITE_PRETTY, NULL);
        puts(text ? text : "");
        free(text);
    } else if (answer.doc && code == TY_EXIT_DONE) {
        print(answer.root);
    } else if (answer.doc) {
        fprintf(stderr, "%s\n", answer_str(answer.root, "error"));
    }
    yyjson_doc_free(answer.doc);
    return code;
}

static void print_reload(yyjson_val *root)
{
    struct ty_buf took = {0};
    bool unchanged = strcmp(answer_str(root, "outcome"), "unchanged") == 0;

    term_duration(answer_num(root, "ms") / 1000, &took);
    if (*answer_str(root, "warning")) {
        term_print(stderr, TERM_YELLOW, answer_str(root, "warning"));
        fputc('\n', stderr);
    }
    printf("%s: generation %s, %s\n", unchanged ? "unchanged" : "ok",
           answer_str(root, "generation"), ty_buf_cstr(&took));
    ty_buf_close(&took);
}

int cli_reload(struct cli *cli)
{
    return cli_ask(cli,
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
    int code = cli_ask(cli, ty_buf_cstr(&command), print_reload);
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
        term_cell(&table, "%s", answer_str(gen, "id"));
        term_cell(&table, "%s", yyjson_get_bool(yyjson_obj_get(gen, "active")) ? "active" : "kept");
        term_cell(&table, "%.0f", answer_num(gen, "workers"));
        term_cell(&table, "%.0f", answer_num(gen, "files"));
        term_cell(&table, "%s", answer_str(gen, "committed"));
    }
    term_table_print(&table, stdout);
    if (answer_num(root, "replaced_streams") > 0)
        printf("%.0f streamed answers of replaced generations go on (reload.max_age)\n",
               answer_num(root, "replaced_streams"));
}

int cli_generations(struct cli *cli)
{
    return cli_ask(cli, "{\"command\":\"generations\"}", print_generations);
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

        term_duration(answer_num(worker, "age"), &age);
        term_size((uint64_t)answer_num(worker, "script_bytes"), &memory);
        term_cell(&table, "%.0f", answer_num(worker, "slot"));
        term_cell(&table, "%.0f", answer_num(worker, "pid"));
        term_cell(&table, "%s", answer_str(worker, "state"));
        term_cell(&table, "%s", ty_buf_cstr(&age));
        term_cell(&table, "%.0f", answer_num(worker, "restarts"));
        term_cell(&table, "%.0f", answer_num(worker, "connections"));
        term_cell(&table, "%.0f", answer_num(worker, "requests"));
        term_cell(&table, "%.0f", answer_num(worker, "fibers"));
        term_cell(&table, "%s", ty_buf_cstr(&memory));
        term_cell(&table, "%s", answer_str(worker, "generation"));
        ty_buf_close(&age);
        ty_buf_close(&memory);
    }
    term_table_print(&table, stdout);
}

static void print_upgrade_state(yyjson_val *upgrade)
{
    struct ty_buf text = {0};

    if (!yyjson_is_obj(upgrade))
        return;
    ty_buf_addf(&text, "%s (pid %.0f)", answer_str(upgrade, "state"), answer_num(upgrade, "pid"));
    print_fact("upgrade", ty_buf_cstr(&text), TERM_YELLOW);
    ty_buf_close(&text);
}

static void print_closed_routes(yyjson_val *routes)
{
    struct ty_buf text = {0};
    size_t i, count;
    yyjson_val *route;

    yyjson_arr_foreach(routes, i, count, route)
    {
        text.len = 0;
        ty_buf_addf(&text, "%s is closed for another ", answer_str(route, "route"));
        term_duration(answer_num(route, "left"), &text);
        print_fact(i ? "" : "quarantine", ty_buf_cstr(&text), TERM_RED);
    }
    ty_buf_close(&text);
}

static void print_status(yyjson_val *root)
{
    struct ty_buf text = {0};
    bool ready = yyjson_get_bool(yyjson_obj_get(root, "ready"));
    size_t i, count;
    yyjson_val *dependency;

    ty_buf_addf(&text, "%s, %s", answer_str(root, "state"), ready ? "ready" : "not ready");
    print_fact("state", ty_buf_cstr(&text), ready ? TERM_GREEN : TERM_RED);
    text.len = 0;
    ty_buf_addf(&text, "%s, pid %.0f, up ", answer_str(root, "version"), answer_num(root, "pid"));
    term_duration(answer_num(root, "uptime"), &text);
    print_fact("tycho", ty_buf_cstr(&text), TERM_PLAIN);
    print_fact("http", answer_str(root, "http"), TERM_PLAIN);
    print_fact("admin", answer_str(root, "admin"), TERM_PLAIN);
    text.len = 0;
    ty_buf_addf(&text, "%s%s", answer_str(root, "generation"),
                yyjson_get_bool(yyjson_obj_get(root, "reloading")) ? ", reloading" : "");
    print_fact("generation", ty_buf_cstr(&text), TERM_PLAIN);
    print_upgrade_state(yyjson_obj_get(root, "upgrade"));
    yyjson_arr_foreach(yyjson_obj_get(root, "dependencies"), i, count, dependency)
    {
        bool fine = yyjson_get_bool(yyjson_obj_get(dependency, "ok"));
        text.len = 0;
        ty_buf_addf(&text, "%s %s", answer_str(dependency, "name"), fine ? "ok" : "down");
        print_fact(i ? "" : "dependencies", ty_buf_cstr(&text), fine ? TERM_PLAIN : TERM_RED);
    }
    text.len = 0;
    yyjson_arr_foreach(yyjson_obj_get(root, "log_levels"), i, count, dependency)
        ty_buf_addf(&text, "%s%s%s%s", i ? ", " : "", answer_str(dependency, "module"),
                    *answer_str(dependency, "module") ? " " : "", answer_str(dependency, "level"));
    print_fact("log level", ty_buf_cstr(&text), TERM_PLAIN);
    if (answer_num(root, "log_dropped") > 0)
        printf("%-13s%.0f log records were dropped\n", "log", answer_num(root, "log_dropped"));
    print_closed_routes(yyjson_obj_get(root, "quarantined"));
    fputc('\n', stdout);
    print_workers(yyjson_obj_get(root, "workers"));
    ty_buf_close(&text);
}

int cli_status(struct cli *cli)
{
    return cli_ask(cli, "{\"command\":\"status\"}", print_status);
}
