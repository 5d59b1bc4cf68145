#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/mysql.h"
#include "tycho/memory.h"

/* MySQL has no way to end a statement but to ask for it on another connection: this one is kept for
 * a while, for there is seldom a single reason to cancel. It is one more than the pool's.
 *
 * A request names a connection, not a statement. When it is answered it has been noted, but what it
 * was meant for may have ended before: then it hits the next statement of that connection. So that
 * one is ours, and does nothing. Or it came before the server had read what it was meant for:
 * MariaDB forgets it then, so what still runs a moment later is asked again to end. */

enum { IDLE_MS = 10000, AGAIN_MS = 20 };

/* A session whose connection was closed while it ran something: the server would not notice before
 * that has ended. */
struct ty_mysql_orphan {
    char peer[64], text[64];
    struct ty_mysql_orphan *next;
};

struct ty_mysql_killer {
    struct ty_mysql_link link; /* first */
    struct ty_mysql *own;
    struct ty_mysql_dial *dial;
    char peer[64], text[64];
    bool connected;
    bool retried; /* on a connection that was there already, and gone */
    struct ty_mysql_conn *current, *head, **tail;
    struct ty_mysql_conn *deaf; /* those whose statement runs on though its end was asked for */
    struct ty_mysql_orphan *orphans;
    bool closing; /* as soon as there are no more of them */
    uv_timer_t again;
    unsigned handles_left;
};

static void pump(struct ty_mysql_killer *killer);

static struct ty_mysql_killer *killer_of(struct ty_mysql_link *link)
{
    return (struct ty_mysql_killer *)link;
}

static void hang_up(struct ty_mysql_killer *killer)
{
    ty_mysql_link_drop(&killer->link, killer->connected);
    killer->connected = false;
}

static bool take_out(struct ty_mysql_conn **at, const struct ty_mysql_conn *conn)
{
    while (*at && *at != conn)
        at = &(*at)->next_to_kill;
    if (!*at)
        return false;
    *at = conn->next_to_kill;
    return true;
}

static void put_in(struct ty_mysql_killer *killer, struct ty_mysql_conn *conn)
{
    conn->wound = TY_MYSQL_KILLING;
    conn->next_to_kill = NULL;
    *killer->tail = conn;
    killer->tail = &conn->next_to_kill;
}

/* ---- what the request has done to its connection */

static void on_absorbed(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    unsigned number = ty_mysql_number(link);

    ty_mysql_link_limit(link, 0);
    conn->wound = TY_MYSQL_UNHURT;
    if (number && number != ER_QUERY_INTERRUPTED)
        ty_mysql_lost(conn, NULL);
    else
        ty_pool_cancel_sent(&conn->base);
}

void ty_mysql_absorb(struct ty_mysql_conn *conn)
{
    static const char nothing[] = "DO 0";

    if (conn->wound != TY_MYSQL_KILLED || conn->op)
        return;
    take_out(&conn->own->killer->deaf, conn);
    conn->wound = TY_MYSQL_ABSORBING;
    conn->link.text = nothing;
    conn->link.text_len = sizeof(nothing) - 1;
    ty_mysql_link_limit(&conn->link, conn->base.pool->options.connect_ms);
    ty_mysql_link_call(&conn->link, TY_MYSQL_QUERY, on_absorbed);
}

/* Nobody can end it: the connection is given up, and its statement ends when the server notices. */
static void fail(struct ty_mysql_killer *killer, const char *why)
{
    struct ty_mysql_conn *conn = killer->current;
    struct ty_error error;

    killer->current = NULL;
    if (!conn)
        return;
    ty_error_set(&error, TY_ERR_UNAVAILABLE, "08001", "mysql: cancelling: %s", why);
    conn->wound = TY_MYSQL_UNHURT;
    conn->op = NULL;
    ty_pool_lost(&conn->base, &error, false);
}

static void on_again(uv_timer_t *timer)
{
    struct ty_mysql_killer *killer = timer->data;

    while (killer->deaf) {
        struct ty_mysql_conn *conn = killer->deaf;

        killer->deaf = conn->next_to_kill;
        put_in(killer, conn);
    }
    pump(killer);
}

