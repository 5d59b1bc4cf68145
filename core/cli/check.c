#include <string.h>
#include <yyjson.h>

#include "cli/local.h"
#include "cli/terminal.h"

/* check and routes: what the scripts on disk amount to. */

static void print_checked(struct cli *cli, const char *id, size_t files, size_t routes)
{
    if (cli->values[OPTION_JSON])
        printf("{\"ok\":true,\"generation\":\"%s\",\"files\":%zu,\"routes\":%zu}\n", id, files,
               routes);
    else
        printf("ok: generation %s, %zu file%s, %zu route%s\n", id, files, files == 1 ? "" : "s",
               routes, routes == 1 ? "" : "s");
}

static const char *text_of(yyjson_val *object, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(object, name));

    return text ? text : "";
}

static void print_routes(struct cli *cli, const struct ty_buf *json, yyjson_val *routes)
{
    struct term_table table = {.columns = 3};
    size_t i, count;
    yyjson_val *route;

    if (cli->values[OPTION_JSON]) {
        printf("%.*s\n", (int)json->len, json->data);
        return;
    }
    term_cell(&table, "METHOD");
    term_cell(&table, "PATH");
    term_cell(&table, "WHERE");
    yyjson_arr_foreach(routes, i, count, route)
    {
        term_cell(&table, "%s", text_of(route, "methods"));
        term_cell(&table, "%s", text_of(route, "path"));
        term_cell(&table, "%s", text_of(route, "where"));
    }
    term_table_print(&table, stdout);
}

/* The configuration's faults are faults like all others, also in JSON. */
static struct local *open_checked(struct cli *cli)
{
    struct ty_error error;
    struct ty_config *config = ty_config_load(&cli->source, &error);

    if (!config) {
        local_faults(cli, error.message);
        return NULL;
    }
    ty_config_unref(config);
    return local_open(cli, "check", true);
}

static int inspect(struct cli *cli, bool list)
{
    struct local *local = open_checked(cli);
    struct ty_buf faults = {0}, json = {0};
    size_t files = 0;
    int code = TY_EXIT_DONE;

    if (!local)
        return TY_EXIT_FAILED;
    struct ty_generation *gen = local_load(local, &faults, &files);
    if (gen) {
        cli->engine->describe_routes(gen, &json);
        yyjson_doc *doc = yyjson_read(json.data, json.len, 0);
        yyjson_val *routes = yyjson_doc_get_root(doc);
        if (list)
            print_routes(cli, &json, routes);
        else
            print_checked(cli, cli->engine->id(gen), files, yyjson_arr_size(routes));
        yyjson_doc_free(doc);
        local_unload(local, gen);
    } else {
        code = local_faults(cli, ty_buf_cstr(&faults));
    }
    ty_buf_close(&faults);
    ty_buf_close(&json);
    local_close(local);
    return code;
}

int cli_check(struct cli *cli)
{
    return inspect(cli, false);
}

int cli_routes(struct cli *cli)
{
    return inspect(cli, true);
}
