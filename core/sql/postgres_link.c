#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"
#include "tycho/memory.h"

/* Heap memory of its own, because handles are closed later: libpq changes sockets while it
 * connects. */
struct ty_pg_poll {
    uv_poll_t handle;
    struct ty_pg_link *link;
    int fd;
};

struct ty_pg_lookup {
    uv_getaddrinfo_t req;
    struct ty_pg_link *link; /* NULL: nobody waits any more */
    unsigned at;             /* hosts that were looked at */
    struct ty_buf hosts, addrs, ports;
    bool resolved; /* one at least */
    char failure[160];
};

/* ---- waiting for the socket */

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void ty_pg_link_unwatch(struct ty_pg_link *link)
{
    ty_pg_gather_forget(link);
    if (!link->poll)
        return;
    uv_poll_stop(&link->poll->handle);
    uv_close((uv_handle_t *)&link->poll->handle, on_poll_closed);
    link->poll = NULL;
    link->events = 0;
}

static void advance(struct ty_pg_link *link);

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct ty_pg_link *link = ((struct ty_pg_poll *)handle->data)->link;

    if (!link->connected)
        advance(link);
    else
        link->calls->ready(link, status < 0 ? UV_READABLE : events); /* libpq finds out why */
}

static bool make_poll(struct ty_pg_link *link)
{
    struct ty_pg_poll *poll = ty_zalloc(sizeof(*poll));

    poll->link = link;
    poll->fd = PQsocket(link->pg);
    poll->handle.data = poll;
    if (uv_poll_init(link->own->loop, &poll->handle, poll->fd) < 0) {
        free(poll);
        return false;
    }
    link->poll = poll;
    return true;
}

void ty_pg_link_watch(struct ty_pg_link *link, int events)
{
    if (link->events == events)
        return;
    if (link->poll && link->poll->fd != PQsocket(link->pg))
        ty_pg_link_unwatch(link);
    if (!link->poll && !make_poll(link))
        return;
    link->events = events;
    if (events)
        uv_poll_start(&link->poll->handle, events, on_poll);
    else
        uv_poll_stop(&link->poll->handle);
}

bool ty_pg_link_flush(struct ty_pg_link *link)
{
    int code = PQflush(link->pg);

    if (code >= 0)
        ty_pg_link_watch(link, code > 0 ? link->events | UV_WRITABLE : link->events & ~UV_WRITABLE);
    return code >= 0;
}

bool ty_pg_link_has_more(const struct ty_pg_link *link)
{
    SSL *ssl = link->pg && PQsslInUse(link->pg) ? PQsslStruct(link->pg, "OpenSSL") : NULL;

    return ssl && SSL_pending(ssl) > 0;
}

/* ---- connecting */

static void fail(struct ty_pg_link *link, const struct ty_error *error, bool fatal)
{
    uv_timer_stop(&link->timer);
    ty_pg_link_unwatch(link);
    link->calls->failed(link, error, fatal);
}

static void fail_by_libpq(struct ty_pg_link *link)
{
    struct ty_error error;
    bool fatal = ty_pg_connect_error(link->own, link->pg, &error);

    fail(link, &error, fatal);
}

static void advance(struct ty_pg_link *link)
{
    /* libpq may close the socket in there, and open another with the same number. */
    if (link->poll)
        ty_pg_link_watch(link, 0);
    switch (PQconnectPoll(link->pg)) {
    case PGRES_POLLING_READING:
        ty_pg_link_watch(link, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        ty_pg_link_watch(link, UV_WRITABLE);
        break;
    case PGRES_POLLING_OK:
        uv_timer_stop(&link->timer);
        link->connected = true;
        PQsetErrorVerbosity(link->pg, PQERRORS_TERSE);
        ty_pg_link_watch(link, UV_READABLE);
        link->calls->connected(link);
        break;
    default:
        fail_by_libpq(link);
        break;
    }
}

/* Notices are the server's remarks: "table does not exist, skipping". */
static void on_notice(void *arg, const PGresult *result)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    struct ty_pg_link *link = arg;
    struct ty_error error;

    if (ty_pg_is_fatal(link->own, result, &error))
        link->is_ended = true;
    else if (text)
        ty_pg_log_notice(link->own, text);
}

