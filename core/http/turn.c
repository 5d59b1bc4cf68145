#include "http/turn.h"

enum {
    NS_PER_MS = 1000000,
    HALF_MS = 500000, /* what the loop's own clock, in whole milliseconds, is behind on average */
    PATIENCE_NS = 200 * NS_PER_MS,
    WINDOW_NS = 500 * NS_PER_MS,
    REQUESTS = 10,     /* that may be ahead of one before it is late */
    FRACTION = 5,      /* of the limit is left while shedding */
    IDLE_PERCENT = 15, /* of the time: it can do more */
    MEMORY = 8,        /* turns, about */
    UNIT = 1024,       /* of counts, which fade away */
};

void ty_turn_configure(struct ty_turn *turn, uint32_t lag_ms)
{
    turn->lag_ns = lag_ms ? (int64_t)lag_ms * NS_PER_MS : INT64_MAX;
    turn->limit_ns = turn->lag_ns;
    turn->late_ns = 0;
    turn->is_shedding = false;
}

static void look_at_idle_time(struct ty_turn *turn, uint64_t now_ns)
{
    int64_t passed = (int64_t)(now_ns - turn->window_ns);

    if (passed < WINDOW_NS)
        return;
    if (turn->idle_ns * 100 >= passed * IDLE_PERCENT) {
        turn->is_shedding = false;
        turn->limit_ns = turn->lag_ns;
        turn->late_ns = 0;
    }
    turn->window_ns = now_ns;
    turn->idle_ns = 0;
}

static void look_at_lateness(struct ty_turn *turn)
{
    if (!turn->is_late && turn->before_ns <= turn->limit_ns)
        turn->late_ns = 0;
    else if (turn->before_ns > turn->longest_ns)
        turn->longest_ns = turn->before_ns;
}

static void count_work(struct ty_turn *turn)
{
    turn->work_ns += turn->before_ns - turn->work_ns / MEMORY;
    turn->work_count += (int64_t)turn->let_in * UNIT - turn->work_count / MEMORY;
}

void ty_turn_end(struct ty_turn *turn, uint64_t now_ns)
{
    int64_t took = turn->began_ns ? (int64_t)(now_ns - turn->began_ns) : 0;

    turn->before_ns = took > 0 ? took : 0;
    if (turn->let_in)
        count_work(turn);
    if (turn->is_shedding)
        look_at_idle_time(turn, now_ns);
    else if (turn->late_ns)
        look_at_lateness(turn);
    turn->began_ns = 0;
    turn->ended_ns = now_ns;
    turn->let_in = 0;
    turn->is_late = false;
    turn->is_excused = false;
}

void ty_turn_begin(struct ty_turn *turn, uint64_t now_ms)
{
    turn->began_ns = now_ms * NS_PER_MS + HALF_MS;
    if (turn->is_shedding)
        turn->idle_ns += (int64_t)(turn->began_ns - turn->ended_ns);
}

static int64_t usual_limit(const struct ty_turn *turn)
{
    int64_t some = turn->work_count ? turn->work_ns * UNIT / turn->work_count * REQUESTS : 0;

    return some > turn->lag_ns ? some : turn->lag_ns;
}

static bool cannot_keep_up(struct ty_turn *turn, uint64_t now_ns)
{
    int64_t waited = ty_turn_waited(turn, now_ns), limit = usual_limit(turn);

    if (waited <= limit)
        return false;
    turn->is_late = true;
    /* Or one request alone has held up all behind it: they are to catch up first. */
    if (!turn->late_ns || (int64_t)(now_ns - turn->looked_ns) > limit) {
        turn->late_ns = now_ns;
        turn->longest_ns = waited;
    }
    turn->looked_ns = now_ns;

    int64_t late_for = (int64_t)(now_ns - turn->late_ns);

    return late_for >= turn->longest_ns && (late_for >= PATIENCE_NS || waited >= 2 * limit);
}

bool ty_turn_refuses(struct ty_turn *turn, uint64_t now_ns)
{
    if (!turn->is_shedding) {
        if (!cannot_keep_up(turn, now_ns))
            return false;
        turn->is_shedding = true;
        turn->limit_ns = turn->lag_ns / FRACTION;
        turn->window_ns = now_ns;
        turn->idle_ns = 0;
    }
    if (turn->before_ns <= turn->limit_ns || turn->is_excused)
        return true;
    turn->is_excused = true;
    return false;
}
