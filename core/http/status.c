#include "http/status.h"

#include <stddef.h>

/* clang-format off */
#define STATUSES(X)                             \
    X(200, "OK")                                \
    X(201, "Created")                           \
    X(202, "Accepted")                          \
    X(203, "Non-Authoritative Information")     \
    X(204, "No Content")                        \
    X(205, "Reset Content")                     \
    X(206, "Partial Content")                   \
    X(207, "Multi-Status")                      \
    X(208, "Already Reported")                  \
    X(226, "IM Used")                           \
    X(300, "Multiple Choices")                  \
    X(301, "Moved Permanently")                 \
    X(302, "Found")                             \
    X(303, "See Other")                         \
    X(304, "Not Modified")                      \
    X(305, "Use Proxy")                         \
    X(307, "Temporary Redirect")                \
    X(308, "Permanent Redirect")                \
    X(400, "Bad Request")                       \
    X(401, "Unauthorized")                      \
    X(402, "Payment Required")                  \
    X(403, "Forbidden")                         \
    X(404, "Not Found")                         \
    X(405, "Method Not Allowed")                \
    X(406, "Not Acceptable")                    \
    X(407, "Proxy Authentication Required")     \
    X(408, "Request Timeout")                   \
    X(409, "Conflict")                          \
    X(410, "Gone")                              \
    X(411, "Length Required")                   \
    X(412, "Precondition Failed")               \
    X(413, "Content Too Large")                 \
    X(414, "URI Too Long")                      \
    X(415, "Unsupported Media Type")            \
    X(416, "Range Not Satisfiable")             \
    X(417, "Expectation Failed")                \
    X(418, "I'm a Teapot")                      \
    X(421, "Misdirected Request")               \
    X(422, "Unprocessable Content")             \
    X(423, "Locked")                            \
    X(424, "Failed Dependency")                 \
    X(425, "Too Early")                         \
    X(426, "Upgrade Required")                  \
    X(428, "Precondition Required")             \
    X(429, "Too Many Requests")                 \
    X(431, "Request Header Fields Too Large")   \
    X(451, "Unavailable For Legal Reasons")     \
    X(499, "Client Closed Request")             \
    X(500, "Internal Server Error")             \
    X(501, "Not Implemented")                   \
    X(502, "Bad Gateway")                       \
    X(503, "Service Unavailable")               \
    X(504, "Gateway Timeout")                   \
    X(505, "HTTP Version Not Supported")        \
    X(506, "Variant Also Negotiates")           \
    X(507, "Insufficient Storage")              \
    X(508, "Loop Detected")                     \
    X(511, "Network Authentication Required")
/* clang-format on */

enum { PREFIX_LEN = sizeof("HTTP/1.1 200 ") - 1 };

static const struct ty_slice lines[TY_STATUS_LAST + 1 - TY_STATUS_FIRST] = {
#define X(status, reason)                                                \
    [status - TY_STATUS_FIRST] = {"HTTP/1.1 " #status " " reason "\r\n", \
                                  sizeof("HTTP/1.1 " #status " " reason "\r\n") - 1},
    STATUSES(X)
#undef X
};

static const char *const reasons[TY_STATUS_LAST + 1 - TY_STATUS_FIRST] = {
#define X(status, reason) [status - TY_STATUS_FIRST] = reason,
    STATUSES(X)
#undef X
};

char *ty_status_print(int status, char *out)
{
    const struct ty_slice *line = &lines[status - TY_STATUS_FIRST];

    if (line->len) {
        memcpy(out, line->data, line->len);
        return out + line->len;
    }
    memcpy(out, "HTTP/1.1 ", PREFIX_LEN - 4);
    out[PREFIX_LEN - 4] = (char)('0' + status / 100);
    out[PREFIX_LEN - 3] = (char)('0' + status / 10 % 10);
    out[PREFIX_LEN - 2] = (char)('0' + status % 10);
    memcpy(out + PREFIX_LEN - 1, " \r\n", 3);
    return out + PREFIX_LEN + 2;
}

const char *ty_http_reason(int status)
{
    const char *reason = NULL;

    if (status >= TY_STATUS_FIRST && status <= TY_STATUS_LAST)
        reason = reasons[status - TY_STATUS_FIRST];
    return reason ? reason : "";
}
