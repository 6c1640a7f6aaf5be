/* whatif_inside.h -- what the files of whatif share, and nobody else sees.
 *
 *   whatif.c           the door: two packs, their units in pairs, the answer
 *   whatif_marks.c     since which event does what differ?
 *   whatif_tell.c      differences: the earliest are kept, in their order
 *   whatif_rows.c      projections; whatif_source.c has their events, whatif_fold.c takes one,
 *                      whatif_end.c has what came out
 *   whatif_states.c    aggregates
 *   whatif_commands.c  commands decided once more; whatif_refusals.c finds the refused ones
 *
 * Floor    projection.
 */
#ifndef ML_PROJECTION_WHATIF_INSIDE_H
#define ML_PROJECTION_WHATIF_INSIDE_H

#include "../base/unpack.h"
#include "../rules/aggregate.h"
#include "alike.h"
#include "projection.h"
#include "whatif.h"

enum {
    ML_WHATIF_LIMIT = 1000,         /* differences that are told of a unit, unless asked otherwise */
    ML_WHATIF_TOLD_BYTES = 16 << 20, /* of all that are told: half of a worker's message */
    ML_WHATIF_MARKS_MAX = 1000000,  /* keys that differ at the same time: some 100 MB */
    ML_WHATIF_REFUSED_MAX = 4000000, /* refusals of an aggregate that are decided again: 100 MB */
    ML_WHATIF_STEP = 1024           /* events between two words on how far it is */
};

/* Of one unit, in the answer. */
typedef struct ml_whatif_counts {
    uint64_t events;     /* that were looked at */
    uint64_t rows;       /* rows, or states, of the new version */
    uint64_t differing;  /* rows, states and faults that differ at the end, */
    uint64_t transient;  /* that differed and do not any more, */
    uint64_t earlier;    /* and that began to before `from` */
    uint64_t commands;   /* decided again, */
    uint64_t refused;    /* refused, which they were not, */
    uint64_t allowed;    /* allowed, which they were not, */
    uint64_t others;     /* with other events, or another refusal; */
    uint64_t unseen;     /* and not decided again, for there are too many */
} ml_whatif_counts;

/* ---- whatif_marks.c ------------------------------------------------------------------------ */

typedef struct ml_marks ml_marks;

typedef struct ml_mark {
    uint64_t hash;
    uint64_t position; /* of the event since which it differs */
    size_t size;
    uint8_t key[];
} ml_mark;

uint64_t ml_marks_hash(ml_bytes key);
ml_marks *ml_marks_new(void); /* NULL if memory is refused */
void ml_marks_free(ml_marks *marks);
size_t ml_marks_count(const ml_marks *marks);
const ml_mark *ml_marks_find(const ml_marks *marks, ml_bytes key);
/* Keeps the position that a key has already. LIMIT: there are ML_WHATIF_MARKS_MAX. */
ML_MUST_USE ml_code ml_marks_put(ml_marks *marks, ml_bytes key, uint64_t position, ml_error *why);
/* True if it was there. */
bool ml_marks_remove(ml_marks *marks, ml_bytes key);
/* All, earliest first; the list is the caller's to free, the marks are not. NULL if memory is
 * refused. */
const ml_mark **ml_marks_sorted(const ml_marks *marks);

/* ---- whatif_tell.c ------------------------------------------------------------------------- */

/* One difference. All is borrowed; MessagePack but for the command's name. */
typedef struct ml_difference {
    const char *kind; /* "row", "state", "command", "fault" */
    ml_bytes key;
    ml_bytes before, after; /* empty: nil */
    uint64_t first;         /* position of the event that it begins with; 0: none did */
    ml_bytes command;       /* its name; empty: it is about none */
    const char *where;      /* the handler, "account.lua:12"; NULL: none is to be named */
    const ml_fault *before_fault, *after_fault;
    bool windowed;
    int64_t from, to;
} ml_difference;

typedef struct ml_told_one {
    uint64_t position, number; /* `number`: in which order they were found */
    uint8_t *data;
    size_t size;
} ml_told_one;

typedef struct ml_told {
    ml_buf ones;   /* ml_told_one */
    size_t from;   /* where those of this unit begin */
    size_t bytes;  /* of theirs */
    size_t budget; /* that these may have */
    uint64_t cut;  /* what begins there or later has no place any more */
    uint64_t number;
} ml_told;

/* ---- whatif.c ------------------------------------------------------------------------------ */

typedef struct ml_whatif_work {
    const ml_whatif *ask;
    ml_rulepack *packs[2]; /* before, after */
    ml_watch watch;
    uint64_t head; /* what is appended later is left alone */
    uint64_t limit;
    ml_told told;
    ml_buf units; /* of the answer */
    uint32_t unit_count;
    const ml_unit *unit; /* that is at work, and */
    ml_whatif_counts counts;
    bool same;     /* it was found to do the same, whatever its source is */
    uint64_t steps;
    ml_error *why;
} ml_whatif_work;

/* Around the differences of a unit. */
void ml_tell_begin(ml_whatif_work *work, size_t units);
ML_MUST_USE ml_code ml_tell_end(ml_whatif_work *work);
/* Counts a difference, here or in `earlier`. False: it need not be told, so that there is no need to
 * find out more. */
