#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "db_private.h"
#include "error.h"
#include "tycho/memory.h"
#include "tycho/metrics.h"
#include "vm.h"

/* Notifications, as scripts hear them: a queue of what came for each who listens. */

static const char ear_name[] = "tycho.db.Listener";

enum { CHANNEL_MAX = 63, NOTES_MAX = 1024 };

struct note {
    struct note *next;
    int sender;
    size_t len;
    char payload[];
};

struct ear {
    struct ty_sql_listener base; /* first: what the core calls back with */
    struct ty_wait wait;
    bool waits, wants_on; /* for a note; for the first word of the server */
    bool open, is_on, lost, over;
    struct ty_error error; /* why it is deaf */
    struct note *head, **tail;
    unsigned count;
    struct ty_fiber_end end;
    struct ear *next, **prev; /* of this process */
    char channel[CHANNEL_MAX + 1];
};

static struct ear *ears;
static struct ty_series *dropped;

static void count_dropped(void)
{
    static const struct ty_metric metric = {
        .name = "tycho_db_notifications_dropped_total",
        .help = "Notifications that nobody took in time.",
        .type = TY_COUNTER,
    };

    if (!dropped)
        dropped = ty_metrics_series(&metric, NULL);
    ty_counter_add(dropped, 1);
}

static void forget_first(struct ear *ear)
{
    struct note *note = ear->head;

    ear->head = note->next;
    if (!ear->head)
        ear->tail = &ear->head;
    ear->count--;
    free(note);
}

static void close_ear(struct ear *ear)
{
    if (!ear->open)
        return;
    ear->open = false;
    ty_sql_unlisten(&ear->base);
    ty_fiber_forget_end(&ear->end);
    *ear->prev = ear->next;
    if (ear->next)
        ear->next->prev = ear->prev;
    while (ear->head)
        forget_first(ear);
}

void ty_db_unlisten_all(void)
{
    while (ears)
        close_ear(ears);
}

/* ---- waking */

static int push_note(lua_State *L, void *arg)
{
    struct ear *ear = arg;

    lua_createtable(L, 0, 2);
    if (ear->lost) {
        ear->lost = false;
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "lost");
        return 1;
    }
    lua_pushlstring(L, ear->head->payload, ear->head->len);
    lua_setfield(L, -2, "payload");
    lua_pushinteger(L, ear->head->sender);
    lua_setfield(L, -2, "sender");
    forget_first(ear);
    return 1;
}

static int push_true(lua_State *L, void *arg)
{
    (void)arg;
    lua_pushboolean(L, 1);
    return 1;
}

static int push_deaf(lua_State *L, void *arg)
{
    return ty_push_core_error(L, &((struct ear *)arg)->error);
}

static void wake(struct ear *ear, ty_push_fn *push)
{
    ear->waits = ear->wants_on = false;
    ty_wake(&ear->wait, push, ear);
}

/* Notes that are in the way go: what was not heard is said first. */
static void keep(struct ear *ear, const struct ty_sql_heard *heard)
{
    struct note *note = ty_alloc(sizeof(*note) + heard->payload.len);

    if (ear->count == NOTES_MAX) {
        forget_first(ear);
        count_dropped();
        ear->lost = true;
    }
    note->next = NULL;
    note->sender = heard->sender;
    note->len = heard->payload.len;
    memcpy(note->payload, heard->payload.data, note->len);
    *ear->tail = note;
    ear->tail = &note->next;
    ear->count++;
}

static void on_heard(struct ty_sql_listener *listener, const struct ty_sql_heard *heard)
{
    struct ear *ear = (struct ear *)listener;

    switch (heard->event) {
    case TY_SQL_LISTENING:
        ear->is_on = true;
        if (ear->wants_on)
            wake(ear, push_true);
        return;
    case TY_SQL_HEARING:
        ear->is_on = ear->lost = true;
        break;
    case TY_SQL_NOTIFIED:
        keep(ear, heard);
        break;
    case TY_SQL_DEAF:
        ear->is_on = false;
        ear->over = heard->over;
        ear->error = heard->error;
        if ((ear->wants_on || ear->waits) && ear->over)
            wake(ear, push_deaf);
        return;
    }
    if (ear->waits)
        wake(ear, push_note);
}

