#include "cli/command.h"

#include <stdlib.h>
#include <string.h>

#include "tycho/host.h"

/* serve and dev: the host does it. */

/* Roles are separated by commas; for now there is one. */
static bool is_role_known(const char *roles)
{
    return strcmp(roles, "web") == 0 || strcmp(roles, "all") == 0;
}

static int serve(struct cli *cli, bool development)
{
    const char *roles = cli->values[OPTION_ROLE];

    if (roles && !is_role_known(roles))
        return cli_misuse(cli->command, "--role %s: no such role; there are: web, all", roles);
    struct ty_config *config = cli_config(cli);
    if (!config)
        return TY_EXIT_FAILED;
    const struct ty_host_options options = {
        .source = &cli->source,
        .config = config,
        .development = development,
        .require_dependencies = cli->values[OPTION_REQUIRE],
        .argv = cli->argv,
    };
    int code = ty_host_serve(&options, cli->engine);
    ty_config_unref(config);
    return code;
}

int cli_serve(struct cli *cli)
{
    return serve(cli, false);
}

int cli_dev(struct cli *cli)
{
    const char *env = getenv("TYCHO_ENV");

    if (!cli->source.env && !(env && *env))
        cli->source.env = "dev";
    return serve(cli, true);
}
