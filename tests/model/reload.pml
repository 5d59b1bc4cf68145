/* The two-phase reload as core/host/{reload,worker,supervise}.c and core/host/web_load.c do it,
 * small enough to look at every order in which things can happen. tests/model/check.sh has spin
 * look at all of them, and at mutants (-DMUTANT_...), which must be found wrong.
 *
 * One process is the master: its loop takes one event at a time, and each is one atomic step here.
 * There is one process for each worker, and one for its clients. Channels keep their order; what a
 * dead worker had said before it died is still heard, what it was told is lost.
 *
 * Left out: what files and configuration say (a generation is a number), the shared memory, and the
 * server's own end. Timers may fire at any moment of their phase, which is more than the code does.
 * A rollback is a reload whose generation comes from the history: a new number, as for any other.
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef ASKS
#define ASKS 2 /* reloads or rollbacks that people ask for, at any moment, queued */
#endif
#ifndef DEATHS
#define DEATHS 1 /* of workers, at any moment */
#endif
#ifndef LEAVES
#define LEAVES 1 /* workers that get SIGTERM: they take no commit any more, and end */
#endif
#ifndef FAULTS
#define FAULTS 1 /* loads that fail, at any worker */
#endif
#ifndef ALIVE_MAX
#define ALIVE_MAX 2 /* reload.max_alive */
#endif

#define NONE 0
#define FIRST 1 /* the generation of the start */
#define BIT(g) (1 << (g))
#define ROOM_FOR_ALL 7

mtype:phase = { IDLE, ROOM, TRIAL, PREPARE, COMMIT };
mtype:state = { DOWN, STARTING, SERVING };
mtype:news = { NOTHING, SOMETHING, FAULT };
mtype:message = { prepare, commit, abort, ready, failed, committed, gone, ended };

/* ---- the master: struct reload, struct worker */

mtype:phase phase = IDLE;
byte asks, asked, answered; /* waiting, asked ever, answered ever */
byte last = FIRST;          /* master->last_number */
byte next_ = NONE, current = FIRST; /* master->active */

mtype:state state[WORKERS] = DOWN;
byte offered[WORKERS], given[WORKERS] /* worker->committed */, serving[WORKERS];
bit prepared[WORKERS];
byte held[WORKERS]; /* bits */

/* ---- the workers: struct web, struct held */

bit alive[WORKERS], leaving[WORKERS];
byte live[WORKERS];                                    /* web->active */
byte loading[WORKERS], aborted[WORKERS], loaded[WORKERS], retired[WORKERS]; /* bits */
byte request[WORKERS];                                 /* the generation that one is with */

chan to[WORKERS] = [ROOM_FOR_ALL] of { mtype:message, byte };
chan from[WORKERS] = [ROOM_FOR_ALL] of { mtype:message, byte };

/* ---- for the claims */

byte acknowledged = FIRST; /* the last one that all were said to serve */
byte decided = BIT(FIRST); /* bits */
byte deaths, leaves, faults;

/* Takes new requests. */
#define takes(w) (alive[w] && !leaving[w] && live[w] != NONE)
#define in_memory(w) (loading[w] | loaded[w] | retired[w] | (live[w] != NONE -> BIT(live[w]) : 0))

/* ---- what a process can say, and its death */

inline say(w, what, g)
{
    assert(nfull(from[w]));
    from[w]!what, g
}

inline die(w)
{
    alive[w] = 0; leaving[w] = 0; live[w] = NONE; request[w] = NONE;
    loading[w] = 0; aborted[w] = 0; loaded[w] = 0; retired[w] = 0;
    do
    :: len(to[w]) > 0 -> to[w]?_, _
    :: else -> break
    od;
    say(w, ended, NONE)
}

/* ---- worker.c, the master's side */

inline tell(w, what, g)
{
    if
    :: alive[w] -> assert(nfull(to[w])); to[w]!what, g
    :: else /* its end is about to be noticed */
    fi
}

inline worker_prepare(w, g) /* ty_worker_prepare() */
{
    offered[w] = g; prepared[w] = 0;
    held[w] = held[w] | BIT(g);
    tell(w, prepare, g)
}

inline worker_commit(w) /* ty_worker_commit() */
{
    tell(w, commit, offered[w]);
    given[w] = offered[w];
    offered[w] = NONE; prepared[w] = 0
}

