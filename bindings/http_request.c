#include <ctype.h>
#include <lauxlib.h>
#include <string.h>
#include <strings.h>

#include "error.h"
#include "http.h"
#include "json.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

/* The array part of a request's table: the number of its call, and then the fields that were asked
 * for. So a request costs one allocation until a script adds a field of its own. The number is
 * believed only if that call says that this is its table: a script can write to the slot. */
enum { CALL_KEY = 1, FIELD_KEY = 2, FIELDS_AT_HAND = 6 };

typedef int field_fn(lua_State *L, struct ty_request *req);

static void push_slice(lua_State *L, struct ty_slice slice)
{
    if (slice.data)
        lua_pushlstring(L, slice.data, slice.len);
    else
        lua_pushnil(L);
}

static int field_id(lua_State *L, struct ty_request *req)
{
    lua_pushstring(L, req->id);
    return 1;
}

static int field_method(lua_State *L, struct ty_request *req)
{
    lua_pushstring(L, ty_method_name(req->method));
    return 1;
}

/* A path may hold NUL for an encoded slash (router.h); scripts see the slash. */
static void push_path(lua_State *L, struct ty_slice path)
{
    if (!path.data || !memchr(path.data, 0, path.len)) {
        push_slice(L, path);
        return;
    }
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (size_t i = 0; i < path.len; i++)
        luaL_addchar(&buffer, path.data[i] ? path.data[i] : '/');
    luaL_pushresult(&buffer);
}

static int field_path(lua_State *L, struct ty_request *req)
{
    push_path(L, req->path);
    return 1;
}

static int field_target(lua_State *L, struct ty_request *req)
{
    push_slice(L, req->target);
    return 1;
}

static int field_host(lua_State *L, struct ty_request *req)
{
    push_slice(L, req->host);
    return 1;
}

static int field_scheme(lua_State *L, struct ty_request *req)
{
    lua_pushstring(L, req->conn && ty_request_is_secure(req) ? "https" : "http");
    return 1;
}

static int field_ip(lua_State *L, struct ty_request *req)
{
    char address[INET6_ADDRSTRLEN] = "127.0.0.1";

    if (req->conn) /* a simulated request has none */
        ty_request_client(req, address);
    lua_pushstring(L, address);
    return 1;
}

static int field_route(lua_State *L, struct ty_request *req)
{
    lua_pushstring(L, req->match.route ? req->match.route->pattern : NULL);
    return 1;
}

static int field_generation(lua_State *L, struct ty_request *req)
{
    lua_pushstring(L, req->site->generation);
    return 1;
}

static int field_params(lua_State *L, struct ty_request *req)
{
    lua_createtable(L, 0, (int)req->match.param_count);
    for (size_t i = 0; i < req->match.param_count; i++) {
        push_slice(L, req->match.params[i].name);
        push_path(L, req->match.params[i].value);
        lua_rawset(L, -3);
    }
    return 1;
}

/* Pushes `name` in lower case. */
static void push_lower(lua_State *L, struct ty_slice name)
{
    luaL_Buffer buffer;

    luaL_buffinit(L, &buffer);
    for (size_t i = 0; i < name.len; i++)
        luaL_addchar(&buffer, (char)tolower((unsigned char)name.data[i]));
    luaL_pushresult(&buffer);
}

