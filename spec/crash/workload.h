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
    bool faults;    /* calls may fail: errors are answers too */

    /* Watches the simulated disk while the store works on it. It may cut the power in the
     * middle of a call: then `cut` is the disk that is found, and the play goes on with it
     * before the next step. */
    ml_disk_sim_hook hook;
    void *hook_context;
    ml_disk *cut;
    size_t cut_count, cut_durable; /* of the model, at that moment */

    ml_model model;
    ml_store *store;
    bool full;      /* NO_SPACE is an answer */
    bool over;      /* the store cannot be opened any more */
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

/* The options that a workload's stores are opened with. */
ml_options ml_play_options(const ml_workload *workload);

/* Opens a store on a disk that stays the caller's; *code gets the result. Never NULL. */
ml_store *ml_play_open(ml_disk *disk, const ml_options *options, ml_code *code);

/* Hands one more event to a store that has just been checked, as a proof that it can go on. */
bool ml_play_append_one(ml_model *model, ml_store *store, bool full);

#endif
