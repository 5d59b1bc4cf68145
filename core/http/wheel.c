#include "http/wheel.h"

#include <assert.h>
#include <stddef.h>

static void on_tick(uv_timer_t *timer);

static uint64_t tick_now(const struct ty_wheel *wheel)
{
    return uv_now(wheel->loop) / TY_WHEEL_TICK_MS;
}

void ty_wheel_init(struct ty_wheel *wheel, uv_loop_t *loop,
                   void (*on_due)(struct ty_wheel_entry *entry))
{
    *wheel = (struct ty_wheel){.loop = loop, .on_due = on_due};
    uv_timer_init(loop, &wheel->timer);
    wheel->timer.data = wheel;
    for (size_t i = 0; i < TY_WHEEL_SLOTS; i++) {
        wheel->slots[i].prev = &wheel->slots[i];
        wheel->slots[i].next = &wheel->slots[i];
    }
}

void ty_wheel_close(struct ty_wheel *wheel, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&wheel->timer, closed);
}

static void unlink_entry(struct ty_wheel_entry *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    entry->prev = NULL;
    entry->next = NULL;
}

void ty_wheel_remove(struct ty_wheel *wheel, struct ty_wheel_entry *entry)
{
    if (!entry->next)
        return;
    unlink_entry(entry);
    if (--wheel->count == 0)
        uv_timer_stop(&wheel->timer);
}

static void start(struct ty_wheel *wheel)
{
    wheel->tick = tick_now(wheel);
    uv_timer_start(&wheel->timer, on_tick, TY_WHEEL_TICK_MS, TY_WHEEL_TICK_MS);
}

void ty_wheel_put(struct ty_wheel *wheel, struct ty_wheel_entry *entry, uint64_t at)
{
    if (at == TY_NEVER)
        return;

    uint64_t tick = at / TY_WHEEL_TICK_MS + 1;

    if (entry->next && entry->tick <= tick)
        return;
    ty_wheel_remove(wheel, entry);
    if (wheel->count++ == 0)
        start(wheel);
    /* Farther than the wheel goes: looked at in between. */
    if (tick >= wheel->tick + TY_WHEEL_SLOTS)
        tick = wheel->tick + TY_WHEEL_SLOTS - 1;
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;

    struct ty_wheel_entry *slot = &wheel->slots[tick % TY_WHEEL_SLOTS];

    entry->tick = tick;
    entry->prev = slot->prev;
    entry->next = slot;
    slot->prev->next = entry;
    slot->prev = entry;
}

static void turn(struct ty_wheel *wheel)
{
    struct ty_wheel_entry *slot = &wheel->slots[wheel->tick % TY_WHEEL_SLOTS];

    /* What is put meanwhile goes to a later slot, at most one round minus one away. */
    while (slot->next != slot) {
        struct ty_wheel_entry *entry = slot->next;

        unlink_entry(entry);
        wheel->count--;
        wheel->on_due(entry);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct ty_wheel *wheel = timer->data;
    uint64_t now = tick_now(wheel);

    for (unsigned i = 0; wheel->tick < now && i < TY_WHEEL_SLOTS; i++) {
        wheel->tick++;
        turn(wheel);
    }
    wheel->tick = now;
    if (wheel->count == 0)
        uv_timer_stop(timer);
}
