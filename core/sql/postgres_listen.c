#include <stdlib.h>
#include <string.h>

#include "sql/pool_private.h"
#include "sql/postgres.h"
#include "tycho/memory.h"

/* Listens as long as there are listeners: one connection, outside of the pool, but with a place in
 * its ledger. One command is under way at a time; what is to be listened to is compared with what
 * is after each. */

enum { PAUSE_MIN_MS = 50, PAUSE_MAX_MS = 2000 };

enum state { RESTING, CONNECTING, SETTING_UP, LISTENING };

struct ty_pg_listener {
    struct ty_pg *own;
    struct ty_pg_link link;
    uv_timer_t timer; /* until the next attempt */
    enum state state;
    int place; /* in the ledger */
    bool has_link, closing_link, asking;
    bool over;                          /* there is no sense in trying again */
    struct ty_sql_listener *asking_for; /* NULL: for an UNLISTEN, or for one that is gone */
    struct ty_sql_listener *listeners;
    struct ty_sql_listener *next_told; /* while all of them are told something */
    struct ty_buf gone;                /* channels without listeners, each with its NUL */
    uint64_t pause_ms;
    bool closing;
    unsigned handles;
    struct closing *closes;
};

struct closing {
    unsigned left;
    void (*closed)(void *arg);
    void *arg;
};

/* ---- telling */

static void tell(struct ty_sql_listener *listener, const struct ty_sql_heard *heard)
{
    listener->heard(listener, heard);
}

/* Any of those who are told may leave the list meanwhile. */
static void tell_deaf(struct ty_pg_listener *self, const struct ty_error *error, bool over)
{
    struct ty_sql_heard heard = {.event = TY_SQL_DEAF, .error = *error, .over = over};

    for (struct ty_sql_listener *at = self->listeners; at; at = self->next_told) {
        self->next_told = at->next;
        at->is_on = false;
        if (at->is_deaf)
            continue; /* knows */
        at->is_deaf = true;
        tell(at, &heard);
    }
    self->next_told = NULL;
}

static void tell_notified(struct ty_pg_listener *self, const PGnotify *notify)
{
    struct ty_sql_heard heard = {.event = TY_SQL_NOTIFIED,
                                 .payload = {notify->extra, strlen(notify->extra)},
                                 .sender = notify->be_pid};

    for (struct ty_sql_listener *at = self->listeners; at; at = self->next_told) {
        self->next_told = at->next;
        if (at->is_on && strcmp(at->channel, notify->relname) == 0)
            tell(at, &heard);
    }
    self->next_told = NULL;
}

static void tell_on(struct ty_sql_listener *listener)
{
    struct ty_sql_heard heard = {.event = listener->was_on ? TY_SQL_HEARING : TY_SQL_LISTENING};

    listener->is_on = listener->was_on = true;
    listener->is_deaf = false;
    tell(listener, &heard);
}

/* ---- its connection */

static void part_closed(void *arg)
{
    struct closing *closing = arg;

    if (--closing->left)
        return;
    closing->closed(closing->arg);
    free(closing);
}

static void free_if_closed(struct ty_pg_listener *self)
{
    struct closing *closes = self->closes;
    struct ty_pg *own = self->own;

    if (!self->closing || self->handles)
        return;
    ty_buf_close(&self->gone);
    free(self);
    ty_pg_unref(own);
    part_closed(closes);
}

static void rest(struct ty_pg_listener *self);

static void on_link_closed(struct ty_pg_link *link)
{
    struct ty_pg_listener *self =
        (struct ty_pg_listener *)((char *)link - offsetof(struct ty_pg_listener, link));

    self->has_link = self->closing_link = false;
    self->handles--;
    if (self->closing)
        free_if_closed(self);
    else if (self->listeners && !self->over)
        rest(self);
}

static void give_place_back(struct ty_pg_listener *self)
{
    if (self->place != POOL_NO_PLACE)
        pool_ledger_release(self->own->pool->state->ledger, (unsigned)self->place, POOL_CLOSED_MS);
    self->place = POOL_NO_PLACE;
}

static void hang_up(struct ty_pg_listener *self)
{
    self->state = RESTING;
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

    hang_up(self);
    self->over = over;
    tell_deaf(self, &copy, over);
}

static void lose_by_libpq(struct ty_pg_listener *self)
{
    struct ty_error error;

    ty_pg_link_unwatch(&self->link);
    ty_error_set(&error, TY_ERR_UNAVAILABLE, "connection",
                 "postgresql: %s: the connection that listens was lost", self->own->name);
    lose(self, &error, false);
}

static struct ty_pg_listener *self_of(struct ty_pg_link *link)
{
    return (struct ty_pg_listener *)((char *)link - offsetof(struct ty_pg_listener, link));
}

static void send_command(struct ty_pg_listener *self, const char *sql)
{
    self->asking = true;
    if (!PQsendQuery(self->link.pg, sql) || !ty_pg_link_flush(&self->link)) {
        self->asking = false;
        lose_by_libpq(self);
    }
}

static void on_connected(struct ty_pg_link *link)
{
    struct ty_pg_listener *self = self_of(link);
    char sql[64];

    PQsetnonblocking(link->pg, 1);
    self->state = SETTING_UP;
    snprintf(sql, sizeof(sql), "select pg_catalog.pg_backend_pid() = %d", PQbackendPID(link->pg));
    send_command(self, sql);
}

static void on_failed(struct ty_pg_link *link, const struct ty_error *error, bool fatal)
{
    (void)fatal; /* somebody may change the password, some day */
    lose(self_of(link), error, false);
}

/* ---- commands */

