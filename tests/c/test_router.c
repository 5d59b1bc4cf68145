#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/memory.h"
#include "tycho/router.h"

static struct ty_slice slice(const char *text)
{
    return (struct ty_slice){text, strlen(text)};
}

static void add(struct ty_router *router, struct ty_route *route)
{
    struct ty_error error;

    if (ty_router_add(router, route, &error))
        fail_msg("%s", error.message);
}

static struct ty_match match(const struct ty_router *router, enum ty_method method,
                             const char *path)
{
    struct ty_match m;

    ty_router_match(router, method, slice(path), &m);
    return m;
}

static const char *matched(const struct ty_router *router, const char *path)
{
    struct ty_match m = match(router, TY_GET, path);

    return m.route ? m.route->pattern : "";
}

static void static_text_wins_over_a_parameter_and_that_over_the_rest(void **state)
{
    static const char *const patterns[] = {
        "/",          "/user/{id}", "/user/me",         "/user/{id}/posts", "/user/me/{x}/y",
        "/{rest...}", "/files/",    "/files/{path...}", "/user/mean",       "/user/{id}/{a}/y",
    };
    static const char *const cases[][2] = {
        {"/", "/"},
        {"/user/me", "/user/me"},
        {"/user/7", "/user/{id}"},
        {"/user/m", "/user/{id}"},
        {"/user/mea", "/user/{id}"},
        {"/user/mean", "/user/mean"},
        {"/user/meant", "/user/{id}"},
        {"/user/me/posts", "/user/{id}/posts"},
        {"/user/me/1/y", "/user/me/{x}/y"},
        {"/user/him/1/y", "/user/{id}/{a}/y"},
        {"/user/me/1/z", "/{rest...}"},
        {"/user/", "/{rest...}"},
        {"/user//posts", "/{rest...}"},
        {"/files/", "/files/"},
        {"/files/a/b/c", "/files/{path...}"},
        {"/files", "/{rest...}"},
        {"", ""},
    };
    struct ty_route routes[10] = {0};
    struct ty_router *router = ty_router_new();

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        routes[i] = (struct ty_route){.pattern = patterns[i], .methods = TY_GET};
        add(router, &routes[i]);
    }

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(matched(router, cases[i][0]), cases[i][1]);
    ty_router_free(router);
}

static void parameters_have_the_names_of_the_route_that_was_found(void **state)
{
    struct ty_route get = {.pattern = "/o/{id}/x/{rest...}", .methods = TY_GET};
    struct ty_route post = {.pattern = "/o/{number}/x/{tail...}", .methods = TY_POST};
    struct ty_router *router = ty_router_new();

    (void)state;
    add(router, &get);
    add(router, &post);
    struct ty_match m = match(router, TY_POST, "/o/12/x/a/b");

    assert_ptr_equal(m.route, &post);
    assert_int_equal(m.param_count, 2);
    assert_true(ty_slice_is(m.params[0].name, "number"));
    assert_true(ty_slice_is(m.params[0].value, "12"));
    assert_true(ty_slice_is(m.params[1].name, "tail"));
    assert_true(ty_slice_is(m.params[1].value, "a/b"));
    assert_true(ty_slice_is(match(router, TY_GET, "/o/1/x/y").params[0].name, "id"));
    ty_router_free(router);
}

static void methods_decide_between_routes_of_one_path(void **state)
{
    struct ty_route list = {.pattern = "/a", .methods = TY_GET};
    struct ty_route make = {.pattern = "/a", .methods = TY_POST | TY_PUT};
    struct ty_route any = {.pattern = "/{x}", .methods = TY_DELETE};
    struct ty_route head = {.pattern = "/h", .methods = TY_HEAD};
    struct ty_route get = {.pattern = "/h", .methods = TY_GET};
    struct ty_route options = {.pattern = "/o", .methods = TY_OPTIONS};
    struct ty_router *router = ty_router_new();

    (void)state;
    add(router, &list);
    add(router, &make);
    add(router, &any);
    add(router, &head);
    add(router, &get);
    add(router, &options);

    assert_ptr_equal(match(router, TY_PUT, "/a").route, &make);
    assert_ptr_equal(match(router, TY_HEAD, "/a").route, &list);
    assert_ptr_equal(match(router, TY_HEAD, "/h").route, &head);
    assert_ptr_equal(match(router, TY_DELETE, "/a").route, &any);
    assert_ptr_equal(match(router, TY_OPTIONS, "/o").route, &options);
    assert_int_equal(match(router, TY_PATCH, "/a").allow,
                     TY_GET | TY_HEAD | TY_POST | TY_PUT | TY_DELETE | TY_OPTIONS);
    assert_int_equal(match(router, TY_OPTIONS, "/x").allow, TY_DELETE | TY_OPTIONS);
    assert_null(match(router, TY_OPTIONS, "/a").route);
    assert_int_equal(match(router, TY_GET, "/nowhere/at/all").allow, 0);
    ty_router_free(router);
}

