/* projection.h -- one projection: events in, rows of a view out.
 *
 * What the file declares:
 *
 *     from     "account" or {category=} or {stream=}, with types=, tags=; without types those of `on`
 *     key      "stream", "id" (behind the first '-'), "type", "category", "data.a.b", "meta.actor"
 *              … evaluated in C; or function(data, event) -> key or {keys}; an empty list is no row
 *     row      what a row begins as; or init, a function that makes the one row (under the key "") of
 *              a free fold, which has no key
 *     on       {Type = function(row, data, event)}; moonlog.delete takes the row away
 *     index    {"owner", "address.city"}
 *     window   window.h; late = function(row, data, event); merge = function(row, other) for sessions
 *              by occurred, which one event may join: `other` is the later one
 *     ttl      "90d" after a row's last event, by the clock of window.h
 *     start    "beginning", "now", or a position: events before it do not count
 *     fault    "stop" at an event whose handler raises, or "hold" its key and go on with the rest
 *     sql      {table=, columns = {owner = "text", balance = "integer"}}
 *     snapshot {every = 1000000}: copies of the view are kept (kept.h), to look at the past from
 *
 * A key is a string, an integer or a boolean. An event changes all of its rows, or none. Handlers get
 * row and data as tables of their own, so that none sees what another did to them.
 *
 * Floor    projection; uses rules, view, script.
 * Threads  those of the unit's sandbox.
 * Errors   faults, with the unit as it was and nothing of the event in the view.
 */
#ifndef ML_PROJECTION_PROJECTION_H
#define ML_PROJECTION_PROJECTION_H

#include "../rules/unit.h"
#include "../view/sql.h"
#include "../view/view.h"
#include "window.h"

enum {
    ML_PROJECTION_KEYS_MAX = 1000, /* rows that one event changes */
    ML_PROJECTION_HELD_MAX = 1000  /* keys that are held: then it stops */
};

typedef struct ml_projection ml_projection;

/* `unit` is one of kind projection and stays; it needs its sandbox (rulepack.h). */
ML_MUST_USE ml_code ml_projection_new(ml_unit *unit, ml_projection **projection, ml_error *why);
void ml_projection_free(ml_projection *projection);

/* Which events it has to see, upcasters considered. Borrowed from the projection. */
ml_selection ml_projection_selection(const ml_projection *projection);
/* What its view must have been made with: identity = `log`/hash. */
void ml_projection_about(const ml_projection *projection, ml_bytes log, ml_view_about *about);
/* The table that `sql` asks for; false if it asks for none. */
bool ml_projection_sql(const ml_projection *projection, ml_sql_about *about);

/* What goes into the view's note, and comes back from it: the clock, counters, what is held. */
ML_MUST_USE ml_code ml_projection_load(ml_projection *projection, ml_bytes note, ml_error *why);
void ml_projection_save(const ml_projection *projection, ml_buf *note);

/* How an event went. */
typedef enum ml_applied {
    ML_APPLIED,      /* or nothing to do */
    ML_APPLIED_HELD, /* one of its keys is held, newly or still; the rest is done */
    ML_APPLIED_FAULT, /* nothing was done */
    ML_APPLIED_AGAIN  /* only with ml_projection_keep_hot: a fault. Nothing since the last commit is
                       * to be believed, so all that is to be applied again, and then it shows */
} ml_applied;

/* `only`: rows of other keys are left alone; NULL: all. SCRIPT_ERROR never: that is a fault. */
typedef struct ml_keys ml_keys; /* keys.h: a set */
ML_MUST_USE ml_code ml_projection_apply(ml_projection *projection, ml_view *view, const ml_event *event,
                                        const ml_keys *only, ml_applied *applied, ml_fault *fault, ml_error *why);
/* Adds the keys that the event goes to, without their windows (ml_key_size) and without calling a
 * handler. SCRIPT_ERROR: `fault` says it, and some may have been added. */
ML_MUST_USE ml_code ml_projection_keys(ml_projection *projection, const ml_event *event, ml_keys *keys,
                                       ml_fault *fault, ml_error *why);

/* From now on rows that come again and again are not decoded and encoded for each event, if the
 * unit's handlers allow it: what they are is in the view after ml_projection_flush, which comes before each commit. */
ML_MUST_USE ml_code ml_projection_keep_hot(ml_projection *projection, ml_error *why);
ML_MUST_USE ml_code ml_projection_flush(ml_projection *projection, ml_view *view, ml_error *why);

/* Right before a commit: the clock goes on to when the event at the view's new position was recorded;
 * what has expired by then goes. */
ML_MUST_USE ml_code ml_projection_pass(ml_projection *projection, ml_view *view, int64_t recorded, ml_error *why);

/* ---- for who runs it ------------------------------------------------------------------ */

typedef struct ml_projection_stats {
    uint64_t late;  /* events for a window that was closed, which changed nothing */
    size_t held;    /* keys that are held */
    int64_t now;    /* what time it was at the last ml_projection_pass; 0 before */
    int64_t closes; /* when the next window does, as the log counts time; 0 = none is open, or
                     * there are none */
} ml_projection_stats;
void ml_projection_get_stats(const ml_projection *projection, ml_projection_stats *stats);

/* Of kind NONE if it has none. */
const ml_window *ml_projection_window(const ml_projection *projection);
/* Does what an event changes depend on what time it is: windows, ttl? */
bool ml_projection_is_timed(const ml_projection *projection);
/* Events up to this position do not count, if `now` is the position at which it was begun. */
uint64_t ml_projection_start(const ml_projection *projection, uint64_t now);

/* The nth key that is held, and the position of the event that it is held for; false behind the last. */
bool ml_projection_held(const ml_projection *projection, size_t n, ml_bytes *key, uint64_t *position);
/* What the fault was, in one sentence. */
const char *ml_projection_held_why(const ml_projection *projection, size_t n);
/* None is held any more: who calls this applies what was passed over. */
void ml_projection_release(ml_projection *projection);

#endif
