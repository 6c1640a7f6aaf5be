/* projector_inside.h -- what the files of the projector share, and nobody else sees.
 *
 *   projector.c         life, steps, commits      projector_again.c   faults, retrying, skipping
 *   projector_status.c  how it is doing           projector_ask.c     get and scan
 *   projector_kept.c    keeping copies of the view, and beginning with one
 *   rebuild.h           beginning with what another version has built
 *   note.h              what stands beside the rows
 *
 * Floor    projection.
 */
#ifndef ML_PROJECTION_PROJECTOR_INSIDE_H
#define ML_PROJECTION_PROJECTOR_INSIDE_H

#include "../rules/rulepack.h"
#include "../view/sql.h"
#include "kept.h"
#include "keys.h"
#include "note.h"
#include "projector.h"
#include "rebuild.h"

enum {
    ML_PROJECTOR_PATH = 4096,
    ML_PROJECTOR_SAMPLES = 6, /* one a second: the rate is that of the last five */
    ML_PROJECTOR_AGAIN_US = 1000000 /* after which what the disk refused is tried once more */
};

/* Why it does not go on. */
typedef struct ml_projector_stop {
    ml_error why;      /* code OK: it does go on */
    bool by_itself;    /* what is wrong may pass: tried again each second … */
    bool trying;       /* … that is now, and until a commit succeeds it is still stopped */
    uint64_t since_us;
    ml_fault fault;    /* of kind NONE: no script is to blame */
    uint64_t position; /* of the event; 0: it is not about one */
    char type[ML_UNIT_NAME_MAX + 1], stream[ML_UNIT_NAME_MAX + 1]; /* cut off if they are long */
} ml_projector_stop;

/* An event that the view speaks of last: whether this is still the same log is seen by it. */
typedef struct ml_projector_mark {
    uint64_t position; /* 0: before the first */
    int64_t time;
    uint8_t id[ML_ID_SIZE];
} ml_projector_mark;

typedef struct ml_projector_sample {
    uint64_t at_us, events, position;
} ml_projector_sample;

struct ml_projector {
    ml_store *store; /* borrowed */
    ml_rulepack *pack;
    ml_unit *unit;
    ml_watch watch;
    uint32_t fold_ms;
    ml_projection *projection;
    char dir[ML_PROJECTOR_PATH], boot[ML_VIEW_BOOT];
    ml_buf log;     /* its id */
    uint64_t start; /* events up to here do not count */
    ml_buf skips;   /* uint64_t, sorted */

    ml_view *view; /* NULL: to be opened; or it is being made from another */
    ml_sql *sql;   /* NULL: none is asked for */
    ml_rebuild *rebuild;
    ml_cursor *cursor;  /* NULL: to be put behind the view's position */
    ml_buf ahead; /* an event that was read and is not durable yet, as stored … */
    ml_buf spare; /* … and when it is, while it is in work */

    bool again;      /* what was passed over for keys that are held is to be applied, until the
                      * commit of that … */
    ml_cursor *redo; /* … and being read; NULL: it is not */
    ml_keys *redone; /* by these keys, of the ones that … */
    ml_buf held;     /* … were held, from when on: sorted */
    size_t released;

    uint64_t passed;  /* every event up to here is in the batch or the view */
    ml_projector_mark last; /* the event applied last */
    ml_projector_mark mark; /* the event at the view's position */
    int64_t now;      /* of the projection's clock, at the last commit */
    uint64_t events, skipped; /* applied, and passed over by order, up to `passed` */
    uint64_t head;    /* of the log, as far as it is durable */
    uint64_t committed_us;
    ml_buf note;
    ml_fault fault; /* of the event in work */
    bool paused, live, incremental;
    bool has_sql;
    char *full; /* why it was built from the beginning though there was a base; NULL: it was not */
    uint64_t every;      /* positions from one kept copy to the next; 0 = none are kept */
    ml_kept kept;        /* those that there are */
    uint64_t kept_at;    /* the last one was made here, or tried */
    ml_error copying;    /* code OK: the last one could be made */
    bool doubted;     /* an answer has found out that the view is damaged */
    unsigned damaged; /* times that the view was discarded since it could be committed */
    ml_projector_stop stop;
    ml_projector_sample samples[ML_PROJECTOR_SAMPLES];
    size_t sampled;
};

/* ---- projector.c ------------------------------------------------------------------------- */

uint64_t ml_projector_clock_us(void);
/* Forgets what is not committed: the next step goes on behind the view's position. */
void ml_projector_rewind(ml_projector *projector);
/* Opens the view that lies there, or makes an empty one. CORRUPT: it is not to be believed. */
ML_MUST_USE ml_code ml_projector_open_view(ml_projector *projector, ml_error *why);
/* Discards the view: the next step makes an empty one. */
ML_MUST_USE ml_code ml_projector_anew(ml_projector *projector, ml_error *why);
ML_MUST_USE ml_code ml_projector_commit(ml_projector *projector, ml_error *why);

/* ---- projector_again.c ------------------------------------------------------------------- */

/* Stops, for a while if that may pass `by_itself`. */
void ml_projector_stop_for(ml_projector *projector, const ml_error *why, bool by_itself);
/* Stops at an event, for the fault that is in `projector`. */
void ml_projector_stop_at(ml_projector *projector, const ml_event *event);
bool ml_projector_skips(const ml_projector *projector, uint64_t position);
/* Is a key held for an event that is skipped? Who said so may have been killed before it was done. */
bool ml_projector_holds_skipped(const ml_projector *projector);
ML_MUST_USE ml_code ml_projector_add_skip(ml_projector *projector, uint64_t position,
                                          ml_error *why);
/* Applies what was passed over for held keys, until the clock says `until_us`. */
ML_MUST_USE ml_code ml_projector_redo_begin(ml_projector *projector, ml_error *why);
ML_MUST_USE ml_code ml_projector_redo(ml_projector *projector, uint64_t until_us, ml_error *why);
void ml_projector_redo_end(ml_projector *projector);

/* ---- projector_kept.c -------------------------------------------------------------------- */

/* Where no view is: opens one made of the newest copy that is believed. NOT_FOUND: none is. */
ML_MUST_USE ml_code ml_projector_open_kept(ml_projector *projector, ml_error *why);
/* The same for a look at the past. */
ML_MUST_USE ml_code ml_projector_open_past(ml_projector *projector,
                                           const ml_projector_options *options, ml_error *why);
/* Right after a commit: keeps a copy, if it is time. */
void ml_projector_keep(ml_projector *projector);

/* ---- projector_status.c -------------------------------------------------------------------- */

void ml_projector_sample_now(ml_projector *projector);

#endif
