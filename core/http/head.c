/* What is decided when a request's head is complete: whether it has one meaning, whether it is
 * within its limits, and whose it is. */
#include "http/conn.h"
#include "http/syntax.h"

static bool refuse(struct ty_http_conn *conn, enum ty_refusal why)
{
    conn->refusal = (uint8_t)why;
    return false;
}

static unsigned method_of(const llhttp_t *parser)
{
    switch (parser->method) {
    case HTTP_GET:
        return TY_GET;
    case HTTP_HEAD:
        return TY_HEAD;
    case HTTP_POST:
        return TY_POST;
    case HTTP_PUT:
        return TY_PUT;
    case HTTP_PATCH:
        return TY_PATCH;
    case HTTP_DELETE:
        return TY_DELETE;
    case HTTP_OPTIONS:
        return TY_OPTIONS;
    default:
        return 0;
    }
}

static void note_connection(struct ty_known *known, struct ty_slice options)
{
    if (ty_list_has(options, "close"))
        known->asks_close = true;
    if (ty_list_has(options, "keep-alive"))
        known->asks_keep = true;
}

/* Names are told apart by their length first, which leaves one comparison for most. */
static void note(struct ty_exchange *ex, const struct ty_header *header)
{
    struct ty_known *known = &ex->known;

    switch (header->name.len) {
    case sizeof("host") - 1:
        if (ty_slice_same(header->name, "host", 4) && known->host_count++ == 0)
            ex->req.host = header->value;
        break;
    case sizeof("expect") - 1:
        if (ty_slice_same(header->name, "expect", 6))
            known->expect = header->value;
        break;
    case sizeof("tracestate") - 1:
        if (ty_slice_same(header->name, "connection", 10))
            note_connection(known, header->value);
        else if (ty_slice_same(header->name, "tracestate", 10) && known->state_count++ == 0)
            known->state = header->value;
        break;
    case sizeof("traceparent") - 1:
        if (ty_slice_same(header->name, "traceparent", 11) && known->parent_count++ == 0)
            known->parent = header->value;
        break;
    case sizeof("x-request-id") - 1:
        if (!known->id.data && ty_slice_same(header->name, "x-request-id", 12))
            known->id = header->value;
        break;
    case sizeof("transfer-encoding") - 1:
        if (ty_slice_same(header->name, "transfer-encoding", 17)) {
            /* Given twice it is empty, which no coding is: nobody sends two in good faith. */
            known->coding = known->has_coding ? TY_SLICE("") : header->value;
            known->has_coding = true;
        }
        break;
    default:
        break;
    }
}

static bool take_fields(struct ty_http_conn *conn, const char *head)
{
    struct ty_exchange *ex = conn->ex;
    struct ty_header *headers = ty_spans_resolve(ex, &ex->fields, head);

    if (!headers)
        return refuse(conn, TY_REFUSE_MEMORY);
    ex->req.headers = headers;
    ex->req.header_count = ex->fields.count;
    for (size_t i = 0; i < ex->req.header_count; i++)
        note(ex, &headers[i]);
    return true;
}

static bool take_target(struct ty_http_conn *conn, const char *head)
{
    struct ty_exchange *ex = conn->ex;
    struct ty_request *req = &ex->req;
    struct ty_target target;

    req->target = (struct ty_slice){head + ex->target_at, ex->target_len};
    if (ex->target_at != strlen(ty_method_name(req->method)) + 1 || /* one space */
        !ty_target_parse(req->target, req->method == TY_OPTIONS, &target))
        return refuse(conn, TY_REFUSE_TARGET);
    req->query = target.query;
    req->path = target.path;
    if (memchr(target.path.data, '%', target.path.len)) {
        char *decoded = ty_exchange_alloc(ex, target.path.len);
        ptrdiff_t len = decoded ? ty_path_decode(target.path, decoded) : -1;

        if (len < 0)
            return refuse(conn, decoded ? TY_REFUSE_TARGET : TY_REFUSE_MEMORY);
        req->path = (struct ty_slice){decoded, (size_t)len};
    }

    unsigned hosts = ex->known.host_count;

    if (hosts > 1 || (hosts == 0 && ex->minor_one) || (hosts && !ty_host_is_valid(req->host)))
        return refuse(conn, TY_REFUSE_HOST);
    if (target.host.data)
        req->host = target.host;
    return true;
}

/* llhttp misses tokens that a tab is behind, and is told what it would not see: it must go on, or
 * not, as we do. */
static void take_connection(struct ty_exchange *ex, llhttp_t *parser)
{
    const struct ty_known *known = &ex->known;

    ex->keep_alive = !known->asks_close && (ex->minor_one || known->asks_keep);
    parser->flags &= (uint16_t) ~(F_CONNECTION_CLOSE | F_CONNECTION_KEEP_ALIVE);
    parser->flags |= ex->keep_alive ? F_CONNECTION_KEEP_ALIVE : F_CONNECTION_CLOSE;
}

