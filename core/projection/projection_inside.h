/* projection_inside.h -- what the files of a projection share, and nobody else sees.
 *
 *   projection.c          life, what it is about, time
 *   projection_note.c     what is committed with the rows
 *   projection_apply.c    one event: its keys, all or nothing
 *   projection_row.c      one row: decode, call, encode
 *   projection_hot.c      rows that are not decoded and encoded for each event
 *   projection_session.c  which session an event is in
 *   rehearse.c            a new one meets the log
 *
 * While an event is applied, what it changes lies on a stage; it goes into the rows when the last
 * handler has succeeded.
 *
 * Floor    projection.
 */
#ifndef ML_PROJECTION_PROJECTION_INSIDE_H
#define ML_PROJECTION_PROJECTION_INSIDE_H

#include "keys.h"
#include "path.h"
#include "projection.h"

enum {
    ML_PROJECTION_STAGE_BYTES =
        32 << 20, /* rows that one event changes, together: they fit into a batch */
    ML_PROJECTION_NOTE_BYTES = 48 << 10, /* the rest of ML_VIEW_NOTE_BYTES is the projector's */
    ML_PROJECTION_IDENTITY = 200,
    ML_PROJECTION_WHY = 160 /* of a sentence that is kept with a held key */
};

/* Where rows are kept: a view, or memory. */
typedef struct ml_rows {
    void *context;
    /* Empty: there is none. Borrowed until the next call. */
    ml_code (*get)(void *context, ml_bytes key, ml_bytes *row, ml_error *why);
    int64_t (*expires)(void *context, ml_bytes key);
    ml_code (*put)(void *context, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why);
    ml_code (*remove)(void *context, ml_bytes key, ml_error *why);
    /* Keys from `to` back to `from` until `each` says false; those of the batch need not be among
     * them, nor those gone that it took away. */
    ml_code (*back)(void *context, ml_bytes from, ml_bytes to,
                    bool (*each)(void *each_context, ml_bytes key), void *each_context,
                    ml_error *why);
    /* May this row stay a table from event to event (projection_hot.c)? NULL: none may. */
    bool (*stays)(void *context, ml_bytes key);
} ml_rows;

/* A change that waits for the others of its event. */
typedef struct ml_staged {
    ml_key key;
    ml_span span; /* of a session */
    bool gone;
    size_t at, size; /* of the row, on the desk */
    int64_t expires;
} ml_staged;

typedef struct ml_held {
    uint64_t position;
    uint32_t as; /* number of the first that has the same sentence, and keeps it */
    char why[ML_PROJECTION_WHY];
} ml_held;

/* Sessions that began or grew since the last commit, and so are not where `back` looks. */
typedef struct ml_session {
    ml_span span;
    bool gone;     /* there is none in this place */
    uint32_t next; /* of the same key, from 1; 0 = the last */
} ml_session;

/* Rows that are Lua tables (projection_hot.c). */
typedef struct ml_hot {
    bool on;
    bool full;       /* so many were decoded that they go, whether they came again or not */
    ml_keys *keys;   /* the nth row is at n + 1 in a table of the sandbox … */
    ml_buf flags;    /* … and this is how it is: uint8_t each */
    uint64_t hits, misses;
    uint64_t events; /* since the last commit */
    uint64_t rest;   /* so many events are applied without … */
    uint64_t spread; /* … and so many behind the next that is doubted */
} ml_hot;

struct ml_projection {
    ml_unit *unit;
    const ml_shape_projection *shape;
    const ml_handler *key, *late, *merge; /* NULL: there is none */
    bool timed;                           /* what happens depends on the clock */
    bool holds;                           /* the keys of handlers that raise */
    ml_bytes *types; /* of the selection */
    size_t type_count;
    ml_query_item item;
    ml_sql_column columns[ML_SHAPE_COLUMNS_MAX];
    uint8_t *identity;

    /* Goes into the note. */
    ml_clock clock;
    int64_t now; /* at the last pass */
    int64_t recorded; /* and what the log said then */
    uint64_t late_count;
    ml_keys *held;
    ml_buf held_items; /* ml_held, in the order of the keys */

    /* Of the event at hand, or the one before. */
    bool keying;    /* its fault came before a handler was at work: it has no key */
    ml_buf staged;  /* ml_staged */
    ml_buf scratch; /* a value that becomes a key */
    ml_keys *given; /* what the key function gave */

    /* Since the last commit. */
    ml_keys *touched;  /* keys with sessions that changed */
    ml_buf first;      /* uint32_t: number of each one's first session, from 1 */
    ml_buf sessions;   /* ml_session */
    ml_hot hot;
};

