/* projector.h -- the door of projections: one of them kept up with the log, and asked.
 *
 *     log ──▶ cursor ──▶ apply … apply ──▶ commit: rows, indexes, position, clock
 *                           └── a fault: stops before that event, commits what was before it
 *
 * There is one way from the log into a view, for building and for keeping up. It is done in
 * steps, so that whoever runs it can answer questions in between; answers come from what is
 * committed, and name its position. Requests and answers are MessagePack maps, as clients send and get them.
 *
 * Incremental: a new version whose code differs in some handlers only (alike.h) begins with a copy
 * of the version before, without the rows of the keys that events of those types ever went to;
 * these keys are replayed up to the copy's position, and then it goes on as always (rebuild.h).
 * What comes out is what a full rebuild gives, digest for digest; where that cannot be known
 * beforehand, it is a full one.
 *
 * Copies: with `snapshot` in the rule some of the view's states are kept (kept.h). A view that
 * cannot be believed begins again with the newest of them instead of from zero. None is made while
 * keys are held: what is to be passed over for them may still be said.
 *
 * Floor    projection; uses rules, view, store.
 * Threads  one.
 * Crash    goes on behind the last commit.
 */
#ifndef ML_PROJECTION_PROJECTOR_H
#define ML_PROJECTION_PROJECTOR_H

#include "../rules/diagnose.h"
#include "projection.h"

typedef struct ml_projector ml_projector;

typedef struct ml_projector_options {
    const ml_source *files; /* the pack, */
    size_t count;
    ml_bytes name;          /* and which of its projections */
    const char *dir;        /* of the view; made if it is not there */
    const char *boot;
    ml_bytes log;           /* id of the log, for the identity */
    uint64_t start;         /* with start = "now": events up to here do not count */
    const uint64_t *skips;  /* positions of events to pass over, sorted */
    size_t skip_count;
    const char *base;       /* view of the version before, to begin with; NULL: a full build */
    const ml_source *base_files; /* and its pack */
    size_t base_count;
    const char *past;   /* view of this version, whose copies an empty one may begin with; it keeps
                         * none itself then. NULL: it is no look at the past */
    uint64_t past_at;   /* copies of up to this position, */
    bool past_whole;    /* and that view itself, if it is no further: of another process */
    bool paused;
    ml_engine_doing *watch; /* NULL: nobody watches */
    uint32_t fold_ms;       /* 0 = the default */
} ml_projector_options;

typedef enum ml_projector_state {
    ML_PROJECTOR_BUILDING, /* has not been at the end of the log yet, in its life */
    ML_PROJECTOR_LIVE,
    ML_PROJECTOR_PAUSED,
    ML_PROJECTOR_STOPPED   /* at an event that it cannot apply, or on a disk without space */
} ml_projector_state;

/* A view that cannot be believed is discarded and built anew, from a copy if one is; `report` gets diagnostics if the
 * pack has errors. */
ML_MUST_USE ml_code ml_projector_new(ml_store *store, const ml_projector_options *options,
                                     ml_diagnostics *report, ml_projector **projector, ml_error *why);
/* Commits. NULL is allowed. */
void ml_projector_free(ml_projector *projector);
/* The store has been closed: what is not committed is given up, and only freeing is left. */
void ml_projector_orphan(ml_projector *projector);

enum {
    ML_PROJECTOR_COMMIT_US = 250000,   /* from one commit to the next, when events keep coming … */
    ML_PROJECTOR_BUILDING_US = 2000000 /* … and before it is live: each writes most of the pages */
};
/* Applies events up to `durable` for about `budget_us`; commits when the batch is full, when there
 * is nothing more, or when it is time. True if there is more to do now. What goes wrong is in the
 * status. */
ML_MUST_USE bool ml_projector_step(ml_projector *projector, uint64_t durable, uint64_t budget_us);
/* After false: in how many ms to step again though nothing has happened; -1 = never. */
int ml_projector_wait_ms(const ml_projector *projector);

/* {name?, key, window?} -> {row, position, window?}; nil if there is none. */
ML_MUST_USE ml_code ml_projector_get(ml_projector *projector, ml_bytes request, ml_buf *answer,
                                     ml_error *why);
/* {prefix?, index?, from?, to?, limit?, backward?} ->
 * {rows: [{key, row, window?: {from, to, closed}}], next, position}.
 * `index` is the path; then from and to are values of it. */
ML_MUST_USE ml_code ml_projector_scan(ml_projector *projector, ml_bytes request, ml_buf *answer,
                                      ml_error *why);
/* {state, hash, position, events, skipped, rows, bytes, digest, late, held, commits, incremental,
 *  progress: 0 to 1, rate: events a second of late, eta_ms?, closes?: when the next window does,
 *  held_keys?: the first of them, [{key, position, sentence}],
 *  full?: why it was a full build although there was a base,
 *  kept?: positions of the copies, copying?: why the last one could not be made,
 *  error?: {code, sentence, kind, message, file, line, source, traceback, position, type, stream}} */
void ml_projector_pack_status(const ml_projector *projector, ml_buf *answer);
uint64_t ml_projector_position(const ml_projector *projector);
ml_projector_state ml_projector_get_state(const ml_projector *projector);

void ml_projector_pause(ml_projector *projector, bool paused);
/* Once more what it stopped at, and what is held. */
void ml_projector_retry(ml_projector *projector);
/* Passes over the event that it stopped at, or that a key is held for; NOT_FOUND: it is neither. */
ML_MUST_USE ml_code ml_projector_skip(ml_projector *projector, uint64_t position, ml_error *why);

#endif
