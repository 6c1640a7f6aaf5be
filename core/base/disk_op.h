/* disk_op.h -- the calls of a disk as numbers and words, for the disks that tests use.
 *
 * Floor    base. A test instrument: nothing else includes it.
 */
#ifndef ML_BASE_DISK_OP_H
#define ML_BASE_DISK_OP_H

#include <stdint.h>

#define ML_DISK_OPS(X)                                                                             \
    X(OPEN, "open")                                                                                \
    X(CLOSE, "close")                                                                              \
    X(PREAD, "pread")                                                                              \
    X(PWRITE, "pwrite")                                                                            \
    X(SYNC, "sync")                                                                                \
    X(ALLOCATE, "allocate")                                                                        \
    X(TRUNCATE, "truncate")                                                                        \
    X(SIZE, "size")                                                                                \
    X(RENAME, "rename")                                                                            \
    X(UNLINK, "unlink")                                                                            \
    X(MAKE_DIR, "make_dir")                                                                        \
    X(SYNC_DIR, "sync_dir")                                                                        \
    X(LIST, "list")                                                                                \
    X(LOCK, "lock")                                                                                \
    X(MAP, "map")                                                                                  \
    X(UNMAP, "unmap")

enum ml_disk_op {
#define ML_DISK_OP_ENUM(name, word) ML_DISK_OP_##name,
    ML_DISK_OPS(ML_DISK_OP_ENUM)
#undef ML_DISK_OP_ENUM
        ML_DISK_OP_COUNT
};

/* A set of them. */
static inline uint32_t ml_disk_op_bit(enum ml_disk_op op)
{
    return (uint32_t)1 << op;
}

static inline const char *ml_disk_op_name(enum ml_disk_op op)
{
    static const char *const names[ML_DISK_OP_COUNT] = {
#define ML_DISK_OP_WORD(name, word) [ML_DISK_OP_##name] = word,
        ML_DISK_OPS(ML_DISK_OP_WORD)
#undef ML_DISK_OP_WORD
    };
    return names[op];
}

#endif
