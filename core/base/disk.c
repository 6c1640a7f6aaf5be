/* disk.c -- what the house does with a disk: whole reads, whole writes, one sync, names put
 * in place for good. Works on any backend; the sentences are made here. */
#include "disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SHOWN_MAX = 512,       /* root and path in a sentence: longer ones are cut */
    INTERRUPTS_MAX = 1000, /* in a row for one call: beyond, it is no signal but a fault */
};

void ml_disk_free(ml_disk *disk)
{
    if (disk != NULL) disk->ops->free(disk);
}

/* ---- sentences -------------------------------------------------------------------------- */

static void show(char shown[SHOWN_MAX], const ml_disk *disk, const char *path)
{
    if (strcmp(path, ".") == 0)
        snprintf(shown, SHOWN_MAX, "%s", disk->root);
    else
        snprintf(shown, SHOWN_MAX, "%s/%s", disk->root, path);
}

static ml_code refuse(const ml_disk *disk, int64_t error, const char *call, const char *path,
                      ml_error *why)
{
    char shown[SHOWN_MAX];
    show(shown, disk, path);
    return ml_error_disk(why, (int)error, call, shown);
}

/* What open refuses by its own rule deserves better words than the system's. */
static ml_code refuse_open(const ml_disk *disk, int error, const char *path, ml_error *why)
{
    char shown[SHOWN_MAX];
    show(shown, disk, path);
    const char *what = error == -ELOOP    ? "a symbolic link, which is never followed"
                       : error == -EISDIR ? "a directory"
                       : error == -EINVAL ? "not a regular file"
                                          : NULL;
    if (what == NULL) return ml_error_disk(why, error, "open", shown);
    return ml_error_set(why, ML_IO, "open %s: it is %s; put the file itself there", shown, what);
}

/* ---- one call each ---------------------------------------------------------------------- */

ml_code ml_disk_open(ml_disk *disk, const char *path, int how, int *file, ml_error *why)
{
    int opened = disk->ops->open(disk, path, how);
    if (opened < 0) return refuse_open(disk, opened, path, why);
    *file = opened;
    return ML_OK;
}

ml_code ml_disk_close(ml_disk *disk, int file, const char *path, ml_error *why)
{
    int error = disk->ops->close(disk, file);
    return error < 0 ? refuse(disk, error, "close", path, why) : ML_OK;
}

ml_code ml_disk_sync(ml_disk *disk, int file, const char *path, ml_error *why)
{
    int error = disk->ops->sync(disk, file);
    return error < 0 ? refuse(disk, error, "sync", path, why) : ML_OK;
}

ml_code ml_disk_size(ml_disk *disk, int file, const char *path, uint64_t *size, ml_error *why)
{
    int error = disk->ops->size(disk, file, size);
    return error < 0 ? refuse(disk, error, "size of", path, why) : ML_OK;
}

ml_code ml_disk_remove(ml_disk *disk, const char *path, ml_error *why)
{
    int error = disk->ops->unlink(disk, path);
    return error < 0 && error != -ENOENT ? refuse(disk, error, "remove", path, why) : ML_OK;
}

/* ---- all of it -------------------------------------------------------------------------- */

static ml_code ended_early(const ml_disk *disk, const char *path, uint64_t end, uint64_t wanted,
                           ml_error *why)
{
    char shown[SHOWN_MAX];
    show(shown, disk, path);
    return ml_error_set(why, ML_CORRUPT,
                        "%s ends at byte %llu, though bytes up to %llu should be there", shown,
                        (unsigned long long)end, (unsigned long long)wanted);
}

ml_code ml_disk_read(ml_disk *disk, int file, const char *path, void *to, size_t size,
                     uint64_t offset, ml_error *why)
{
    uint8_t *at = to;
    uint64_t end = offset + size;
    int interrupts = 0;
    while (offset < end) {
        int64_t moved = disk->ops->pread(disk, file, at, (size_t)(end - offset), offset);
        if (moved == -EINTR && ++interrupts < INTERRUPTS_MAX) continue;
        if (moved < 0) return refuse(disk, moved, "read", path, why);
        if (moved == 0) return ended_early(disk, path, offset, end, why);
        interrupts = 0;
        at += moved;
        offset += (uint64_t)moved;
    }
    return ML_OK;
}

