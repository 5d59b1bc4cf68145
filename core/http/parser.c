/* Feeds llhttp, and bounds what it would let grow. */
#include <llhttp.h>

#include "http/conn.h"

enum {
    SLACK = 8,     /* line ends around what is counted */
    BLANK_MAX = 2, /* one empty line before a request */
};

static int refuse(struct ty_http_conn *conn, enum ty_refusal why)
{
    conn->refusal = (uint8_t)why;
    return HPE_USER;
}

/* Where a byte is, counted from the message's first. */
static uint64_t offset_of(const struct ty_http_conn *conn, const char *at)
{
    return conn->ex->seen + (uint64_t)(at - conn->fed);
}

static const struct ty_http_limits *limits_of(const struct ty_http_conn *conn)
{
    return &conn->server->options.limits;
}

static int on_target(llhttp_t *parser, const char *at, size_t len)
{
    struct ty_http_conn *conn = parser->data;
    struct ty_exchange *ex = conn->ex;

    if (!ex->target_len)
        ex->target_at = (uint32_t)offset_of(conn, at);
    ex->target_len += (uint32_t)len;
    if (ex->target_len > limits_of(conn)->target_max)
        return refuse(conn, TY_REFUSE_TARGET_LONG);
    ex->head_end = ex->target_at + ex->target_len;
    return 0;
}

/* Only one space may be between the target and "HTTP/1.1". */
static int on_version(llhttp_t *parser, const char *at, size_t len)
{
    struct ty_http_conn *conn = parser->data;
    struct ty_exchange *ex = conn->ex;

    (void)len;
    if (!ex->has_version &&
        offset_of(conn, at) != ex->target_at + ex->target_len + sizeof(" HTTP/") - 1)
        return refuse(conn, TY_REFUSE_TARGET);
    ex->has_version = true;
    return 0;
}

static int check_field(struct ty_http_conn *conn, const struct ty_span *span, uint64_t end)
{
    const struct ty_http_limits *limits = limits_of(conn);
    const struct ty_exchange *ex = conn->ex;

    if (end - ex->target_at - ex->target_len > limits->header_max)
        return refuse(conn, TY_REFUSE_HEADER);
    if ((size_t)span->name_len + span->value_len > limits->field_max)
        return refuse(conn, TY_REFUSE_FIELD);
    return 0;
}

/* The first byte of trailers shows how long the last chunk's line was. */
static int check_last_chunk_line(struct ty_http_conn *conn, const char *at)
{
    if (conn->ex->trailer_spans.count == 0 &&
        offset_of(conn, at) - conn->ex->data_end > limits_of(conn)->chunk_line_max + SLACK)
        return refuse(conn, TY_REFUSE_CHUNK);
    return 0;
}

/* Trailers are kept apart, because their place is not next to the head. */
static int on_trailer_piece(struct ty_http_conn *conn, const char *at, size_t len, bool is_name)
{
    struct ty_exchange *ex = conn->ex;
    struct ty_spans *spans = &ex->trailer_spans;
    const struct ty_http_limits *limits = limits_of(conn);

    if (check_last_chunk_line(conn, at))
        return HPE_USER;
    if (ex->fields.count + spans->count >= limits->header_count_max && is_name && !spans->in_name)
        return refuse(conn, TY_REFUSE_COUNT);
    if (is_name && !spans->in_name && !ty_spans_add(ex, spans))
        return refuse(conn, TY_REFUSE_MEMORY);
    spans->in_name = is_name;

    struct ty_span *span = &spans->list[spans->count - 1];
    uint32_t *from = is_name ? &span->name : &span->value;
    uint32_t *size = is_name ? &span->name_len : &span->value_len;

    if (!*size)
        *from = (uint32_t)ex->trailer_bytes.len;
    if (!ty_buf_try_add(&ex->trailer_bytes, at, len, limits->header_max))
        return refuse(conn, TY_REFUSE_HEADER);
    *size += (uint32_t)len;
    if ((size_t)span->name_len + span->value_len > limits->field_max)
        return refuse(conn, TY_REFUSE_FIELD);
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct ty_http_conn *conn = parser->data;
    struct ty_exchange *ex = conn->ex;
    uint64_t from = offset_of(conn, at);

    if (ex->in_trailers)
        return on_trailer_piece(conn, at, len, true);
    if (from + len > UINT32_MAX / 2)
        return refuse(conn, TY_REFUSE_HEADER);
    if (!ex->fields.in_name) {
        if (ex->fields.count >= limits_of(conn)->header_count_max)
            return refuse(conn, TY_REFUSE_COUNT);

        struct ty_span *added = ty_spans_add(ex, &ex->fields);

        if (!added)
            return refuse(conn, TY_REFUSE_MEMORY);
        added->name = (uint32_t)from;
        ex->fields.in_name = true;
    }

    struct ty_span *span = &ex->fields.list[ex->fields.count - 1];

    span->name_len += (uint32_t)len;
    span->value = span->name + span->name_len; /* if it is empty */
    ex->head_end = (uint32_t)(from + len);
    return check_field(conn, span, from + len);
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct ty_http_conn *conn = parser->data;
    struct ty_exchange *ex = conn->ex;
    uint64_t from = offset_of(conn, at);

    if (ex->in_trailers)
        return on_trailer_piece(conn, at, len, false);
    if (from + len > UINT32_MAX / 2)
        return refuse(conn, TY_REFUSE_HEADER);

    struct ty_span *span = &ex->fields.list[ex->fields.count - 1];

    ex->fields.in_name = false;
    if (len == 0)
        return 0;
    if (!span->value_len)
        span->value = (uint32_t)from;
    span->value_len += (uint32_t)len;
    ex->head_end = (uint32_t)(from + len);
    return check_field(conn, span, from + len);
}

