#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "error.h"
#include "http.h"
#include "json.h"

enum { HEADERS_MAX = 64 };

/* A response on its way from Lua values to the server; the strings stay on the Lua stack. */
struct reply {
    const struct ty_call *call;
    int status;
    size_t count;
    bool has_type;
    struct ty_header headers[HEADERS_MAX];
};

/* Raises, naming the route: the handler is not on the stack any more. */
static void refuse(lua_State *L, const struct reply *reply, const char *fmt, ...)
{
    const struct ty_route *route = reply->call->req->match.route;
    va_list args;

    lua_pushfstring(L, "%s%sthe answer ", route ? route->where : "", route ? ": " : "");
    va_start(args, fmt);
    lua_pushvfstring(L, fmt, args);
    va_end(args);
    lua_concat(L, 2);
    lua_error(L);
}

static const char TEXT[] = "text/plain; charset=utf-8";
static const char JSON[] = "application/json";

void ty_answer_builtin_error(struct ty_call *call)
{
    struct ty_request *req = call->req;
    const struct ty_header type = {TY_SLICE("Content-Type"), TY_SLICE("application/problem+json")};
    struct ty_buf body = {0};

    req->error_kind = "internal";
    ty_buf_addf(&body,
                "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500,"
                "\"request_id\":\"%s\"}",
                req->id);
    call->to->respond(req, 500, &type, 1, (struct ty_slice){body.data, body.len});
    ty_buf_close(&body);
}

/* The buffer that bodies are encoded into: one answer is built at a time in a process. */
static struct ty_buf *scratch(void)
{
    static struct ty_buf buffer;

    if (buffer.cap > 1024 * 1024)
        ty_buf_close(&buffer);
    buffer.len = 0;
    return &buffer;
}

/* Adds the field whose name is at `name` and whose value is on top of the stack. Both strings
 * belong to the table they came from, which nobody changes until the answer is sent. */
static void add_header(lua_State *L, struct reply *reply, int name)
{
    struct ty_header *header = &reply->headers[reply->count];

    if (reply->count++ == HEADERS_MAX)
        refuse(L, reply, "has more than %d headers", HEADERS_MAX);
    if (lua_type(L, name) != LUA_TSTRING)
        refuse(L, reply, "has a header whose name is no string");
    if (lua_type(L, -1) != LUA_TSTRING)
        refuse(L, reply, "has a header '%s' that is no string", lua_tostring(L, name));
    header->name.data = lua_tolstring(L, name, &header->name.len);
    header->value.data = lua_tolstring(L, -1, &header->value.len);
    if (header->name.len == 12 && strncasecmp(header->name.data, "content-type", 12) == 0) {
        if (reply->has_type)
            refuse(L, reply, "has two content types");
        reply->has_type = true;
    }
}

static void add_list(lua_State *L, struct reply *reply, int name, int list)
{
    int count = (int)lua_objlen(L, list);

    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        if (lua_type(L, -1) == LUA_TNUMBER) {
            lua_tostring(L, -1);
            lua_pushvalue(L, -1);
            lua_rawseti(L, list, i);
        }
        add_header(L, reply, name);
        lua_pop(L, 1);
    }
}

/* Reads a table name -> string, number, or list of those. Numbers become strings in the table, so
 * that they stay where they are. */
static void read_headers(lua_State *L, struct reply *reply, int table)
{
    int name = table + 1, value = table + 2;

    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (lua_istable(L, value)) {
            add_list(L, reply, name, value);
        } else {
            if (lua_type(L, value) == LUA_TNUMBER) {
                lua_tostring(L, value);
                lua_pushvalue(L, name);
                lua_pushvalue(L, value);
                lua_rawset(L, table);
            }
            add_header(L, reply, name);
        }
        lua_pop(L, 1);
    }
}

static void default_type(struct reply *reply, const char *type)
{
    if (reply->has_type || reply->count == HEADERS_MAX)
        return;
    reply->headers[reply->count].name = TY_SLICE("Content-Type");
    reply->headers[reply->count++].value = (struct ty_slice){type, strlen(type)};
}

static void check_sent(lua_State *L, const struct reply *reply, int result)
{
    if (result == TY_HTTP_E_HEADER)
        refuse(L, reply, "has a header with a bad name or value, or one that is the server's own");
    if (result == TY_HTTP_E_STATUS)
        refuse(L, reply, "has %d for a status, which is not a final one", reply->status);
}

static void send_text(lua_State *L, struct ty_call *call, struct reply *reply, struct ty_slice body)
{
    int result = call->to->respond(call->req, reply->status, reply->headers, reply->count, body);
    check_sent(L, reply, result);
}

static void send_json(lua_State *L, struct ty_call *call, struct reply *reply, int value)
{
    struct ty_buf *out = scratch();
    struct ty_error error;

    if (ty_json_encode(L, value, out, &error) < 0)
        refuse(L, reply, "cannot be JSON: %s", error.message);
    default_type(reply, JSON);
    send_text(L, call, reply, (struct ty_slice){out->data, out->len});
}

/* ---- bodies in pieces: an iterator, run in a fiber of its own by the loader's pump */

