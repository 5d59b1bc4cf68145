/* Small grammars of header fields: what is accepted keeps its promises, and printing and parsing
 * agree. The first byte chooses the grammar.
 */
#include <arpa/inet.h>

#include "fuzz.h"
#include "http/client.h"
#include "http/syntax.h"
#include "http/trace.h"
#include "tycho/http.h"

static size_t count_of(struct ty_slice text, char c)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == c;
    return count;
}

static bool has_any(struct ty_slice text, const char *chars)
{
    for (; *chars; chars++)
        if (count_of(text, *chars))
            return true;
    return false;
}

static void check_traceparent(struct ty_slice text)
{
    struct ty_trace trace = {0}, again = {0};
    char printed[TY_TRACEPARENT_LEN];

    if (!ty_trace_parse(&trace, text))
        return;
    REQUIRE(strlen(trace.trace_id) == 32 && strspn(trace.trace_id, "0123456789abcdef") == 32);
    REQUIRE(strlen(trace.parent_id) == 16 && strspn(trace.parent_id, "0123456789abcdef") == 16);
    REQUIRE(strspn(trace.trace_id, "0") < 32 && strspn(trace.parent_id, "0") < 16);
    memcpy(trace.span_id, trace.parent_id, sizeof(trace.span_id));
    ty_trace_print(&trace, printed);
    REQUIRE(ty_trace_parse(&again, (struct ty_slice){printed, sizeof(printed)}));
    REQUIRE(strcmp(again.trace_id, trace.trace_id) == 0 && again.flags == trace.flags);
}

static void check_tracestate(struct ty_slice text)
{
    if (!ty_tracestate_is_valid(text))
        return;
    REQUIRE(ty_http_is_value(text)); /* it is sent on as it came */
    REQUIRE(count_of(text, '=') >= 1 && count_of(text, '=') <= TY_TRACESTATE_MEMBERS_MAX);
}

static void check_address(struct ty_slice text)
{
    struct ty_address address, again;
    char printed[INET6_ADDRSTRLEN];
    struct ty_networks networks = {0};
    const char *texts[] = {printed};
    struct ty_error error;

    if (!ty_address_parse(&address, text))
        return;
    ty_address_print(&address, printed);
    REQUIRE(ty_address_parse(&again, (struct ty_slice){printed, strlen(printed)}));
    REQUIRE(memcmp(&address, &again, sizeof(address)) == 0);
    REQUIRE(ty_networks_set(&networks, texts, 1, &error) == 0);
    REQUIRE(ty_networks_have(&networks, &address));
    ty_networks_close(&networks);
}

static void check_network(struct ty_slice text)
{
    struct ty_networks networks = {0};
    char *copy = strndup(text.data, text.len);
    const char *texts[] = {copy, "::/0"};
    struct ty_error error;

    if (ty_networks_set(&networks, texts, 2, &error) == 0) {
        REQUIRE(networks.count == 2 && networks.list[0].bits <= 128);
        REQUIRE(ty_networks_have(&networks, &networks.list[0].base));
    }
    ty_networks_close(&networks);
    free(copy);
}

static void check_host(struct ty_slice text)
{
    if (ty_host_is_valid(text))
        REQUIRE(text.len && !has_any(text, " \t\r\n@/?#\\<>\"") && !count_of(text, '\0'));
}

static void check_target(struct ty_slice text)
{
    struct ty_target target;

    for (int is_options = 0; is_options < 2; is_options++) {
        if (!ty_target_parse(text, is_options, &target))
            continue;
        REQUIRE(!count_of(text, '#'));
        REQUIRE(target.path.len && !count_of(target.path, '?'));
        REQUIRE(target.path.data[0] == '/' || (is_options && target.path.data[0] == '*'));
        REQUIRE(!target.host.data || ty_host_is_valid(target.host));
        if (target.query.data)
            REQUIRE(target.query.data + target.query.len == text.data + text.len);
    }
}

static void check_path(struct ty_slice text)
{
    char *out = malloc(text.len + 1);
    ptrdiff_t len = ty_path_decode(text, out);

    if (len >= 0) {
        struct ty_slice decoded = {out, (size_t)len};

        REQUIRE(decoded.len + 2 * count_of(text, '%') == text.len);
        REQUIRE(count_of(decoded, '/') == count_of(text, '/'));
    }
    free(out);
}

static void check_coding(struct ty_slice text)
{
    struct ty_slice trimmed = ty_slice_trim(text.data, text.len);

    if (ty_coding_parse(text) == TY_CODING_CHUNKED)
        REQUIRE(trimmed.len == 7 && strncasecmp(trimmed.data, "chunked", 7) == 0);
}

static void check_request_id(struct ty_slice text)
{
    if (ty_request_id_is_valid(text))
        REQUIRE(ty_http_is_token(text) && text.len <= TY_REQUEST_ID_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct ty_slice) = {
        check_traceparent, check_tracestate, check_address, check_network,    check_host,
        check_target,      check_path,       check_coding,  check_request_id,
    };

    if (size < 1)
        return 0;
    char *copy = exact_copy(data + 1, size - 1);

    checks[data[0] % (sizeof(checks) / sizeof(*checks))]((struct ty_slice){copy, size - 1});
    free(copy);
    return 0;
}
