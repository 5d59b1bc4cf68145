/* Who listens, and the connection on which that is done: what the two files about it share.
 *
 *   postgres_listen.c  those who listen, and when to try to reach the server
 *   postgres_hear.c    the connection, and what is said on it
 *
 * There is one connection for all, outside of the pool, but with a place in its ledger, while there
 * are listeners. One command is under way at a time; what is to be listened to is compared with
 * what is after each. */
#pragma once

#include "sql/postgres.h"

enum ty_pg_hearing { TY_PG_RESTS, TY_PG_CONNECTS, TY_PG_SETS_UP, TY_PG_HEARS };

enum { TY_PG_PAUSE_MIN_MS = 50, TY_PG_PAUSE_MAX_MS = 2000 };

struct ty_pg_listener {
    struct ty_pg *own;
    struct ty_pg_link link;
    uv_timer_t timer; /* until the next attempt, or the end of our patience with this one */
    enum ty_pg_hearing state;
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

/* ---- postgres_listen.c */

void ty_pg_tell_deaf(struct ty_pg_listener *self, const struct ty_error *error, bool over);
void ty_pg_tell_notified(struct ty_pg_listener *self, const PGnotify *notify);
void ty_pg_tell_on(struct ty_sql_listener *listener);
void ty_pg_listener_rest(struct ty_pg_listener *self); /* then tries again */
void ty_pg_listener_on_hung_up(struct ty_pg_listener *self);
struct ty_sql_listener *ty_pg_listener_find(struct ty_pg_listener *self, const char *channel);

/* ---- postgres_hear.c */

void ty_pg_hear(struct ty_pg_listener *self);    /* connects */
void ty_pg_hear_on(struct ty_pg_listener *self); /* says what is next to be said */
void ty_pg_hang_up(struct ty_pg_listener *self);
