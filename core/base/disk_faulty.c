/* disk_faulty.c -- counts calls, and fails the one it was told to. */
#include "disk_faulty.h"

#include <stdlib.h>

typedef struct faulty {
    ml_disk disk;
    ml_disk *below;
    ml_disk_fault fault;
    uint64_t calls;
    bool hit;
} faulty;

static const ml_disk_ops ops;

static faulty *faulty_of(const ml_disk *disk)
{
    ML_ASSERT(disk->ops == &ops);
    return (faulty *)(uintptr_t)disk;
}

static ml_disk *below(const ml_disk *disk)
{
    return faulty_of(disk)->below;
}

/* Counts a call; true if it is to fail. */
static bool is_hit(faulty *self, enum ml_disk_op op)
{
    uint32_t counted = self->fault.ops;
    if (counted != 0 && (counted & ml_disk_op_bit(op)) == 0) return false;
    if (self->fault.error == 0 && op != ML_DISK_OP_PREAD && op != ML_DISK_OP_PWRITE) return false;
    self->calls++;
    if (self->fault.nth == 0 || self->calls < self->fault.nth) return false;
    if (self->calls > self->fault.nth && !self->fault.for_ever) return false;
    self->hit = true;
    return true;
}

/* 0, or the negative errno the call is to fail with. */
static int meet(ml_disk *disk, enum ml_disk_op op)
{
    faulty *self = faulty_of(disk);
    return is_hit(self, op) ? -self->fault.error : 0;
}

/* The same for a call that moves bytes; *size shrinks if it is to come up short. */
static int meet_moving(ml_disk *disk, enum ml_disk_op op, size_t *size)
{
    faulty *self = faulty_of(disk);
    if (!is_hit(self, op)) return 0;
    if (self->fault.error == 0 && *size > 1) *size /= 2;
    return -self->fault.error;
}

static int faulty_open(ml_disk *disk, const char *path, int how)
{
    int error = meet(disk, ML_DISK_OP_OPEN);
    return error < 0 ? error : below(disk)->ops->open(below(disk), path, how);
}

static int faulty_close(ml_disk *disk, int file)
{
    int error = meet(disk, ML_DISK_OP_CLOSE);
    int closed = below(disk)->ops->close(below(disk), file);
    return error < 0 ? error : closed;
}

static int64_t faulty_pread(ml_disk *disk, int file, void *to, size_t size, uint64_t offset)
{
    int error = meet_moving(disk, ML_DISK_OP_PREAD, &size);
    return error < 0 ? error : below(disk)->ops->pread(below(disk), file, to, size, offset);
}

static int64_t faulty_pwrite(ml_disk *disk, int file, const void *from, size_t size,
                             uint64_t offset)
{
    int error = meet_moving(disk, ML_DISK_OP_PWRITE, &size);
    return error < 0 ? error : below(disk)->ops->pwrite(below(disk), file, from, size, offset);
}

static int faulty_sync(ml_disk *disk, int file)
{
    int error = meet(disk, ML_DISK_OP_SYNC);
    return error < 0 ? error : below(disk)->ops->sync(below(disk), file);
}

static int faulty_allocate(ml_disk *disk, int file, uint64_t size)
{
    int error = meet(disk, ML_DISK_OP_ALLOCATE);
    return error < 0 ? error : below(disk)->ops->allocate(below(disk), file, size);
}

static int faulty_truncate(ml_disk *disk, int file, uint64_t size)
{
    int error = meet(disk, ML_DISK_OP_TRUNCATE);
    return error < 0 ? error : below(disk)->ops->truncate(below(disk), file, size);
}

static int faulty_size(ml_disk *disk, int file, uint64_t *size)
{
    int error = meet(disk, ML_DISK_OP_SIZE);
    return error < 0 ? error : below(disk)->ops->size(below(disk), file, size);
}

