#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "sql/postgres.h"

/* libpq 15 writes at every Sync. Where several statements start in one turn of the loop, the first
 * one leaves at once; from the second on the kernel holds the socket's bytes back, until the turn
 * ends: they become one packet, and wake the server once. */

static void hold(struct ty_pg_link *link, int on)
{
    setsockopt(PQsocket(link->pg), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static void unlink_held(struct ty_pg_link *link)
{
    if (!link->held_prev)
        return;
    *link->held_prev = link->held_next;
    if (link->held_next)
        link->held_next->held_prev = link->held_prev;
    link->held_prev = NULL;
}

static void on_turn_end(uv_prepare_t *handle)
{
    struct ty_pg *own = handle->data;

    own->turn++;
    while (own->held) {
        struct ty_pg_link *link = own->held;

        unlink_held(link);
        hold(link, 0);
    }
    uv_prepare_stop(handle);
}

void ty_pg_gather_init(struct ty_pg *own)
{
    own->turn = 1;
    uv_prepare_init(own->loop, &own->turn_end);
    own->turn_end.data = own;
}

void ty_pg_gather(struct ty_pg_link *link)
{
    struct ty_pg *own = link->own;

    if (link->turn != own->turn) {
        link->turn = own->turn;
        uv_prepare_start(&own->turn_end, on_turn_end);
        return;
    }
    if (link->held_prev)
        return;
    hold(link, 1);
    link->held_next = own->held;
    link->held_prev = &own->held;
    if (link->held_next)
        link->held_next->held_prev = &link->held_next;
    own->held = link;
}

void ty_pg_gather_forget(struct ty_pg_link *link)
{
    unlink_held(link);
}
