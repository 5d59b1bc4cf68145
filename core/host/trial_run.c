#include "host/web.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/memory_file.h"
#include "host/message.h"
#include "host/settings.h"
#include "tycho/log.h"
#include "tycho/memory.h"
#include "tycho/sql_ledger.h"

/* The trial from inside: loads one generation, says what became of it, and ends. */
struct tryout {
    uv_loop_t loop;
    const struct ty_engine *engine;
    struct ty_channel *channel;
    struct ty_config *config;
};

enum { CONFIG_MAX = 16 * 1024 * 1024 };

static void on_engine_closed(void *arg)
{
    struct tryout *tryout = arg;

    ty_channel_close(tryout->channel);
}

static void on_gone_generation(void *arg)
{
    struct tryout *tryout = arg;

    tryout->engine->close(on_engine_closed, tryout);
}

static void answer(struct tryout *tryout, const char *type, const char *faults)
{
    struct ty_buf json = {0};

    ty_buf_addf(&json, "{\"type\":\"%s\",\"faults\":\"", type);
    ty_buf_add_json(&json, faults, strlen(faults));
    ty_buf_adds(&json, "\"}");
    ty_channel_send(tryout->channel, -1, json.data, json.len);
    ty_buf_close(&json);
}

static void on_loaded(struct ty_generation *generation, const char *faults, void *arg)
{
    struct tryout *tryout = arg;

    if (generation) {
        answer(tryout, "ready", "");
        tryout->engine->retire(generation, 0, on_gone_generation, tryout);
    } else {
        answer(tryout, "failed", faults ? faults : "the scripts could not be loaded");
        on_gone_generation(tryout);
    }
}

static void configure(struct tryout *tryout, int fd, bool development)
{
    struct ty_engine_env env = {.loop = &tryout->loop, .role = "trial", .development = development};
    struct ty_buf packed = {0};

    if (ty_memory_file_read(fd, CONFIG_MAX, &packed))
        tryout->config = ty_config_unpack(packed.data, packed.len);
    ty_buf_close(&packed);
    if (!tryout->config)
        abort(); /* the master's own bytes */
    ty_settings_open_log(tryout->config, "trial");
    ty_crash_allow_cores(ty_config_bool(tryout->config, "host.core_dumps"));
    env.config = tryout->config;
    tryout->engine->open(&env);
}

static void load(struct tryout *tryout, int fd)
{
    struct ty_error error;
    struct ty_bundle *bundle = ty_bundle_open(fd, &error);

    if (!bundle) {
        on_loaded(NULL, error.message, tryout);
        return;
    }
    tryout->engine->load(bundle, on_loaded, tryout);
    ty_bundle_unref(bundle);
}

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *message = yyjson_doc_get_root(doc);
    const char *type = message_str(message, "type");

    (void)channel;
    if (strcmp(type, "config") == 0)
        configure(arg, fd, message_bool(message, "development"));
    else if (strcmp(type, "prepare") == 0)
        load(arg, fd);
    yyjson_doc_free(doc);
    if (fd >= 0)
        close(fd);
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    (void)channel, (void)arg;
    _exit(1);
}

int ty_trial_run(const struct child_self *self, const struct ty_engine *engine)
{
    struct tryout *tryout = ty_zalloc(sizeof(*tryout));

    const struct ty_crash_options crash = {
        .who = "the trial", .role = "trial", .scripts = engine->crashed};

    (void)self;
    ty_crash_open(&crash);
    ty_sql_ledger_attach(CHILD_LEDGER_FD); /* scripts may look at a database as they load */
    tryout->engine = engine;
    uv_loop_init(&tryout->loop);
    tryout->channel = ty_channel_new(&tryout->loop, CHILD_CHANNEL_FD, on_message, on_gone, tryout);
    uv_run(&tryout->loop, UV_RUN_DEFAULT);
    uv_loop_close(&tryout->loop);
    ty_config_unref(tryout->config);
    free(tryout);
    ty_log_close();
    return 0;
}
