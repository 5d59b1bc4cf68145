#include <stdlib.h>
#include <string.h>

#include "cli/local.h"
#include "config/yaml.h"
#include "tycho/embedded.h"

/* run, repl, test: one script, in a fiber, in this process. */

enum { SCRIPT_MAX = 64 * 1024 * 1024 };

int local_run(struct cli *cli, const char *role, const char *name, int count, char **args)
{
    const struct ty_embedded *file = ty_embedded_find(name);
    struct local *local;

    if (!file) {
        fprintf(stderr, "tycho: %s is missing from this build\n", name);
        return TY_EXIT_FAILED;
    }
    if (!(local = local_open(cli, role, false)))
        return TY_EXIT_FAILED;
    int code = cli->engine->run(name, file->data, file->len, count, args);
    local_close(local);
    return code;
}

int cli_run(struct cli *cli)
{
    const char *name = cli->args[0];
    bool is_stdin = strcmp(name, "-") == 0;
    struct ty_buf source = {0};
    int status = ty_read_file(is_stdin ? "/dev/stdin" : name, SCRIPT_MAX, &source);
    int code = TY_EXIT_FAILED;

    if (status < 0) {
        fprintf(stderr, "tycho: %s: %s\n", name, strerror(-status));
    } else {
        struct local *local = local_open(cli, "run", false);
        if (local) {
            code = cli->engine->run(is_stdin ? "stdin" : name, ty_buf_cstr(&source), source.len,
                                    cli->arg_count - 1, cli->args + 1);
            local_close(local);
        }
    }
    ty_buf_close(&source);
    return code;
}

int cli_repl(struct cli *cli)
{
    return local_run(cli, "run", "lib/tycho/_private/repl.lua", cli->arg_count, cli->args);
}

int cli_test(struct cli *cli)
{
    const char *env = getenv("TYCHO_ENV");

    if (!cli->source.env && !(env && *env))
        cli->source.env = "test";
    return local_run(cli, "test", "lib/tycho/_private/test_runner.lua", cli->arg_count, cli->args);
}