/* ---- for scripts */

static struct ear *check_ear(lua_State *L)
{
    struct ear *ear = luaL_checkudata(L, 1, ear_name);

    if (!ear->open)
        luaL_error(L, "the listener is closed");
    if (ear->waits || ear->wants_on)
        luaL_error(L, "another fiber waits for this listener already");
    return ear;
}

static int l_ear_gc(lua_State *L)
{
    close_ear(lua_touserdata(L, 1));
    return 0;
}

static int push_ended(lua_State *L, void *arg)
{
    (void)arg;
    return ty_push_error(L, TY_ERR_INTERNAL, "listener", "db: the fiber that listened has ended");
}

/* Another fiber may wait for it: its owner, to whom it was given. */
static void on_fiber_end(struct ty_fiber_end *end)
{
    struct ear *ear = (struct ear *)((char *)end - offsetof(struct ear, end));

    close_ear(ear);
    if (ear->waits || ear->wants_on)
        wake(ear, push_ended);
}

static struct ear *push_ear(lua_State *L, const char *channel, size_t len)
{
    struct ear *ear = lua_newuserdata(L, sizeof(*ear));

    *ear = (struct ear){.base.heard = on_heard, .end.run = on_fiber_end};
    ear->tail = &ear->head;
    ear->wait.what = "notification";
    memcpy(ear->channel, channel, len);
    ear->base.channel = ear->channel;
    if (luaL_newmetatable(L, ear_name)) {
        lua_pushcfunction(L, l_ear_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushstring(L, ear_name);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return ear;
}

/* listen(name, channel) -> listener, which does not hear yet */
int ty_db_listen(lua_State *L)
{
    struct ty_error error;
    size_t len;
    const char *channel = luaL_checklstring(L, 2, &len);
    uv_loop_t *loop = ty_fiber_loop(L);
    struct ty_db *db = ty_db_check(L, loop, 1, &error);

    if (!db)
        return ty_push_core_error(L, &error);
    if (len == 0 || len > CHANNEL_MAX || memchr(channel, '\0', len))
        return ty_push_error(L, TY_ERR_INVALID, "channel",
                             "db: the name of a channel has 1 to %d bytes", CHANNEL_MAX);
    if (!ty_sql_can_listen(db->sql))
        return ty_push_error(L, TY_ERR_INTERNAL, "listen", "db: %s has no notifications",
                             ty_sql_system(db->sql));
    struct ear *ear = push_ear(L, channel, len);
    ty_sql_listen(db->sql, &ear->base);
    ear->open = true;
    ear->next = ears;
    ear->prev = &ears;
    if (ears)
        ears->prev = &ear->next;
    ears = ear;
    ty_fiber_at_end(L, &ear->end);
    return 1;
}

static void cancel_wait(struct ty_wait *wait)
{
    struct ear *ear = (struct ear *)((char *)wait - offsetof(struct ear, wait));

    ear->waits = ear->wants_on = false;
}

/* listening(listener) -> true: waits until it hears */
int ty_db_listening(lua_State *L)
{
    struct ear *ear = check_ear(L);

    ty_fiber_loop(L);
    if (ear->is_on)
        return push_true(L, ear);
    if (ear->over)
        return push_deaf(L, ear);
    ear->wants_on = true;
    return ty_park(L, &ear->wait, cancel_wait, -1);
}

/* hear(listener, timeout) -> { payload, sender } or { lost } */
int ty_db_hear(lua_State *L)
{
    struct ear *ear = check_ear(L);
    double timeout = luaL_optnumber(L, 2, -1);

    ty_fiber_loop(L);
    if (ear->lost || ear->head)
        return push_note(L, ear);
    if (ear->over)
        return push_deaf(L, ear);
    ear->waits = true;
    return ty_park(L, &ear->wait, cancel_wait, timeout);
}

/* deafen(listener) */
int ty_db_deafen(lua_State *L)
{
    struct ear *ear = luaL_checkudata(L, 1, ear_name);

    if (ear->open)
        close_ear(check_ear(L));
    return 0;
}