inline worker_abort(w) /* ty_worker_abort() */
{
    tell(w, abort, offered[w]);
    offered[w] = NONE; prepared[w] = 0
}

inline workers_offer() /* ty_workers_offer() */
{
    for (i : 0 .. WORKERS - 1) {
        if
        :: state[i] != DOWN && offered[i] == NONE && given[i] != current ->
            worker_prepare(i, current)
        :: else
        fi
    }
}

/* ---- reload.c */

inline finish(is_commit) /* finish(); its begin() is a step of its own here */
{
    phase = IDLE;
    next_ = NONE;
    answered++;
#ifdef MUTANT_WHO_WAITS_IS_FORGOTTEN
    asks = 0;
#else
    asks--;
#endif
    if
    :: is_commit ->
        /* Who is told so relies on it: all that serve, serve this one. */
        for (i : 0 .. WORKERS - 1) {
            assert(!takes(i) || live[i] == current)
        }
        acknowledged = current
    :: else
    fi
}

inline give_up() /* give_up() */
{
    for (i : 0 .. WORKERS - 1) {
        if
        :: offered[i] != NONE && offered[i] == next_ -> worker_abort(i)
        :: else
        fi
    }
    finish(false);
    offers = true
}

inline look_at_commit() /* look_at_commit() */
{
    complete = true;
#ifndef MUTANT_ANSWERED_AT_THE_DECISION
    for (i : 0 .. WORKERS - 1) {
        if
        :: state[i] == SERVING && given[i] == current && serving[i] != current -> complete = false
        :: else
        fi
    }
#endif
    if
    :: complete -> finish(true)
    :: else
    fi
}

inline decide() /* commit() */
{
    phase = COMMIT;
    current = next_;
    decided = decided | BIT(current);
    for (i : 0 .. WORKERS - 1) {
        /* All or none: nobody who takes requests may be without it now. */
        assert(!takes(i) || (loaded[i] & BIT(current)) != 0);
        if
        :: offered[i] == current -> worker_commit(i)
        :: else
        fi
    }
    workers_offer()
}

/* look_at_prepare(): who must have it before it is decided. One that has been told to serve and has
 * not said so yet may begin to at any moment. */
#ifdef MUTANT_UNACKNOWLEDGED_COMMIT_IS_FORGOTTEN
#define must_have_it(w) (state[w] == SERVING)
#else
#define must_have_it(w) (state[w] == SERVING || given[w] != NONE)
#endif

#ifdef MUTANT_WHO_JOINS_IS_FORGOTTEN
#define is_asked(w) (entering || offered[w] == next_)
#else
#define is_asked(w) true
#endif

#ifdef MUTANT_COMMIT_BEFORE_ALL_ARE_READY
#define has_it(w) (offered[w] == next_)
#else
#define has_it(w) (offered[w] == next_ && prepared[w])
#endif

inline look_at_prepare() /* look_at_prepare() */
{
    complete = true;
    for (i : 0 .. WORKERS - 1) {
        if
        :: must_have_it(i) && is_asked(i) ->
            if
            :: offered[i] == NONE -> worker_prepare(i, next_)
            :: else
            fi;
            complete = complete && has_it(i)
        :: else
        fi
    }
    if
    :: complete -> decide()
    :: else
    fi
}

inline look_for_room() /* has_room(), ty_workers_generations() */
{
    bits = 0;
    for (i : 0 .. WORKERS - 1) {
        bits = bits | held[i]
    }
    count = 0;
    for (i : FIRST .. FIRST + ASKS) {
        count = count + ((bits & BIT(i)) != 0)
    }
    if
    :: count < ALIVE_MAX -> phase = TRIAL
    :: else -> phase = ROOM
    fi
}

/* ty_reload_heard(): `heard` says of what */
inline reload_heard()
{
    if
    :: heard == FAULT && phase == PREPARE -> give_up()
    :: heard == SOMETHING && phase == PREPARE -> look_at_prepare()
    :: heard != NOTHING && phase == ROOM -> look_for_room()
    :: else
    fi;
    if
    :: heard != NOTHING && phase == COMMIT -> look_at_commit() /* also what was just decided */
    :: else
    fi
}

