#include "host/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 500, PAUSE_MS = 10 };

struct address {
    struct sockaddr_storage sa;
    socklen_t len;
};

static int find_address(struct address *address, const struct listen_order *order,
                        struct ty_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char port[8];
    int status;

    snprintf(port, sizeof(port), "%u", (unsigned)order->port & 0xffff);
    status = getaddrinfo(order->host, port, &hints, &list);
    if (status != 0 || !list) {
        ty_error_set(error, TY_ERR_INVALID, NULL,
                     "cannot listen on %s: %s (%s takes an address of this machine)", order->host,
                     gai_strerror(status), order->host_key);
        return -1;
    }
    memcpy(&address->sa, list->ai_addr, list->ai_addrlen);
    address->len = list->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static int port_of(const struct address *address)
{
    if (address->sa.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address->sa)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&address->sa)->sin_port);
}

static int explain(const struct listen_order *order, int code, struct ty_error *error)
{
    if (code == EADDRINUSE)
        return ty_error_set(error, TY_ERR_CONFLICT, "EADDRINUSE",
                            "cannot listen on %s:%d: the port is in use; stop the program that "
                            "has it (`ss -ltnp 'sport = :%d'` names it) or set another %s",
                            order->host, order->port, order->port, order->port_key);
    if (code == EACCES)
        return ty_error_set(error, TY_ERR_FORBIDDEN, "EACCES",
                            "cannot listen on %s:%d: ports below 1024 need the right to bind them "
                            "(CAP_NET_BIND_SERVICE); set another %s",
                            order->host, order->port, order->port_key);
    return ty_error_set(error, TY_ERR_INVALID, NULL, "cannot listen on %s:%d: %s (%s, %s)",
                        order->host, order->port, strerror(code), order->host_key, order->port_key);
}

/* Returns the descriptor or -errno. */
static int bind_one(const struct address *address, bool shared)
{
    int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1, code;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* accepted sockets inherit it */
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        goto failed;
    if (bind(fd, (const struct sockaddr *)&address->sa, address->len) == 0)
        return fd;
failed:
    code = errno;
    close(fd);
    return -code;
}

/* A port that another program of this user shares with SO_REUSEPORT could be bound: it would get
 * half of the connections. So ask for it alone first. */
static int is_free(const struct address *address)
{
    int fd = bind_one(address, false);

    if (fd < 0)
        return fd;
    /* two bound sockets with SO_REUSEADDR are only refused when they listen */
    int status = listen(fd, 1) == 0 ? 0 : -errno;
    close(fd);
    return status;
}

/* Workers of a server that was killed just now have it until they are dead as well. */
static int wait_until_free(const struct address *address)
{
    const struct timespec pause = {0, PAUSE_MS * 1000 * 1000};
    int status = is_free(address);

    for (int i = 0; status == -EADDRINUSE && i < WAIT_MS / PAUSE_MS; i++) {
        nanosleep(&pause, NULL);
        status = is_free(address);
    }
    return status;
}

static void describe(struct listeners *listeners, const struct listen_order *order,
                     const struct address *address)
{
    bool is_v6 = strchr(order->host, ':') != NULL;

    snprintf(listeners->address, sizeof(listeners->address), is_v6 ? "[%.64s]:%d" : "%.64s:%d",
             order->host, port_of(address));
}

static void look_up(int fd, struct address *address)
{
    address->len = sizeof(address->sa);
    if (getsockname(fd, (struct sockaddr *)&address->sa, &address->len) != 0)
        *address = (struct address){0};
}

/* Until there are `count`. */
static int bind_more(struct listeners *listeners, const struct listen_order *order, unsigned count,
                     struct address *address, struct ty_error *error)
{
    while (listeners->count < count) {
        int fd = bind_one(address, true);
        if (fd < 0) {
            ty_listeners_close(listeners);
            return explain(order, -fd, error);
        }
        listeners->fds[listeners->count++] = fd;
        look_up(fd, address); /* the next ones get the port that this one got */
    }
    describe(listeners, order, address);
    return 0;
}

