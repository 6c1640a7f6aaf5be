/* inside.h -- what the files of the engine share. Private to core/rules.
 *
 *   engine.c    life, packs: stage and activate          engine_work.c  commands, states, upcasting
 *   temporal.c  the log up to a moment -> a state        dryrun.c       a new pack meets the log
 *   trouble.c   a fault, for an answer
 */
#ifndef ML_RULES_INSIDE_H
#define ML_RULES_INSIDE_H

#include "../base/disk.h"
#include "rulepack.h"
#include "states.h"

/* A fault, and the event that led to it. */
typedef struct ml_trouble {
    ml_fault fault;
    const ml_unit *unit;
    uint64_t position;               /* 0: it is decided, and not written */
    char type[ML_UNIT_NAME_MAX + 1]; /* "": no event did; cut off if it is long, */
    char stream[ML_UNIT_NAME_MAX + 1]; /* and so is this */
} ml_trouble;

struct ml_engine {
    ml_store *store; /* borrowed; NULL: a log without events */
    ml_engine_options options;
    ml_rulepack *active, *staged;
    ml_states *states;
    ml_disk *snapshots; /* NULL: none are kept */
    ml_watch watch;
    ml_engine_stats stats;
    ml_trouble trouble;
};

/* ---- trouble.c -------------------------------------------------------------------------- */

/* SCRIPT_ERROR: fills in what is known of the fault that is in engine->trouble. `event` may be
 * NULL. */
ml_code ml_trouble_note(ml_engine *engine, const ml_unit *unit, const ml_event *event,
                        ml_error *why);
/* Packs {fault: {…}}. */
void ml_trouble_pack(const ml_engine *engine, ml_buf *answer);

/* ---- temporal.c ------------------------------------------------------------------------- */

/* Events that count: all of these must hold. */
typedef struct ml_moment {
    uint64_t next_max; /* events of the stream at most */
    uint64_t position_max;
    int64_t time_max; /* when it was recorded … */
    bool has_as_of;
    int64_t as_of; /* … and when it happened, as far as that was said */
} ml_moment;

#define ML_MOMENT_NOW                                                                              \
    ((ml_moment){.next_max = UINT64_MAX, .position_max = UINT64_MAX, .time_max = INT64_MAX})

/* Folds the stream from the nearest snapshot, or from its beginning. `*exists` if the stream has
 * an event at all. SCRIPT_ERROR leaves engine->trouble. The state's buffer is the caller's. */
ML_MUST_USE ml_code ml_temporal_fold(ml_engine *engine, ml_unit *unit, ml_bytes stream,
                                     const ml_moment *moment, ml_state *state, bool *exists,
                                     ml_error *why);

/* After `event` was applied to the unit's live state. */
void ml_temporal_step(ml_state *state, const ml_event *event);

/* ---- dryrun.c --------------------------------------------------------------------------- */

/* Folds the streams that were last written to, in two sandboxes at once, and holds the states
 * against each other. */
ML_MUST_USE ml_code ml_dryrun_unit(ml_engine *engine, const ml_rulepack *pack, ml_unit *unit,
                                   ml_diagnostics *to, ml_error *why);

#endif
