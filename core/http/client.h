/* Who is at the other end, and whom to believe when it says that it speaks for others. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "tycho/http.h"

/* IPv4 is kept as IPv4-mapped IPv6. */
struct ty_address {
    uint8_t bytes[16];
};

struct ty_network {
    struct ty_address base;
    unsigned bits;
};

struct ty_networks {
    struct ty_network *list;
    size_t count;
};

void ty_address_from(struct ty_address *address, const struct sockaddr *from);
/* False when it is none. Takes "192.0.2.1", "::1", and with a port "192.0.2.1:80", "[::1]:80". */
bool ty_address_parse(struct ty_address *address, struct ty_slice text);
void ty_address_print(const struct ty_address *address, char out[INET6_ADDRSTRLEN]);

/* Replaces the list. -1: `error` names the entry that is no address or network. */
int ty_networks_set(struct ty_networks *networks, const char *const *texts, size_t count,
                    struct ty_error *error);
bool ty_networks_have(const struct ty_networks *networks, const struct ty_address *address);
void ty_networks_close(struct ty_networks *networks);