static void note_killed(struct ty_mysql_killer *killer, struct ty_mysql_conn *conn)
{
    conn->wound = TY_MYSQL_KILLED;
    if (!conn->op) {
        ty_mysql_absorb(conn);
        return;
    }
    conn->next_to_kill = killer->deaf;
    killer->deaf = conn;
    if (!uv_is_active((uv_handle_t *)&killer->again))
        uv_timer_start(&killer->again, on_again, AGAIN_MS, 0);
}

/* ---- the connection beside */

static void on_killed(struct ty_mysql_link *link)
{
    struct ty_mysql_killer *killer = killer_of(link);
    struct ty_mysql_conn *conn = killer->current;
    unsigned number = ty_mysql_number(link);

    if (number && ty_mysql_is_lost(number)) {
        if (killer->retried)
            fail(killer, mysql_error(link->mysql));
        hang_up(killer);
        killer->retried = true;
    } else if (number && number != ER_NO_SUCH_THREAD) {
        fail(killer, mysql_error(link->mysql));
    } else {
        killer->current = NULL;
        if (conn)
            note_killed(killer, conn);
    }
    pump(killer);
}

static void drop_orphan(struct ty_mysql_killer *killer)
{
    struct ty_mysql_orphan *orphan = killer->orphans;

    if (!orphan)
        return;
    killer->orphans = orphan->next;
    free(orphan);
}

/* Whom it was for cannot be helped. */
static void give_up(struct ty_mysql_killer *killer, const char *why)
{
    if (killer->current)
        fail(killer, why);
    else
        drop_orphan(killer);
    hang_up(killer);
}

/* Where the next request has to go. */
static const char *wanted_peer(const struct ty_mysql_killer *killer)
{
    if (killer->current)
        return killer->current->peer;
    return killer->orphans ? killer->orphans->peer : killer->peer;
}

static void on_dialed(void *arg, MYSQL *mysql, const char *failure)
{
    struct ty_mysql_killer *killer = arg;

    killer->dial = NULL;
    killer->link.mysql = mysql;
    killer->connected = !failure;
    if (!failure)
        ty_mysql_peer(mysql, killer->peer, sizeof(killer->peer));
    if (failure)
        give_up(killer, failure);
    else if (strcmp(killer->peer, wanted_peer(killer)) != 0)
        give_up(killer, "the name leads to another server now");
    pump(killer);
}

static void on_late(struct ty_mysql_link *link)
{
    struct ty_mysql_killer *killer = killer_of(link);

    if (killer->dial) {
        ty_mysql_dial_forget(killer->dial);
        killer->dial = NULL;
        give_up(killer, "no answer in time");
    }
    hang_up(killer);
    pump(killer);
}

/* A number instead of a name leads to the same server, but no certificate is made out to it. */
static void dial(struct ty_mysql_killer *killer)
{
    const char *peer = wanted_peer(killer);
    bool by_number = *peer && killer->own->url.tls != TY_MYSQL_TLS_VERIFY;

    ty_mysql_link_limit(&killer->link, killer->own->connect_s * UINT64_C(1000));
    killer->dial = ty_mysql_dial(killer->own, by_number ? peer : NULL, on_dialed, killer);
}

static void on_buried(struct ty_mysql_link *link)
{
    struct ty_mysql_killer *killer = killer_of(link);
    unsigned number = ty_mysql_number(link);

    drop_orphan(killer);
    if (number && ty_mysql_is_lost(number))
        hang_up(killer);
    pump(killer);
}

static void take_next(struct ty_mysql_killer *killer)
{
    struct ty_mysql_conn *conn = killer->head;

    if (!conn)
        return;
    killer->head = conn->next_to_kill;
    if (!killer->head)
        killer->tail = &killer->head;
    conn->next_to_kill = NULL;
    killer->current = conn;
    killer->retried = false;
}

static void close_killer(struct ty_mysql_killer *killer);

static void ask_now(struct ty_mysql_killer *killer, const char *text, ty_mysql_then_fn *then)
{
    killer->link.text = text;
    killer->link.text_len = strlen(text);
    ty_mysql_link_limit(&killer->link, killer->own->connect_s * UINT64_C(1000));
    ty_mysql_link_call(&killer->link, TY_MYSQL_QUERY, then);
}

