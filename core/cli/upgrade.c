#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/remote.h"
#include "cli/terminal.h"

/* upgrade: the running server puts another program in its place. */

static void print(yyjson_val *root)
{
    struct ty_buf took = {0};

    term_duration(answer_num(root, "ms") / 1000, &took);
    printf("ok: tycho %s (pid %.0f) serves, %s; before: %s (pid %.0f)\n",
           answer_str(root, "version"), answer_num(root, "pid"), ty_buf_cstr(&took),
           answer_str(root, "old_version"), answer_num(root, "old_pid"));
    ty_buf_close(&took);
}

/* The server works in another folder than who gives the command. */
static void add_program(const char *path, struct ty_buf *command)
{
    char folder[PATH_MAX] = "";
    struct ty_buf full = {0};

    while (strncmp(path, "./", 2) == 0)
        path += 2;
    if (path[0] != '/' && getcwd(folder, sizeof(folder)))
        ty_buf_addf(&full, "%s/", folder);
    ty_buf_adds(&full, path);
    ty_buf_adds(command, ",\"program\":\"");
    ty_buf_add_json(command, full.data, full.len);
    ty_buf_addc(command, '"');
    ty_buf_close(&full);
}

int cli_upgrade(struct cli *cli)
{
    struct ty_buf command = {0};

    ty_buf_adds(&command, "{\"command\":\"upgrade\"");
    if (cli->values[OPTION_PROGRAM])
        add_program(cli->values[OPTION_PROGRAM], &command);
    ty_buf_addc(&command, '}');
    int code = cli_ask(cli, ty_buf_cstr(&command), print);
    ty_buf_close(&command);
    return code;
}
