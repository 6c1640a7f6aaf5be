/* disk_sim.h -- a disk in memory that can lose power at any moment, in every way allowed.
 *
 * A test instrument: it stands below the whole store, is deterministic, and makes hundreds of
 * thousands of post-crash disks a second. What may be lost is kept as a list of pending
 * *units*, in the order they came to be, and a list of pending *directory operations*.
 *
 *     write, truncate, allocate ──▶ units ────────────── sync of the file ──────▶ durable
 *     create, rename, unlink, make_dir ──▶ operations ── sync_dir of the directory ─▶ durable
 *                                             │
 *     ml_disk_sim_crash(fate) ◀───────────────┘  a new disk, on which all that is there is durable
 *
 * The model:
 *   - A unit is one 512-byte sector whose content differs from the durable one, or the size of
 *     a file. After a crash each is old or new, independently of every other. (A sector
 *     written twice since the last sync is the durable one or the latest: crash after every
 *     operation to see the states between.) A write that changes nothing makes no unit.
 *   - A new size without its sectors reads as zeros; new sectors beyond an old size are gone.
 *   - sync makes all units of that file durable, the size too. POSIX promises that only of a
 *     size that grew: with `lazy_shrink`, a size that shrank and the bytes it cut off stay
 *     pending until the file grows again over them.
 *   - Directory operations happen in order, as a journalled file system keeps them: after a
 *     crash the first k of those pending have happened, for any k. sync_dir makes those of
 *     its own directory durable and no others. sync of a file does not keep its name.
 *   - A file without a durable name is gone, however well synced; so is a name in a directory
 *     that is gone. rename replaces in one step.
 *   - Names stay in their directory: a rename to another is -EXDEV, of a directory -EISDIR.
 *
 * Floor    base; a test instrument. Every function takes a disk made here, or asserts.
 * Threads  one.
 * Memory   a disk keeps its buffers until ml_disk_free: an image made into an old disk
 *          (ml_disk_sim_crash_into) allocates nothing. Files never move: maps show the live
 *          content, and zeros where a file was cut.
 * Units    sizes in bytes; now() counts microseconds, one more at each call.
 */
#ifndef ML_BASE_DISK_SIM_H
#define ML_BASE_DISK_SIM_H

#include "disk.h"
#include "disk_op.h"

enum { ML_DISK_SIM_SECTOR = 512 };

typedef struct ml_disk_sim_options {
    size_t files;        /* at once, those removed and still open included; 0 means 64 */
    uint64_t file_bytes; /* the largest file, address space only; 0 means 1 MiB */
    uint64_t seed;       /* of random() */
    bool lazy_shrink;
} ml_disk_sim_options;

/* An empty disk. `options` may be NULL. */
ML_MUST_USE ml_code ml_disk_sim_new(const ml_disk_sim_options *options, ml_disk **disk,
                                    ml_error *why);

/* ---- losing power ----------------------------------------------------------------------- */

/* How much a crash now could lose. */
typedef struct ml_disk_sim_count {
    size_t units, dir_ops;
} ml_disk_sim_count;
ml_disk_sim_count ml_disk_sim_pending(const ml_disk *disk);

/* What one crash keeps: unit n if bit n % 64 of kept[n / 64] is set (NULL: none), and the
 * first `dir_ops` directory operations. */
typedef struct ml_disk_sim_fate {
    const uint64_t *kept;
    size_t dir_ops;
} ml_disk_sim_fate;

/* The disk that is found after a crash of that fate. `disk` stays as it is, so all its fates
 * can be tried. The image has the same options, clock, dice and space, no hook, no open
 * file, and nothing pending. */
ML_MUST_USE ml_code ml_disk_sim_crash(const ml_disk *disk, const ml_disk_sim_fate *fate,
                                      ml_disk **image, ml_error *why);

/* The same into a disk that is no longer needed, made with the same options: files that are
 * open on it or mapped are given up. Costs one copy of the content. */
void ml_disk_sim_crash_into(const ml_disk *disk, const ml_disk_sim_fate *fate, ml_disk *image);

/* Makes everything durable, as a file system does when left alone for a while. */
void ml_disk_sim_settle(ml_disk *disk);

/* One line for each pending unit and operation, for the report of a failed state. */
void ml_disk_sim_show(const ml_disk *disk, ml_buf *out);

/* ---- watching and steering -------------------------------------------------------------- */

/* Called after every operation that changed what is on the disk or what is durable. It may
 * crash the disk into others, not use it. */
typedef void (*ml_disk_sim_hook)(void *context, ml_disk *disk, enum ml_disk_op op);
void ml_disk_sim_on_op(ml_disk *disk, ml_disk_sim_hook hook, void *context);

/* Room for that many more bytes of file size (UINT64_MAX: no limit, as at first). Beyond,
 * growing writes come up short, then fail with -ENOSPC, as do allocate and, when no byte is
 * left, new files and directories. Writes inside a file go on; cut and removed files give
 * their bytes back. */
void ml_disk_sim_set_space(ml_disk *disk, uint64_t bytes_left);

void ml_disk_sim_set_time(ml_disk *disk, int64_t now);

/* The bytes of a file, to be damaged or looked at; *size of them. NULL if there is none. A
 * change is not pending: it is there after every crash that keeps the sector new. */
uint8_t *ml_disk_sim_content(ml_disk *disk, const char *path, uint64_t *size);

/* Cuts a file for good, or pads it with zeros; settles the disk first. False if there is no
 * such file or it would be too large. */
ML_MUST_USE bool ml_disk_sim_cut(ml_disk *disk, const char *path, uint64_t size);

#endif
