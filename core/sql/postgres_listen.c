#include "sql/postgres_listen.h"

#include <stdlib.h>
#include <string.h>

#include "sql/pool_private.h"
#include "tycho/memory.h"

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
void ty_pg_tell_deaf(struct ty_pg_listener *self, const struct ty_error *error, bool over)
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

void ty_pg_tell_notified(struct ty_pg_listener *self, const PGnotify *notify)
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

void ty_pg_tell_on(struct ty_sql_listener *listener)
{
    struct ty_sql_heard heard = {.event = listener->was_on ? TY_SQL_HEARING : TY_SQL_LISTENING};

    listener->is_on = listener->was_on = true;
    listener->is_deaf = false;
    tell(listener, &heard);
}

struct ty_sql_listener *ty_pg_listener_find(struct ty_pg_listener *self, const char *channel)
{
    struct ty_sql_listener *at = self->listeners;

    while (at && strcmp(at->channel, channel) != 0)
        at = at->next;
    return at;
}

/* ---- when to try */

static void on_timer(uv_timer_t *timer)
{
    struct ty_pg_listener *self = timer->data;

    if (self->listeners && self->state == TY_PG_RESTS && !self->has_link && !self->closing)
        ty_pg_hear(self);
    else
        ty_pg_hear_on(self);
}

/* Half of the pause is chance, so that not all processes come at once. */
void ty_pg_listener_rest(struct ty_pg_listener *self)
{
    uint64_t pause = self->pause_ms / 2 + pool_random(self->own->pool, self->pause_ms / 2 + 1);

    self->pause_ms =
        self->pause_ms * 2 > TY_PG_PAUSE_MAX_MS ? TY_PG_PAUSE_MAX_MS : self->pause_ms * 2;
    uv_timer_start(&self->timer, on_timer, pause, 0);
}

/* ---- closing */

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

void ty_pg_listener_on_hung_up(struct ty_pg_listener *self)
{
    if (self->closing)
        free_if_closed(self);
    else if (self->listeners && !self->over)
        ty_pg_listener_rest(self);
}

/* ---- from outside */

static struct ty_pg_listener *make(struct ty_pg *own)
{
    struct ty_pg_listener *self = ty_zalloc(sizeof(*self));

    self->own = own;
    self->place = POOL_NO_PLACE;
    self->pause_ms = TY_PG_PAUSE_MIN_MS;
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
    if (self->state == TY_PG_HEARS && !ty_pg_listener_find(self, listener->channel))
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
    ty_pg_hang_up(self);
    uv_close((uv_handle_t *)&self->timer, on_timer_closed);
    ty_pool_close(db, part_closed, closing);
}