int ty_listeners_bind(struct listeners *listeners, const struct listen_order *order, unsigned count,
                      struct ty_error *error)
{
    struct address address = {0};
    int status;

    *listeners = (struct listeners){0};
    if (find_address(&address, order, error) != 0)
        return -1;
    status = order->port == 0 ? 0 : wait_until_free(&address);
    if (status < 0)
        return explain(order, -status, error);
    return bind_more(listeners, order, count, &address, error);
}

static void set_port(struct address *address, int port)
{
    if (address->sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->sa)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&address->sa)->sin_port = htons((uint16_t)port);
}

/* The scope and flow of an IPv6 address are the kernel's to fill in. */
static bool is_same(const struct address *a, const struct address *b)
{
    if (a->sa.ss_family != b->sa.ss_family || port_of(a) != port_of(b))
        return false;
    if (a->sa.ss_family == AF_INET6)
        return memcmp(&((const struct sockaddr_in6 *)&a->sa)->sin6_addr,
                      &((const struct sockaddr_in6 *)&b->sa)->sin6_addr,
                      sizeof(struct in6_addr)) == 0;
    return ((const struct sockaddr_in *)&a->sa)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)&b->sa)->sin_addr.s_addr;
}

int ty_listeners_inherit(struct listeners *listeners, const struct listen_order *order,
                         unsigned count, const struct listen_legacy *legacy, struct ty_error *error)
{
    struct address wanted = {0}, has = {0};

    if (!legacy || legacy->count == 0)
        return ty_listeners_bind(listeners, order, count, error);
    *listeners = (struct listeners){.count = legacy->count, .is_inherited = true};
    memcpy(listeners->fds, legacy->fds, legacy->count * sizeof(*legacy->fds));
    look_up(legacy->fds[0], &has);
    if (find_address(&wanted, order, error) != 0) {
        ty_listeners_close(listeners);
        return -1;
    }
    if (order->port == 0)
        set_port(&wanted, port_of(&has));
    if (is_same(&wanted, &has))
        return bind_more(listeners, order, count, &has, error);
    ty_listeners_close(listeners);
    return ty_listeners_bind(listeners, order, count, error);
}

int ty_listeners_open(struct listeners *listeners, int backlog, struct ty_error *error)
{
    for (unsigned i = 0; i < listeners->count; i++)
        if (listen(listeners->fds[i], backlog) != 0)
            return ty_error_set(error, TY_ERR_CONFLICT, NULL, "cannot listen on %s: %s",
                                listeners->address, strerror(errno));
    return 0;
}

/* Hears only whose segments have `least` hops left: of 255 only the few who begin with as many. An
 * IPv6 socket may take IPv4, too; one of IPv4 does not know the second option. */
static void hear_from(int fd, int least)
{
    setsockopt(fd, IPPROTO_IP, IP_MINTTL, &least, sizeof(least));
    setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &least, sizeof(least));
}

/* Some kernels let none but an administrator filter. What anybody may do is to ask for more hops
 * left than a client's first segment has; only, connections inherit that from their listener. */
void ty_listeners_refuse(struct listeners *listeners)
{
    /* The filter sees the TCP header. Segments with SYN are dropped, the rest goes on: handshakes
     * that are half done still complete. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x02, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    };
    const struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

    for (unsigned i = 0; i < listeners->count; i++)
        if (setsockopt(listeners->fds[i], SOL_SOCKET, SO_ATTACH_FILTER, &program,
                       sizeof(program)) != 0)
            hear_from(listeners->fds[i], 255);
}

void ty_listeners_welcome(struct listeners *listeners)
{
    int nothing = 0;

    for (unsigned i = 0; i < listeners->count; i++) {
        setsockopt(listeners->fds[i], SOL_SOCKET, SO_DETACH_FILTER, &nothing, sizeof(nothing));
        hear_from(listeners->fds[i], 0);
    }
}

bool ty_listener_has_waiting(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    /* of a listening socket: the length of its accept queue */
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_unacked > 0;
}

void ty_listeners_close(struct listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++)
        close(listeners->fds[i]);
    listeners->count = 0;
}
