/* disk_faulty.h -- a disk whose n-th call fails.
 *
 * A test instrument. It stands before another disk, counts the calls, and lets one of them
 * fail, or all from one on:
 *
 *     for (uint64_t nth = 1, hit = 1; hit; nth++) {
 *         ml_disk_faulty_set(disk, (ml_disk_fault){.nth = nth, .error = EIO});
 *         … the work under test …
 *         hit = ml_disk_faulty_hit(disk);
 *     }
 *
 * Counted are all calls but unmap, now, random and free. A call that fails is not made: a
 * failed sync synced nothing. Only close is made all the same, as a descriptor is gone even
 * if its close reports an error.
 *
 * Floor    base; a test instrument. Functions take a disk made here, or assert.
 * Threads  one.
 * Memory   the disk below is borrowed, and must live longer.
 */
#ifndef ML_BASE_DISK_FAULTY_H
#define ML_BASE_DISK_FAULTY_H

#include "disk.h"
#include "disk_op.h"

typedef struct ml_disk_fault {
    uint32_t ops;  /* which calls count: ml_disk_op_bit(…) | …; 0: all */
    uint64_t nth;  /* from 1; 0: none fails, counting goes on */
    int error;     /* the errno, positive; 0: short. Then pread and pwrite alone count, and
                    * the one that is hit moves half of its bytes (at least one) */
    bool for_ever; /* the n-th and every counted call after it */
} ml_disk_fault;

/* Without a fault at first. */
ML_MUST_USE ml_code ml_disk_faulty_new(ml_disk *below, ml_disk **disk, ml_error *why);

/* Sets the fault and begins to count anew. */
void ml_disk_faulty_set(ml_disk *disk, ml_disk_fault fault);

/* Calls counted since. */
uint64_t ml_disk_faulty_calls(const ml_disk *disk);

/* True if the fault was met since. */
bool ml_disk_faulty_hit(const ml_disk *disk);

#endif