static void begin(struct ty_pg_link *link, const char *hosts, const char *addrs, const char *ports)
{
    const struct ty_pg_target *target = &link->own->target;
    const char **keys = ty_zalloc((target->key_count + 4) * 2 * sizeof(char *));
    const char **values = keys + target->key_count + 4;
    unsigned count = 0;

    for (; count < target->key_count; count++) {
        keys[count] = target->keys[count];
        values[count] = target->values[count];
    }
    const char *own[][2] = {{"host", hosts}, {"hostaddr", addrs}, {"port", ports}};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++, count++) {
        keys[count] = own[i][0];
        values[count] = own[i][1];
    }
    link->pg = PQconnectStartParams(keys, values, 0);
    free(keys);
    if (!link->pg || PQstatus(link->pg) == CONNECTION_BAD) {
        fail_by_libpq(link);
        return;
    }
    PQsetErrorVerbosity(link->pg, PQERRORS_VERBOSE); /* the only way to see an SQLSTATE */
    PQsetNoticeReceiver(link->pg, on_notice, link);
    ty_pg_link_watch(link, UV_WRITABLE);
}

/* ---- names become addresses, by the thread pool */

static void free_lookup(struct ty_pg_lookup *lookup)
{
    ty_buf_close(&lookup->hosts);
    ty_buf_close(&lookup->addrs);
    ty_buf_close(&lookup->ports);
    free(lookup);
}

static void add_address(struct ty_pg_lookup *lookup, const struct ty_pg_address *address,
                        const char *addr)
{
    if (lookup->resolved) {
        ty_buf_addc(&lookup->hosts, ',');
        ty_buf_addc(&lookup->addrs, ',');
        ty_buf_addc(&lookup->ports, ',');
    }
    lookup->resolved = true;
    ty_buf_adds(&lookup->hosts, address->host);
    ty_buf_adds(&lookup->addrs, addr);
    ty_buf_adds(&lookup->ports, address->port);
}

/* Is there nothing to look up: an address, or a folder of a Unix socket? */
static bool is_plain(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return !*host || *host == '/' || *host == '@' || inet_pton(AF_INET, host, address) == 1 ||
           inet_pton(AF_INET6, host, address) == 1;
}

static void lookup_next(struct ty_pg_lookup *lookup);

static struct ty_pg_address *host_at(struct ty_pg_lookup *lookup)
{
    struct ty_pg_target *target = &lookup->link->own->target;

    return &target->hosts[(target->first + lookup->at) % target->host_count];
}

static void note_failure(struct ty_pg_lookup *lookup, int code)
{
    snprintf(lookup->failure, sizeof(lookup->failure), "%.80s: %s", host_at(lookup)->host,
             uv_strerror(code));
}

static void on_addresses(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct ty_pg_lookup *lookup = req->data;
    char name[INET6_ADDRSTRLEN];

    if (lookup->link) {
        for (struct addrinfo *at = list; at; at = at->ai_next) {
            if (uv_ip_name(at->ai_addr, name, sizeof(name)) == 0)
                add_address(lookup, host_at(lookup), name);
        }
        if (status < 0)
            note_failure(lookup, status);
        lookup->at++;
        lookup_next(lookup);
    } else {
        free_lookup(lookup);
    }
    uv_freeaddrinfo(list);
}

static void lookup_done(struct ty_pg_lookup *lookup)
{
    struct ty_pg_link *link = lookup->link;
    struct ty_error error;

    link->lookup = NULL;
    if (lookup->resolved) {
        begin(link, ty_buf_cstr(&lookup->hosts), ty_buf_cstr(&lookup->addrs),
              ty_buf_cstr(&lookup->ports));
    } else {
        ty_error_set(&error, TY_ERR_UNAVAILABLE, "name",
                     "postgresql: %s: the host's name cannot be resolved (%s)", link->own->name,
                     lookup->failure);
        fail(link, &error, false);
    }
    free_lookup(lookup);
}

