/* window.h -- spans of time that rows are kept for.
 *
 *     moonlog.tumbling("1h", {offset=, grace=, time=})       [n·size + offset, + size)
 *     moonlog.hopping("1h", "5m", {…})                       one each 5 minutes, an hour long
 *     moonlog.session("30m", {…})                            until nothing happened for 30 minutes
 *
 * Starts are inclusive, ends exclusive; aligned to 1970 UTC. `time` is "log" (when an event was
 * recorded: never decreases) or "occurred" (when it happened, as far as that was said).
 *
 * What time it is for a projection is a function of the log alone, its clock: of the event that
 * is furthest ahead (by the chosen time) that time, and on top of it the time that has been
 * recorded to pass since. It never goes back. So windows close in a rebuild at the events at which
 * they closed before. That time passes when nothing happens is told by the daemon's Tick events in
 * `$clock`, one at a boundary at most.
 *
 * A window is closed when its end and `grace` have passed by the clock. An event for a closed one
 * is late: `late(row, data, event)` may still change the row, and without that it is counted.
 *
 * Floor    projection.
 * Threads  pure functions.
 */
#ifndef ML_PROJECTION_WINDOW_H
#define ML_PROJECTION_WINDOW_H

#include <stddef.h>

#include "../script/words.h"

enum { ML_WINDOW_HOPS_MAX = ML_WORDS_HOPS_MAX }; /* windows that one event is in */

typedef struct ml_span {
    int64_t start, end;
} ml_span;

/* The clock: committed with the rows. Begins as all zeros. */
typedef struct ml_clock {
    int64_t latest; /* the greatest time of an event */
    int64_t ahead;  /* by how much one is furthest ahead of when it was recorded; below 0: behind */
    bool begun;     /* there was one */
} ml_clock;

/* What time it is at that moment of the log; before the first event no time has passed at all. */
int64_t ml_clock_at(const ml_clock *clock, int64_t recorded);
void ml_clock_see(ml_clock *clock, int64_t time, int64_t recorded); /* an event */

/* Windows of tumbling and hopping that `time` is in, earliest first; gives how many. */
size_t ml_window_of(const ml_window *window, int64_t time, ml_span spans[ML_WINDOW_HOPS_MAX]);
/* The session of one event that is alone. */
ml_span ml_window_session(const ml_window *window, int64_t time);
bool ml_window_closed(const ml_window *window, ml_span span, int64_t now);
/* The next moment at which a window closes, of those that events up to `latest` are in; 0 = all are
 * closed. Of sessions the last one: when others end, only their rows know. */
int64_t ml_window_next(const ml_window *window, int64_t latest, int64_t now);

#endif
