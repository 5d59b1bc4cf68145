#include "wire.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "http/conn.h"

enum { ROUTES = 6, ROUNDS_MAX = 10000, ANSWER_MAX = 64 * 1024 };

static struct {
    uv_loop_t loop;
    struct ty_http_server *servers[2];
    struct ty_site site;
    struct ty_route routes[ROUTES];
    struct transcript *out;
    struct ty_request *held; /* of /hold: answered from the loop */
    bool aborted;
} wire;

static const struct ty_header site_field = {{"X-Site", 6}, {"1", 1}};

static void add(struct ty_buf *out, const char *name, struct ty_slice value)
{
    ty_buf_addf(out, "%s %zu:", name, value.len);
    if (value.len)
        ty_buf_add(out, value.data, value.len);
    ty_buf_addc(out, '\n');
}

/* What the site may rely on, whatever was sent. */
static void check_request(const struct ty_request *req)
{
    const struct ty_http_limits *limits = &req->conn->server->options.limits;

    REQUIRE(req->path.len && (req->path.data[0] == '/' || req->path.data[0] == '*'));
    REQUIRE(req->target.len && req->target.len <= limits->target_max);
    REQUIRE(req->header_count <= limits->header_count_max);
    REQUIRE(req->body.len <= limits->body_max);
    REQUIRE(req->has_body || req->body.len == 0);
    REQUIRE(req->id[0] && strlen(req->trace.trace_id) == 32 && strlen(req->trace.span_id) == 16);
    for (size_t i = 0; i < req->header_count; i++) {
        const struct ty_header *h = &req->headers[i];

        REQUIRE(ty_http_is_token(h->name) && ty_http_is_value(h->value));
        REQUIRE(h->name.len + h->value.len <= limits->field_max);
    }
    for (size_t i = 0; i < req->trailer_count; i++)
        REQUIRE(ty_http_is_token(req->trailers[i].name) &&
                ty_http_is_value(req->trailers[i].value));
    for (size_t i = 0; i < req->match.param_count; i++)
        REQUIRE(req->match.params[i].value.len);
}

static void describe(const struct ty_request *req, struct ty_buf *out)
{
    char client[INET6_ADDRSTRLEN];

    ty_request_client(req, client);
    ty_buf_addf(out, "%s %s secure=%d body=%d params=%zu parent=%s\n", ty_method_name(req->method),
                client, ty_request_is_secure(req), req->has_body, req->match.param_count,
                req->trace.parent_id);
    add(out, "target", req->target);
    add(out, "path", req->path);
    add(out, "query", req->query);
    add(out, "host", req->host);
    add(out, "state", req->trace.state);
    add(out, "body", req->body);
    for (size_t i = 0; i < req->header_count; i++) {
        add(out, "name", req->headers[i].name);
        add(out, "value", req->headers[i].value);
    }
    for (size_t i = 0; i < req->trailer_count; i++) {
        add(out, "trailer", req->trailers[i].name);
        add(out, "value", req->trailers[i].value);
    }
}

static void on_abort(struct ty_request *req)
{
    REQUIRE(wire.held == req);
    wire.aborted = true;
}

static void handle(struct ty_request *req)
{
    struct transcript *out = wire.out;

    REQUIRE(out && !wire.held);
    check_request(req);
    describe(req, &out->told);
    if (out->requests++ == 0 && req->body.len)
        ty_buf_add(&out->body, req->body.data, req->body.len);
    if (req->match.route == &wire.routes[0]) {
        wire.held = req;
        req->on_abort = on_abort;
    } else {
        ty_request_respond(req, req->match.route ? 200 : 404, &site_field, 1, (struct ty_slice){0});
    }
}

static void ignore_unused(struct ty_site *site)
{
    (void)site;
}

static struct ty_http_server *make_server(enum wire_limits kind)
{
    static const char *const proxies[] = {"127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"};
    struct ty_http_options options = {.trusted_proxies = proxies, .trusted_proxy_count = 3};
    struct ty_error error;

    ty_http_default_limits(&options.limits);
    if (kind == WIRE_TIGHT) {
        options.limits.target_max = 64;
        options.limits.header_max = 256;
        options.limits.field_max = 64;
        options.limits.header_count_max = 8;
        options.limits.body_max = 128;
        options.limits.chunk_line_max = 16;
        options.limits.chunk_extension_max = 32;
        options.limits.pending_max = 64;
        options.limits.linger_max = 64;
    }
    struct ty_http_server *server = ty_http_server_new(&wire.loop, &options, &error);