static bool take_framing(struct ty_http_conn *conn)
{
    struct ty_exchange *ex = conn->ex;
    llhttp_t *parser = &conn->parser;

    if (ex->known.has_coding) {
        enum ty_coding coding = ty_coding_parse(ex->known.coding);

        if (!ex->minor_one || coding == TY_CODING_BAD || (parser->flags & F_CONTENT_LENGTH))
            return refuse(conn, TY_REFUSE_FRAMING);
        if (coding == TY_CODING_UNKNOWN)
            return refuse(conn, TY_REFUSE_CODING);
        parser->flags |= F_CHUNKED; /* so it is, also with a tab behind it */
    }
    ex->is_chunked = (parser->flags & F_CHUNKED) != 0;
    ex->req.has_body = (parser->flags & (F_CHUNKED | F_CONTENT_LENGTH)) != 0;
    take_connection(ex, parser);

    if (ex->known.expect.data && ex->minor_one) {
        if (!ty_slice_same(ex->known.expect, "100-continue", 12))
            return refuse(conn, TY_REFUSE_EXPECT);
        ex->expects_continue = ex->is_chunked || parser->content_length > 0;
    }
    return true;
}

static struct ty_slice join_states(struct ty_exchange *ex)
{
    struct ty_slice joined = {0};
    size_t len = 0;

    for (int pass = 0; pass < 2; pass++) {
        char *out = pass ? ty_exchange_alloc(ex, len) : NULL;

        if (pass && !out)
            return joined;
        len = 0;
        for (size_t i = 0; i < ex->req.header_count; i++) {
            const struct ty_header *header = &ex->req.headers[i];

            if (!ty_slice_same(header->name, "tracestate", 10))
                continue;
            if (pass) {
                memcpy(out + len, header->value.data, header->value.len);
                out[len + header->value.len] = ',';
            }
            len += header->value.len + 1;
        }
        joined = (struct ty_slice){out, len - 1};
    }
    return joined;
}

static void take_ids(struct ty_http_conn *conn)
{
    struct ty_exchange *ex = conn->ex;
    struct ty_known *known = &ex->known;
    struct ty_trace *trace = &ex->req.trace;
    struct ty_random *random = &conn->server->random;

    ty_random_hex(random, trace->span_id);
    if (known->parent_count == 1 && ty_trace_parse(trace, known->parent)) {
        if (known->state_count > 1)
            known->state = join_states(ex);
        if (known->state.len && ty_tracestate_is_valid(known->state))
            trace->state = known->state;
    } else {
        ty_random_hex(random, trace->trace_id);
        ty_random_hex(random, trace->trace_id + TY_SPAN_ID_LEN);
        trace->flags = 1;
    }
    if (ty_request_id_is_valid(known->id))
        memcpy(ex->req.id, known->id.data, known->id.len); /* zeroed before */
    else
        memcpy(ex->req.id, trace->trace_id, TY_TRACE_ID_LEN);
}

void ty_exchange_pin(struct ty_exchange *ex, struct ty_site *site)
{
    ty_site_ref(site);
    site->requests++;
    ex->req.site = site;
    ex->is_routed = true;
}

static bool take_route(struct ty_http_conn *conn)
{
    struct ty_exchange *ex = conn->ex;
    struct ty_site *site = conn->server->site;

    ex->body_max = conn->server->options.limits.body_max;
    if (site) {
        struct ty_match *match = &ex->req.match;

        ty_exchange_pin(ex, site);
        if (ex->req.path.data[0] == '*')
            match->allow = (1u << TY_METHOD_COUNT) - 1;
        else
            ty_router_match(site->router, ex->req.method, ex->req.path, match);
        if (match->route && match->route->body_max)
            ex->body_max = match->route->body_max;
    }
    if (!ex->is_chunked && conn->parser.content_length > ex->body_max)
        return refuse(conn, TY_REFUSE_BODY);
    return true;
}

bool ty_conn_take_head(struct ty_http_conn *conn, const char *head)
{
    struct ty_exchange *ex = conn->ex;
    unsigned method = method_of(&conn->parser);

    ex->minor_one = conn->parser.http_minor == 1;
    if (!take_fields(conn, head))
        return false;
    if (ex->target_len == 0 || conn->parser.http_major == 0)
        return refuse(conn, TY_REFUSE_SYNTAX); /* HTTP/0.9 */
    if (conn->parser.http_major != 1)
        return refuse(conn, TY_REFUSE_VERSION);
    take_ids(conn);
    if (!method)
        return refuse(conn, TY_REFUSE_METHOD);
    ex->req.method = (enum ty_method)method;
    return take_target(conn, head) && take_framing(conn) && take_route(conn);
}
