#include "host/strikes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/memory.h"

static struct struck_route *find(struct strikes *strikes, const char *name)
{
    for (unsigned i = 0; i < strikes->count; i++)
        if (strcmp(strikes->routes[i].name, name) == 0)
            return &strikes->routes[i];
    return NULL;
}

/* Closed ones are only given up when all are. */
static struct struck_route *quietest(struct strikes *strikes, uint64_t now_ms)
{
    struct struck_route *found = NULL;

    for (unsigned i = 0; i < strikes->count; i++) {
        struct struck_route *route = &strikes->routes[i];
        bool is_closed = route->closed_until_ms > now_ms;
        bool found_is_closed = found && found->closed_until_ms > now_ms;
        if (!found || is_closed < found_is_closed ||
            (is_closed == found_is_closed && route->last_ms < found->last_ms))
            found = route;
    }
    return found;
}

static struct struck_route *make_room(struct strikes *strikes, uint64_t now_ms)
{
    struct struck_route *route;

    if (!strikes->routes)
        strikes->routes = ty_zalloc(STRIKES_ROUTES_MAX * sizeof(*strikes->routes));
    if (strikes->count < STRIKES_ROUTES_MAX)
        return &strikes->routes[strikes->count++];
    route = quietest(strikes, now_ms);
    free(route->times);
    *route = (struct struck_route){0};
    return route;
}

/* An empty ring; another size comes with another configuration. */
static void start(struct struck_route *route, unsigned max)
{
    if (route->max != max) {
        free(route->times);
        route->times = ty_zalloc(max * sizeof(*route->times));
        route->max = max;
    }
    route->count = route->next = 0;
}

bool ty_strikes_add(struct strikes *strikes, const char *name, const struct strikes_rule *rule,
                    uint64_t now_ms)
{
    struct struck_route *route = find(strikes, name);

    if (rule->max == 0 || strlen(name) >= STRIKES_NAME_MAX ||
        (route && route->closed_until_ms > now_ms)) /* it had begun before */
        return false;
    if (!route) {
        route = make_room(strikes, now_ms);
        snprintf(route->name, sizeof(route->name), "%s", name);
    }
    if (route->max != rule->max)
        start(route, rule->max);
    route->last_ms = route->times[route->next] = now_ms;
    route->next = (route->next + 1) % route->max;
    route->count += route->count < route->max;
    if (route->count < route->max || now_ms - route->times[route->next] > rule->window_ms)
        return false;
    route->closed_until_ms = now_ms + rule->window_ms;
    start(route, rule->max);
    return true;
}

const struct struck_route *ty_strikes_closed(const struct strikes *strikes,
                                             const struct struck_route *after, uint64_t now_ms)
{
    unsigned i = after ? (unsigned)(after - strikes->routes) + 1 : 0;

    while (i < strikes->count && strikes->routes[i].closed_until_ms <= now_ms)
        i++;
    return i < strikes->count ? &strikes->routes[i] : NULL;
}

void ty_strikes_clear(struct strikes *strikes)
{
    for (unsigned i = 0; i < strikes->count; i++)
        free(strikes->routes[i].times);
    free(strikes->routes);
    *strikes = (struct strikes){0};
}
