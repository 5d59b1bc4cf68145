#include "host/web.h"

#include "host/listen.h"
#include "tycho/log.h"

enum { STALE_MS = 500 };

static int listener_of(unsigned slot)
{
    return CHILD_LISTENER_FD + (int)slot - 1;
}

static bool is_able(const struct web *web, unsigned slot)
{
    const struct ty_slot *shared = ty_shm_slot(web->shm, slot);

    return shared->state == TY_SLOT_SERVING && ty_slot_is_fresh(shared, STALE_MS);
}

/* Of those that can, the first one behind it looks after a slot; all see the same memory, so they
 * agree, and if for a moment they do not, two of them accept. Sockets without a worker, of a
 * predecessor that had more of them, are everybody's. */
static bool is_mine(const struct web *web, unsigned slot)
{
    unsigned count = ty_shm_slot_count(web->shm) - 1; /* without the master's */

    if (slot == web->self.slot || slot > count)
        return true;
    if (is_able(web, slot))
        return false;
    for (unsigned next = slot % count + 1; next != web->self.slot; next = next % count + 1)
        if (is_able(web, next))
            return false;
    return true;
}

static void set_accepting(struct web *web, unsigned slot, bool wanted)
{
    if (web->accepts[slot - 1] == wanted)
        return;
    if (wanted && ty_http_server_accept(web->server, listener_of(slot)) != 0) {
        ty_log_error("host", "cannot accept on the socket of worker %u", slot);
        return;
    }
    if (!wanted)
        ty_http_server_unaccept(web->server, listener_of(slot));
    web->accepts[slot - 1] = wanted;
}

void ty_web_look_after_neighbours(struct web *web)
{
    if (!web->server || web->is_stopping || web->is_waiting)
        return;
    for (unsigned slot = 1; slot <= web->self.listener_count; slot++)
        set_accepting(web, slot, is_mine(web, slot));
}

void ty_web_accept_all(struct web *web)
{
    for (unsigned slot = 1; slot <= web->self.listener_count; slot++)
        set_accepting(web, slot, true);
}

void ty_web_accept_none(struct web *web)
{
    for (unsigned slot = 1; slot <= web->self.listener_count; slot++)
        set_accepting(web, slot, false);
}

bool ty_web_has_waiting(const struct web *web)
{
    for (unsigned slot = 1; slot <= web->self.listener_count; slot++)
        if (web->accepts[slot - 1] && ty_listener_has_waiting(listener_of(slot)))
            return true;
    return false;
}
