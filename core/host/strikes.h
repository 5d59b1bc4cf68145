/* Routes that had to be stopped, and how often: a sliding window for each.
 *
 * A strike is one occasion: a script was stopped, or a worker died or was killed while the route
 * ran. The route with enough of them within the window is closed for as long as the window is, and
 * begins anew after that. Bounded: of too many routes, the one that was quiet for longest is
 * forgotten.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { STRIKES_ROUTES_MAX = 256, STRIKES_NAME_MAX = 160 };

struct strikes_rule {
    unsigned max; /* 0: no route is ever closed */
    uint64_t window_ms;
};

struct struck_route {
    char name[STRIKES_NAME_MAX];
    uint64_t *times; /* the last `max` of them, in a ring */
    unsigned max, count, next;
    uint64_t last_ms;
    uint64_t closed_until_ms; /* 0: open */
};

struct strikes {
    struct struck_route *routes; /* NULL until there is one */
    unsigned count;
};

/* One more. True: the route is to be closed now, until `now_ms` plus the window. */
bool ty_strikes_add(struct strikes *strikes, const char *route, const struct strikes_rule *rule,
                    uint64_t now_ms);

/* The closed route behind `after` (NULL: the first); NULL if there is no more. */
const struct struck_route *ty_strikes_closed(const struct strikes *strikes,
                                             const struct struck_route *after, uint64_t now_ms);

/* Forgets everything and frees; usable again. */
void ty_strikes_clear(struct strikes *strikes);