/* The next request, if none is under way. */
static void pump(struct ty_mysql_killer *killer)
{
    if (killer->dial || killer->link.call != TY_MYSQL_NOTHING ||
        uv_is_active((uv_handle_t *)&killer->link.soon))
        return;
    if (!killer->current)
        take_next(killer);
    if (!killer->current && !killer->orphans) {
        if (killer->closing)
            close_killer(killer);
        else if (killer->connected)
            ty_mysql_link_limit(&killer->link, IDLE_MS);
        return;
    }
    if (killer->connected && strcmp(killer->peer, wanted_peer(killer)) != 0)
        hang_up(killer);
    if (!killer->connected) {
        dial(killer);
        return;
    }
    if (!killer->current) {
        ask_now(killer, killer->orphans->text, on_buried);
        return;
    }
    snprintf(killer->text, sizeof(killer->text), "KILL QUERY %lu",
             mysql_thread_id(killer->current->link.mysql));
    ask_now(killer, killer->text, on_killed);
}

static void on_gone(struct ty_mysql_link *link)
{
    hang_up(killer_of(link));
}

static struct ty_mysql_killer *killer_for(struct ty_mysql *own, uv_loop_t *loop)
{
    struct ty_mysql_killer *killer = own->killer;

    if (killer)
        return killer;
    killer = ty_zalloc(sizeof(*killer));
    ty_mysql_link_init(&killer->link, loop);
    killer->link.stirred = on_gone;
    killer->link.late = on_late;
    uv_timer_init(loop, &killer->again);
    killer->again.data = killer;
    killer->own = own;
    killer->tail = &killer->head;
    own->killer = killer;
    return killer;
}

void ty_mysql_cancel(struct ty_pool_conn *base)
{
    struct ty_mysql_conn *conn = (struct ty_mysql_conn *)base;
    struct ty_mysql_killer *killer = killer_for(conn->own, base->pool->loop);

    if (conn->wound != TY_MYSQL_UNHURT)
        return;
    put_in(killer, conn);
    pump(killer);
}

void ty_mysql_bury(struct ty_mysql_conn *conn)
{
    struct ty_mysql_killer *killer = killer_for(conn->own, conn->link.loop);
    struct ty_mysql_orphan *orphan = ty_zalloc(sizeof(*orphan));

    snprintf(orphan->peer, sizeof(orphan->peer), "%s", conn->peer);
    snprintf(orphan->text, sizeof(orphan->text), "KILL CONNECTION %lu",
             mysql_thread_id(conn->link.mysql));
    orphan->next = killer->orphans;
    killer->orphans = orphan;
    pump(killer);
}

void ty_mysql_cancel_forget(struct ty_mysql_conn *conn)
{
    struct ty_mysql_killer *killer = conn->own ? conn->own->killer : NULL;

    conn->wound = TY_MYSQL_UNHURT;
    if (!killer)
        return;
    if (killer->current == conn)
        killer->current = NULL; /* the server may end the thread of that number: it is nobody's */
    take_out(&killer->deaf, conn);
    if (take_out(&killer->head, conn)) {
        killer->tail = &killer->head;
        while (*killer->tail)
            killer->tail = &(*killer->tail)->next_to_kill;
    }
}

/* ---- the end */

static void let_go(struct ty_mysql_killer *killer)
{
    struct ty_mysql *own = killer->own;

    if (--killer->handles_left > 0)
        return;
    free(killer);
    ty_mysql_unref(own);
}

static void on_link_closed(struct ty_mysql_link *link)
{
    let_go(killer_of(link));
}

static void on_timer_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void close_killer(struct ty_mysql_killer *killer)
{
    hang_up(killer);
    uv_close((uv_handle_t *)&killer->again, on_timer_closed);
    ty_mysql_link_close(&killer->link, on_link_closed);
}

void ty_mysql_killer_close(struct ty_mysql *own)
{
    struct ty_mysql_killer *killer = own->killer;

    if (!killer) {
        ty_mysql_unref(own);
        return;
    }
    killer->closing = true;
    killer->handles_left = 2;
    if (killer->dial && !killer->orphans) {
        ty_mysql_dial_forget(killer->dial);
        killer->dial = NULL;
    }
    pump(killer);
}