/* ty_reload_wants() */
#define wants(g) (phase == PREPARE && (g) != NONE && (g) == next_)

/* ---- what a worker says: worker.c; and its end: supervise.c */

inline on_ready(w) /* on_ready() */
{
    prepared[w] = 1;
    if
    :: wants(offered[w]) -> heard = SOMETHING
    :: else ->
        if
        :: offered[w] == current -> worker_commit(w)
        :: else ->
            worker_abort(w);
#ifndef MUTANT_WHO_COMES_LATE_IS_FORGOTTEN
            offers = true
#endif
        fi
    fi
}

inline on_failed(w, g) /* on_failed() */
{
    held[w] = held[w] & ~BIT(g);
    if
    :: wants(offered[w]) ->
        heard = FAULT
    :: !wants(offered[w]) && alive[w] -> die(w) /* it cannot load the active one: killed */
    :: else
    fi;
    offered[w] = NONE; prepared[w] = 0
}

inline on_ended(w) /* on_ended(), mark_dead() */
{
    heard = (wants(offered[w]) && !prepared[w] -> FAULT : SOMETHING);
    state[w] = DOWN;
    offered[w] = NONE; prepared[w] = 0; given[w] = NONE; serving[w] = NONE;
    held[w] = 0
}

/* An answer counts for what is offered now, not for an earlier attempt. */
#ifdef MUTANT_ANSWERS_TO_EARLIER_ATTEMPTS_COUNT
#define is_offered(w, g) (offered[w] != NONE)
#else
#define is_offered(w, g) (offered[w] != NONE && offered[w] == (g))
#endif

inline worker_heard(w) /* ty_worker_heard() */
{
    from[w]?what, g;
    if
    :: what == ready && is_offered(w, g) -> on_ready(w)
    :: what == failed && is_offered(w, g) -> on_failed(w, g)
    :: what == committed -> /* on_committed() */
        serving[w] = g;
        state[w] = SERVING;
        heard = SOMETHING;
        offers = true
    :: what == gone -> held[w] = held[w] & ~BIT(g); heard = SOMETHING
    :: what == ended -> on_ended(w)
    :: else
    fi
}

/* ---- the master's loop
 *
 * An event says what has been `heard` for the reload, and whether workers are to be offered the
 * active generation afterwards; both are done once, behind it, as the code does at the end of its
 * functions. What a step no longer needs is reset, so that states that are alike are one.
 */

#define speaks(w) (len(from[w]) > 0)
#define is_over(w) (state[w] == DOWN && !alive[w] && len(from[w]) == 0)

active proctype Master()
{
    mtype:message what;
    mtype:news heard = NOTHING;
    byte i, w, g, bits, count;
    bit complete, offers, entering;

end:
    do
    :: atomic {
        if
        /* Somebody asks: tycho reload, rollback, SIGHUP. */
        :: asked < ASKS -> asked++; asks++

        /* begin_next(): it may be refused, or the same as what runs, before anything is done. */
        :: phase == IDLE && asks > 0 ->
            if
            :: finish(false)
            :: last++; next_ = last; look_for_room()
            fi

        /* on_tried(): the trial answers; or it says no, dies, or takes too long. */
        :: phase == TRIAL -> phase = PREPARE; entering = true; heard = SOMETHING
        :: phase == TRIAL -> finish(false)

        :: phase == ROOM -> finish(false)    /* on_room_timeout() */
        :: phase == PREPARE -> heard = FAULT /* on_prepare_timeout() */
#ifdef COMMIT_TIMES_OUT
        :: phase == COMMIT -> finish(false)  /* on_commit_timeout(): says that one is missing */
#endif

        /* A worker's process says something, or has ended. */
        :: speaks(0) -> w = 0; worker_heard(w)
        :: speaks(1) -> w = 1; worker_heard(w)
#if WORKERS > 2
        :: speaks(2) -> w = 2; worker_heard(w)
#endif

        /* replace(), start_worker() */
        :: is_over(0) -> state[0] = STARTING; alive[0] = 1; offers = true
        :: is_over(1) -> state[1] = STARTING; alive[1] = 1; offers = true
#if WORKERS > 2
        :: is_over(2) -> state[2] = STARTING; alive[2] = 1; offers = true
#endif
        fi;
        reload_heard();
        if
        :: offers -> workers_offer()
        :: else
        fi;
        heard = NOTHING; offers = false; entering = false;
        what = ready; i = 0; w = 0; g = 0; bits = 0; count = 0; complete = false }
    od
}

