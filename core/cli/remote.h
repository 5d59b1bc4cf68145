/* Asking a running server over its control socket. */
#pragma once

#include <yyjson.h>

#include "cli/command.h"

/* Prints the answer with `print`, or as JSON if that was asked for, or what is wrong. Returns the
 * exit code. */
int cli_ask(struct cli *cli, const char *command, void (*print)(yyjson_val *root));

/* Every message as it comes, the last one (with "done") too; nothing is printed. */
typedef void cli_reply_fn(const char *json, size_t len, void *arg);
int cli_ask_all(struct cli *cli, const char *command, cli_reply_fn *reply, void *arg);

/* What is missing or of another type is "" and 0. */
static inline const char *answer_str(yyjson_val *object, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(object, name));

    return text ? text : "";
}

static inline double answer_num(yyjson_val *object, const char *name)
{
    return yyjson_get_num(yyjson_obj_get(object, name));
}