/* Repeated fields are one field with a comma (RFC 9110 5.3); cookies with a semicolon. */
static void push_fields(lua_State *L, const struct ty_header *fields, size_t count)
{
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        push_lower(L, fields[i].name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            push_slice(L, fields[i].value);
        } else {
            bool cookie = fields[i].name.len == 6 && !strncasecmp(fields[i].name.data, "cookie", 6);
            lua_pushstring(L, cookie ? "; " : ", ");
            push_slice(L, fields[i].value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static int field_headers(lua_State *L, struct ty_request *req)
{
    push_fields(L, req->headers, req->header_count);
    return 1;
}

static int field_trailers(lua_State *L, struct ty_request *req)
{
    push_fields(L, req->trailers, req->trailer_count);
    return 1;
}

/* name=value; name=value - RFC 6265bis 5.6, without decoding; the first of a name wins. */
static void add_cookies(lua_State *L, struct ty_slice text, int *left)
{
    const char *p = text.data, *end = text.data + text.len;

    while (p<end && * left> 0) {
        const char *stop = memchr(p, ';', (size_t)(end - p));
        const char *next = stop ? stop + 1 : end;
        stop = stop ? stop : end;
        while (p < stop && (*p == ' ' || *p == '\t'))
            p++;
        while (stop > p && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        const char *equals = memchr(p, '=', (size_t)(stop - p));
        if (equals && equals > p) {
            lua_pushlstring(L, p, (size_t)(equals - p));
            lua_pushvalue(L, -1);
            lua_rawget(L, -3);
            bool taken = !lua_isnil(L, -1);
            lua_pop(L, 1);
            lua_pushlstring(L, equals + 1, (size_t)(stop - equals - 1));
            if (taken)
                lua_pop(L, 2);
            else
                lua_rawset(L, -3);
            --*left;
        }
        p = next;
    }
}

static int field_cookies(lua_State *L, struct ty_request *req)
{
    int left = TY_COOKIES_MAX;

    lua_newtable(L);
    for (size_t i = 0; i < req->header_count; i++) {
        const struct ty_header *h = &req->headers[i];
        if (h->name.len == 6 && strncasecmp(h->name.data, "cookie", 6) == 0)
            add_cookies(L, h->value, &left);
    }
    return 1;
}

/* What is wrong with a request may be told to whoever sent it. */
static int raise_error(lua_State *L, enum ty_error_kind kind, const char *detail,
                       const char *message)
{
    ty_push_error(L, kind, detail, "%s", message);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "public");
    return lua_error(L);
}

static int push_query(lua_State *L, struct ty_request *req, bool all)
{
    if (!ty_push_form(L, req->query, all))
        return raise_error(L, TY_ERR_INVALID, "QUERY", "too many query parameters");
    return 1;
}

static int field_query(lua_State *L, struct ty_request *req)
{
    return push_query(L, req, false);
}

static int field_query_all(lua_State *L, struct ty_request *req)
{
    return push_query(L, req, true);
}

static int field_query_string(lua_State *L, struct ty_request *req)
{
    push_slice(L, req->query);
    return 1;
}

static int field_raw_body(lua_State *L, struct ty_request *req)
{
    if (!req->has_body)
        return 0;
    lua_pushlstring(L, req->body.data ? req->body.data : "", req->body.len);
    return 1;
}

/* Is the media type `type`, or, with `suffix`, does it end in that ("+json")? */
static bool media_is(struct ty_slice value, const char *type, const char *suffix)
{
    size_t len = 0;

    while (len < value.len && value.data[len] != ';' && value.data[len] != ' ')
        len++;
    if (len == strlen(type) && strncasecmp(value.data, type, len) == 0)
        return true;
    size_t suffix_len = suffix ? strlen(suffix) : 0;
    return suffix && len > suffix_len &&
           strncasecmp(value.data + len - suffix_len, suffix, suffix_len) == 0;
}

/* Two readers of one body must not see two values where it matters who somebody is. */
static bool is_strict(const struct ty_request *req)
{
    const struct ty_route *route = req->match.route;

    return route && ((const struct ty_route_notes *)route->data)->strict;
}

static int field_body(lua_State *L, struct ty_request *req)
{
    struct ty_slice type = ty_request_header(req, "content-type");
    struct ty_json_limits limits = {.refuse_repeats = is_strict(req)};
    struct ty_error error;

    if (!req->has_body)
        return 0;
    if (type.data && media_is(type, "application/json", "+json")) {
        const char *text = req->body.data ? req->body.data : "";
        if (ty_json_decode(L, text, req->body.len, &limits, &error) == 0)
            return 1;
        return raise_error(L, error.kind, error.detail, error.message);
    }
    if (type.data && media_is(type, "application/x-www-form-urlencoded", NULL)) {
        if (!ty_push_form(L, req->body, false))
            return raise_error(L, TY_ERR_INVALID, "FORM", "too many form fields");
        return 1;
    }
    return field_raw_body(L, req);
}

static int field_trace(lua_State *L, struct ty_request *req)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, req->trace.trace_id);
    lua_setfield(L, -2, "trace_id");
    lua_pushstring(L, req->trace.span_id);
    lua_setfield(L, -2, "span_id");
    if (req->trace.parent_id[0]) {
        lua_pushstring(L, req->trace.parent_id);
        lua_setfield(L, -2, "parent_id");
    }
    lua_pushinteger(L, req->trace.flags);
    lua_setfield(L, -2, "flags");
    push_slice(L, req->trace.state);
    lua_setfield(L, -2, "state");
    return 1;
}

/* trace() -> the trace of the request that the running fiber is for, or nil */
int ty_current_trace(lua_State *L)
{
    struct ty_request *req = ty_fiber_request(L);

    return req ? field_trace(L, req) : 0;
}

static int field_age(lua_State *L, struct ty_request *req)
{
    lua_pushnumber(L, (double)(ty_now_ns() - req->began_ns) / 1e9);
    return 1;
}

static const struct {
    const char *name;
    field_fn *push;
} fields[] = {
    {"params", field_params},
    {"query", field_query},
    {"body", field_body},
    {"headers", field_headers},
    {"method", field_method},
    {"path", field_path},
    {"id", field_id},
    {"ip", field_ip},
    {"host", field_host},
    {"scheme", field_scheme},
    {"target", field_target},
    {"query_string", field_query_string},
    {"query_all", field_query_all},
    {"cookies", field_cookies},
    {"raw_body", field_raw_body},
    {"trailers", field_trailers},
    {"route", field_route},
    {"generation", field_generation},
    {"trace", field_trace},
    {"age", field_age},
};

/* The call of the request at index 1; NULL when it is over. */
static struct ty_call *call_of(lua_State *L)
{
    const struct ty_generation *gen = ty_vm_of(L)->generation;

    lua_rawgeti(L, 1, CALL_KEY);
    size_t number = (size_t)lua_tointeger(L, -1);
    struct ty_call *call = number < gen->call_cap ? gen->calls[number] : NULL;
    return call && call->table == lua_topointer(L, 1) ? call : NULL;
}

/* __index(request, name): computes a field on first use and keeps it. Upvalue 1 maps names to
 * numbers. */
static int index_request(lua_State *L)
{
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isnil(L, -1))
        return 1;
    int which = (int)lua_tointeger(L, -1);

    struct ty_call *call = call_of(L);
    if (!call)
        return luaL_error(L, "request.%s: the request is over", fields[which].name);
    lua_rawgeti(L, 1, FIELD_KEY + which);
    if (!lua_isnil(L, -1))
        return 1;
    if (!fields[which].push(L, call->req))
        return 0;
    lua_pushvalue(L, -1);
    lua_rawseti(L, 1, FIELD_KEY + which);
    return 1;
}

