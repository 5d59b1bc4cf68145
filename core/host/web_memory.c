#include <inttypes.h>

#include "host/usage.h"
#include "host/web.h"

enum {
    OVER_MAX = 2, /* looks in a row: what is there for a moment only does not count */
    PROGRAM_BYTES = 64 * 1024 * 1024, /* what all but scripts needs, generously */
};

/* 0: no limit */
static uint64_t limit_of(const struct ty_config *config)
{
    uint64_t bytes = ty_config_bytes(config, "host.worker_memory_max");
    uint64_t scripts = ty_config_bytes(config, "lua.memory_max");

    if (bytes)
        return bytes;
    return scripts + (scripts / 2 > PROGRAM_BYTES ? scripts / 2 : PROGRAM_BYTES);
}

void ty_web_check_memory(struct web *web)
{
    uint64_t max = web->active ? limit_of(web->active->config) : 0, bytes = ty_resident_bytes();

    web->slot->resident_bytes = bytes;
    web->slot->cpu_ms = ty_cpu_ms();
    if (max == 0 || web->is_stopping || !web->channel)
        return;
    web->memory_overs = bytes > max ? web->memory_overs + 1 : 0;
    if (web->memory_overs >= OVER_MAX)
        ty_channel_sendf(web->channel, -1,
                         "{\"type\":\"recycle\",\"bytes\":%" PRIu64 ",\"max\":%" PRIu64 "}", bytes,
                         max);
}