/* The bytes of the head in one run: usually all of it came in this read. */
static const char *gather_head(struct ty_http_conn *conn)
{
    struct ty_exchange *ex = conn->ex;
    size_t fresh = ex->head_end > ex->seen ? ex->head_end - (size_t)ex->seen : 0;

    if (ex->split.len)
        return ty_buf_try_add(&ex->split, conn->fed, fresh, SIZE_MAX) ? ex->split.data : NULL;

    char *head = ty_exchange_alloc(ex, fresh);

    if (head)
        memcpy(head, conn->fed, fresh);
    return head;
}

static int on_head(llhttp_t *parser)
{
    struct ty_http_conn *conn = parser->data;
    const char *head = gather_head(conn);

    if (!head)
        return refuse(conn, TY_REFUSE_MEMORY);
    if (!ty_conn_take_head(conn, head))
        return -1;
    parser->upgrade = 0; /* none is taken: what follows is the next request */
    conn->ex->data_end = conn->ex->head_end;
    conn->phase = TY_CONN_BODY;
    conn->deadline = TY_DEADLINE_NONE;
    return 0;
}

static int on_chunk_head(llhttp_t *parser)
{
    struct ty_http_conn *conn = parser->data;
    struct ty_exchange *ex = conn->ex;

    ex->is_new_chunk = true;
    ex->in_trailers = parser->content_length == 0;
    if (parser->content_length > ex->body_max - ex->req.body.len)
        return refuse(conn, TY_REFUSE_BODY);
    return 0;
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t len)
{
    struct ty_http_conn *conn = parser->data;

    (void)at;
    conn->ex->extension_len += len;
    if (conn->ex->extension_len > limits_of(conn)->chunk_extension_max)
        return refuse(conn, TY_REFUSE_CHUNK);
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct ty_http_conn *conn = parser->data;
    struct ty_exchange *ex = conn->ex;
    uint64_t from = offset_of(conn, at);
    uint64_t expected = 0;

    if (!ex->is_chunked)
        expected = ex->req.body.len + parser->content_length + len;
    else if (ex->is_new_chunk && from - ex->data_end > limits_of(conn)->chunk_line_max + SLACK)
        return refuse(conn, TY_REFUSE_CHUNK);
    ex->is_new_chunk = false;
    ex->data_end = from + len;
    if (!ty_exchange_add_body(ex, at, len, expected))
        return refuse(conn, TY_REFUSE_MEMORY);
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED; /* the site runs outside of the parser */
}