static void lookup_next(struct ty_pg_lookup *lookup)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct ty_pg *own = lookup->link->own;

    for (; lookup->at < own->target.host_count; lookup->at++) {
        const struct ty_pg_address *host = host_at(lookup);

        if (*host->hostaddr || is_plain(host->host)) {
            bool is_folder = *host->host == '/' || *host->host == '@' || !*host->host;

            add_address(lookup, host, *host->hostaddr || is_folder ? host->hostaddr : host->host);
            continue;
        }
        int code = uv_getaddrinfo(own->loop, &lookup->req, on_addresses, host->host, NULL, &hints);
        if (code == 0)
            return;
        note_failure(lookup, code);
    }
    lookup_done(lookup);
}

/* ---- time */

/* The next attempt begins with the host behind the one that did not answer. */
static void begin_elsewhere(struct ty_pg_link *link)
{
    struct ty_pg_target *target = &link->own->target;
    const char *host = link->pg ? PQhost(link->pg) : NULL;
    const char *port = link->pg ? PQport(link->pg) : NULL;

    for (unsigned i = 0; host && port && i < target->host_count; i++) {
        const struct ty_pg_address *at = &target->hosts[i];

        if (strcmp(at->host, host) == 0 && (!*at->port || strcmp(at->port, port) == 0)) {
            target->first = (i + 1) % target->host_count;
            return;
        }
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct ty_pg_link *link = timer->data;
    struct ty_error error;

    if (link->lookup) {
        uv_cancel((uv_req_t *)&link->lookup->req);
        link->lookup->link = NULL;
        link->lookup = NULL;
    }
    const char *host = link->pg ? PQhost(link->pg) : "";
    ty_error_set(&error, TY_ERR_UNAVAILABLE, "timeout",
                 "postgresql: %s: connecting to %s took too long", link->own->name,
                 *host ? host : "the server");
    begin_elsewhere(link);
    fail(link, &error, false);
}

static void on_begin(uv_timer_t *timer)
{
    struct ty_pg_link *link = timer->data;
    struct ty_pg_lookup *lookup = ty_zalloc(sizeof(*lookup));

    uv_timer_start(timer, on_timeout, link->timeout_ms, 0);
    lookup->link = link;
    lookup->req.data = lookup;
    link->lookup = lookup;
    lookup_next(lookup);
}

void ty_pg_link_init(struct ty_pg_link *link, struct ty_pg *own,
                     const struct ty_pg_link_calls *calls)
{
    *link = (struct ty_pg_link){.own = own, .calls = calls};
    uv_timer_init(own->loop, &link->timer);
    uv_idle_init(own->loop, &link->soon);
    link->timer.data = link->soon.data = link;
}

void ty_pg_link_connect(struct ty_pg_link *link, uint64_t timeout_ms)
{
    link->timeout_ms = timeout_ms;
    uv_timer_start(&link->timer, on_begin, 0, 0);
}

static void on_soon(uv_idle_t *soon)
{
    struct ty_pg_link *link = soon->data;

    uv_idle_stop(soon);
    link->calls->later(link);
}

void ty_pg_link_later(struct ty_pg_link *link)
{
    if (!uv_is_closing((uv_handle_t *)&link->soon))
        uv_idle_start(&link->soon, on_soon);
}

void ty_pg_link_never(struct ty_pg_link *link)
{
    uv_timer_stop(&link->timer);
    uv_idle_stop(&link->soon);
}

/* ---- closing */

static void on_handle_closed(uv_handle_t *handle)
{
    struct ty_pg_link *link = handle->data;

    if (--link->handles_left == 0)
        link->closed(link); /* may free it */
}

void ty_pg_link_close(struct ty_pg_link *link, void (*closed)(struct ty_pg_link *link))
{
    link->closed = closed;
    if (link->lookup) {
        uv_cancel((uv_req_t *)&link->lookup->req);
        link->lookup->link = NULL;
        link->lookup = NULL;
    }
    ty_pg_link_unwatch(link);
    PQfinish(link->pg); /* says good-bye without waiting */
    link->pg = NULL;
    link->handles_left = 2;
    uv_close((uv_handle_t *)&link->timer, on_handle_closed);
    uv_close((uv_handle_t *)&link->soon, on_handle_closed);
}
