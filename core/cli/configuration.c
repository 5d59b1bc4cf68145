#include "cli/command.h"

/* config show, explain, default. */

static int print(struct ty_buf *text)
{
    fwrite(text->data, 1, text->len, stdout);
    ty_buf_close(text);
    return TY_EXIT_DONE;
}

int cli_config_show(struct cli *cli)
{
    struct ty_config *config = cli_config(cli);
    struct ty_buf text = {0};

    if (!config)
        return TY_EXIT_FAILED;
    ty_config_show(config, cli->values[OPTION_JSON], &text);
    ty_config_unref(config);
    return print(&text);
}

/* Who mends a fault wants to know about the key. */
static struct ty_config *defaults(void)
{
    static const char *const no_variables[] = {NULL};
    const struct ty_config_source nothing = {.path = "/dev/null", .environ_ = no_variables};

    fputs("tycho: so this is with the defaults\n", stderr);
    return ty_config_load(&nothing, NULL);
}

int cli_config_explain(struct cli *cli)
{
    struct ty_config *config = cli_config(cli);
    struct ty_buf text = {0};
    int code = TY_EXIT_DONE;

    if (!config)
        config = defaults();
    if (!config)
        return TY_EXIT_FAILED;
    if (ty_config_explain(config, cli->args[0], cli->values[OPTION_JSON], &text)) {
        print(&text);
    } else {
        fprintf(stderr, "tycho: %s\n", ty_buf_cstr(&text));
        ty_buf_close(&text);
        code = TY_EXIT_FAILED;
    }
    ty_config_unref(config);
    return code;
}

int cli_config_default(struct cli *cli)
{
    struct ty_buf text = {0};

    (void)cli;
    ty_config_default_yaml(&text);
    return print(&text);
}

int cli_config_reference(struct cli *cli)
{
    struct ty_buf text = {0};

    (void)cli;
    ty_config_reference(&text);
    return print(&text);
}
