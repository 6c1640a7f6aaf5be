/* disk_recorder.c -- passes every call on, then writes down what came of it. */
#include "disk_recorder.h"

#include <stdio.h>
#include <stdlib.h>

/* Which file a handle or a map is of, while it is open. */
typedef struct opened {
    int file;
    const uint8_t *map; /* NULL: this one is of the handle */
    char path[ML_DISK_CALL_PATH];
} opened;

typedef struct recorder {
    ml_disk disk;
    ml_disk *below;
    ml_buf calls; /* of ml_disk_call */
    ml_buf open;  /* of opened */
} recorder;

static const ml_disk_ops ops;

static recorder *recorder_of(const ml_disk *disk)
{
    ML_ASSERT(disk->ops == &ops);
    return (recorder *)(uintptr_t)disk;
}

static ml_disk *below(const ml_disk *disk)
{
    return recorder_of(disk)->below;
}

static void copy_path(char to[ML_DISK_CALL_PATH], const char *path)
{
    snprintf(to, ML_DISK_CALL_PATH, "%s", path);
}

/* ---- which file ------------------------------------------------------------------------- */

static opened *find(const recorder *self, int file, const uint8_t *map)
{
    opened *open = (opened *)(void *)self->open.data;
    for (size_t i = 0; i < self->open.size / sizeof *open; i++)
        if (open[i].map == map && (map != NULL || open[i].file == file)) return &open[i];
    return NULL;
}

static void remember(recorder *self, int file, const uint8_t *map, const char *path)
{
    opened added = {.file = file, .map = map};
    copy_path(added.path, path);
    ml_buf_add(&self->open, &added, sizeof added);
}

static void forget(recorder *self, opened *gone)
{
    if (gone == NULL) return;
    self->open.size -= sizeof *gone;
    memmove(gone, self->open.data + self->open.size, sizeof *gone);
}

static const char *path_of(const recorder *self, int file)
{
    const opened *open = find(self, file, NULL);
    return open != NULL ? open->path : "?";
}

/* ---- writing down ----------------------------------------------------------------------- */

static void note_as(ml_disk *disk, int file, const char *path, ml_disk_call call)
{
    call.file = file;
    copy_path(call.path, path);
    ml_buf_add(&recorder_of(disk)->calls, &call, sizeof call);
}

static void note(ml_disk *disk, const char *path, ml_disk_call call)
{
    note_as(disk, -1, path, call);
}

static void note_file(ml_disk *disk, int file, ml_disk_call call)
{
    note_as(disk, file, path_of(recorder_of(disk), file), call);
}

static int rec_open(ml_disk *disk, const char *path, int how)
{
    int file = below(disk)->ops->open(below(disk), path, how);
    if (file >= 0) remember(recorder_of(disk), file, NULL, path);
    note_as(disk, file < 0 ? -1 : file, path,
            (ml_disk_call){.op = ML_DISK_OP_OPEN, .result = file < 0 ? file : 0});
    return file;
}

static int rec_close(ml_disk *disk, int file)
{
    int result = below(disk)->ops->close(below(disk), file);
    note_file(disk, file, (ml_disk_call){.op = ML_DISK_OP_CLOSE, .result = result});
    forget(recorder_of(disk), find(recorder_of(disk), file, NULL));
    return result;
}

static int64_t rec_pread(ml_disk *disk, int file, void *to, size_t size, uint64_t offset)
{
    int64_t result = below(disk)->ops->pread(below(disk), file, to, size, offset);
    note_file(
        disk, file,
        (ml_disk_call){.op = ML_DISK_OP_PREAD, .offset = offset, .size = size, .result = result});
    return result;
}

static int64_t rec_pwrite(ml_disk *disk, int file, const void *from, size_t size, uint64_t offset)
{
    int64_t result = below(disk)->ops->pwrite(below(disk), file, from, size, offset);
    note_file(
        disk, file,
        (ml_disk_call){.op = ML_DISK_OP_PWRITE, .offset = offset, .size = size, .result = result});
    return result;
}

static int rec_sync(ml_disk *disk, int file)
{
    int result = below(disk)->ops->sync(below(disk), file);
    note_file(disk, file, (ml_disk_call){.op = ML_DISK_OP_SYNC, .result = result});
    return result;
}

static int rec_allocate(ml_disk *disk, int file, uint64_t size)
{
    int result = below(disk)->ops->allocate(below(disk), file, size);
    note_file(disk, file,
              (ml_disk_call){.op = ML_DISK_OP_ALLOCATE, .size = size, .result = result});
    return result;
}

static int rec_truncate(ml_disk *disk, int file, uint64_t size)
{
    int result = below(disk)->ops->truncate(below(disk), file, size);
    note_file(disk, file,
              (ml_disk_call){.op = ML_DISK_OP_TRUNCATE, .size = size, .result = result});
    return result;
}

static int rec_size(ml_disk *disk, int file, uint64_t *size)
{
    int result = below(disk)->ops->size(below(disk), file, size);
    note_file(
        disk, file,
        (ml_disk_call){.op = ML_DISK_OP_SIZE, .size = result < 0 ? 0 : *size, .result = result});
    return result;
}

static int rec_rename(ml_disk *disk, const char *from, const char *to)
{
    int result = below(disk)->ops->rename(below(disk), from, to);
    ml_disk_call call = {.op = ML_DISK_OP_RENAME, .result = result};
    copy_path(call.to, to);
    note(disk, from, call);
    return result;
}

