/* A database that is closed at any moment, for the tests of the drivers: statements, transactions,
 * cursors, scripts and cancellations begin at random, and then it ends. Whoever started something
 * is told of it, once, and nothing is left. Wants the place of a driver to be included before. */
#pragma once

enum { STORM_ACTORS = 24 };

/* Texts of a driver's statements. */
struct storm_texts {
    const char *slow, *sets, *writes, *reads;
};

enum storm_role {
    STORM_SINGLE,
    STORM_SCRIPT,
    STORM_COMMIT,
    STORM_ROLLBACK,
    STORM_DROP,
    STORM_ROLES
};

struct storm;

/* Somebody who does one thing after the other, until it is told that one has failed. */
struct storm_actor {
    struct ty_sql_op op;
    struct storm *storm;
    struct ty_sql_tx *tx;
    enum storm_role role;
    int step, started, told;
};

struct storm {
    struct place *place;
    const struct storm_texts *texts;
    struct storm_actor actors[STORM_ACTORS];
    unsigned seed;
    bool over;
};

static inline unsigned storm_random(struct storm *storm, unsigned below)
{
    storm->seed = storm->seed * 1103515245u + 12345u;
    return (storm->seed >> 16) % below;
}

static inline void storm_go_on(struct storm_actor *actor);

static inline void on_storm_told(struct ty_sql_op *op)
{
    struct storm_actor *actor = (struct storm_actor *)op;
    bool good = op->status == 0;

    actor->told++;
    if (op->verb == TY_SQL_BEGIN)
        actor->tx = op->tx;
    else if (op->verb == TY_SQL_COMMIT || op->verb == TY_SQL_ROLLBACK)
        actor->tx = NULL;
    ty_sql_op_close(op);
    if (actor->storm->over)
        return; /* its transaction is gone */
    if (good)
        storm_go_on(actor);
    else if (actor->tx)
        ty_sql_tx_drop(actor->tx);
    if (!good)
        actor->tx = NULL;
}

static inline void storm_prepare(struct storm_actor *actor, enum ty_sql_verb verb, const char *sql)
{
    actor->op = (struct ty_sql_op){.verb = verb, .sql = sql, .done = on_storm_told, .rows_max = 5};
    actor->op.sql_len = sql ? strlen(sql) : 0;
    actor->started++;
}

static inline void storm_single(struct storm_actor *actor)
{
    struct storm *storm = actor->storm;
    const struct storm_texts *texts = storm->texts;
    const char *any[] = {texts->reads, texts->reads, texts->writes,
                         texts->slow,  texts->sets,  "select nonsense from nowhere"};

    if (actor->step > 3)
        return;
    if (actor->role == STORM_SCRIPT)
        storm_prepare(actor, TY_SQL_SCRIPT, texts->writes);
    else
        storm_prepare(actor, TY_SQL_RUN, any[storm_random(storm, 6)]);
    ty_sql_start(storm->place->db, &actor->op);
}

static inline void storm_in_tx(struct storm_actor *actor, enum ty_sql_verb verb, const char *sql)
{
    storm_prepare(actor, verb, sql);
    ty_sql_tx_start(actor->tx, &actor->op);
}

static inline void storm_begin(struct storm_actor *actor)
{
    storm_prepare(actor, TY_SQL_BEGIN, NULL);
    actor->tx = ty_sql_begin(actor->storm->place->db, &actor->op);
    if (!actor->tx)
        return;
    actor->told++; /* at once */
    storm_go_on(actor);
}

static inline void storm_go_on(struct storm_actor *actor)
{
    const struct storm_texts *texts = actor->storm->texts;

    actor->step++;
    if (actor->role == STORM_SINGLE || actor->role == STORM_SCRIPT) {
        storm_single(actor);
    } else if (actor->step == 1) {
        storm_begin(actor);
    } else if (actor->step == 2) {
        storm_in_tx(actor, TY_SQL_RUN, texts->writes);
    } else if (actor->step == 3) {
        storm_in_tx(actor, TY_SQL_OPEN, texts->reads);
    } else if (actor->step == 4) {
        storm_in_tx(actor, TY_SQL_FETCH, NULL);
    } else if (actor->step == 5 && actor->role == STORM_DROP) {
        ty_sql_tx_drop(actor->tx);
        actor->tx = NULL;
    } else if (actor->step == 5) {
        storm_in_tx(actor, actor->role == STORM_COMMIT ? TY_SQL_COMMIT : TY_SQL_ROLLBACK, NULL);
    }
}

/* Something happens, or time passes. */
static inline void storm_move(struct storm *storm)
{
    struct storm_actor *actor = &storm->actors[storm_random(storm, STORM_ACTORS)];

    switch (storm_random(storm, 4)) {
    case 0:
        if (!actor->started)
            storm_go_on(actor);
        break;
    case 1:
        if (actor->told < actor->started && storm_random(storm, 3) == 0)
            ty_sql_cancel(&actor->op);
        break;
    case 2:
        usleep(storm_random(storm, 1000));
        break;
    default:
        uv_run(&storm->place->loop, UV_RUN_NOWAIT);
        break;
    }
}

/* Until `moves` have been made; then the database is closed, by place_leave(). */
static inline void storm_run(struct place *place, const struct storm_texts *texts, unsigned seed,
                             unsigned moves)
{
    struct storm storm = {.place = place, .texts = texts, .seed = seed};

    for (int i = 0; i < STORM_ACTORS; i++) {
        storm.actors[i].storm = &storm;
        storm.actors[i].role = (enum storm_role)storm_random(&storm, STORM_ROLES);
    }
    for (unsigned i = storm_random(&storm, moves); i > 0; i--)
        storm_move(&storm);
    storm.over = true;

    assert_int_equal(place_leave(place), 0);
    for (int i = 0; i < STORM_ACTORS; i++)
        if (storm.actors[i].told != storm.actors[i].started)
            fail_msg("seed %u: actor %d in step %d was told %d times of %d", seed, i,
                     storm.actors[i].step, storm.actors[i].told, storm.actors[i].started);
}
