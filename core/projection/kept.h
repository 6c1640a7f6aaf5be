/* kept.h -- copies of a view as it was, beside it: to look at the past, and to begin again with.
 *
 *     views/balances/1f0c…/kept/120000/data.mdb      as at position 120,000
 *
 * A copy is made aside, synced and renamed, so that what stands under a position is whole, also
 * after the machine went down. It is read whole when a view is made of it, and is passed over
 * if it is not what it should be. It goes with the view's directory.
 *
 * There are ML_KEPT_MAX of them. When there is one more, that one goes which is missed least: its
 * neighbours are near to each other for how long ago they are. So distances grow towards the past:
 * whatever the position, what is to be replayed to get there is some part of what came after it.
 *
 * Floor    projection.
 * Threads  none.
 * Crash    a copy is there or not; what was half made goes with the next one.
 */
#ifndef ML_PROJECTION_KEPT_H
#define ML_PROJECTION_KEPT_H

#include "../view/view.h"

enum {
    ML_KEPT_MAX = 8, /* each takes as much of the disk as the view */
    /* Copied for each event at most: of a large view there are fewer copies than are asked for, lest
     * copying take longer than the events. */
    ML_KEPT_EVENT_BYTES = 256
};

typedef struct ml_kept {
    uint64_t at[ML_KEPT_MAX + 1]; /* positions, ascending */
    size_t count;
} ml_kept;

/* Those of the view in `dir`; none if they cannot be listed. */
void ml_kept_list(const char *dir, ml_kept *kept);
/* A copy of what is committed now; one too many goes. After an error everything is as before. */
ML_MUST_USE ml_code ml_kept_add(const char *dir, const ml_view *view, ml_error *why);
/* The copy at this position, as the view in `to`, where none is. NOT_FOUND. */
ML_MUST_USE ml_code ml_kept_restore(const char *dir, uint64_t at, const char *to, ml_error *why);
void ml_kept_remove(const char *dir, uint64_t at);
/* Which of them is missed least: never the last two. There are three at least. */
size_t ml_kept_spare(const ml_kept *kept);

#endif
