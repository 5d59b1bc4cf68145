/* How long requests wait for the loop, and when that is too long.
 *
 * A turn is all that the loop does between two looks at its sockets. What arrives during one is
 * read in the next, so a request that is dispatched now has waited at most for as long as the
 * previous turn took and this one has lasted. That bound costs a subtraction: the request's own
 * first look at the clock is the only one.
 *
 * Late is what has waited longer than the limit and than ten usual requests take. A worker that
 * was held up once catches up by itself, and nobody should be refused for that. So it sheds only
 * when requests have been late without a break for as long as its longest turn took, and for some
 * time, or are twice as late as that: then more comes in than it can do. From there on a request
 * may have waited a fraction of the limit only, so that those that are let in are quick; but the
 * first of each turn always is: refusing is no work. It stops when the loop is idle again for a
 * fair share of the time. Whether anything was refused says nothing about that: a short queue
 * overflows now and then at any load.
 *
 * No libuv here, and no clock: both come in as arguments, so that a test can be a simulation.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ty_turn {
    int64_t limit_ns;  /* a request that waited longer may be late; INT64_MAX: none is */
    int64_t lag_ns;    /* the limit while not shedding */
    uint64_t began_ns; /* 0: the loop has not looked at its sockets since the last turn */
    uint64_t ended_ns; /* of the previous turn */
    int64_t before_ns; /* how long that took */
    uint32_t let_in;   /* this turn, by whoever owns this */

    int64_t work_ns; /* of recent turns, older ones fading away */
    int64_t work_count;

    uint64_t late_ns;   /* since when requests have been late; 0: they are not */
    uint64_t looked_ns; /* at the last one of them */
    int64_t longest_ns; /* turn meanwhile, or the first one's wait */
    uint64_t window_ns; /* while shedding: when counting of idle time began */
    int64_t idle_ns;
    bool is_late;    /* a request of this turn was */
    bool is_excused; /* the first of this turn, although it was late */
    bool is_shedding;
};

/* `lag_ms`: what is late; 0: nothing. May be called again. */
void ty_turn_configure(struct ty_turn *turn, uint32_t lag_ms);

/* The loop has done all and looks at its sockets again. */
void ty_turn_end(struct ty_turn *turn, uint64_t now_ns);

void ty_turn_begin(struct ty_turn *turn, uint64_t now_ms);

/* What a request that is dispatched now has waited, at most. */
static inline int64_t ty_turn_waited(const struct ty_turn *turn, uint64_t now_ns)
{
    return (int64_t)(now_ns - turn->began_ns) + turn->before_ns;
}

/* For a request that waited longer than the limit: should it be refused? */
bool ty_turn_refuses(struct ty_turn *turn, uint64_t now_ns);
