#include "tycho/log.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fiber.h"
#include "int64.h"
#include "json_scalar.h"
#include "modules.h"
#include "tycho/bundle.h"
#include "tycho/http.h"
#include "vm.h"

enum { DEPTH_MAX = 5, MEMBERS_MAX = 64, STACK_PER_LEVEL = 6, TYPE_CDATA = 10 };

static const char *const level_names[] = {"debug", "info", "warn", "error", NULL};

/* Members of a record itself; fields of these names get an underscore. */
static const char *const own_members[] = {"time",    "level",      "module",     "msg",
                                          "role",    "pid",        "request_id", "trace_id",
                                          "span_id", "generation", NULL};

static void add_value(lua_State *L, struct ty_buf *out, int depth);

/* "name": of the key at index -2, which stays as it is; returns whether its value is a secret. */
static bool add_name(lua_State *L, struct ty_buf *out, bool outermost)
{
    char number[32];
    size_t len;
    const char *name = number;

    if (lua_type(L, -2) == LUA_TSTRING)
        name = lua_tolstring(L, -2, &len);
    else if (lua_type(L, -2) == LUA_TNUMBER)
        len = (size_t)snprintf(number, sizeof(number), "%.14g", lua_tonumber(L, -2));
    else
        len = (size_t)snprintf(number, sizeof(number), "(%s)", luaL_typename(L, -2));
    ty_buf_addc(out, '"');
    ty_buf_add_json(out, name, len);
    for (size_t i = 0; outermost && own_members[i]; i++)
        if (strlen(own_members[i]) == len && memcmp(own_members[i], name, len) == 0)
            ty_buf_addc(out, '_');
    ty_buf_adds(out, "\":");
    return ty_log_is_secret(name, len);
}

static void add_string(struct ty_buf *out, const char *text)
{
    ty_log_add_string(out, text, strlen(text));
}

/* Members of the table on top, without braces. Those that are in the table at `except` too are left
 * out; 0: none. */
static void add_members(lua_State *L, struct ty_buf *out, int depth, int except)
{
    int table = lua_gettop(L), count = 0;

    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (except) {
            lua_pushvalue(L, -2);
            lua_rawget(L, except);
            bool hidden = !lua_isnil(L, -1);
            lua_pop(L, 1);
            if (hidden)
                continue;
        }
        if (out->len && !strchr("{[", out->data[out->len - 1]))
            ty_buf_addc(out, ',');
        if (++count > MEMBERS_MAX) {
            ty_buf_adds(out, "\"...\":true");
            lua_pop(L, 2);
            return;
        }
        if (add_name(L, out, depth == 0))
            ty_buf_adds(out, "\"[redacted]\"");
        else
            add_value(L, out, depth + 1);
    }
}

static void add_elements(lua_State *L, struct ty_buf *out, int depth)
{
    int length = (int)lua_objlen(L, -1);

    for (int i = 1; i <= length; i++) {
        if (i > 1)
            ty_buf_addc(out, ',');
        if (i > MEMBERS_MAX) {
            ty_buf_adds(out, "\"...\"");
            return;
        }
        lua_rawgeti(L, -1, i);
        add_value(L, out, depth + 1);
        lua_pop(L, 1);
    }
}

/* Whatever is on top: a log must not fail over a value. */
static void add_table(lua_State *L, struct ty_buf *out, int depth)
{
    if (depth >= DEPTH_MAX || !lua_checkstack(L, STACK_PER_LEVEL)) {
        add_string(out, "...");
    } else if (lua_objlen(L, -1) > 0) {
        ty_buf_addc(out, '[');
        add_elements(L, out, depth);
        ty_buf_addc(out, ']');
    } else {
        ty_buf_addc(out, '{');
        add_members(L, out, depth, 0);
        ty_buf_addc(out, '}');
    }
}

static void add_other(lua_State *L, struct ty_buf *out)
{
    int64_t value;
    int kind = lua_type(L, -1) == TYPE_CDATA ? ty_to_int64(L, lua_gettop(L), &value) : 0;

    if (kind == 1)
        ty_json_add_int64(out, value);
    else if (kind == 2)
        ty_json_add_uint64(out, (uint64_t)value);
    else if (lua_type(L, -1) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, -1))
        ty_buf_adds(out, "null");
    else
        add_string(out, luaL_typename(L, -1));
}

static void add_value(lua_State *L, struct ty_buf *out, int depth)
{
    size_t len;
    const char *text;

    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &len);
        ty_log_add_string(out, text, len);
        break;
    case LUA_TNUMBER:
        if (!ty_json_add_number(out, lua_tonumber(L, -1)))
            add_string(out, isnan(lua_tonumber(L, -1)) ? "NaN" : "Infinity");
        break;
    case LUA_TBOOLEAN:
        ty_buf_adds(out, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TTABLE:
        add_table(L, out, depth);
        break;
    default:
        add_other(L, out);
    }
}

static void fill_context(lua_State *L, struct ty_log_context *context)
{
    const struct ty_request *req = ty_fiber_request(L);
    const struct ty_vm *vm = ty_vm_of(L);

    if (req) {
        context->request_id = req->id;
        context->trace_id = req->trace.trace_id[0] ? req->trace.trace_id : NULL;
        context->span_id = req->trace.span_id[0] ? req->trace.span_id : NULL;
    }
    if (req && req->site)
        context->generation = req->site->generation;
    else if (vm->bundle)
        context->generation = ty_bundle_id(vm->bundle);
}

/* write(level, module, message, fields, more): `fields` go before `more`; both may be nil */
static int l_write(lua_State *L)
{
    int level = luaL_checkoption(L, 1, NULL, level_names);
    const char *module = luaL_checkstring(L, 2);
    size_t len;
    const char *message = luaL_checklstring(L, 3, &len);
    for (int i = 4; i <= 5; i++)
        luaL_argcheck(L, lua_isnoneornil(L, i) || lua_istable(L, i), i, "fields are a table");

    if (!ty_log_enabled(module, (enum ty_log_level)level))
        return 0;
    struct ty_log_context context = {0};
    struct ty_buf fields = {0};
    lua_settop(L, 5);
    luaL_checkstack(L, STACK_PER_LEVEL, "log");
    fill_context(L, &context);
    for (int i = 4; i <= 5; i++) {
        if (lua_isnil(L, i))
            continue;
        lua_pushvalue(L, i);
        add_members(L, &fields, 0, i == 5 && !lua_isnil(L, 4) ? 4 : 0);
        lua_pop(L, 1);
    }
    context.fields = fields.data;
    context.fields_len = fields.len;
    ty_log_text((enum ty_log_level)level, module, &context, message, len);
    ty_buf_close(&fields);
    return 0;
}

/* enabled(level, module) -> boolean */
static int l_enabled(lua_State *L)
{
    int level = luaL_checkoption(L, 1, NULL, level_names);

    lua_pushboolean(L, ty_log_enabled(luaL_checkstring(L, 2), (enum ty_log_level)level));
    return 1;
}

int luaopen_tycho_core_log(lua_State *L)
{
    static const luaL_Reg functions[] = {{"write", l_write}, {"enabled", l_enabled}, {NULL, NULL}};

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