ml_code ml_disk_write(ml_disk *disk, int file, const char *path, const void *from, size_t size,
                      uint64_t offset, ml_error *why)
{
    const uint8_t *at = from;
    uint64_t end = offset + size;
    int interrupts = 0;
    while (offset < end) {
        int64_t moved = disk->ops->pwrite(disk, file, at, (size_t)(end - offset), offset);
        if (moved == -EINTR && ++interrupts < INTERRUPTS_MAX) continue;
        if (moved == 0) moved = -EIO; /* no byte and no reason: going on would spin */
        if (moved < 0) return refuse(disk, moved, "write", path, why);
        interrupts = 0;
        at += moved;
        offset += (uint64_t)moved;
    }
    return ML_OK;
}

/* ---- names ------------------------------------------------------------------------------ */

ml_code ml_disk_adopt(ml_disk *disk, const char *from, const char *to, const char *dir,
                      ml_error *why)
{
    int error = disk->ops->rename(disk, from, to);
    if (error < 0) return refuse(disk, error, "rename to", to, why);
    error = disk->ops->sync_dir(disk, dir);
    if (error == 0) return ML_OK;
    ml_code code = refuse(disk, error, "sync directory", dir, why);
    if (code != ML_NO_SPACE) return code;
    /* The new name is there, if not for good: no refusal that left all as it was. */
    if (why != NULL) why->code = ML_IO;
    return ML_IO;
}

static ml_code write_aside(ml_disk *disk, const char *aside, ml_bytes content, ml_error *why)
{
    int file = -1;
    ml_code code = ml_disk_open(disk, aside, ML_DISK_CREATE, &file, why);
    if (code) return code;
    code = ml_disk_write(disk, file, aside, content.data, content.size, 0, why);
    /* Synced before it gets the name: else a crash may leave the name on no content. */
    if (!code) code = ml_disk_sync(disk, file, aside, why);
    ml_code closed = ml_disk_close(disk, file, aside, code ? NULL : why);
    return code ? code : closed;
}

ml_code ml_disk_save(ml_disk *disk, const char *path, const char *dir, ml_bytes content,
                     ml_error *why)
{
    size_t size = strlen(path);
    char *aside = malloc(size + 2);
    if (aside == NULL) return ml_error_memory(why, "a file name");
    memcpy(aside, path, size);
    memcpy(aside + size, "~", 2);

    ml_code code = write_aside(disk, aside, content, why);
    if (!code) code = ml_disk_adopt(disk, aside, path, dir, why);
    /* What is half written is of no use to anybody, and on a full disk it is in the way. */
    if (code) disk->ops->unlink(disk, aside);
    free(aside);
    return code;
}

typedef struct listing {
    ml_disk_names *names;
    const char *suffix;
    size_t capacity;
    bool failed;
} listing;

static bool ends_in(const char *name, const char *suffix)
{
    size_t size = strlen(name), end = strlen(suffix);
    return size >= end && strcmp(name + size - end, suffix) == 0;
}

static bool make_room(listing *list)
{
    if (list->names->count < list->capacity) return true;
    size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
    char **names = realloc(list->names->names, capacity * sizeof *names);
    if (names == NULL) return false;
    list->names->names = names;
    list->capacity = capacity;
    return true;
}

static void keep_name(void *context, const char *name)
{
    listing *list = context;
    if (list->failed || !ends_in(name, list->suffix)) return;
    char *copy = make_room(list) ? strdup(name) : NULL;
    if (copy == NULL)
        list->failed = true;
    else
        list->names->names[list->names->count++] = copy;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

ml_code ml_disk_list(ml_disk *disk, const char *path, const char *suffix, ml_disk_names *names,
                     ml_error *why)
{
    *names = (ml_disk_names){0};
    listing list = {.names = names, .suffix = suffix};
    int error = disk->ops->list(disk, path, keep_name, &list);
    if (error == 0 && list.failed) error = -ENOMEM;
    if (error == -ENOENT) error = 0;
    if (error < 0) {
        ml_disk_names_free(names);
        return refuse(disk, error, "list", path, why);
    }
    if (names->count > 1) qsort(names->names, names->count, sizeof *names->names, by_name);
    return ML_OK;
}

void ml_disk_names_free(ml_disk_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (ml_disk_names){0};
}