static void a_conflict_names_both_places(void **state)
{
    struct ty_route first = {"/u/{id}", "app/a.lua:3", TY_GET | TY_PUT, .ref = 0};
    struct ty_route second = {"/u/{name}", "app/b.lua:9", TY_PUT, .ref = 0};
    struct ty_router *router = ty_router_new();
    struct ty_error error;

    (void)state;
    add(router, &first);

    assert_int_equal(ty_router_add(router, &second, &error), -1);
    assert_int_equal(error.kind, TY_ERR_CONFLICT);
    assert_non_null(strstr(error.message, "app/a.lua:3"));
    assert_non_null(strstr(error.message, "app/b.lua:9"));
    assert_non_null(strstr(error.message, "PUT"));
    ty_router_free(router);
}

static void bad_patterns_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "a",
        "/{}",
        "/{1a}",
        "/a{b}",
        "/{b}a",
        "/{a",
        "/a}",
        "/{a}/{a}",
        "/{a...}/b",
        "/{a..}",
        "/{a}{b}",
        "/a?b",
        "/a%20b",
        "/a\x01b",
        "/{a b}",
        "/x{r...}",
        "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}"
        "/{m}/{n}/{o}/{p}/{q}",
    };
    struct ty_router *router = ty_router_new();
    struct ty_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ty_route route = {.pattern = bad[i], .where = "x.lua:1", .methods = TY_GET};

        assert_int_equal(ty_router_add(router, &route, &error), -1);
        assert_non_null(strstr(error.message, "x.lua:1"));
    }
    struct ty_route none = {.pattern = "/fine", .methods = 0};

    assert_int_equal(ty_router_add(router, &none, &error), -1);
    ty_router_free(router);
}

static void collect(struct ty_route *route, void *arg)
{
    ty_buf_adds(arg, route->pattern);
}

static void routes_are_listed_in_the_order_of_adding(void **state)
{
    struct ty_route a = {.pattern = "/b", .methods = TY_GET};
    struct ty_route b = {.pattern = "/a", .methods = TY_GET};
    struct ty_router *router = ty_router_new();
    struct ty_buf seen = {0};

    (void)state;
    add(router, &a);
    add(router, &b);
    ty_router_each(router, collect, &seen);

    assert_string_equal(ty_buf_cstr(&seen), "/b/a");
    ty_buf_close(&seen);
    ty_router_free(router);
}

static void decoding_keeps_an_encoded_slash_apart(void **state)
{
    static const struct {
        const char *raw, *decoded;
        ptrdiff_t len;
    } cases[] = {
        {"/a%20b", "/a b", 4},
        {"/a%2Fb", "/a\0b", 4},
        {"/a%2fb", "/a\0b", 4},
        {"/%41%7a", "/Az", 3},
        {"/%c3%A9", "/\xc3\xa9", 3},
        {"/a+b", "/a+b", 4},
        {"/%", "", -1},
        {"/%4", "", -1},
        {"/%4g", "", -1},
        {"/%00", "", -1},
        {"/%-1", "", -1},
        {"/%%41", "", -1},
    };
    char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(ty_path_decode(slice(cases[i].raw), out), cases[i].len);
        if (cases[i].len > 0)
            assert_memory_equal(out, cases[i].decoded, (size_t)cases[i].len);
    }
}

static void an_encoded_slash_does_not_separate_segments(void **state)
{
    struct ty_route one = {.pattern = "/f/{name}", .methods = TY_GET};
    struct ty_router *router = ty_router_new();
    char path[] = "/f/a%2Fb";
    struct ty_match m;

    (void)state;
    add(router, &one);
    ptrdiff_t len = ty_path_decode(slice(path), path); /* in place */
    ty_router_match(router, TY_GET, (struct ty_slice){path, (size_t)len}, &m);

    assert_ptr_equal(m.route, &one);
    assert_int_equal(m.params[0].value.len, 3);
    assert_memory_equal(m.params[0].value.data, "a\0b", 3);
    ty_router_free(router);
}