static void on_pumped(struct ty_fiber *fiber, lua_State *co, int status, int count, void *arg)
{
    struct ty_call *call = arg;

    bool told = status && call->gen->streams_over && ty_call_was_cancelled(co);

    (void)fiber, (void)count;
    call->fiber = NULL;
    call->gen->streams--;
    if (status && !told)
        ty_call_log_failure(call, co);
    /* Events are whole one by one; of anything else the client must see that it did not get all. */
    call->to->end(call->req, status && !(told && call->has_events));
    ty_call_free(call);
}

static bool has_events(const struct reply *reply)
{
    static const char type[] = "text/event-stream";

    for (size_t i = 0; i < reply->count; i++) {
        const struct ty_header *header = &reply->headers[i];
        if (header->name.len == 12 && strncasecmp(header->name.data, "content-type", 12) == 0)
            return header->value.len >= sizeof(type) - 1 &&
                   strncasecmp(header->value.data, type, sizeof(type) - 1) == 0;
    }
    return false;
}

/* To HEAD, and with these statuses, no piece would be sent: none is asked for. */
static bool wants_pieces(const struct ty_request *req, int status)
{
    return req->method != TY_HEAD && status != 204 && status != 205 && status != 304;
}

/* False if that was all. */
static bool send_pieces(lua_State *L, struct ty_call *call, struct reply *reply, int iterator)
{
    struct ty_request *req = call->req;
    const struct ty_route_notes *notes = req->match.route ? req->match.route->data : NULL;

    default_type(reply, TEXT);
    check_sent(L, reply, call->to->begin(req, reply->status, reply->headers, reply->count, -1));
    if (!wants_pieces(req, reply->status)) {
        call->to->end(req, false);
        return false;
    }
    call->streaming = true;
    call->has_events = has_events(reply);
    call->gen->streams++;
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->gen->pump_ref);
    lua_pushvalue(L, iterator);

    struct ty_fiber_options options = {
        .owner = notes ? notes->owner : "request",
        .request = req,
        .detached = true,
        .lasting = true,
        .slice_max_ms = notes ? notes->slice_max_ms : 0,
        /* it may go on for hours: a budget in all is for routes that ask for one */
        .cpu_max_ms = notes && notes->cpu_max_ms ? notes->cpu_max_ms : UINT32_MAX,
        .done = on_pumped,
        .arg = call,
    };
    struct ty_fiber *fiber = ty_fiber_start(L, 1, &options);
    if (!fiber)
        return true; /* it has ended, and the call with it */
    call->fiber = fiber;
    if (call->gen->streams_over)
        ty_fiber_cancel(fiber, "the generation was replaced");
    return true;
}

/* True if the answer goes on in a fiber of its own, which then owns the call. */
static bool send_response(lua_State *L, struct ty_call *call, struct reply *reply, int table)
{
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_rawget(L, table);
    if (!lua_isnil(L, -1))
        reply->status = (int)lua_tointeger(L, -1);
    lua_pushvalue(L, lua_upvalueindex(4));
    lua_rawget(L, table);
    if (lua_istable(L, -1))
        read_headers(L, reply, lua_gettop(L));
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_rawget(L, table);

    int body = lua_gettop(L);
    struct ty_slice text = {"", 0};
    switch (lua_type(L, body)) {
    case LUA_TNIL:
        send_text(L, call, reply, text);
        break;
    case LUA_TSTRING:
        text.data = lua_tolstring(L, body, &text.len);
        default_type(reply, TEXT);
        send_text(L, call, reply, text);
        break;
    case LUA_TFUNCTION:
        return send_pieces(L, call, reply, body);
    default:
        send_json(L, call, reply, body);
    }
    return false;
}

static bool is_response(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    bool same = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    return same;
}

static int plain_status(const struct ty_call *call)
{
    const struct ty_route *route = call->req->match.route;
    const struct ty_route_notes *notes = route ? route->data : NULL;

    return notes && notes->status ? notes->status : 200;
}

bool ty_answer_text(struct ty_call *call, lua_State *co)
{
    static const struct ty_header type = {{"Content-Type", 12}, {TEXT, sizeof(TEXT) - 1}};
    struct ty_slice text;

    if (lua_type(co, -1) != LUA_TSTRING)
        return false;
    text.data = lua_tolstring(co, -1, &text.len);
    return call->to->respond(call->req, plain_status(call), &type, 1, text) == 0;
}

int ty_answer(lua_State *L)
{
    struct ty_call *call = lua_touserdata(L, 1);
    struct reply reply;

    lua_settop(L, 2);
    reply.call = call;
    reply.status = plain_status(call);
    reply.count = 0;
    reply.has_type = false;
    if (lua_isnil(L, 2)) {
        if (reply.status == 200)
            reply.status = 204;
        send_text(L, call, &reply, (struct ty_slice){"", 0});
    } else if (lua_type(L, 2) == LUA_TSTRING) {
        struct ty_slice text;
        text.data = lua_tolstring(L, 2, &text.len);
        default_type(&reply, TEXT);
        send_text(L, call, &reply, text);
    } else if (is_response(L, 2)) {
        lua_pushboolean(L, send_response(L, call, &reply, 2));
        return 1;
    } else {
        send_json(L, call, &reply, 2);
    }
    lua_pushboolean(L, 0);
    return 1;
}
