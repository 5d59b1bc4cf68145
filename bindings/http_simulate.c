/* Requests without a socket: `tycho test` sends them through the router and the whole chain of
 * middleware, validation and errors, and gets the answer as values. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

enum { HEADERS_MAX = 100 };

struct simulation {
    struct ty_wait wait;
    struct ty_request req;
    struct ty_header headers[HEADERS_MAX];
    struct ty_buf text;   /* everything the request's slices point into */
    struct ty_buf answer; /* header lines: name NUL value NUL ... */
    struct ty_buf body;
    int status;
    bool done;   /* answered */
    bool parked; /* somebody waits, or waited */
};

static struct simulation *of(struct ty_request *req)
{
    return (struct simulation *)((char *)req - offsetof(struct simulation, req));
}

static void destroy(struct simulation *sim)
{
    ty_buf_close(&sim->text);
    ty_buf_close(&sim->answer);
    ty_buf_close(&sim->body);
    free(sim);
}

/* Pushes status, { name = value }, body. */
static int push_answer(lua_State *L, void *arg)
{
    struct simulation *sim = arg;
    const char *p = sim->answer.data, *end = p ? p + sim->answer.len : p;

    lua_pushinteger(L, sim->status);
    lua_newtable(L);
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        lua_pushstring(L, value);
        lua_setfield(L, -2, p);
        p = value + strlen(value) + 1;
    }
    lua_pushlstring(L, sim->body.data ? sim->body.data : "", sim->body.len);
    return 3;
}

static void finish(struct simulation *sim)
{
    sim->done = true;
    if (sim->parked) {
        ty_wake(&sim->wait, push_answer, sim);
        destroy(sim);
    }
}

static int begin(struct ty_request *req, int status, const struct ty_header *headers,
                 size_t header_count, int64_t length)
{
    struct simulation *sim = of(req);

    (void)length;
    if (status < 200 || status > 599)
        return TY_HTTP_E_STATUS;
    for (size_t i = 0; i < header_count; i++)
        if (!ty_http_is_token(headers[i].name) || !ty_http_is_value(headers[i].value))
            return TY_HTTP_E_HEADER;

    sim->status = status;
    for (size_t i = 0; i < header_count; i++) {
        for (size_t k = 0; k < headers[i].name.len; k++) {
            char c = headers[i].name.data[k];
            ty_buf_addc(&sim->answer, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
        }
        ty_buf_addc(&sim->answer, '\0');
        ty_buf_add(&sim->answer, headers[i].value.data, headers[i].value.len);
        ty_buf_addc(&sim->answer, '\0');
    }
    return 0;
}

static int respond(struct ty_request *req, int status, const struct ty_header *headers,
                   size_t header_count, struct ty_slice body)
{
    int result = begin(req, status, headers, header_count, -1);

    if (result < 0)
        return result;
    if (req->method != TY_HEAD && body.len)
        ty_buf_add(&of(req)->body, body.data, body.len);
    finish(of(req));
    return 0;
}

static int write_piece(struct ty_request *req, struct ty_slice data)
{
    ty_buf_add(&of(req)->body, data.data, data.len);
    return 0;
}

static void end(struct ty_request *req, bool failed)
{
    (void)failed;
    finish(of(req));
}

const struct ty_responder ty_simulated_responder = {
    .respond = respond,
    .begin = begin,
    .write = write_piece,
    .end = end,
};

/* Copies a string into the simulation's text; the buffer never moves (see text_size()). */
static struct ty_slice keep(struct simulation *sim, const char *data, size_t len)
{
    struct ty_slice slice = {sim->text.data + sim->text.len, len};

    ty_buf_add(&sim->text, data, len);
    return slice;
}

static size_t text_size(lua_State *L)
{
    size_t size = 2 * lua_objlen(L, 2) + lua_objlen(L, 4) + 64;

    lua_pushnil(L);
    while (lua_next(L, 3)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "headers: names and values are strings");
        size += lua_objlen(L, -2) + lua_objlen(L, -1);
        lua_pop(L, 1);
    }
    return size;
}

static void keep_headers(lua_State *L, struct simulation *sim)
{
    size_t name_len, value_len;

    sim->req.headers = sim->headers;
    lua_pushnil(L);
    while (lua_next(L, 3) && sim->req.header_count < HEADERS_MAX) {
        const char *name = lua_tolstring(L, -2, &name_len);
        const char *value = lua_tolstring(L, -1, &value_len);
        struct ty_header *header = &sim->headers[sim->req.header_count++];
        header->name = keep(sim, name, name_len);
        header->value = keep(sim, value, value_len);
        lua_pop(L, 1);
    }
}

static void keep_target(struct simulation *sim, const char *target, size_t len)
{
    struct ty_request *req = &sim->req;
    const char *mark = memchr(target, '?', len);
    size_t path_len = mark ? (size_t)(mark - target) : len;

    req->target = keep(sim, target, len);
    if (mark)
        req->query = (struct ty_slice){req->target.data + path_len + 1, len - path_len - 1};
    char *path = sim->text.data + sim->text.len;
    ptrdiff_t decoded = ty_path_decode((struct ty_slice){target, path_len}, path);
    req->path = (struct ty_slice){path, decoded < 0 ? 0 : (size_t)decoded};
    sim->text.len += path_len;
}

int ty_simulate(lua_State *L)
{
    size_t method_len, target_len, body_len = 0;
    const char *method = luaL_checklstring(L, 1, &method_len);
    const char *target = luaL_checklstring(L, 2, &target_len);
    luaL_checktype(L, 3, LUA_TTABLE);
    const char *body = luaL_optlstring(L, 4, NULL, &body_len);
    unsigned known = ty_method_parse(method, method_len);
    luaL_argcheck(L, known, 1, "not a method that a route can have");
    size_t size = text_size(L);
    ty_fiber_loop(L);

    struct ty_generation *gen = ty_vm_of(L)->generation;
    struct simulation *sim = ty_zalloc(sizeof(*sim));
    struct ty_request *req = &sim->req;

    ty_buf_reserve(&sim->text, size);
    keep_headers(L, sim);
    keep_target(sim, target, target_len);
    req->host = TY_SLICE("localhost");
    req->has_body = body != NULL;
    if (body)
        req->body = keep(sim, body, body_len);
    req->method = (enum ty_method)known;
    req->site = &gen->site;
    req->began_ns = ty_now_ns();
    snprintf(req->id, sizeof(req->id), "test");
    ty_router_match(gen->site.router, req->method, req->path, &req->match);

    ty_generation_handle(req);
    if (sim->done) {
        int count = push_answer(L, sim);
        destroy(sim);
        return count;
    }
    sim->parked = true;
    sim->wait.what = "simulated request";
    return ty_park(L, &sim->wait, ty_cancel_nothing, -1);
}
