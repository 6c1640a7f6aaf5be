/* repeat.h -- recognising an append that was sent before, and ids that were used before.
 *
 * Floor    store.
 * Threads  the owner's.
 */
#ifndef ML_STORE_REPEAT_H
#define ML_STORE_REPEAT_H

#include "inside.h"

/* Ids may not repeat within a proposal; *with_id counts the events that have one. */
ML_MUST_USE ml_code ml_repeat_check_ids(const ml_proposal *proposal, size_t *with_id, ml_error *why);

/* Looks for an earlier append with these ids; if there is one, the entry gets its receipt,
 * with `duplicate` set. Asked with `expected_failed` once a stream is not where it should be,
 * it also looks where a retry of any age would be. */
ML_MUST_USE ml_code ml_repeat_find(ml_store *store, const ml_proposal *proposal, bool expected_failed,
                                   ml_entry *entry, ml_error *why);

/* No id of a proposal that is not a repeat may be in the window. */
ML_MUST_USE ml_code ml_repeat_check_unused(ml_store *store, const ml_proposal *proposal, ml_error *why);

#endif
