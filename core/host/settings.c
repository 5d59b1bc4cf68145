#include "host/settings.h"

#include <string.h>
#include <unistd.h>

#include "tycho/log.h"

static void limits_of(const struct ty_config *config, struct ty_http_limits *limits)
{
    ty_http_default_limits(limits);
    limits->target_max = ty_config_bytes(config, "http.target_max");
    limits->header_max = ty_config_bytes(config, "http.header_max");
    limits->field_max = ty_config_bytes(config, "http.field_max");
    limits->header_count_max = (size_t)ty_config_int(config, "http.header_count_max");
    limits->body_max = ty_config_bytes(config, "http.body_max");
    limits->chunk_line_max = ty_config_bytes(config, "http.chunk_line_max");
    limits->chunk_extension_max = ty_config_bytes(config, "http.chunk_extension_max");
    limits->pending_max = ty_config_bytes(config, "http.pending_max");
    limits->send_max = ty_config_bytes(config, "http.send_max");
    limits->send_total_max = ty_config_bytes(config, "http.send_total_max");
    limits->connection_max = (size_t)ty_config_int(config, "http.max_connections");
    limits->request_max = (size_t)ty_config_int(config, "http.requests_max");
    limits->queue_max = (size_t)ty_config_int(config, "http.queue_max");
    limits->queue_timeout_ms = (uint32_t)ty_config_ms(config, "http.queue_timeout");
    limits->shed_lag_ms = (uint32_t)ty_config_ms(config, "http.shed_lag");
    limits->header_timeout_ms = (uint32_t)ty_config_ms(config, "http.header_timeout");
    limits->body_timeout_ms = (uint32_t)ty_config_ms(config, "http.body_timeout");
    limits->keepalive_timeout_ms = (uint32_t)ty_config_ms(config, "http.keepalive_timeout");
    limits->send_timeout_ms = (uint32_t)ty_config_ms(config, "http.send_timeout");
    limits->linger_ms = (uint32_t)ty_config_ms(config, "http.linger_timeout");
    limits->linger_max = ty_config_bytes(config, "http.linger_max");
}

static const char *optional(const char *text)
{
    return text && text[0] ? text : NULL;
}

void ty_settings_http(const struct ty_config *config, struct ty_http_options *options)
{
    *options = (struct ty_http_options){
        .server_name = optional(ty_config_str(config, "http.server_name")),
        .generation_header = optional(ty_config_str(config, "http.generation_header")),
        .trace_header = ty_config_bool(config, "http.trace_header"),
        .access_log = ty_config_bool(config, "http.access_log"),
    };
    limits_of(config, &options->limits);
    options->trusted_proxy_count = ty_config_list(config, "http.trusted_proxies",
                                                  (const char *const **)&options->trusted_proxies);
}

static enum ty_log_level level_of(const char *name)
{
    enum ty_log_level level = TY_LOG_INFO;

    if (name)
        ty_log_parse_level(name, &level);
    return level;
}

int ty_settings_open_log(const struct ty_config *config, const char *role)
{
    const char *path = ty_config_str(config, "log.path");
    const char *format = ty_config_str(config, "log.format");
    bool is_stderr = !path || path[0] == '\0' || strcmp(path, "-") == 0;
    const struct ty_log_options options = {
        .path = is_stderr ? NULL : path,
        .level = level_of(ty_config_str(config, "log.level")),
        .pretty = strcmp(format, "pretty") == 0 ||
                  (strcmp(format, "auto") == 0 && is_stderr && isatty(STDERR_FILENO)),
        .buffer_max = ty_config_bytes(config, "log.buffer"),
        .role = role,
    };
    int status = ty_log_open(&options);

    if (status == 0)
        ty_settings_log_levels(config);
    return status;
}

void ty_settings_log_levels(const struct ty_config *config)
{
    const char *const *modules;
    size_t count = ty_config_names(config, "log.levels", &modules);

    ty_log_set_level(level_of(ty_config_str(config, "log.level")));
    for (size_t i = 0; i < count; i++)
        ty_log_set_module_level(
            modules[i], level_of(ty_config_named_str(config, "log.levels", modules[i], "")));
}