static int faulty_rename(ml_disk *disk, const char *from, const char *to)
{
    int error = meet(disk, ML_DISK_OP_RENAME);
    return error < 0 ? error : below(disk)->ops->rename(below(disk), from, to);
}

static int faulty_unlink(ml_disk *disk, const char *path)
{
    int error = meet(disk, ML_DISK_OP_UNLINK);
    return error < 0 ? error : below(disk)->ops->unlink(below(disk), path);
}

static int faulty_make_dir(ml_disk *disk, const char *path)
{
    int error = meet(disk, ML_DISK_OP_MAKE_DIR);
    return error < 0 ? error : below(disk)->ops->make_dir(below(disk), path);
}

static int faulty_sync_dir(ml_disk *disk, const char *path)
{
    int error = meet(disk, ML_DISK_OP_SYNC_DIR);
    return error < 0 ? error : below(disk)->ops->sync_dir(below(disk), path);
}

static int faulty_list(ml_disk *disk, const char *path,
                       void (*each)(void *context, const char *name), void *context)
{
    int error = meet(disk, ML_DISK_OP_LIST);
    return error < 0 ? error : below(disk)->ops->list(below(disk), path, each, context);
}

/* Not counted: it is no call that storage depends on. */
static int faulty_locked(ml_disk *disk, int file) { return below(disk)->ops->locked(below(disk), file); }

static int faulty_lock(ml_disk *disk, int file)
{
    int error = meet(disk, ML_DISK_OP_LOCK);
    return error < 0 ? error : below(disk)->ops->lock(below(disk), file);
}

static int faulty_map(ml_disk *disk, int file, uint64_t size, const uint8_t **map)
{
    int error = meet(disk, ML_DISK_OP_MAP);
    return error < 0 ? error : below(disk)->ops->map(below(disk), file, size, map);
}

static void faulty_unmap(ml_disk *disk, const uint8_t *map, uint64_t size)
{
    below(disk)->ops->unmap(below(disk), map, size);
}

static int64_t faulty_now(ml_disk *disk)
{
    return below(disk)->ops->now(below(disk));
}

static int faulty_random(ml_disk *disk, void *to, size_t size)
{
    return below(disk)->ops->random(below(disk), to, size);
}

static void faulty_free(ml_disk *disk)
{
    free(faulty_of(disk));
}

static const ml_disk_ops ops = {
    .open = faulty_open,
    .close = faulty_close,
    .pread = faulty_pread,
    .pwrite = faulty_pwrite,
    .sync = faulty_sync,
    .allocate = faulty_allocate,
    .truncate = faulty_truncate,
    .size = faulty_size,
    .rename = faulty_rename,
    .unlink = faulty_unlink,
    .make_dir = faulty_make_dir,
    .sync_dir = faulty_sync_dir,
    .list = faulty_list,
    .lock = faulty_lock,
    .locked = faulty_locked,
    .map = faulty_map,
    .unmap = faulty_unmap,
    .now = faulty_now,
    .random = faulty_random,
    .free = faulty_free,
};

ml_code ml_disk_faulty_new(ml_disk *under, ml_disk **disk, ml_error *why)
{
    faulty *self = malloc(sizeof *self);
    if (self == NULL) return ml_error_memory(why, "a faulty disk");
    /* error 1 until the first set, so that every call is counted */
    *self =
        (faulty){.disk = {.ops = &ops, .root = under->root}, .below = under, .fault = {.error = 1}};
    *disk = &self->disk;
    return ML_OK;
}

void ml_disk_faulty_set(ml_disk *disk, ml_disk_fault fault)
{
    ML_ASSERT(fault.error >= 0);
    faulty *self = faulty_of(disk);
    self->fault = fault;
    self->calls = 0;
    self->hit = false;
}

uint64_t ml_disk_faulty_calls(const ml_disk *disk)
{
    return faulty_of(disk)->calls;
}

bool ml_disk_faulty_hit(const ml_disk *disk)
{
    return faulty_of(disk)->hit;
}