/* ---- a worker: web_load.c */

inline on_commit(w, g) /* ty_web_commit() */
{
    if
    :: leaving[w]
    :: else ->
        assert((loaded[w] & BIT(g)) != 0);   /* it has it */
        assert((decided & BIT(g)) != 0);     /* nobody serves what was not decided */
        assert(g >= acknowledged);           /* nor what all were said to have left */
        loaded[w] = loaded[w] & ~BIT(g);
#ifndef MUTANT_FREED_WHILE_IN_USE
        if
        :: live[w] != NONE -> retired[w] = retired[w] | BIT(live[w])
        :: else
        fi;
#endif
        live[w] = g;
        say(w, committed, g)
    fi
}

inline on_abort(w, g) /* ty_web_abort() */
{
    if
    :: (loading[w] & BIT(g)) != 0 -> aborted[w] = aborted[w] | BIT(g)
    :: (loaded[w] & BIT(g)) != 0 ->
        loaded[w] = loaded[w] & ~BIT(g);
        retired[w] = retired[w] | BIT(g)
    :: else
    fi
}

inline on_loaded(w, g) /* on_loaded() */
{
    loading[w] = loading[w] & ~BIT(g);
    if
    :: (aborted[w] & BIT(g)) != 0 -> retired[w] = retired[w] | BIT(g)
    :: else -> loaded[w] = loaded[w] | BIT(g); say(w, ready, g)
    fi
}

inline on_load_failed(w, g) /* on_loaded() without a generation */
{
    loading[w] = loading[w] & ~BIT(g);
    if
    :: (aborted[w] & BIT(g)) == 0 -> say(w, failed, g)
    :: else
    fi;
    say(w, gone, g)
}

/* g is one of the set. */
inline pick(set)
{
    g = FIRST;
    do
    :: ((set) & BIT(g)) != 0 -> break
    :: ((set) >> (g + 1)) != 0 -> g++
    od
}

active [WORKERS] proctype Worker()
{
    mtype:message what;
    byte g;
    byte me = _pid - 1;

end:
    do
    :: atomic {
        if
        :: len(to[me]) > 0 ->
            to[me]?what, g;
            if
            :: what == prepare -> loading[me] = loading[me] | BIT(g) /* ty_web_prepare() */
            :: what == commit -> on_commit(me, g)
            :: what == abort -> on_abort(me, g)
            fi
        :: loading[me] != 0 -> pick(loading[me]); on_loaded(me, g)
        :: loading[me] != 0 && faults < FAULTS ->
            faults++;
            pick(loading[me]);
            on_load_failed(me, g)
        /* on_gone(): nobody uses it any more, or reload.drain_timeout has ended who did */
        :: (retired[me] & ~BIT(request[me])) != 0 ->
            pick(retired[me] & ~BIT(request[me]));
            retired[me] = retired[me] & ~BIT(g);
            say(me, gone, g)
        :: alive[me] && !leaving[me] && deaths < DEATHS -> deaths++; die(me)
        :: leaving[me] -> die(me)
        :: alive[me] && !leaving[me] && leaves < LEAVES -> leaves++; leaving[me] = 1
        fi;
        what = ready; g = 0 }
    od
}

/* Requests to the first worker (the workers are alike), one at a time: from its beginning to its
 * end each sees one generation, which is in memory. */
active proctype Client()
{
end:
    do
    :: atomic { request[0] == NONE && takes(0) -> request[0] = live[0] }
    :: atomic { request[0] != NONE ->
        assert((in_memory(0) & BIT(request[0])) != 0);
        request[0] = NONE }
    od
}

/* ---- progress: whoever asks is answered, and in the end all workers serve the active one */

#define settled(w) (alive[w] && (live[w] == current))
#if WORKERS > 2
#define all_settled (settled(0) && settled(1) && settled(2))
#else
#define all_settled (settled(0) && settled(1))
#endif

#ifdef PROGRESS
ltl answered_and_settled { <>[] (answered == asked && all_settled) }
#endif
