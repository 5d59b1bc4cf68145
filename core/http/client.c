#include "http/client.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

#include "http/conn.h"
#include "tycho/memory.h"

enum { PREFIX_V4 = 96, BITS_MAX = 128, TEXT_MAX = 64 };

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

void ty_address_from(struct ty_address *address, const struct sockaddr *from)
{
    *address = (struct ty_address){0};
    if (from->sa_family == AF_INET) {
        memcpy(address->bytes, mapped, sizeof(mapped));
        memcpy(address->bytes + sizeof(mapped), &((const struct sockaddr_in *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        memcpy(address->bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    }
}

static bool parse_plain(struct ty_address *address, struct ty_slice text)
{
    char copy[TEXT_MAX];

    if (text.len >= sizeof(copy) || memchr(text.data, '\0', text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';

    if (inet_pton(AF_INET6, copy, address->bytes) == 1)
        return true;
    memcpy(address->bytes, mapped, sizeof(mapped));
    return inet_pton(AF_INET, copy, address->bytes + sizeof(mapped)) == 1;
}

static bool is_port(const char *text, size_t len)
{
    if (len < 1 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return true;
}

bool ty_address_parse(struct ty_address *address, struct ty_slice text)
{
    if (!text.len)
        return false;
    if (text.data[0] == '[') {
        const char *end = memchr(text.data, ']', text.len);

        if (!end)
            return false;

        size_t inside = (size_t)(end - text.data) - 1, left = text.len - inside - 2;

        if (left && (end[1] != ':' || !is_port(end + 2, left - 1)))
            return false;
        text = (struct ty_slice){text.data + 1, inside};
        return memchr(text.data, ':', text.len) && parse_plain(address, text);
    }

    const char *colon = memchr(text.data, ':', text.len);

    if (colon && !memchr(colon + 1, ':', text.len - (size_t)(colon - text.data) - 1)) {
        size_t len = (size_t)(colon - text.data);

        if (!is_port(colon + 1, text.len - len - 1))
            return false;
        text.len = len;
    }
    return parse_plain(address, text);
}

static bool is_v4(const struct ty_address *address)
{
    return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

void ty_address_print(const struct ty_address *address, char out[INET6_ADDRSTRLEN])
{
    if (is_v4(address))
        inet_ntop(AF_INET, address->bytes + sizeof(mapped), out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address->bytes, out, INET6_ADDRSTRLEN);
}

static bool parse_network(struct ty_network *network, const char *text)
{
    const char *slash = strchr(text, '/');
    struct ty_slice host = {text, slash ? (size_t)(slash - text) : strlen(text)};

    if (!parse_plain(&network->base, host))
        return false;

    unsigned offset = memchr(host.data, ':', host.len) ? 0 : PREFIX_V4;

    network->bits = BITS_MAX;
    if (slash) {
        char *end;
        unsigned long bits = strtoul(slash + 1, &end, 10);

        if (slash[1] < '0' || slash[1] > '9' || *end || bits > BITS_MAX - offset)
            return false;
        network->bits = (unsigned)bits + offset;
    }
    return true;
}

int ty_networks_set(struct ty_networks *networks, const char *const *texts, size_t count,
                    struct ty_error *error)
{
    struct ty_network *list = count ? ty_alloc(count * sizeof(*list)) : NULL;

    for (size_t i = 0; i < count; i++) {
        if (!parse_network(&list[i], texts[i])) {
            free(list);
            return ty_error_set(error, TY_ERR_INVALID, NULL,
                                "trusted proxy \"%s\" is no address or network", texts[i]);
        }
    }
    free(networks->list);
    *networks = (struct ty_networks){list, count};
    return 0;
}

void ty_networks_close(struct ty_networks *networks)
{
    free(networks->list);
    *networks = (struct ty_networks){0};
}

static bool is_inside(const struct ty_network *network, const struct ty_address *address)
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;

    if (memcmp(network->base.bytes, address->bytes, whole) != 0)
        return false;
    return !rest || ((network->base.bytes[whole] ^ address->bytes[whole]) >> (8 - rest)) == 0;
}

bool ty_networks_have(const struct ty_networks *networks, const struct ty_address *address)
{
    for (size_t i = 0; i < networks->count; i++) {
        if (is_inside(&networks->list[i], address))
            return true;
    }
    return false;
}

/* The right-most element of a comma-separated list; shortens the list by it. */
static struct ty_slice pop_right(struct ty_slice *list)
{
    size_t start = list->len;

    while (start && list->data[start - 1] != ',')
        start--;

    struct ty_slice item = {list->data + start, list->len - start};

    list->len = start ? start - 1 : 0;
    while (item.len && (*item.data == ' ' || *item.data == '\t')) {
        item.data++;
        item.len--;
    }
    while (item.len && (item.data[item.len - 1] == ' ' || item.data[item.len - 1] == '\t'))
        item.len--;
    return item;
}

static bool is_field(const struct ty_header *header, const char *name)
{
    return header->name.len == strlen(name) &&
           strncasecmp(header->name.data, name, header->name.len) == 0;
}

/* Follows X-Forwarded-For from the right for as long as proxies vouch for each other. A bad
 * element makes all of it worthless: the peer it is. */
void ty_request_client(const struct ty_request *req, char out[INET6_ADDRSTRLEN])
{
    const struct ty_networks *trusted = &req->conn->server->trusted;
    struct ty_address address = req->conn->peer;
    bool done = !trusted->count || !ty_networks_have(trusted, &address);

    for (size_t i = req->header_count; i-- && !done;) {
        if (!is_field(&req->headers[i], "X-Forwarded-For"))
            continue;
        for (struct ty_slice list = req->headers[i].value; list.len && !done;) {
            if (!ty_address_parse(&address, pop_right(&list))) {
                address = req->conn->peer;
                done = true;
            }
            done = done || !ty_networks_have(trusted, &address);
        }
    }
    ty_address_print(&address, out);
}

bool ty_request_is_secure(const struct ty_request *req)
{
    const struct ty_networks *trusted = &req->conn->server->trusted;

    if (!trusted->count || !ty_networks_have(trusted, &req->conn->peer))
        return false;
    for (size_t i = req->header_count; i--;) {
        struct ty_slice list = req->headers[i].value;

        if (is_field(&req->headers[i], "X-Forwarded-Proto")) {
            struct ty_slice last = pop_right(&list);

            return last.len == 5 && strncasecmp(last.data, "https", 5) == 0;
        }
    }
    return false;
}
