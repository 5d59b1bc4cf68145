#include "closed.h"

#include <stdlib.h>
#include <string.h>

#include "tycho/clock.h"
#include "tycho/log.h"
#include "tycho/memory.h"

/* check: allow SAME-NAME because tests/blackbox/runaway_spec.lua tests it */

enum { CLOSED_MAX = 64 };

static struct {
    unsigned count;
    struct {
        char *route;
        uint64_t until_ms;
    } closed[CLOSED_MAX];
} list; /* outlives generations, as the engine does */

static void open_at(unsigned index)
{
    free(list.closed[index].route);
    list.closed[index] = list.closed[--list.count];
}

static unsigned find(const char *route)
{
    unsigned i = 0;

    while (i < list.count && strcmp(list.closed[i].route, route) != 0)
        i++;
    return i;
}

void ty_route_close(const char *route, uint64_t ms)
{
    unsigned index = find(route);

    if (ms == 0) {
        if (index < list.count)
            open_at(index);
        return;
    }
    if (index == CLOSED_MAX) {
        ty_log_warn("guard", "%s stays open: %d routes are closed already", route, CLOSED_MAX);
        return;
    }
    if (index == list.count) {
        list.closed[index].route = ty_strdup(route);
        list.count++;
    }
    list.closed[index].until_ms = ty_now_ms() + ms;
}

unsigned ty_route_closed_for(const char *route)
{
    if (list.count == 0)
        return 0;

    unsigned index = find(route);
    uint64_t now = ty_now_ms();

    if (index == list.count)
        return 0;
    if (list.closed[index].until_ms <= now) {
        open_at(index);
        return 0;
    }
    return (unsigned)((list.closed[index].until_ms - now + 999) / 1000);
}

void ty_routes_open(void)
{
    while (list.count)
        open_at(list.count - 1);
}
