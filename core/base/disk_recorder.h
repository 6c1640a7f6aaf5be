/* disk_recorder.h -- a disk that remembers every call made of it.
 *
 * A test instrument. It stands before another disk and keeps a list, for specs that ask in
 * which order things reach the disk, and how many calls something takes. Recorded are all
 * calls but now, random and free.
 *
 *     pwrite log/00000000000000000001.seg 4096+512 = 512
 *     sync log/00000000000000000001.seg = 0
 *     rename META~ META = 0
 *     open LOCK = EACCES
 *
 * Floor    base; a test instrument. Functions take a disk made here, or assert.
 * Threads  one.
 * Memory   the disk below is borrowed, and must live longer. The list grows until it is
 *          cleared.
 */
#ifndef ML_BASE_DISK_RECORDER_H
#define ML_BASE_DISK_RECORDER_H

#include "disk.h"
#include "disk_op.h"

enum { ML_DISK_CALL_PATH = 96 }; /* longer ones are cut */

typedef struct ml_disk_call {
    enum ml_disk_op op;
    int file; /* of open and of calls on a file; -1 of all others */
    char path[ML_DISK_CALL_PATH]; /* it was opened at; of the directory; "?" after its close */
    char to[ML_DISK_CALL_PATH];   /* of rename, else empty */
    uint64_t offset;              /* of pread, pwrite */
    uint64_t size;                /* asked for, or (size) found */
    int64_t result;               /* a negative errno, a count, or 0; open gives 0 */
} ml_disk_call;

ML_MUST_USE ml_code ml_disk_recorder_new(ml_disk *below, ml_disk **disk, ml_error *why);

/* The calls so far, until the next one. NULL, and a count of 0, if there are none or memory
 * was refused for one: half a list would prove nothing. */
const ml_disk_call *ml_disk_recorder_calls(const ml_disk *disk, size_t *count);

/* How many of them are of these kinds: ml_disk_op_bit(…) | …; 0: of any. */
size_t ml_disk_recorder_count(const ml_disk *disk, uint32_t ops);

/* One line for each, as above. */
void ml_disk_recorder_print(const ml_disk *disk, ml_buf *out);

void ml_disk_recorder_clear(ml_disk *disk);

#endif
