/* snapshot.h -- states kept in files, so that a long stream need not be folded from its beginning.
 *
 * One file a state, named after the stream and the count of its events over `every`:
 *
 *      0     8  magic     "mlstate1"
 *      8     4  crc32c    of everything behind
 *     12     4  size      of everything behind
 *     16        MessagePack array: unit "aggregate/account", hash of its code, stream, next,
 *               position, time and id of the last event, state
 *
 * A snapshot is believed if checksum, unit, code and stream are right, and if the event that it
 * names stands where it says: so one that was made of events which a power cut took back, or of
 * another log, is not. What is not believed is passed over, and the log is folded.
 *
 * Of the newest ML_SNAPSHOT_NEAR all are kept, of those before every second, of those before
 * every fourth …: a state at any moment is near, and a stream has few files.
 *
 * Floor    rules; uses base/disk.
 * Threads  one.
 * Memory   a state's buffer is the caller's.
 * Errors   false: nothing was kept, or nothing is believed. The log has everything.
 * Crash    written aside and renamed, not synced: a broken one is not believed.
 */
#ifndef ML_RULES_SNAPSHOT_H
#define ML_RULES_SNAPSHOT_H

#include "../base/disk.h"
#include "states.h"
#include "unit.h"

enum { ML_SNAPSHOT_NEAR = 8 };

/* Is the nth of a stream kept when there are `newest`? */
bool ml_snapshot_keeps(uint64_t number, uint64_t newest);

/* True if it was written; a disk that refuses costs time and nothing else. `newest`: how many the
 * stream has now, this one among them. */
bool ml_snapshot_save(ml_disk *disk, const ml_unit *unit, ml_bytes stream, const ml_state *state,
                      uint64_t newest);

/* The nth, if it is there and whole and of this unit, code and stream. */
ML_MUST_USE bool ml_snapshot_load(ml_disk *disk, const ml_unit *unit, ml_bytes stream,
                                  uint64_t number, ml_state *state);

#endif
