/* disk.h -- the one seam between moonlog and the disk (and the clock, and the dice).
 *
 * Every storage call of the house goes through the table below; nothing else under core/
 * may call open, pwrite, fdatasync, rename … So a test can stand a simulated disk, a disk
 * whose n-th call fails, or a recorder under the whole store, unchanged.
 *
 * Floor    base.
 * Threads  the real disk may be used from several threads at once; the others are for one.
 * Memory   paths are borrowed for the call. Maps are borrowed until unmapped.
 * Units    paths are relative to the directory the disk was opened on; offsets and sizes in
 *          bytes; now() in microseconds since 1970 UTC.
 * Errors   the operations give 0 (or a count) or a negative errno. The ml_disk_… functions
 *          below them give ml_code and a sentence.
 * Crash    what was not synced may be lost, torn at 512-byte sectors and reordered; a file's
 *          name is there for good only after sync_dir of its directory.
 */
#ifndef ML_BASE_DISK_H
#define ML_BASE_DISK_H

#include "buf.h"

typedef struct ml_disk ml_disk;

enum ml_disk_how {
    ML_DISK_READ = 0,
    ML_DISK_WRITE = 1,       /* for reading and writing */
    ML_DISK_CREATE = 2 | 1,  /* made if absent, emptied if present */
};

typedef struct ml_disk_ops {
    /* Gives a file handle >= 0. Never follows a symbolic link; regular files only. */
    int (*open)(ml_disk *disk, const char *path, int how);
    int (*close)(ml_disk *disk, int file);
    /* May move fewer bytes than asked for, as read(2) and write(2) do. */
    int64_t (*pread)(ml_disk *disk, int file, void *to, size_t size, uint64_t offset);
    int64_t (*pwrite)(ml_disk *disk, int file, const void *from, size_t size, uint64_t offset);
    int (*sync)(ml_disk *disk, int file); /* fdatasync: content, and the size if it grew */
    int (*allocate)(ml_disk *disk, int file, uint64_t size); /* grow to `size`, reads as zero */
    int (*truncate)(ml_disk *disk, int file, uint64_t size);
    int (*size)(ml_disk *disk, int file, uint64_t *size);
    int (*rename)(ml_disk *disk, const char *from, const char *to);
    int (*unlink)(ml_disk *disk, const char *path);
    int (*make_dir)(ml_disk *disk, const char *path); /* 0 if it is there already */
    int (*sync_dir)(ml_disk *disk, const char *path); /* "." is the disk's own directory */
    /* Calls each(name) for every entry but "." and "..", in no order. */
    int (*list)(ml_disk *disk, const char *path, void (*each)(void *context, const char *name),
                void *context);
    /* Takes the exclusive lock of an open file, without waiting: -EAGAIN if another has it.
     * Closing the file gives it back. */
    int (*lock)(ml_disk *disk, int file);
    /* 1 if another has the lock, 0 if nobody has; takes nothing. */
    int (*locked)(ml_disk *disk, int file);
    /* Maps the first `size` bytes for reading; later writes are seen through it. A part that
     * cannot be read any more reads as zeros (and fails its checksum), never as a signal. */
    int (*map)(ml_disk *disk, int file, uint64_t size, const uint8_t **map);
    void (*unmap)(ml_disk *disk, const uint8_t *map, uint64_t size);
    int64_t (*now)(ml_disk *disk);
    int (*random)(ml_disk *disk, void *to, size_t size);
    void (*free)(ml_disk *disk);
} ml_disk_ops;

/* Every backend's struct begins with this. */
struct ml_disk {
    const ml_disk_ops *ops;
    const char *root; /* shown in sentences; owned by the backend */
};

/* The real disk, on directory `root`. With `create`, makes root (one level) and syncs its
 * parent if it is absent; otherwise NOT_FOUND. */
ML_MUST_USE ml_code ml_disk_real_new(const char *root, bool create, ml_disk **disk, ml_error *why);

/* Frees any disk. NULL is allowed. */
void ml_disk_free(ml_disk *disk);

/* ---- what the house does with a disk -------------------------------------------------- */

ML_MUST_USE ml_code ml_disk_open(ml_disk *disk, const char *path, int how, int *file, ml_error *why);

/* Closes; a failure is an error like a failed sync (the kernel may report it only here). */
ML_MUST_USE ml_code ml_disk_close(ml_disk *disk, int file, const char *path, ml_error *why);

/* Reads exactly `size` bytes; CORRUPT if the file ends before. Short reads are continued and
 * EINTR is retried. */
ML_MUST_USE ml_code ml_disk_read(ml_disk *disk, int file, const char *path, void *to, size_t size,
                                 uint64_t offset, ml_error *why);

/* Writes all of it: short writes are continued, EINTR is retried, nothing else is. After a
 * failure any part may have been written. */
ML_MUST_USE ml_code ml_disk_write(ml_disk *disk, int file, const char *path, const void *from,
                                  size_t size, uint64_t offset, ml_error *why);

/* Syncs once. A failed sync is final: the kernel may have dropped the pages, so a second
 * call would lie. EINTR is a failure too. */
ML_MUST_USE ml_code ml_disk_sync(ml_disk *disk, int file, const char *path, ml_error *why);

ML_MUST_USE ml_code ml_disk_size(ml_disk *disk, int file, const char *path, uint64_t *size,
                                 ml_error *why);

/* Removes a file; one that is not there is fine. */
ML_MUST_USE ml_code ml_disk_remove(ml_disk *disk, const char *path, ml_error *why);

/* Renames and syncs directory `dir`, so that the new name survives power loss. NO_SPACE: the
 * old name stands; after any other failure the new one may. */
ML_MUST_USE ml_code ml_disk_adopt(ml_disk *disk, const char *from, const char *to, const char *dir,
                                  ml_error *why);

/* Puts a whole small file in place: written aside (PATH + "~"), synced, renamed, directory
 * synced. A crash leaves the old content or the new. */
ML_MUST_USE ml_code ml_disk_save(ml_disk *disk, const char *path, const char *dir, ml_bytes content,
                                 ml_error *why);

/* Names in `path` that end in `suffix`, sorted, as a list to be freed with
 * ml_disk_names_free. A directory that is not there has none. */
typedef struct ml_disk_names {
    char **names;
    size_t count;
} ml_disk_names;
ML_MUST_USE ml_code ml_disk_list(ml_disk *disk, const char *path, const char *suffix,
                                 ml_disk_names *names, ml_error *why);
void ml_disk_names_free(ml_disk_names *names);

#endif
