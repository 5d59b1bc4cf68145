#include <stdlib.h>
#include <string.h>

#include "sql/pool_private.h"
#include "sql/postgres_listen.h"

static struct ty_pg_listener *self_of(struct ty_pg_link *link)
{
    return (struct ty_pg_listener *)((char *)link - offsetof(struct ty_pg_listener, link));
}

static void on_link_closed(struct ty_pg_link *link)
{
    struct ty_pg_listener *self = self_of(link);

    self->has_link = self->closing_link = false;
    self->handles--;
    ty_pg_listener_on_hung_up(self);
}

static void give_place_back(struct ty_pg_listener *self)
{
    if (self->place != POOL_NO_PLACE)
        pool_ledger_release(self->own->pool->state->ledger, (unsigned)self->place, POOL_CLOSED_MS);
    self->place = POOL_NO_PLACE;
}

void ty_pg_hang_up(struct ty_pg_listener *self)
{
    self->state = TY_PG_RESTS;
    self->asking = false;
    self->asking_for = NULL;
    self->gone.len = 0;
    give_place_back(self);
    if (!self->has_link || self->closing_link)
        return;
    self->closing_link = true;
    ty_pg_link_close(&self->link, on_link_closed);
}

static void lose(struct ty_pg_listener *self, const struct ty_error *error, bool over)
{
    struct ty_error copy = *error;

    ty_pg_hang_up(self);
    self->over = over;
    ty_pg_tell_deaf(self, &copy, over);
}

static void lose_by_libpq(struct ty_pg_listener *self)
{
    struct ty_error error;

    ty_pg_link_unwatch(&self->link);
    ty_error_set(&error, TY_ERR_UNAVAILABLE, "connection",
                 "postgresql: %s: the connection that listens was lost", self->own->name);
    lose(self, &error, false);
}

static void send_command(struct ty_pg_listener *self, const char *sql)
{
    self->asking = true;
    if (!PQsendQuery(self->link.pg, sql) || !ty_pg_link_flush(&self->link)) {
        self->asking = false;
        lose_by_libpq(self);
    }
}

static void on_slow(uv_timer_t *timer)
{
    struct ty_pg_listener *self = timer->data;

    if (self->state == TY_PG_SETS_UP)
        lose_by_libpq(self);
}

static void on_connected(struct ty_pg_link *link)
{
    struct ty_pg_listener *self = self_of(link);
    char sql[64];

    PQsetnonblocking(link->pg, 1);
    self->state = TY_PG_SETS_UP;
    uv_timer_start(&self->timer, on_slow, self->own->pool->options.connect_ms, 0);
    snprintf(sql, sizeof(sql), "select pg_catalog.pg_backend_pid() = %d", PQbackendPID(link->pg));
    send_command(self, sql);
}

static void on_failed(struct ty_pg_link *link, const struct ty_error *error, bool fatal)
{
    (void)fatal; /* somebody may change the password, some day */
    lose(self_of(link), error, false);
}

/* ---- commands */

static void send_listen(struct ty_pg_listener *self, const char *verb, const char *channel)
{
    char *name = PQescapeIdentifier(self->link.pg, channel, strlen(channel));
    struct ty_buf sql = {0};

    if (!name) {
        lose_by_libpq(self);
        return;
    }
    ty_buf_addf(&sql, "%s %s", verb, name);
    send_command(self, ty_buf_cstr(&sql));
    ty_buf_close(&sql);
    PQfreemem(name);
}

static void unlisten_gone(struct ty_pg_listener *self)
{
    while (self->gone.len && !self->asking && self->state == TY_PG_HEARS) {
        if (!ty_pg_listener_find(self, self->gone.data))
            send_listen(self, "unlisten", self->gone.data);
        if (self->gone.len)
            ty_buf_consume(&self->gone, strlen(self->gone.data) + 1);
    }
}

/* What is next to be said to the server. */
void ty_pg_hear_on(struct ty_pg_listener *self)
{
    if (self->state != TY_PG_HEARS || self->asking)
        return;
    if (!self->listeners) {
        ty_pg_hang_up(self);
        return;
    }
    unlisten_gone(self);
    struct ty_sql_listener *at = self->listeners;
    while (at && at->is_on)
        at = at->next;
    if (!at || self->asking || self->state != TY_PG_HEARS)
        return;
    self->asking_for = at;
    send_listen(self, "listen", at->channel);
}

static void on_setup(struct ty_pg_listener *self, const PGresult *result)
{
    struct ty_error error;

    uv_timer_stop(&self->timer);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        lose_by_libpq(self);
        return;
    }
    if (strcmp(PQgetvalue(result, 0, 0), "t") == 0) {
        self->state = TY_PG_HEARS;
        self->pause_ms = TY_PG_PAUSE_MIN_MS;
        return;
    }
    ty_error_set(&error, TY_ERR_INTERNAL, "pooler",
                 "postgresql: %s: a pooler is between us and the server, and passes no "
                 "notifications on; listening wants a database with a direct URL",
                 self->own->name);
    lose(self, &error, true);
}

static void on_answer(struct ty_pg_listener *self, const PGresult *result)
{
    bool good = PQresultStatus(result) == PGRES_COMMAND_OK;

    if (self->state == TY_PG_SETS_UP) {
        on_setup(self, result);
    } else if (!good) {
        lose_by_libpq(self);
    } else if (self->asking_for) {
        struct ty_sql_listener *listener = self->asking_for;

        self->asking_for = NULL;
        ty_pg_tell_on(listener);
    }
}

static void take_all(struct ty_pg_listener *self)
{
    PGconn *pg = self->link.pg;
    PGresult *result;
    PGnotify *notify;

    while (self->asking && !self->closing_link && !PQisBusy(pg)) {
        result = PQgetResult(pg);
        if (result)
            on_answer(self, result);
        else
            self->asking = false;
        PQclear(result);
    }
    while (!self->closing_link && !PQisBusy(pg) && (notify = PQnotifies(pg))) {
        ty_pg_tell_notified(self, notify);
        PQfreemem(notify);
    }
}

static void on_ready(struct ty_pg_link *link, int events)
{
    struct ty_pg_listener *self = self_of(link);
    bool alive;

    if (self->closing_link)
        return;
    if (events & UV_WRITABLE)
        ty_pg_link_flush(link);
    do {
        alive = PQconsumeInput(link->pg);
        take_all(self);
    } while (alive && !self->closing_link && ty_pg_link_has_more(link));
    if (self->closing_link)
        return;
    if (!alive || link->is_ended)
        lose_by_libpq(self);
    else
        ty_pg_hear_on(self);
}

static void on_later(struct ty_pg_link *link)
{
    (void)link;
}

static const struct ty_pg_link_calls calls = {
    .connected = on_connected, .failed = on_failed, .ready = on_ready, .later = on_later};

void ty_pg_hear(struct ty_pg_listener *self)
{
    struct ty_pool *pool = self->own->pool;

    self->place = pool_ledger_claim(pool->state->ledger);
    if (self->place == POOL_NO_PLACE) {
        pool_ledger_want(pool->state->ledger);
        ty_pg_listener_rest(self);
        return;
    }
    self->state = TY_PG_CONNECTS;
    self->has_link = true;
    self->handles++;
    ty_pg_link_init(&self->link, self->own, &calls);
    ty_pg_link_connect(&self->link, pool->options.connect_ms);
}
