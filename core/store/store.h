/* store.h -- the door of the store: streams, revisions, conditions, group commit, reads.
 *
 * What is public is in moonlog.h. This door is for the floors above in the same process and
 * for specs: a store on any disk, and group commit in steps.
 *
 *     ml_submit ──admission──▶ filling group ──ml_settle──▶ flying group ──▶ settled
 *                              (positions given)            flusher thread:   readers see it,
 *                                                           write, sync       callbacks
 *
 * Admission (admit.c) is a function of the log so far and the proposal alone.
 *
 * Floor    store. Uses base, log, index.
 * Threads  the owner's; the flusher touches only the flying group and the log's writer side.
 */
#ifndef ML_STORE_STORE_H
#define ML_STORE_STORE_H

#include "../base/buf.h"
#include "../base/disk.h"
#include "../base/error.h"

/* As ml_open, on a disk of any kind, which then belongs to the store. */
ML_MUST_USE ml_code ml_store_open(ml_store **store, ml_disk *disk, const ml_options *options);

/* Position of the last event admitted; it may not be written yet. */
uint64_t ml_store_staged(const ml_store *store);

/* The id of its log, made when that was begun: ML_STORE_LOG_ID bytes. */
enum { ML_STORE_LOG_ID = 16 };
const uint8_t *ml_store_log_id(const ml_store *store);

/* What becomes of that which is admitted, if nobody does anything. */
typedef enum ml_store_work {
    ML_STORE_DONE,   /* all of it is answered */
    ML_STORE_STAGED, /* nothing: it waits for ml_settle, and nobody will wake who calls that */
    ML_STORE_FLYING  /* a group is being written, and `notify` is called then */
} ml_store_work;
ml_store_work ml_store_get_work(const ml_store *store);

/* Nothing has been appended for a while: the next ml_settle begins to sync what is not on the disk,
 * and the WATERMARK, like a group that nobody waits for. Costs nothing if there is nothing to sync,
 * or something on its way. */
ML_MUST_USE ml_code ml_store_rest(ml_store *store);

/* Right after ml_submit has admitted a proposal of `count` events: packs them as they will be
 * stored, one after another. */
ML_MUST_USE ml_code ml_store_admitted(ml_store *store, size_t count, ml_buf *events, ml_error *why);

/* As ml_close. */
ML_MUST_USE ml_code ml_store_close(ml_store *store);

/* As ml_verify, on a disk of any kind, which stays the caller's. */
ML_MUST_USE ml_code ml_verify_disk(ml_disk *disk, bool deep,
                                   void (*report)(void *context, const char *sentence), void *context,
                                   ml_verified *verified, ml_error *why);

#endif
