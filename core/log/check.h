/* check.h -- reads every byte of the log's files and says what is wrong with them.
 *
 * Works on the files, without the log's handle or lock: also beside a writer, whose last
 * frames (behind what the WATERMARK calls settled) are then not looked at.
 *
 * Floor    log.
 * Threads  one.
 * Memory   segments are mapped one at a time.
 * Errors   what is wrong with the files goes to `report`, one sentence each; the code only
 *          says whether the check could be made.
 */
#ifndef ML_LOG_CHECK_H
#define ML_LOG_CHECK_H

#include "../base/disk.h"
#include "segment.h"

typedef struct ml_check {
    ml_disk *disk;
    bool deep; /* also the SHA-256 of footers */
    /* True if a writer has the lock: asked when the end of the log is reached. */
    bool (*writing)(ml_disk *disk);
    void (*report)(void *context, const char *sentence);
    /* Called for every good record in order; may be NULL. */
    void (*record)(void *context, uint64_t position, ml_bytes payload);
    void *context;

    /* Problems behind the first frame that is not there: told only once it is known that the
     * frame was synced. Otherwise they are the torn end of a crash, which recovery cuts. */
    bool holding;
    ml_buf held; /* sentences, each with its NUL */
    uint64_t held_count;

    /* What was found. */
    uint64_t segments, frames, records, bytes, problems;
    uint64_t last;               /* highest position of a good record */
    uint8_t log[ML_LOG_ID_SIZE]; /* zeros if there is no segment */
} ml_check;

ML_MUST_USE ml_code ml_check_log(ml_check *check, ml_error *why);

/* Reports a problem: printf, for the floor above too. */
void ml_check_report(ml_check *check, const char *format, ...) ML_FORMAT(2, 3);

#endif