    REQUIRE(server);
    ty_http_server_set_site(server, &wire.site);
    return server;
}

static void make_wire(void)
{
    static const char *const patterns[ROUTES] = {"/hold",   "/",         "/a",
                                                 "/a/{id}", "/a/{id}/b", "/r/{rest...}"};
    struct ty_error error;

    REQUIRE(uv_loop_init(&wire.loop) == 0);
    wire.site = (struct ty_site){.router = ty_router_new(),
                                 .handle = handle,
                                 .on_unused = ignore_unused,
                                 .generation = "abcdef012345",
                                 .refs = 1};
    for (size_t i = 0; i < ROUTES; i++) {
        wire.routes[i] = (struct ty_route){.pattern = patterns[i], .methods = TY_GET | TY_POST};
        REQUIRE(ty_router_add(wire.site.router, &wire.routes[i], &error) == 0);
    }
    wire.servers[WIRE_USUAL] = make_server(WIRE_USUAL);
    wire.servers[WIRE_TIGHT] = make_server(WIRE_TIGHT);
}

static void answer_held(void)
{
    struct ty_request *req = wire.held;

    wire.held = NULL;
    wire.aborted = false;
    REQUIRE(ty_request_respond(req, 200, &site_field, 1, (struct ty_slice){0}) == 0);
}

/* Reads what was answered; false at the end of the stream. */
static bool read_answers(int fd, struct ty_buf *in)
{
    for (;;) {
        ssize_t n = recv(fd, ty_buf_reserve(in, ANSWER_MAX), ANSWER_MAX, MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        in->len += (size_t)n;
    }
}

/* Runs the loop until nothing happens any more. */
static bool settle(int fd, struct ty_buf *in)
{
    bool open = true;

    for (int quiet = 0; quiet < 2; quiet++) {
        size_t before = in->len, told = wire.out->told.len;

        uv_run(&wire.loop, UV_RUN_NOWAIT);
        if (wire.held) {
            answer_held();
            quiet = -1;
        }
        open = read_answers(fd, in) && open;
        if (in->len != before || wire.out->told.len != told)
            quiet = -1;
    }
    return open;
}

/* The site's answers have no body; one of the server's own is the last. */
static void read_statuses(const struct ty_buf *in, struct transcript *out)
{
    size_t at = 0;

    while (at < in->len && !out->refused) {
        const char *head = in->data + at;
        const char *end = memmem(head, in->len - at, "\r\n\r\n", 4);

        REQUIRE(end && in->len - at > 13 && memcmp(head, "HTTP/1.1 ", 9) == 0);
        if (head[9] != '1')
            ty_buf_addf(&out->statuses, "%.3s ", head + 9);
        size_t len = (size_t)(end - head) + 4;

        out->refused = head[9] != '1' && !memmem(head, len, "X-Site: 1\r\n", 11);
        at += len;
    }
}

static void send_pieces(int fd, const char *data, size_t len, struct cuts cuts, struct ty_buf *in)
{
    for (size_t at = 0; at < len;) {
        size_t piece = next_piece(&cuts, len - at);
        char *copy = exact_copy(data + at, piece);
        ssize_t n = send(fd, copy, piece, MSG_NOSIGNAL);

        free(copy);
        if (n < 0)
            return; /* closed by the server */
        at += (size_t)n;
        if (!settle(fd, in))
            return;
    }
}

void converse(enum wire_limits limits, const char *data, size_t len, struct cuts cuts,
              struct transcript *out)
{
    struct ty_address peer = {{[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
    struct ty_buf in = {0};
    int ends[2];

    if (!wire.site.router)
        make_wire();
    struct ty_http_server *server = wire.servers[limits];

    *out = (struct transcript){0};
    wire.out = out;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    ty_conn_open(server, ends[0], &peer);
    send_pieces(ends[1], data, len, cuts, &in);
    settle(ends[1], &in);
    shutdown(ends[1], SHUT_WR);
    for (int round = 0; ty_http_server_counts(server).connections; round++) {
        REQUIRE(round < ROUNDS_MAX); /* it never closes */
        settle(ends[1], &in);
    }
    settle(ends[1], &in);
    REQUIRE(!wire.held && ty_http_server_counts(server).requests == 0);
    REQUIRE(server->kept_count == 0 && wire.site.requests == 0);
    close(ends[1]);
    read_statuses(&in, out);
    ty_buf_close(&in);
    wire.out = NULL;
}

void transcript_close(struct transcript *transcript)
{
    ty_buf_close(&transcript->told);
    ty_buf_close(&transcript->statuses);
    ty_buf_close(&transcript->body);
}
