#include "tycho/metrics.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "modules.h"

static const char *const type_names[] = {"counter", "gauge", "histogram", NULL};

/* What the registry is told; its strings are on the Lua stack, and the registry copies them. */
struct family {
    struct ty_metric metric;
    double bounds[TY_METRIC_BUCKETS_MAX];
};

static void read_bounds(lua_State *L, int index, struct family *family)
{
    size_t count = lua_objlen(L, index);

    luaL_checktype(L, index, LUA_TTABLE);
    luaL_argcheck(L, count > 0 && count <= TY_METRIC_BUCKETS_MAX, index,
                  "between 1 and 16 buckets");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        family->bounds[i] = lua_tonumber(L, -1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TNUMBER && isfinite(family->bounds[i]), index,
                      "buckets are numbers");
        luaL_argcheck(L, i == 0 || family->bounds[i] > family->bounds[i - 1], index,
                      "buckets ascend");
        lua_pop(L, 1);
    }
    family->metric.bounds = family->bounds;
    family->metric.bound_count = count;
}

/* series(type, name, help, labels, bounds) -> series. `labels` is text as label() makes it. */
static int l_series(lua_State *L)
{
    struct family family = {.metric.type =
                                (enum ty_metric_type)luaL_checkoption(L, 1, NULL, type_names)};

    family.metric.name = luaL_checkstring(L, 2);
    family.metric.help = luaL_checkstring(L, 3);
    const char *labels = luaL_checkstring(L, 4);
    if (family.metric.type == TY_HISTOGRAM && !lua_isnoneornil(L, 5))
        read_bounds(L, 5, &family);

    lua_pushlightuserdata(L, ty_metrics_series(&family.metric, labels));
    return 1;
}

static struct ty_series *check_series(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
    return lua_touserdata(L, 1);
}

/* add(series, amount): counters and gauges */
static int l_add(lua_State *L)
{
    struct ty_series *series = check_series(L);

    ty_counter_add(series, luaL_checknumber(L, 2));
    return 0;
}

/* set(series, value): gauges */
static int l_set(lua_State *L)
{
    struct ty_series *series = check_series(L);

    ty_gauge_set(series, luaL_checknumber(L, 2));
    return 0;
}

/* observe(series, value): histograms */
static int l_observe(lua_State *L)
{
    struct ty_series *series = check_series(L);

    ty_histogram_observe(series, luaL_checknumber(L, 2));
    return 0;
}

/* value(name, labels) -> the sum over all workers */
static int l_value(lua_State *L)
{
    lua_pushnumber(L, ty_metrics_value(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
    return 1;
}

/* label(before, name, value) -> `before` and one label more */
static int l_label(lua_State *L)
{
    size_t before_len, len;
    const char *before = luaL_checklstring(L, 1, &before_len);
    const char *name = luaL_checkstring(L, 2);
    const char *value = luaL_checklstring(L, 3, &len);
    struct ty_buf out = {0};

    ty_buf_add(&out, before, before_len);
    ty_metrics_add_label(&out, name, value, len);
    lua_pushlstring(L, out.data, out.len);
    ty_buf_close(&out);
    return 1;
}

/* render(openmetrics) -> text */
static int l_render(lua_State *L)
{
    struct ty_buf out = {0};

    ty_metrics_render(&out, lua_toboolean(L, 1));
    lua_pushlstring(L, out.data, out.len);
    ty_buf_close(&out);
    return 1;
}

int luaopen_tycho_core_metrics(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"series", l_series}, {"add", l_add},     {"set", l_set},       {"observe", l_observe},
        {"value", l_value},   {"label", l_label}, {"render", l_render}, {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