static int rec_unlink(ml_disk *disk, const char *path)
{
    int result = below(disk)->ops->unlink(below(disk), path);
    note(disk, path, (ml_disk_call){.op = ML_DISK_OP_UNLINK, .result = result});
    return result;
}

static int rec_make_dir(ml_disk *disk, const char *path)
{
    int result = below(disk)->ops->make_dir(below(disk), path);
    note(disk, path, (ml_disk_call){.op = ML_DISK_OP_MAKE_DIR, .result = result});
    return result;
}

static int rec_sync_dir(ml_disk *disk, const char *path)
{
    int result = below(disk)->ops->sync_dir(below(disk), path);
    note(disk, path, (ml_disk_call){.op = ML_DISK_OP_SYNC_DIR, .result = result});
    return result;
}

static int rec_list(ml_disk *disk, const char *path, void (*each)(void *context, const char *name),
                    void *context)
{
    int result = below(disk)->ops->list(below(disk), path, each, context);
    note(disk, path, (ml_disk_call){.op = ML_DISK_OP_LIST, .result = result});
    return result;
}

static int rec_locked(ml_disk *disk, int file) { return below(disk)->ops->locked(below(disk), file); }

static int rec_lock(ml_disk *disk, int file)
{
    int result = below(disk)->ops->lock(below(disk), file);
    note_file(disk, file, (ml_disk_call){.op = ML_DISK_OP_LOCK, .result = result});
    return result;
}

static int rec_map(ml_disk *disk, int file, uint64_t size, const uint8_t **map)
{
    int result = below(disk)->ops->map(below(disk), file, size, map);
    recorder *self = recorder_of(disk);
    if (result == 0) remember(self, -1, *map, path_of(self, file));
    note_file(disk, file, (ml_disk_call){.op = ML_DISK_OP_MAP, .size = size, .result = result});
    return result;
}

static void rec_unmap(ml_disk *disk, const uint8_t *map, uint64_t size)
{
    below(disk)->ops->unmap(below(disk), map, size);
    opened *mapped = find(recorder_of(disk), -1, map);
    note(disk, mapped != NULL ? mapped->path : "?",
         (ml_disk_call){.op = ML_DISK_OP_UNMAP, .size = size});
    forget(recorder_of(disk), mapped);
}

static int64_t rec_now(ml_disk *disk)
{
    return below(disk)->ops->now(below(disk));
}

static int rec_random(ml_disk *disk, void *to, size_t size)
{
    return below(disk)->ops->random(below(disk), to, size);
}

static void rec_free(ml_disk *disk)
{
    recorder *self = recorder_of(disk);
    ml_buf_free(&self->calls);
    ml_buf_free(&self->open);
    free(self);
}

static const ml_disk_ops ops = {
    .open = rec_open,
    .close = rec_close,
    .pread = rec_pread,
    .pwrite = rec_pwrite,
    .sync = rec_sync,
    .allocate = rec_allocate,
    .truncate = rec_truncate,
    .size = rec_size,
    .rename = rec_rename,
    .unlink = rec_unlink,
    .make_dir = rec_make_dir,
    .sync_dir = rec_sync_dir,
    .list = rec_list,
    .lock = rec_lock,
    .locked = rec_locked,
    .map = rec_map,
    .unmap = rec_unmap,
    .now = rec_now,
    .random = rec_random,
    .free = rec_free,
};

ml_code ml_disk_recorder_new(ml_disk *under, ml_disk **disk, ml_error *why)
{
    recorder *self = malloc(sizeof *self);
    if (self == NULL) return ml_error_memory(why, "a recording disk");
    *self = (recorder){.disk = {.ops = &ops, .root = under->root}, .below = under};
    *disk = &self->disk;
    return ML_OK;
}

/* ---- the list --------------------------------------------------------------------------- */

const ml_disk_call *ml_disk_recorder_calls(const ml_disk *disk, size_t *count)
{
    const recorder *self = recorder_of(disk);
    bool whole = !self->calls.failed && !self->open.failed;
    *count = whole ? self->calls.size / sizeof(ml_disk_call) : 0;
    return *count > 0 ? (const ml_disk_call *)(const void *)self->calls.data : NULL;
}

size_t ml_disk_recorder_count(const ml_disk *disk, uint32_t kinds)
{
    size_t count, found = 0;
    const ml_disk_call *calls = ml_disk_recorder_calls(disk, &count);
    for (size_t i = 0; i < count; i++)
        if (kinds == 0 || (kinds & ml_disk_op_bit(calls[i].op)) != 0) found++;
    return found;
}

static void print(const ml_disk_call *call, ml_buf *out)
{
    unsigned long long offset = call->offset, size = call->size;
    ml_buf_print(out, "%s %s", ml_disk_op_name(call->op), call->path);
    if (call->op == ML_DISK_OP_PREAD || call->op == ML_DISK_OP_PWRITE)
        ml_buf_print(out, " %llu+%llu", offset, size);
    else if (call->to[0] != '\0')
        ml_buf_print(out, " %s", call->to);
    else if (size > 0)
        ml_buf_print(out, " %llu", size);
    if (call->result < 0)
        ml_buf_print(out, " = %s\n", strerrorname_np((int)-call->result));
    else
        ml_buf_print(out, " = %lld\n", (long long)call->result);
}

void ml_disk_recorder_print(const ml_disk *disk, ml_buf *out)
{
    size_t count;
    const ml_disk_call *calls = ml_disk_recorder_calls(disk, &count);
    for (size_t i = 0; i < count; i++)
        print(&calls[i], out);
}

void ml_disk_recorder_clear(ml_disk *disk)
{
    ml_buf_clear(&recorder_of(disk)->calls);
}