static void methods_have_names(void **state)
{
    struct ty_buf out = {0};

    (void)state;
    for (unsigned i = 0; i < TY_METHOD_COUNT; i++) {
        const char *name = ty_method_name((enum ty_method)(1u << i));

        assert_int_equal(ty_method_parse(name, strlen(name)), 1u << i);
    }
    assert_int_equal(ty_method_parse("get", 3), 0);
    assert_int_equal(ty_method_parse("TRACE", 5), 0);
    ty_method_list(TY_GET | TY_HEAD | TY_OPTIONS, &out);
    assert_string_equal(ty_buf_cstr(&out), "GET, HEAD, OPTIONS");
    ty_buf_close(&out);
}

/* --- against a slow matcher that is easy to believe: tries every route, keeps the best --- */

static size_t segment_len(const char *s)
{
    return strcspn(s, "/");
}

/* Rank of a pattern's segment: 0 static, 1 parameter, 2 rest. */
static int rank(const char *pattern)
{
    if (*pattern != '{')
        return 0;
    return memchr(pattern, '.', segment_len(pattern)) ? 2 : 1;
}

static int matches(const char *pattern, const char *path)
{
    while (*pattern == '/' && *path == '/') {
        size_t want = segment_len(++pattern), have = segment_len(++path);
        int kind = rank(pattern);

        if (kind == 2)
            return *path != '\0';
        if (kind == 0 && (want != have || memcmp(pattern, path, want) != 0))
            return 0;
        if (kind == 1 && have == 0)
            return 0;
        pattern += want;
        path += have;
    }
    return *pattern == '\0' && *path == '\0';
}

static int is_better(const char *a, const char *b)
{
    for (;;) {
        int rank_a = rank(++a), rank_b = rank(++b);

        if (rank_a != rank_b)
            return rank_a < rank_b;
        a += segment_len(a);
        b += segment_len(b);
        if (!*a || !*b)
            return 0;
    }
}

static struct ty_route *slow_match(struct ty_route *routes, size_t count, unsigned method,
                                   const char *path)
{
    struct ty_route *best = NULL;

    for (size_t i = 0; i < count; i++) {
        if (!(routes[i].methods & method) || !matches(routes[i].pattern, path))
            continue;
        if (!best || is_better(routes[i].pattern, best->pattern))
            best = &routes[i];
    }
    return best;
}

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % sides;
}

static char *random_path(uint32_t *seed, int is_pattern)
{
    static const char *const words[] = {"a", "b", "ab", "abc", "", "ba"};
    struct ty_buf out = {0};
    uint32_t count = 1 + dice(seed, 5);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t kind = is_pattern ? dice(seed, 10) : 0;

        if (kind >= 9 && i + 1 == count)
            ty_buf_addf(&out, "/{r...}");
        else if (kind >= 6)
            ty_buf_addf(&out, "/{p%u}", i);
        else
            ty_buf_addf(&out, "/%s", words[dice(seed, 6)]);
    }
    return (char *)(uintptr_t)ty_buf_cstr(&out);
}

static void random_routes_match_as_a_slow_matcher_says(void **state)
{
    uint32_t seed = 42;

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct ty_route routes[40] = {0};
        struct ty_router *router = ty_router_new();
        size_t count = 0, tried = 1 + dice(&seed, 40);

        for (size_t i = 0; i < tried; i++) {
            struct ty_route *route = &routes[count];

            *route = (struct ty_route){.pattern = random_path(&seed, 1),
                                       .methods = 1u << (2 * dice(&seed, 2))};
            if (ty_router_add(router, route, NULL) == 0)
                count++;
            else
                free((void *)(uintptr_t)route->pattern);
        }
        for (int i = 0; i < 300; i++) {
            char *path = random_path(&seed, 0);
            enum ty_method method = dice(&seed, 2) ? TY_GET : TY_POST;
            struct ty_match m = match(router, method, path);

            if (m.route != slow_match(routes, count, method, path))
                fail_msg("round %d: %s matched %s", round, path, m.route ? m.route->pattern : "-");
            free(path);
        }
        ty_router_free(router);
        for (size_t i = 0; i < count; i++)
            free((void *)(uintptr_t)routes[i].pattern);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_text_wins_over_a_parameter_and_that_over_the_rest),
        cmocka_unit_test(parameters_have_the_names_of_the_route_that_was_found),
        cmocka_unit_test(methods_decide_between_routes_of_one_path),
        cmocka_unit_test(a_conflict_names_both_places),
        cmocka_unit_test(bad_patterns_are_refused),
        cmocka_unit_test(routes_are_listed_in_the_order_of_adding),
        cmocka_unit_test(decoding_keeps_an_encoded_slash_apart),
        cmocka_unit_test(an_encoded_slash_does_not_separate_segments),
        cmocka_unit_test(methods_have_names),
        cmocka_unit_test(random_routes_match_as_a_slow_matcher_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