void ty_push_request_metatable(lua_State *L)
{
    lua_createtable(L, 0, 3);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushcclosure(L, index_request, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "tycho.request");
    lua_setfield(L, -2, "__name");
    lua_pushliteral(L, "a request");
    lua_setfield(L, -2, "__metatable");
}

static void give_number(lua_State *L, struct ty_call *call)
{
    struct ty_generation *gen = call->gen;

    lua_pushboolean(L, 0);
    call->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    size_t number = (size_t)call->anchor;
    if (number >= gen->call_cap) {
        size_t cap = 2 * number + 1;
        gen->calls = ty_realloc(gen->calls, cap * sizeof(struct ty_call *));
        memset(gen->calls + gen->call_cap, 0, (cap - gen->call_cap) * sizeof(struct ty_call *));
        gen->call_cap = cap;
    }
    gen->calls[number] = call;
}

void ty_push_request(lua_State *L, struct ty_call *call)
{
    if (call->anchor == LUA_NOREF)
        give_number(L, call);
    lua_createtable(L, FIELDS_AT_HAND, 0);
    lua_pushinteger(L, call->anchor);
    lua_rawseti(L, -2, CALL_KEY);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->gen->requests_ref);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, call->anchor);
    call->table = lua_topointer(L, -1);
}

void ty_expire_request(lua_State *L, struct ty_call *call)
{
    call->table = NULL;
    if (call->anchor == LUA_NOREF)
        return;
    lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, call->anchor); /* a slot that exists: cannot fail */
}
