/* Deadlines of many connections with one timer.
 *
 * Setting a deadline is a comparison most of the time: an entry stays in the slot it is in, and
 * when that slot comes up its owner says whether the deadline has moved on meanwhile. Only a
 * deadline that comes nearer moves the entry. A deadline runs out up to one tick late.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

enum { TY_WHEEL_SLOTS = 512, TY_WHEEL_TICK_MS = 100 };

#define TY_NEVER UINT64_MAX

struct ty_wheel_entry {
    struct ty_wheel_entry *prev, *next; /* NULL while in no slot */
    uint64_t tick;                      /* of its slot */
};

struct ty_wheel {
    uv_timer_t timer; /* runs while there are entries */
    uv_loop_t *loop;
    uint64_t tick; /* the last one that was looked at */
    uint64_t count;
    void (*on_due)(struct ty_wheel_entry *entry); /* out of its slot; may be put again */
    struct ty_wheel_entry slots[TY_WHEEL_SLOTS];
};

void ty_wheel_init(struct ty_wheel *wheel, uv_loop_t *loop,
                   void (*on_due)(struct ty_wheel_entry *entry));
void ty_wheel_close(struct ty_wheel *wheel, uv_close_cb closed);

/* on_due will run at or before `at` (in uv_now() milliseconds); TY_NEVER leaves things be. */
void ty_wheel_put(struct ty_wheel *wheel, struct ty_wheel_entry *entry, uint64_t at);
void ty_wheel_remove(struct ty_wheel *wheel, struct ty_wheel_entry *entry);
