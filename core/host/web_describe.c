#include "host/web.h"

#include <inttypes.h>
#include <string.h>

/* Describes what is loaded: all of it, or only what is active. */
static void add_generations(struct web *web, const char *what, struct ty_buf *out)
{
    bool routes = strcmp(what, "routes") == 0;
    const char *comma = "";

    for (struct held *held = web->held; held; held = held->next) {
        if (!held->generation || (routes && held != web->active))
            continue;
        ty_buf_addf(out, "%s{\"generation\":\"%s\",\"active\":%s,\"%s\":", comma,
                    web->engine->id(held->generation), held == web->active ? "true" : "false",
                    routes ? "routes" : "fibers");
        if (routes)
            web->engine->describe_routes(held->generation, out);
        else
            web->engine->describe_fibers(held->generation, strcmp(what, "stacks") == 0, out);
        ty_buf_addc(out, '}');
        comma = ",";
    }
}

void ty_web_describe(struct web *web, const char *what, uint64_t token)
{
    struct ty_buf json = {0};

    ty_buf_addf(&json, "{\"type\":\"description\",\"token\":%" PRIu64 ",\"items\":", token);
    if (strcmp(what, "lag") == 0 && web->engine->describe_lag) {
        web->engine->describe_lag(&json);
    } else {
        ty_buf_addc(&json, '[');
        add_generations(web, what, &json);
        ty_buf_addc(&json, ']');
    }
    ty_buf_addc(&json, '}');
    if (web->channel)
        ty_channel_send(web->channel, -1, json.data, json.len);
    ty_buf_close(&json);
}
