/* What the log says of an error that a handler raised. */
#include <lauxlib.h>
#include <string.h>

#include "http.h"
#include "json.h"
#include "tycho/log.h"

/* The length of "file:line: " at the start of a message; 0 if there is none. */
static size_t place_len(const char *text)
{
    size_t name = strcspn(text, ":\n");
    size_t line = text[name] == ':' ? strspn(text + name + 1, "0123456789") : 0;

    return name && line && strncmp(text + name + 1 + line, ": ", 2) == 0 ? name + line + 3 : 0;
}

static bool is_library(const char *place)
{
    return strncmp(place, "tycho/", 6) == 0;
}

/* The innermost line of the application in a traceback: "scripts/app/orders.lua:12: ". */
static struct ty_slice find_place(const char *traceback)
{
    const char *at = traceback;

    while (at && (at = strstr(at, "\n\t"))) {
        at += 2;
        size_t len = *at == '[' ? 0 : place_len(at);
        if (len && !is_library(at))
            return (struct ty_slice){at, len};
    }
    return (struct ty_slice){"", 0};
}

/* Replaces the message on top by one that begins with a line of the application, if there is one
 * to be had: a mistake is where the library was called, not where it noticed. */
static void put_place(lua_State *L, const char *traceback)
{
    size_t message_len;
    const char *message = lua_tolstring(L, -1, &message_len);
    size_t len = place_len(message);
    struct ty_slice place = find_place(traceback);

    if ((len && !is_library(message)) || !place.len)
        return;
    lua_pushlstring(L, place.data, place.len);
    lua_pushlstring(L, message + len, message_len - len);
    lua_concat(L, 2);
    lua_replace(L, -2);
}

/* A plain table was raised: its JSON says more than its address. */
static void show_table(lua_State *L, int index)
{
    struct ty_buf text = {0};
    struct ty_error error;

    if (ty_json_encode(L, index, &text, &error) == 0) {
        lua_pushlstring(L, text.data, text.len);
        lua_replace(L, index);
    }
    ty_buf_close(&text);
}

/* Pushes the error at `index` as text. */
static void push_message(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TTABLE && !luaL_getmetafield(L, index, "__tostring"))
        show_table(L, index);
    lua_getglobal(L, "tostring");
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) || lua_type(L, -1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushliteral(L, "(an error that cannot be shown)");
    }
}

static void write_record(const struct ty_request *req, struct ty_slice message,
                         struct ty_slice traceback)
{
    struct ty_buf fields = {0};
    struct ty_log_context context = {.request_id = req->id,
                                     .trace_id = req->trace.trace_id,
                                     .span_id = req->trace.span_id,
                                     .generation = req->site->generation};
    const struct ty_route *route = req->match.route;

    if (traceback.data)
        ty_log_add_field(&fields, "traceback", traceback.data, traceback.len);
    if (route) {
        ty_log_add_field(&fields, "route", route->pattern, strlen(route->pattern));
        ty_log_add_field(&fields, "declared_at", route->where, strlen(route->where));
    }
    context.fields = fields.data;
    context.fields_len = fields.len;
    ty_log_text(TY_LOG_ERROR, "app", &context, message.data, message.len);
    ty_buf_close(&fields);
}

int ty_call_log(lua_State *L)
{
    struct ty_call *call = lua_touserdata(L, 1);
    lua_State *co = lua_touserdata(L, 2);
    struct ty_slice message, traceback = {0};

    if (co) {
        luaL_traceback(L, co, NULL, 0);
        lua_replace(L, 2);
    }
    push_message(L, 3);
    if (lua_type(L, 2) == LUA_TSTRING) {
        traceback.data = lua_tolstring(L, 2, &traceback.len);
        put_place(L, traceback.data);
    }
    message.data = lua_tolstring(L, -1, &message.len);
    write_record(call->req, message, traceback);
    return 0;
}