static struct ty_sql_listener *find_channel(struct ty_pg_listener *self, const char *channel)
{
    struct ty_sql_listener *at = self->listeners;

    while (at && strcmp(at->channel, channel) != 0)
        at = at->next;
    return at;
}

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
    while (self->gone.len && !self->asking && self->state == LISTENING) {
        if (!find_channel(self, self->gone.data))
            send_listen(self, "unlisten", self->gone.data);
        if (self->gone.len)
            ty_buf_consume(&self->gone, strlen(self->gone.data) + 1);
    }
}

/* What is next to be said to the server. */
static void work(struct ty_pg_listener *self)
{
    if (self->state != LISTENING || self->asking)
        return;
    if (!self->listeners) {
        hang_up(self);
        return;
    }
    unlisten_gone(self);
    struct ty_sql_listener *at = self->listeners;
    while (at && at->is_on)
        at = at->next;
    if (!at || self->asking || self->state != LISTENING)
        return;
    self->asking_for = at;
    send_listen(self, "listen", at->channel);
}

static void on_setup(struct ty_pg_listener *self, const PGresult *result)
{
    struct ty_error error;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return;
    if (strcmp(PQgetvalue(result, 0, 0), "t") == 0) {
        self->state = LISTENING;
        self->pause_ms = PAUSE_MIN_MS;
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

    if (self->state == SETTING_UP) {
        on_setup(self, result);
    } else if (!good) {
        lose_by_libpq(self);
    } else if (self->asking_for) {
        struct ty_sql_listener *listener = self->asking_for;

        self->asking_for = NULL;
        tell_on(listener);
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
        tell_notified(self, notify);
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
        work(self);
}

static void on_later(struct ty_pg_link *link)
{
    (void)link;
}

static const struct ty_pg_link_calls calls = {
    .connected = on_connected, .failed = on_failed, .ready = on_ready, .later = on_later};

/* ---- when to try */

static void connect_now(struct ty_pg_listener *self)
{
    struct ty_pool *pool = self->own->pool;

    self->place = pool_ledger_claim(pool->state->ledger);
    if (self->place == POOL_NO_PLACE) {
        pool_ledger_want(pool->state->ledger);
        rest(self);
        return;
    }
    self->state = CONNECTING;
    self->has_link = true;
    self->handles++;
    ty_pg_link_init(&self->link, self->own, &calls);
    ty_pg_link_connect(&self->link, pool->options.connect_ms);
}

static void on_timer(uv_timer_t *timer)
{
    struct ty_pg_listener *self = timer->data;

    if (self->listeners && self->state == RESTING && !self->has_link && !self->closing)
        connect_now(self);
    else
        work(self);
}

/* Half of the pause is chance, so that not all processes come at once. */
static void rest(struct ty_pg_listener *self)
{
    uint64_t pause = self->pause_ms / 2 + pool_random(self->own->pool, self->pause_ms / 2 + 1);

    self->pause_ms = self->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : self->pause_ms * 2;
    uv_timer_start(&self->timer, on_timer, pause, 0);
}

/* ---- from outside */

static struct ty_pg_listener *make(struct ty_pg *own)
{
    struct ty_pg_listener *self = ty_zalloc(sizeof(*self));

    self->own = own;
    self->place = POOL_NO_PLACE;
    self->pause_ms = PAUSE_MIN_MS;
    uv_timer_init(own->loop, &self->timer);
    self->timer.data = self;
    self->handles = 1;
    own->users++;
    own->listener = self;
    return self;
}

void ty_pg_listen(struct ty_sql *db, struct ty_sql_listener *listener)
{
    struct ty_pg *own = ((struct ty_pool *)db)->own;
    struct ty_pg_listener *self = own->listener ? own->listener : make(own);

    listener->db = db;
    listener->is_on = listener->was_on = listener->is_deaf = false;
    listener->next = self->listeners;
    listener->prev = &self->listeners;
    if (listener->next)
        listener->next->prev = &listener->next;
    self->listeners = listener;
    self->over = false;
    if (!uv_is_active((uv_handle_t *)&self->timer))
        uv_timer_start(&self->timer, on_timer, 0, 0);
}

void ty_pg_unlisten(struct ty_sql_listener *listener)
{
    struct ty_pg_listener *self = ((struct ty_pg *)((struct ty_pool *)listener->db)->own)->listener;

    *listener->prev = listener->next;
    if (listener->next)
        listener->next->prev = listener->prev;
    if (self->next_told == listener)
        self->next_told = listener->next;
    if (self->asking_for == listener)
        self->asking_for = NULL;
    if (self->state == LISTENING && !find_channel(self, listener->channel))
        ty_buf_add(&self->gone, listener->channel, strlen(listener->channel) + 1);
    if (!uv_is_active((uv_handle_t *)&self->timer))
        uv_timer_start(&self->timer, on_timer, 0, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct ty_pg_listener *self = handle->data;

    self->handles--;
    free_if_closed(self);
}

void ty_pg_close_all(struct ty_sql *db, void (*closed)(void *arg), void *arg)
{
    struct ty_pg *own = ((struct ty_pool *)db)->own;
    struct ty_pg_listener *self = own->listener;

    if (!self) {
        ty_pool_close(db, closed, arg);
        return;
    }
    struct closing *closing = ty_zalloc(sizeof(*closing));
    *closing = (struct closing){.left = 2, .closed = closed, .arg = arg};
    own->listener = NULL;
    self->closing = true;
    self->closes = closing;
    hang_up(self);
    uv_close((uv_handle_t *)&self->timer, on_timer_closed);
    ty_pool_close(db, part_closed, closing);
}
