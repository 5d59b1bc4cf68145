#include "tycho/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "tycho/memory.h"

struct ty_config *cli_config(struct cli *cli)
{
    struct ty_error error;
    struct ty_config *config = ty_config_load(&cli->source, &error);

    if (!config)
        fprintf(stderr, "%s\n", error.message);
    return config;
}

static int show_help(const struct cli *cli)
{
    struct ty_buf text = {0};

    cli_help(cli->command, &text);
    fputs(ty_buf_cstr(&text), stdout);
    ty_buf_close(&text);
    return TY_EXIT_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    int code = cli_parse(cli, argc, argv);

    if (code)
        return code;
    if (cli->values[OPTION_HELP])
        return show_help(cli);
    if (!cli->command)
        return cli_misuse(NULL, "what shall it do? tycho serve, or tycho dev, for a start");
    return cli->command->run(cli);
}

int ty_cli_main(int argc, char **argv, const struct ty_engine *engine)
{
    struct cli cli = {.engine = engine};

    cli.args = ty_zalloc(((size_t)argc + 1) * sizeof(char *));
    int code = run(&cli, argc, argv);
    free(cli.args);

    /* What was printed has to have arrived: the disk may be full. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "tycho: cannot write: %s\n", strerror(errno));
        return code ? code : TY_EXIT_FAILED;
    }
    return code;
}
