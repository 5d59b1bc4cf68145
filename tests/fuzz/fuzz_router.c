/* Routes and paths, against a search that tries every pattern.
 *
 * Input: lines of a digit (a set of methods) and a pattern, an empty line, lines of a digit and a
 * path. Of all patterns that match a path the router must find the one that is most specific: at
 * the first byte where two differ, static text before a parameter before the rest.
 */
#include "fuzz.h"
#include "tycho/router.h"

enum { ROUTES_MAX = 24, PATH_MAX = 200 };

struct table {
    struct ty_router *router;
    struct ty_route routes[ROUTES_MAX];
    char *patterns[ROUTES_MAX];
    size_t count;
};

/* How each byte of the path is taken: 's', 'p' or 'r'. */
struct taken {
    char kinds[PATH_MAX + 1];
    size_t params;
};

static bool matches(const char *pattern, struct ty_slice path, struct taken *taken)
{
    size_t at = 0;

    *taken = (struct taken){0};
    for (const char *p = pattern; *p;) {
        if (*p != '{') {
            if (at == path.len || path.data[at] != *p++)
                return false;
            taken->kinds[at++] = 's';
            continue;
        }
        const char *end = strchr(p, '}');
        bool rest = end[-1] == '.';
        size_t from = at;

        while (at < path.len && (rest || path.data[at] != '/'))
            taken->kinds[at++] = rest ? 'r' : 'p';
        if (at == from)
            return false;
        taken->params++;
        p = end + 1;
    }
    return at == path.len;
}

/* 's' before 'p' before 'r': where they differ. */
static bool is_better(const struct taken *a, const struct taken *b)
{
    static const char order[] = "spr";
    size_t i = 0;

    while (a->kinds[i] && a->kinds[i] == b->kinds[i])
        i++;
    return a->kinds[i] && strchr(order, a->kinds[i]) < strchr(order, b->kinds[i]);
}

/* For HEAD a route that has only GET will do. */
static bool answers(const struct ty_route *route, unsigned method)
{
    return route->methods & method || (method == TY_HEAD && route->methods & TY_GET);
}

static void check_path(const struct table *table, unsigned method, struct ty_slice path)
{
    struct taken best = {0}, taken;
    const struct ty_route *found = NULL;
    struct ty_match match;
    unsigned allow = 0;

    for (size_t i = 0; i < table->count; i++) {
        const struct ty_route *route = &table->routes[i];

        if (!matches(route->pattern, path, &taken))
            continue;
        allow |= route->methods;
        if (!answers(route, method))
            continue;
        bool same_place = found && strcmp(best.kinds, taken.kinds) == 0;

        /* Of two at the same place, one for HEAD and one for GET, the former. */
        REQUIRE(!same_place || method == TY_HEAD);
        if (!found || is_better(&taken, &best) || (same_place && route->methods & method)) {
            found = route;
            best = taken;
        }
    }
    ty_router_match(table->router, (enum ty_method)method, path, &match);
    REQUIRE(match.route == found);
    if (found) {
        REQUIRE(match.allow == 0 && match.param_count == best.params);
        for (size_t i = 0; i < match.param_count; i++)
            REQUIRE(match.params[i].value.len && match.params[i].name.len);
    } else if (allow) {
        REQUIRE((match.allow & ~(unsigned)(TY_OPTIONS | TY_HEAD)) ==
                (allow & ~(unsigned)(TY_OPTIONS | TY_HEAD)));
    } else {
        REQUIRE(match.allow == 0);
    }
}

static void add_route(struct table *table, unsigned digit, struct ty_slice text)
{
    struct ty_route *route = &table->routes[table->count];
    struct ty_error error = {0};

    if (table->count == ROUTES_MAX || memchr(text.data, '\0', text.len))
        return;
    char *pattern = strndup(text.data, text.len);

    *route = (struct ty_route){.pattern = pattern, .where = "x.lua:1", .methods = digit + 1};
    if (ty_router_add(table->router, route, &error) == 0) {
        table->patterns[table->count++] = pattern;
    } else {
        REQUIRE(error.message[0]);
        free(pattern);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct table table = {.router = ty_router_new()};
    bool in_paths = false;

    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        char *line = exact_copy(data + at, len);

        if (len == 0)
            in_paths = true;
        else if (!in_paths)
            add_route(&table, (unsigned)line[0] % 127, (struct ty_slice){line + 1, len - 1});
        else if (len <= PATH_MAX)
            check_path(&table, 1u << (unsigned char)line[0] % TY_METHOD_COUNT,
                       (struct ty_slice){line + 1, len - 1});
        free(line);
        at += len + 1;
    }
    ty_router_free(table.router);
    for (size_t i = 0; i < table.count; i++)
        free(table.patterns[i]);
    return 0;
}