/* One event being applied. Lives in a frame around the protected call. */
typedef struct ml_applying {
    ml_projection *projection;
    const ml_rows *rows;
    const ml_event *event;
    const ml_keys *only;  /* NULL: all */
    ml_keys *collect;     /* not NULL: keys are all that is wanted */
    const ml_handler *handler; /* called last */
    const ml_handler *first;   /* of the event's type */
    int64_t time, now;
    unsigned parts; /* of the event that were seen */
    bool hot;       /* rows may be taken from those that are tables, … */
    bool unsure;    /* … and were: a fault leaves them half changed */
    size_t changed; /* rows that were looked at */
    uint64_t late;
    bool held;      /* something was passed over */
    bool has_key;   /* a handler is at work for `key` */
    ml_key key;
    ml_code code;   /* not OK: nothing more is done. SCRIPT_ERROR: `fault` has a sentence, */
    ml_error *why;
    ml_fault *fault;
} ml_applying;

/* One of the events that the event at hand is now. */
typedef struct ml_part {
    const ml_handler *handler;
    ml_bytes data;
} ml_part;

/* ---- projection_apply.c ------------------------------------------------------------------- */

ML_MUST_USE ml_code ml_projection_apply_rows(ml_projection *projection, const ml_rows *rows,
                                             const ml_event *event, const ml_keys *only,
                                             ml_applied *applied, ml_fault *fault, ml_error *why);
/* Says what is wrong: of shape, at the handler's place. Nothing more is done. */
void ml_projection_blame(ml_applying *applying, const ml_handler *handler, const char *format, ...)
    ML_FORMAT(3, 4);

/* ---- projection_row.c ---------------------------------------------------------------------- */

/* A row's place. */
typedef struct ml_place {
    ml_key key;
    ml_span span; /* of a session */
} ml_place;

/* Calls the handler on the row of `from`, into which that of `other` is merged, and stages what
 * comes out as the row of `to`. NULL: there is none. */
void ml_projection_row(ml_applying *applying, lua_State *L, const ml_part *part,
                       const ml_place *from, const ml_place *other, const ml_place *to);
/* The row that is there for the event at hand: staged, or kept and not expired. Empty: there is
 * none. */
ml_bytes ml_projection_row_get(ml_applying *applying, const ml_key *key);
size_t ml_projection_staged_count(const ml_projection *projection);
ml_staged *ml_projection_staged(const ml_projection *projection, size_t n);

/* ---- projection_hot.c ------------------------------------------------------------------------ */

/* May rows be tables for this event? */
bool ml_projection_is_hot(ml_projection *projection, const ml_rows *rows);
/* Is any row a table; that of this key? */
bool ml_projection_has_hot(const ml_projection *projection);
bool ml_projection_hot_has(const ml_projection *projection, const ml_key *key);
/* Pushes the table of a row; false: there is none. `number` is set in any case, for the next two;
 * `there`: the row is not a new one. */
bool ml_projection_hot_get(ml_applying *applying, lua_State *L, const ml_key *key, size_t *number,
                           bool *there);
/* From now on the table at `row` is that row; `encoded` as it was decoded from. False: it cannot be. */
bool ml_projection_hot_add(ml_applying *applying, lua_State *L, int row, const ml_key *key,
                           ml_bytes encoded, size_t *number);
/* After the handler. False: the row is no table any more, and to be encoded, or taken away if it is
 * not to be kept. */
bool ml_projection_hot_put(ml_applying *applying, lua_State *L, int row, size_t number, bool keep);
/* After an event: makes room. */
ML_MUST_USE ml_code ml_projection_hot_end(ml_applying *applying);
/* What is a table becomes what the rows have. */
ML_MUST_USE ml_code ml_projection_flush_rows(ml_projection *projection, const ml_rows *rows,
                                             ml_error *why);
/* The same for rows of these keys, which are tables no more. */
ML_MUST_USE ml_code ml_projection_cool_rows(ml_projection *projection, const ml_rows *rows,
                                            const ml_keys *keys, ml_error *why);
void ml_projection_forget_hot(ml_projection *projection);
/* The event at hand left rows half changed: they are forgotten, and all since the last commit is to be
 * applied without. */
void ml_projection_doubt(ml_projection *projection);

/* ---- projection_session.c -------------------------------------------------------------------- */

void ml_projection_session(ml_applying *applying, lua_State *L, const ml_part *part);
/* What is staged becomes what is remembered. NO_MEMORY. */
ML_MUST_USE ml_code ml_projection_session_note(ml_projection *projection, const ml_staged *staged,
                                               ml_error *why);
void ml_projection_session_forget(ml_projection *projection);

/* ---- projection_note.c ----------------------------------------------------------------------- */

/* False: so many are held that the note is full. */
ML_MUST_USE bool ml_projection_hold(ml_projection *projection, const ml_key *key, uint64_t position,
                                    const ml_fault *fault);
/* Those behind the first `count` are held no more. */
void ml_projection_hold_first(ml_projection *projection, size_t count);

#endif
