/* finder.h -- from a selection to positions: the one mechanism behind all selective reads.
 *
 * An item of a query becomes an intersection of index lists: the stream or category, every
 * tag, and the union of the types; a query is the union of its items. They are walked by
 * leaps: each list seeks to the highest position any other has come to.
 *
 * The index may name too many positions (two names of one hash); ml_finder_matches looks at
 * the event itself. When the lists promise no fewer positions than there are events in the
 * range, the finder simply counts: a filtered read is never slower than an unfiltered one.
 *
 * Floor    store. Uses index, log.
 * Threads  the owner's.
 * Memory   a finder owns copies of the names it was given.
 */
#ifndef ML_STORE_FINDER_H
#define ML_STORE_FINDER_H

#include "inside.h"

typedef struct ml_finder ml_finder;

/* Copies and checks a selection's stream, category, query and system. BAD_REQUEST, TOO_LARGE. */
ML_MUST_USE ml_code ml_finder_new(ml_store *store, const ml_selection *selection, ml_finder **finder,
                                  ml_error *why);
void ml_finder_free(ml_finder *finder);

/* Gives up to `room` candidate positions within [from, to], ascending from `from`, or with
 * `backward` descending from `to`. Fewer than `room` means that there are no more. */
ML_MUST_USE ml_code ml_finder_batch(ml_finder *finder, uint64_t from, uint64_t to, bool backward,
                                    uint64_t *positions, size_t room, size_t *count, ml_error *why);

/* True if the index is asked at all. */
bool ml_finder_selective(const ml_finder *finder);

/* True if the event is one of the selection. */
bool ml_finder_matches(const ml_finder *finder, const ml_event *event);

/* ---- single questions ------------------------------------------------------------------- */

/* Position and revision of the last event of a stream at or below `to`; NOT_FOUND. */
ML_MUST_USE ml_code ml_finder_last(ml_store *store, ml_bytes stream, uint64_t to, uint64_t *position,
                                   uint64_t *revision, ml_error *why);

/* Position of a revision of a stream, at or below `to`; NOT_FOUND. */
ML_MUST_USE ml_code ml_finder_revision(ml_store *store, ml_bytes stream, uint64_t revision, uint64_t to,
                                       uint64_t *position, ml_error *why);

/* First event in [from, to] that matches a query (system events included); NOT_FOUND. */
ML_MUST_USE ml_code ml_finder_first(ml_store *store, const ml_query *query, uint64_t from, uint64_t to,
                                    uint64_t *position, ml_error *why);

#endif
