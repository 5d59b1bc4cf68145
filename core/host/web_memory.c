#include <inttypes.h>
#include <malloc.h>

#include "host/usage.h"
#include "host/web.h"

enum {
    OVER_MAX = 2, /* looks in a row: what is there for a moment only does not count */
    PROGRAM_BYTES = 64 * 1024 * 1024, /* what all but scripts needs, generously */
    SPARE_BYTES = 16 * 1024 * 1024,   /* free memory that is kept for what comes next */
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

/* What is free in the middle of the heap stays resident: after a large result that is as much as it
 * was. The count of free bytes does not say whether they are, so that it is its growth that counts.
 */
static void give_back(struct web *web)
{
    size_t spare = mallinfo2().fordblks;

    if (spare > web->spare_bytes + SPARE_BYTES) {
        malloc_trim(SPARE_BYTES / 2);
        web->spare_bytes = mallinfo2().fordblks;
    } else if (spare < web->spare_bytes) {
        web->spare_bytes = spare;
    }
}

void ty_web_check_memory(struct web *web)
{
    uint64_t max = web->active ? limit_of(web->active->config) : 0, bytes;

    give_back(web);
    bytes = ty_resident_bytes();
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
