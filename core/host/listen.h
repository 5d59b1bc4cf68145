/* The listening sockets: bound by the master, inherited by every worker.
 *
 * One SO_REUSEPORT socket a worker spreads connections without a lock; because the master
 * holds them all, a dead worker's queue is not lost. They are bound before anything is
 * started (the port is ours or the start fails) and listen only when there is something to serve.
 */
#pragma once

#include <stdbool.h>

#include "tycho/error.h"
#include "tycho/shm.h"

struct listeners {
    int fds[TY_SHM_SLOTS_MAX];
    unsigned count;
    bool is_inherited; /* another process has the same sockets, as long as it lives */
    char address[96];  /* "127.0.0.1:8080", for people */
};

/* What is asked for, and the keys to name when it cannot be had. */
struct listen_order {
    const char *host;
    int port; /* 0: any free one, the same for all */
    const char *host_key, *port_key;
};

/* Sockets that another program has left us. */
struct listen_legacy {
    const int *fds;
    unsigned count;
};

/* Takes all of the inherited sockets, and binds more until there are `count`; if they are bound to
 * another address than the one asked for, closes them and binds anew. `legacy` may be NULL. As
 * ty_listeners_bind() otherwise. */
int ty_listeners_inherit(struct listeners *listeners, const struct listen_order *order,
                         unsigned count, const struct listen_legacy *legacy,
                         struct ty_error *error);

/* Binds `count` sockets. 0, or -1 with nothing open: `error` is one line with the remedy. */
int ty_listeners_bind(struct listeners *listeners, const struct listen_order *order, unsigned count,
                      struct ty_error *error);
int ty_listeners_open(struct listeners *listeners, int backlog, struct ty_error *error);

/* From now on connection attempts get no answer, while connections that were already
 * established can still be accepted: closing a socket resets those, so refuse, accept, close.
 * What refuses is the socket's: whoever else has it is shut off as well. Those who accept call
 * ty_http_server_last_call(). */
void ty_listeners_refuse(struct listeners *listeners);
void ty_listeners_welcome(struct listeners *listeners); /* the opposite */

/* Is anybody waiting to be accepted on this socket? */
bool ty_listener_has_waiting(int fd);

void ty_listeners_close(struct listeners *listeners);
