#include "http/health.h"

#include "http/conn.h"

static const struct ty_header fields[] = {
    {{"Content-Type", 12}, {"application/json", 16}},
    {{"Cache-Control", 13}, {"no-store", 8}},
    {{"Allow", 5}, {"GET, HEAD", 9}},
};

static bool is_path(const struct ty_request *req, const char *path, size_t len)
{
    return req->path.len == len && memcmp(req->path.data, path, len) == 0;
}

bool ty_health_answer(struct ty_request *req)
{
    const struct ty_http_options *options = &req->conn->server->options;
    bool ready = is_path(req, "/readyz", 7);

    if (!ready && !is_path(req, "/livez", 6))
        return false;

    struct ty_buf body = {0};
    bool may_ask = req->method == TY_GET || req->method == TY_HEAD;
    int status = may_ask ? options->health(ready, &body, options->health_arg) : 405;

    ty_request_respond(req, status, fields, may_ask ? 2 : 3,
                       (struct ty_slice){body.data, body.len});
    ty_buf_close(&body);
    return true;
}
