/* watermark.h -- WATERMARK: what is known to be synced, and what may be shown.
 *
 * Two slots of 64 bytes, at 0 and at 512 (a sector each, so that a torn write spoils one),
 * written in turn after each frame:
 *
 *    at  size  field        meaning (little-endian)
 *     0     4  magic        "MLW1"
 *     4     4  crc          crc32c of bytes 8..63
 *     8     8  generation   counts writes; the valid slot with the higher one counts
 *    16     8  durable      highest sequence synced, with all before it
 *    24     8  (position)   of the last record in that frame
 *    32     8  settled      highest sequence acknowledged (>= durable with ML_OS appends)
 *    40     8  (position)   of the last record in that frame: readers see up to here
 *    48     8  end          offset behind that frame in its segment
 *    56     4  flags        1 = closed cleanly: nothing but zeros or a footer behind `end`
 *    60     4  log          crc32c of the log id
 *
 * It is written after the sync of what it speaks of and not itself synced: what it says of
 * `durable` can be old, never wrong. At a clean stop and on ml_log_rest it is synced too.
 *
 * Floor    log. Threads: the writer of the log writes; anybody reads.
 * Crash    a later read gives an older state or the newest. Losing the file costs only the
 *          power to tell a torn last group from a damaged one.
 */
#ifndef ML_LOG_WATERMARK_H
#define ML_LOG_WATERMARK_H

#include "../base/disk.h"

enum { ML_WATERMARK_CLEAN = 1 };

typedef struct ml_watermark {
    uint64_t generation;
    uint64_t durable, durable_position;
    uint64_t settled, settled_position;
    uint64_t end;
    uint32_t flags, log;
} ml_watermark;

/* Reads the newer valid slot of the open file; false if there is none (then *mark is zero). */
bool ml_watermark_read(ml_disk *disk, int file, ml_watermark *mark);

/* Writes *mark as the next generation. */
ML_MUST_USE ml_code ml_watermark_write(ml_disk *disk, int file, ml_watermark *mark, ml_error *why);

#define ML_WATERMARK_PATH "WATERMARK"

#endif