bool ml_tell_wanted(ml_whatif_work *work, uint64_t first, uint64_t *counter);
ML_MUST_USE ml_code ml_tell_add(ml_whatif_work *work, const ml_difference *difference);
/* Packs the list of all. */
ML_MUST_USE ml_code ml_tell_pack(ml_whatif_work *work, ml_buf *out);
void ml_tell_free(ml_told *told);

/* After each event. TIMEOUT: whoever asked wants it to end. */
ML_MUST_USE ml_code ml_whatif_step(ml_whatif_work *work, uint64_t position);
/* Fills in the file and the line of its source. */
void ml_whatif_blame(const ml_unit *unit, ml_fault *fault);
/* What the store has said. */
ml_code ml_whatif_store_failed(ml_whatif_work *work, ml_code code);

/* ---- whatif_rows.c, whatif_states.c -------------------------------------------------------- */

ML_MUST_USE ml_code ml_whatif_rows(ml_whatif_work *work, ml_unit *before, ml_unit *after);
ML_MUST_USE ml_code ml_whatif_states(ml_whatif_work *work, ml_unit *before, ml_unit *after);

/* ---- whatif_source.c ----------------------------------------------------------------------- */

typedef struct ml_event_source {
    ml_whatif_work *work;
    bool single; /* both want the same, and the first cursor is for both */
    ml_cursor *cursors[2];
    ml_buf copies[2]; /* events that were read ahead */
    uint64_t positions[2];
    bool ahead[2], ended[2];
} ml_event_source;

bool ml_source_same(const ml_selection *a, const ml_selection *b);
ML_MUST_USE ml_code ml_source_begin(ml_event_source *source, ml_whatif_work *work,
                                    const ml_selection selections[2]);
void ml_source_end(ml_event_source *source);
/* The next event up to the head, and who wants it; ML_END behind the last. */
ML_MUST_USE ml_code ml_source_next(ml_event_source *source, ml_event *event, bool wanted[2]);

/* ---- whatif_fold.c, whatif_end.c ----------------------------------------------------------- */

/* Two versions of a projection. Together there is one view for both, views[0], and in views[1] are
 * only those rows of `after` that differ, each with a mark; a row that has a mark and is not there
 * has been deleted. Apart each version has all its rows in its own view. */
typedef struct ml_two {
    ml_whatif_work *work;
    ml_unit *units[2];
    ml_projection *projections[2];
    ml_view *views[2];
    bool apart;
    bool full;       /* more differ than there can be marks */
    ml_marks *marks; /* since when rows differ */
    uint64_t position; /* of the last event */
    int64_t time;
    uint64_t starts[2]; /* events up to here do not count */
    ml_unpack skips;    /* positions that `before` passes over, of which there are … */
    uint32_t skip_count; /* … few */
    ml_alike alike;
    bool declared;      /* all but the handlers is the same */
    bool hot;           /* rows of both may stay tables (projection_hot.c) … */
    bool again;         /* … and so it could not be done to the end */

    /* Of the event at hand. */
    bool wanted[2];   /* by each version */
    ml_keys *touched; /* keys whose rows it changed, in either */
    ml_keys *hits;    /* keys that it went to and whose rows differed before */
} ml_two;

/* One event, that `wanted` tells who wants it. ML_END: one of them stops there. */
ML_MUST_USE ml_code ml_two_take(ml_two *two, const ml_event *event);

/* All rows of `before` go into the view of `after`, but for those that have marks. */
ML_MUST_USE ml_code ml_two_part(ml_two *two);
ML_MUST_USE ml_code ml_two_commit(ml_two *two);
/* Tells of all rows that differ. */
ML_MUST_USE ml_code ml_two_finish(ml_two *two);

/* ---- whatif_refusals.c --------------------------------------------------------------------- */

/* A command of an aggregate that was refused, and recorded. */
typedef struct ml_refusal {
    uint64_t who;      /* hash of the id that it was for */
    uint64_t next;     /* events that the stream had */
    uint64_t position; /* of the event that says so */
    bool done;         /* it was decided again */
} ml_refusal;

typedef struct ml_refusals {
    ml_buf all; /* ml_refusal, sorted */
} ml_refusals;

ML_MUST_USE ml_code ml_refusals_read(ml_whatif_work *work, ml_bytes aggregate,
                                     ml_refusals *refusals);
/* Those that were refused when the stream had so many events. */
ml_refusal *ml_refusals_find(const ml_refusals *refusals, ml_bytes id, uint64_t next,
                             size_t *count);

/* ---- whatif_commands.c --------------------------------------------------------------------- */

/* Deciding once more, on the states of an aggregate by both versions. */
typedef struct ml_again {
    ml_whatif_work *work;
    const ml_alike *alike;
    ml_unit *units[2];
    ml_bytes states[2];
    bool apart;    /* the states differ */
    uint64_t next; /* events that the stream has by then */
    ml_buf outcomes[3], answer; /* outcomes: then, before, after */
} ml_again;

void ml_again_free(ml_again *again);
/* What the event's meta says of the command that decided it, or empty. */
ml_bytes ml_again_record(const ml_event *event);
/* Would it be decided the same way by both versions? */
bool ml_again_is_sure(const ml_again *again, ml_bytes record);
/* The command that wrote `event`, and perhaps more behind it. */
ML_MUST_USE ml_code ml_again_decided(ml_again *again, const ml_event *event, ml_bytes record);
/* The one that was refused at this position; not if it was for another than `id`, unless that is
 * empty. */
ML_MUST_USE ml_code ml_again_refused(ml_again *again, uint64_t position, ml_bytes id);

#endif
