/* log.h -- the door of the log: records in, by position out, and nothing lost.
 *
 * The log keeps records (opaque but for their first ten bytes) in frames in segments. It
 * knows no stream, type or tag. A group of records is written as one frame; the group is
 * whole or absent whatever happens.
 *
 *     owner                       flusher (or the owner itself)      owner
 *     ml_group_begin/record  ──▶  ml_log_write: checksum, pwrite, ──▶ ml_log_settle: readers
 *     (fills a group)             fdatasync, WATERMARK                see it from here on
 *
 * Floor    log. Uses base.
 * Threads  two bands. One thread at a time calls ml_log_write and ml_log_sync; everything
 *          else belongs to the owner's thread. A group passes from one to the other whole.
 * Memory   payloads are views into maps of the segments, valid until the next call.
 * Errors   after a failed write or sync of anything the log is fenced: STORE_FAILED, for
 *          good. NO_SPACE leaves everything as it was.
 * Crash    recovery (recover.c) gives every synced group, and any prefix of the others.
 */
#ifndef ML_LOG_LOG_H
#define ML_LOG_LOG_H

#include "../base/buf.h"
#include "../base/disk.h"
#include "../base/worker.h"
#include "segment.h"

typedef struct ml_log ml_log;

typedef struct ml_log_options {
    bool read_only;
    uint64_t segment_bytes; /* size that segments grow to */
} ml_log_options;

/* ---- groups -------------------------------------------------------------------------- */

/* Records on their way to the disk. Zero-initialised is empty. */
typedef struct ml_group {
    ml_buf bytes;      /* header of the frame (still to be filled), then records */
    uint32_t *offsets; /* of each record from the start of the frame */
    uint32_t count, capacity;
    uint64_t first;    /* position of the first record */
    int64_t time;      /* of the last record */
    bool sync;         /* wants fdatasync */

    /* Filled by ml_log_write for ml_log_settle. */
    ml_segment *opened; /* the write rolled: the new segment */
    uint64_t offset;    /* of the frame in its segment */
    uint64_t end;       /* behind it */
    uint64_t durable;   /* position known to be synced after this write */
} ml_group;

/* Empties the group and makes it begin at position `first`. */
ML_MUST_USE bool ml_group_begin(ml_group *group, uint64_t first);

/* Room for a record's payload of at most `most` bytes; NULL if memory is refused. The caller
 * writes there and tells the size that it became with ml_group_end_record. */
ML_MUST_USE uint8_t *ml_group_record(ml_group *group, size_t most);
void ml_group_end_record(ml_group *group, uint8_t *payload, size_t size);

/* Takes back the last records, so that `count` are left. */
void ml_group_cut(ml_group *group, uint32_t count);

/* The payload of the n-th record. */
ml_bytes ml_group_payload(const ml_group *group, uint32_t n);

static inline size_t ml_group_size(const ml_group *group) { return group->bytes.size; }
void ml_group_free(ml_group *group);

/* ---- life ---------------------------------------------------------------------------- */

typedef struct ml_log_state {
    uint64_t position;   /* of the last record that readers see */
    uint64_t durable;    /* of the last one known to be synced */
    uint64_t segments, log_bytes, used_bytes;
    uint64_t torn_bytes; /* cut by this opening */
    bool damaged;        /* see the sentence given to ml_log_damage */
} ml_log_state;

/* Opens the log in the directory of `disk`, creating it unless read_only, and recovers.
 * `worker` prepares and seals segments in the background. CORRUPT, UNSUPPORTED, and whatever
 * the disk says; damage below what was synced is not an error here (state.damaged). */
ML_MUST_USE ml_code ml_log_open(ml_disk *disk, ml_worker *worker, const ml_log_options *options,
                                ml_log **log, ml_error *why);

/* The log is about to be closed: what the worker only does ahead of need may stop. */
void ml_log_hurry(ml_log *log);

/* Marks the log as cleanly closed (if it is not fenced), and frees. The worker must be idle:
 * ml_worker_wait first. */
ML_MUST_USE ml_code ml_log_close(ml_log *log, ml_error *why);

void ml_log_get_state(const ml_log *log, ml_log_state *state);
const uint8_t *ml_log_id(const ml_log *log);

/* Notes damage that whoever reads the log has found; the log is not written to any more. */
void ml_log_note_damage(ml_log *log, const ml_error *damage);

/* The damage that recovery found, or that was noted, as a sentence with file, offset and positions; "" if none. */
const char *ml_log_damage(const ml_log *log);

/* Position of the last record that readers see. */
uint64_t ml_log_position(const ml_log *log);
/* … and of the last one known to be synced. */
uint64_t ml_log_durable(const ml_log *log);

/* ---- writing --------------------------------------------------------------------------- */

/* Writes the group as one frame, and syncs it if group->sync. STORE_FAILED: the log is fenced.
 * Any other failure: no byte of it counts, and the next write may succeed. */
ML_MUST_USE ml_code ml_log_write(ml_log *log, ml_group *group, ml_error *why);

/* Syncs everything written so far; *durable gets the position. */
ML_MUST_USE ml_code ml_log_sync(ml_log *log, uint64_t *durable, ml_error *why);

/* Shows a written group to readers. */
ML_MUST_USE ml_code ml_log_settle(ml_log *log, const ml_group *group, ml_error *why);

/* Tells the owner's side what ml_log_sync gave. */
void ml_log_settle_sync(ml_log *log, uint64_t durable);

/* Syncs the WATERMARK too, if it was written since: to be called when nothing has been written for a
 * while. */
ML_MUST_USE ml_code ml_log_rest(ml_log *log, ml_error *why);
/* Is all of that done? */
bool ml_log_rests(const ml_log *log);

/* ---- reading --------------------------------------------------------------------------- */

/* The record at `position` (1 … position of the state). The view is into the segment's map.
 * CORRUPT names file, offset and position. Costs a few cache misses and the checksum. */
ML_MUST_USE ml_code ml_log_get(ml_log *log, uint64_t position, ml_bytes *payload, ml_error *why);

/* Starts loading what ml_log_get of this position will touch first: the offset, or, once
 * that is there, the `record` itself. Never fails, never waits. */
void ml_log_prefetch(ml_log *log, uint64_t position, bool record);

/* Reads on where a writer in another process has gone. */
ML_MUST_USE ml_code ml_log_follow(ml_log *log, ml_error *why);

/* The checksum of a record: binds an index to this very log. 0 if it cannot be read. */
uint32_t ml_log_anchor(ml_log *log, uint64_t position);

#endif