static const llhttp_settings_t settings = {
    .on_url = on_target,
    .on_version = on_version,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_chunk_header = on_chunk_head,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void ty_conn_parser_init(struct ty_http_conn *conn)
{
    llhttp_init(&conn->parser, HTTP_REQUEST, &settings);
    conn->parser.data = conn;
}

static enum ty_refusal refusal_of(const struct ty_http_conn *conn, llhttp_errno_t error)
{
    if (conn->refusal)
        return conn->refusal;
    if (error == HPE_PAUSED_H2_UPGRADE)
        return TY_REFUSE_VERSION;
    if (error == HPE_INVALID_VERSION && strcmp(conn->parser.reason, "Invalid HTTP version") == 0)
        return TY_REFUSE_VERSION;
    if (error == HPE_INVALID_CONTENT_LENGTH || error == HPE_UNEXPECTED_CONTENT_LENGTH ||
        error == HPE_INVALID_TRANSFER_ENCODING || error == HPE_INVALID_CHUNK_SIZE)
        return TY_REFUSE_FRAMING;
    return TY_REFUSE_SYNTAX;
}

/* A request line that ends behind its target, "GET /": HTTP/0.9. */
static bool is_old(const struct ty_http_conn *conn)
{
    const struct ty_exchange *ex = conn->ex;
    uint32_t end = ex->target_at + ex->target_len;

    return ex->target_len && ex->split.len > end && ex->split.data[end] == '\r';
}

/* All bytes are used and the request is not complete: may it go on growing? */
static enum ty_refusal check_partial(struct ty_http_conn *conn, size_t len)
{
    struct ty_exchange *ex = conn->ex;
    const struct ty_http_limits *limits = limits_of(conn);

    ex->is_in_pieces = true;
    if (conn->phase == TY_CONN_HEAD) {
        if (!ty_buf_try_add(&ex->split, conn->fed, len,
                            limits->target_max + limits->header_max + TY_READ_SIZE))
            return TY_REFUSE_MEMORY;
        ex->seen += len;
        if (is_old(conn))
            return TY_REFUSE_SYNTAX;
        return ex->seen > limits->target_max + limits->header_max ? TY_REFUSE_HEADER
                                                                  : TY_REFUSE_NONE;
    }
    ex->seen += len;
    if (!ex->is_chunked || ex->seen == ex->data_end)
        return TY_REFUSE_NONE;
    if (ex->in_trailers)
        return ex->seen - ex->data_end > limits->header_max + limits->chunk_line_max
                   ? TY_REFUSE_HEADER
                   : TY_REFUSE_NONE;
    return ex->seen - ex->data_end > limits->chunk_line_max + SLACK ? TY_REFUSE_CHUNK
                                                                    : TY_REFUSE_NONE;
}

/* Skips one empty line before a request, which RFC 9112 asks for. SIZE_MAX: more than that. */
static size_t skip_blank(struct ty_http_conn *conn, const char *data, size_t len)
{
    size_t used = 0;

    while (used < len && (data[used] == '\r' || data[used] == '\n')) {
        if (conn->blank == BLANK_MAX || data[used] != "\r\n"[conn->blank])
            return SIZE_MAX;
        conn->blank++;
        used++;
    }
    return used < len && conn->blank == 1 ? SIZE_MAX : used;
}

static void begin(struct ty_http_conn *conn)
{
    struct ty_http_server *server = conn->server;

    conn->ex = ty_exchange_get(&server->pool);
    conn->ex->req.conn = conn;
    conn->ex->req.began_ns = ty_now_ns();
    conn->phase = TY_CONN_HEAD;
    conn->deadline = TY_DEADLINE_NONE;
    conn->refusal = TY_REFUSE_NONE;
    conn->blank = 0;
    conn->parser.method = HTTP_GET; /* until it has one: not the one before it */
}

static void complete(struct ty_http_conn *conn, const char *end)
{
    struct ty_exchange *ex = conn->ex;

    llhttp_resume(&conn->parser);
    conn->deadline = TY_DEADLINE_NONE; /* the body's was met */
    ex->seen += (uint64_t)(end - conn->fed);
    if (ex->is_chunked && !ex->trailer_spans.count &&
        ex->seen - ex->data_end > limits_of(conn)->chunk_line_max + SLACK)
        ty_conn_refuse(conn, TY_REFUSE_CHUNK);
    else
        ty_conn_dispatch(conn);
}

/* One message, or as much of it as there is. Returns how many bytes were used. */
static size_t parse_one(struct ty_http_conn *conn, const char *data, size_t len)
{
    conn->fed = data;

    llhttp_errno_t error = llhttp_execute(&conn->parser, data, len);

    if (error == HPE_PAUSED) {
        const char *end = llhttp_get_error_pos(&conn->parser);

        complete(conn, end);
        return (size_t)(end - data);
    }
    enum ty_refusal why = error == HPE_OK ? check_partial(conn, len) : refusal_of(conn, error);

    if (why)
        ty_conn_refuse(conn, why);
    else if (conn->phase == TY_CONN_BODY && conn->ex->expects_continue && !conn->ex->req.body.len) {
        conn->ex->expects_continue = false;
        ty_buf_adds(ty_conn_buffer(conn), "HTTP/1.1 100 Continue\r\n\r\n");
        ty_conn_commit(conn, (struct ty_slice){0});
    }
    return len;
}

static bool may_parse(const struct ty_http_conn *conn)
{
    return conn->phase <= TY_CONN_BODY && !conn->is_broken &&
           (!conn->output || ty_conn_unsent(conn) <= limits_of(conn)->send_max);
}

size_t ty_conn_parse(struct ty_http_conn *conn, const char *data, size_t len)
{
    size_t used = 0;

    while (used < len && may_parse(conn)) {
        if (conn->phase == TY_CONN_IDLE) {
            size_t blank = skip_blank(conn, data + used, len - used);

            if (blank != SIZE_MAX && (used += blank) == len)
                break;
            begin(conn);
            if (blank == SIZE_MAX) {
                ty_conn_refuse(conn, TY_REFUSE_SYNTAX);
                break;
            }
        }
        used += parse_one(conn, data + used, len - used);
    }
    return used;
}
