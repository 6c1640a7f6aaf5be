/* workload.h -- what is done to a store while its disk fails.
 *
 * A play is one run of a workload on a disk. It hands events to the store, tells the model
 * what it was answered, and holds every answer against what the model expects.
 *
 *     ml_play play = {.workload = …, .disk = sim, .under = sim, .dice = {seed}};
 *     ml_play_run(&play);          the steps; the store is closed behind them
 *     if (play.wrong) … play.why
 *     ml_play_free(&play);
 *
 * Floor    spec/crash.
 * Threads  one: the stores work without threads, so a seed says everything.
 */
#ifndef ML_CRASH_WORKLOAD_H
#define ML_CRASH_WORKLOAD_H

#include "../../core/base/disk_sim.h"
#include "model.h"

typedef struct ml_play ml_play;

typedef struct ml_workload {
    const char *name;
    void (*steps)(ml_play *play);
    uint64_t segment_bytes;
    uint32_t memory_events, window_events;
    bool cuts;  /* the disk loses power on the way, and the play goes on with what is left */
    bool fills; /* the disk gets full on the way */
} ml_workload;

enum { ML_PLAY_EVENTS = 64, ML_PLAY_WRITES = 8, ML_PLAY_PENDING = 16 };

struct ml_play {
    const ml_workload *workload;
    ml_disk *disk;  /* what the store works on; stays the owner's */
    ml_disk *under; /* the simulated disk at the bottom of it, or NULL */
    ml_dice dice;
    bool faults; /* calls may fail: errors are answers too */

    /* Watches the simulated disk while the store works on it. It may cut the power in the
     * middle of a call: then `cut` is the disk that is found, and the play goes on with it
     * before the next step. */
    ml_disk_sim_hook hook;
    void *hook_context;
    ml_disk *cut;
    size_t cut_count, cut_durable; /* of the model, at that moment */

    ml_model model;
    ml_store *store;
    bool full; /* NO_SPACE is an answer */
    bool over; /* the store cannot be opened any more */
    bool wrong;
    char why[2 * ML_MODEL_WHY];
    unsigned step;
    uint64_t refusals; /* errors that were answers */

    /* Of the proposal in hand. */
    ml_draft drafts[ML_PLAY_EVENTS];
    ml_model_room rooms[ML_PLAY_EVENTS];
    ml_write writes[ML_PLAY_WRITES];
    size_t ends[ML_PLAY_PENDING]; /* of each submitted proposal: the history's count behind it */
    bool synced[ML_PLAY_PENDING];
    size_t submitted, answered;
};

extern const ml_workload ml_workloads[];
extern const size_t ml_workload_count;

/* NULL if there is none of that name. */
const ml_workload *ml_workload_find(const char *name);

void ml_play_run(ml_play *play);
void ml_play_free(ml_play *play);

/* ---- play.c: the steps ------------------------------------------------------------------ */

/* What to propose; zeros mean: any stream, one event, no expectation. */
enum { ML_PLAN_RIGHT = 1, ML_PLAN_WRONG = 2 };
typedef struct ml_plan {
    unsigned writes, events;     /* of each write, at most */
    unsigned size_min, size_max; /* of the data */
    ml_durability durability;
    unsigned expected;  /* ML_PLAN_RIGHT, ML_PLAN_WRONG */
    unsigned condition; /* the same */
} ml_plan;

/* Each does nothing if there is no going on; what is wrong is noted in the play. */
void ml_play_append(ml_play *play, const ml_plan *want);
void ml_play_submit(ml_play *play, const ml_plan *want);
void ml_play_settle(ml_play *play);
void ml_play_flush(ml_play *play);
void ml_play_reopen(ml_play *play);
/* Hands in again the append that holds the event `back` before the last one: it must be known. */
void ml_play_retry(ml_play *play, size_t back);
/* A second writer is kept out. */
void ml_play_lock_out(ml_play *play);
/* What was submitted and not settled is not read. */
void ml_play_peek(ml_play *play);
/* Reads everything, by index too. */
void ml_play_look(ml_play *play);
/* The disk gets full, or has room again. */
void ml_play_set_space(ml_play *play, uint64_t bytes);

/* ---- for who opens stores himself --------------------------------------------------------- */

/* The options that a workload's stores are opened with. */
ml_options ml_play_options(const ml_workload *workload);

/* Opens a store on a disk that stays the caller's; *code gets the result. Never NULL. */
ml_store *ml_play_open(ml_disk *disk, const ml_options *options, ml_code *code);

/* Hands one more event to a store that has just been checked, as a proof that it can go on. */
bool ml_play_append_one(ml_model *model, ml_store *store, bool full);

#endif
