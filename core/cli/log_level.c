#include <string.h>

#include "cli/remote.h"
#include "cli/terminal.h"

/* log-level: how much a running server says. */

static void print_levels(yyjson_val *root)
{
    struct term_table table = {.columns = 2};
    size_t i, count;
    yyjson_val *level;

    term_cell(&table, "MODULE");
    term_cell(&table, "LEVEL");
    yyjson_arr_foreach(yyjson_obj_get(root, "log_levels"), i, count, level)
    {
        const char *module = answer_str(level, "module");
        term_cell(&table, "%s", *module ? module : "(all)");
        term_cell(&table, "%s", answer_str(level, "level"));
    }
    term_table_print(&table, stdout);
}

int cli_log_level(struct cli *cli)
{
    struct ty_buf command = {0};

    ty_buf_adds(&command, "{\"command\":\"log_level\"");
    for (int i = 0; i < cli->arg_count; i++) {
        ty_buf_adds(&command, i ? ",\"module\":\"" : ",\"level\":\"");
        ty_buf_add_json(&command, cli->args[i], strlen(cli->args[i]));
        ty_buf_addc(&command, '"');
    }
    ty_buf_addc(&command, '}');
    int code = cli_ask(cli, ty_buf_cstr(&command), print_levels);
    ty_buf_close(&command);
    return code;
}
