/* disk_sim.c -- the simulated disk: its calls. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static int done(ml_sim *self, enum ml_disk_op op, int result)
{
    bool changed = self->changed;
    self->changed = false;
    if (changed && self->hook != NULL) self->hook(self->context, &self->disk, op);
    return result;
}

/* 0 if `path` may name something on this disk. */
static int check_path(const ml_sim *self, const char *path)
{
    size_t size = strlen(path);
    if (size >= ML_SIM_PATH) return -ENAMETOOLONG;
    if (size == 0 || path[0] == '/' || path[size - 1] == '/') return -EINVAL;
    return ml_sim_names_has_dir(&self->live, path, ml_sim_names_dir(path)) ? 0 : -ENOENT;
}

static bool is_dir(const ml_sim *self, const char *path)
{
    size_t size = strcmp(path, ".") == 0 ? 0 : strlen(path);
    return ml_sim_names_has_dir(&self->live, path, size);
}

/* ---- files ------------------------------------------------------------------------------ */

static uint64_t space_left(const ml_sim *self)
{
    if (self->capacity == ML_SIM_ALL) return ML_SIM_ALL;
    uint64_t used = 0;
    for (size_t i = 0; i < self->options.files; i++)
        used += self->files[i].size;
    return used < self->capacity ? self->capacity - used : 0;
}

static int new_file(ml_sim *self, const char *path)
{
    if (space_left(self) == 0) return -ENOSPC;
    for (size_t i = 0; i < self->options.files; i++) {
        if (self->files[i].used) continue;
        int error = ml_sim_note(self, ML_DISK_OP_OPEN, path, NULL, (int)i);
        if (error < 0) return error;
        self->files[i].used = true;
        return (int)i;
    }
    return -ENOSPC;
}

static ml_sim_handle *handle_of(ml_sim *self, int file, bool write)
{
    if (file < 0 || file >= ML_SIM_HANDLES) return NULL;
    ml_sim_handle *found = &self->handles[file];
    return found->open && (found->write || !write) ? found : NULL;
}

static int free_handle(const ml_sim *self)
{
    for (int i = 0; i < ML_SIM_HANDLES; i++)
        if (!self->handles[i].open) return i;
    return -EMFILE;
}

static int sim_open(ml_disk *disk, const char *path, int how)
{
    ml_sim *self = ml_sim_of(disk);
    int error = check_path(self, path);
    if (error < 0) return error;
    if (is_dir(self, path)) return -EISDIR;
    int opened = free_handle(self);
    if (opened < 0) return opened;
    const ml_sim_name *entry = ml_sim_names_find(&self->live, path);
    int file = entry != NULL ? entry->file : how == ML_DISK_CREATE ? new_file(self, path) : -ENOENT;
    if (file < 0) return file;
    if (entry != NULL && how == ML_DISK_CREATE) {
        error = ml_sim_resize(self, file, 0);
        if (error < 0) return error;
    }
    self->files[file].handles++;
    self->handles[opened] =
        (ml_sim_handle){.open = true, .write = (how & ML_DISK_WRITE) != 0, .file = file};
    return done(self, ML_DISK_OP_OPEN, opened);
}

static int sim_close(ml_disk *disk, int file)
{
    ml_sim *self = ml_sim_of(disk);
    ml_sim_handle *closed = handle_of(self, file, false);
    if (closed == NULL) return -EBADF;
    self->files[closed->file].handles--;
    *closed = (ml_sim_handle){0};
    ml_sim_sweep(self);
    self->changed = false; /* what nobody can reach is no change */
    return 0;
}

static int64_t sim_pread(ml_disk *disk, int file, void *to, size_t size, uint64_t offset)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, false);
    if (opened == NULL) return -EBADF;
    const ml_sim_file *from = &self->files[opened->file];
    if (offset >= from->size) return 0;
    if (size > from->size - offset) size = (size_t)(from->size - offset);
    memcpy(to, from->data + offset, size);
    return (int64_t)size;
}

static int64_t sim_pwrite(ml_disk *disk, int file, const void *from, size_t size, uint64_t offset)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, true);
    if (opened == NULL) return -EBADF;
    if (size == 0) return 0;
    ml_sim_file *into = &self->files[opened->file];
    if (offset > self->options.file_bytes || size > self->options.file_bytes - offset)
        return -EFBIG;
    uint64_t left = space_left(self);
    if (left < ML_SIM_ALL - into->size && offset + size > into->size + left) {
        if (offset >= into->size + left) return -ENOSPC;
        size = (size_t)(into->size + left - offset);
    }
    if (!ml_sim_reserve(self, ml_sim_units_max(size))) return -ENOMEM;
    if (offset + size > into->size) ml_sim_grow(self, opened->file, offset + size);
    ml_sim_write(self, opened->file, offset, from, size);
    done(self, ML_DISK_OP_PWRITE, 0);
    return (int64_t)size;
}

static int sim_sync(ml_disk *disk, int file)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, false);
    if (opened == NULL) return -EBADF;
    const ml_sim_file *synced = &self->files[opened->file];
    bool shrank = synced->size_pending && synced->old_size > synced->size;
    bool lags = shrank && self->options.lazy_shrink;
    ml_sim_drop(self, opened->file, lags ? synced->size : ML_SIM_ALL);
    return done(self, ML_DISK_OP_SYNC, 0);
}

static int sim_allocate(ml_disk *disk, int file, uint64_t size)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, true);
    if (opened == NULL) return -EBADF;
    const ml_sim_file *grown = &self->files[opened->file];
    if (size <= grown->size) return 0;
    if (size > self->options.file_bytes) return -EFBIG;
    if (size - grown->size > space_left(self)) return -ENOSPC;
    int error = ml_sim_resize(self, opened->file, size);
    return done(self, ML_DISK_OP_ALLOCATE, error);
}

static int sim_truncate(ml_disk *disk, int file, uint64_t size)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, true);
    if (opened == NULL) return -EBADF;
    const ml_sim_file *cut = &self->files[opened->file];
    if (size > self->options.file_bytes) return -EFBIG;
    if (size > cut->size && size - cut->size > space_left(self)) return -ENOSPC;
    int error = ml_sim_resize(self, opened->file, size);
    return done(self, ML_DISK_OP_TRUNCATE, error);
}

static int sim_size(ml_disk *disk, int file, uint64_t *size)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, false);
    if (opened == NULL) return -EBADF;
    *size = self->files[opened->file].size;
    return 0;
}

static int sim_locked(ml_disk *disk, int file)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, false);
    if (opened == NULL) return -EBADF;
    for (int i = 0; i < ML_SIM_HANDLES; i++) {
        const ml_sim_handle *other = &self->handles[i];
        if (other != opened && other->locked && other->file == opened->file) return 1;
    }
    return 0;
}

static int sim_lock(ml_disk *disk, int file)
{
    ml_sim_handle *opened = handle_of(ml_sim_of(disk), file, true);
    if (opened == NULL) return -EBADF;
    if (sim_locked(disk, file) == 1) return -EAGAIN;
    opened->locked = true;
    return 0;
}

static int sim_map(ml_disk *disk, int file, uint64_t size, const uint8_t **map)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_handle *opened = handle_of(self, file, false);
    if (opened == NULL) return -EBADF;
    if (size == 0) return -EINVAL;
    if (size > self->options.file_bytes) return -ENOMEM;
    self->files[opened->file].maps++;
    *map = self->files[opened->file].data;
    return 0;
}

static void sim_unmap(ml_disk *disk, const uint8_t *map, uint64_t size)
{
    (void)size;
    ml_sim *self = ml_sim_of(disk);
    size_t file = (size_t)(map - self->memory) / (size_t)self->options.file_bytes;
    ML_ASSERT(file < self->options.files);
    ML_ASSERT(self->files[file].data == map);
    ML_ASSERT(self->files[file].maps > 0);
    self->files[file].maps--;
    ml_sim_sweep(self);
    self->changed = false;
}

/* ---- directories ------------------------------------------------------------------------ */

static int sim_rename(ml_disk *disk, const char *from, const char *to)
{
    ml_sim *self = ml_sim_of(disk);
    int error = check_path(self, from);
    if (error == 0) error = check_path(self, to);
    if (error < 0) return error;
    const ml_sim_name *entry = ml_sim_names_find(&self->live, from);
    if (entry == NULL) return -ENOENT;
    if (entry->file == ML_SIM_DIRECTORY || is_dir(self, to)) return -EISDIR;
    size_t dir = ml_sim_names_dir(from);
    if (dir != ml_sim_names_dir(to) || memcmp(from, to, dir) != 0) return -EXDEV;
    if (strcmp(from, to) == 0) return 0;
    error = ml_sim_note(self, ML_DISK_OP_RENAME, from, to, 0);
    return done(self, ML_DISK_OP_RENAME, error);
}

static int sim_unlink(ml_disk *disk, const char *path)
{
    ml_sim *self = ml_sim_of(disk);
    int error = check_path(self, path);
    if (error < 0) return error;
    if (is_dir(self, path)) return -EISDIR;
    if (ml_sim_names_find(&self->live, path) == NULL) return -ENOENT;
    error = ml_sim_note(self, ML_DISK_OP_UNLINK, path, NULL, 0);
    return done(self, ML_DISK_OP_UNLINK, error);
}

static int sim_make_dir(ml_disk *disk, const char *path)
{
    ml_sim *self = ml_sim_of(disk);
    if (is_dir(self, path)) return 0;
    int error = check_path(self, path);
    if (error < 0) return error;
    if (ml_sim_names_find(&self->live, path) != NULL) return -ENOTDIR;
    if (space_left(self) == 0) return -ENOSPC;
    error = ml_sim_note(self, ML_DISK_OP_MAKE_DIR, path, NULL, 0);
    return done(self, ML_DISK_OP_MAKE_DIR, error);
}

static int no_dir(const ml_sim *self, const char *path)
{
    return ml_sim_names_find(&self->live, path) != NULL ? -ENOTDIR : -ENOENT;
}

static int sim_sync_dir(ml_disk *disk, const char *path)
{
    ml_sim *self = ml_sim_of(disk);
    if (!is_dir(self, path)) return no_dir(self, path);
    size_t kept = 0;
    for (size_t i = 0; i < self->dir_op_count; i++) {
        const ml_sim_dir_op *op = &self->dir_ops[i];
        if (ml_sim_names_in(op->path, path))
            ml_sim_names_apply(&self->durable, op);
        else if (kept++ != i)
            self->dir_ops[kept - 1] = *op;
    }
    self->changed = kept < self->dir_op_count;
    self->dir_op_count = kept;
    ml_sim_sweep(self);
    return done(self, ML_DISK_OP_SYNC_DIR, 0);
}

static int sim_list(ml_disk *disk, const char *path, void (*each)(void *context, const char *name),
                    void *context)
{
    ml_sim *self = ml_sim_of(disk);
    if (!is_dir(self, path)) return no_dir(self, path);
    for (size_t i = 0; i < self->live.count; i++) {
        const char *entry = self->live.at[i].path, *slash = strrchr(entry, '/');
        if (ml_sim_names_in(entry, path)) each(context, slash != NULL ? slash + 1 : entry);
    }
    return 0;
}

/* ---- clock, dice, life ------------------------------------------------------------------ */

static int64_t sim_now(ml_disk *disk)
{
    return ml_sim_of(disk)->time++;
}

/* Source: SplitMix64, by Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators" (2014). */
static uint64_t roll(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int sim_random(ml_disk *disk, void *to, size_t size)
{
    ml_sim *self = ml_sim_of(disk);
    for (uint8_t *at = to; size > 0;) {
        uint64_t number = roll(&self->dice);
        size_t some = size < sizeof number ? size : sizeof number;
        memcpy(at, &number, some);
        at += some;
        size -= some;
    }
    return 0;
}

static void sim_free(ml_disk *disk)
{
    ml_sim *self = ml_sim_of(disk);
    if (self->memory != NULL) munmap(self->memory, self->memory_size);
    free(self->files);
    free(self->live.at);
    free(self->durable.at);
    free(self->units);
    free(self->dir_ops);
    free(self);
}

const ml_disk_ops ml_disk_sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .sync = sim_sync,
    .allocate = sim_allocate,
    .truncate = sim_truncate,
    .size = sim_size,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .make_dir = sim_make_dir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .lock = sim_lock,
    .locked = sim_locked,
    .map = sim_map,
    .unmap = sim_unmap,
    .now = sim_now,
    .random = sim_random,
    .free = sim_free,
};

/* One reservation for everything: pages cost memory only once they are written. */
static bool reserve(ml_sim *self)
{
    size_t files = self->options.files, bytes = (size_t)self->options.file_bytes;
    size_t sectors = bytes / ML_SIM_SECTOR;
    self->memory_size = files * (bytes + sectors);
    void *space = mmap(NULL, self->memory_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) return false;
    self->memory = space;
    bool *marks = (bool *)(void *)(self->memory + files * bytes);
    for (size_t i = 0; i < files; i++)
        self->files[i] =
            (ml_sim_file){.data = self->memory + i * bytes, .pending = marks + i * sectors};
    return true;
}

ml_code ml_disk_sim_new(const ml_disk_sim_options *options, ml_disk **disk, ml_error *why)
{
    ml_sim *self = calloc(1, sizeof *self);
    if (self == NULL) return ml_error_memory(why, "a simulated disk");
    self->disk = (ml_disk){.ops = &ml_disk_sim_ops, .root = "sim"};
    if (options != NULL) self->options = *options;
    if (self->options.files == 0) self->options.files = 64;
    if (self->options.file_bytes == 0) self->options.file_bytes = 1 << 20;
    self->options.file_bytes = (self->options.file_bytes + 4095) & ~(uint64_t)4095;
    self->capacity = ML_SIM_ALL;
    self->dice = self->options.seed;
    size_t names = ml_sim_names_max(self);
    self->files = calloc(self->options.files, sizeof *self->files);
    self->live.at = calloc(names, sizeof(ml_sim_name));
    self->durable.at = calloc(names, sizeof(ml_sim_name));
    if (self->files == NULL || self->live.at == NULL || self->durable.at == NULL ||
        !reserve(self)) {
        sim_free(&self->disk);
        return ml_error_memory(why, "a simulated disk");
    }
    *disk = &self->disk;
    return ML_OK;
}

/* ---- watching and steering -------------------------------------------------------------- */

void ml_disk_sim_on_op(ml_disk *disk, ml_disk_sim_hook hook, void *context)
{
    ml_sim *self = ml_sim_of(disk);
    self->hook = hook;
    self->context = context;
}

void ml_disk_sim_set_space(ml_disk *disk, uint64_t bytes_left)
{
    ml_sim *self = ml_sim_of(disk);
    uint64_t used = 0;
    for (size_t i = 0; i < self->options.files; i++)
        used += self->files[i].size;
    self->capacity = bytes_left < ML_SIM_ALL - used ? used + bytes_left : ML_SIM_ALL;
}

void ml_disk_sim_set_time(ml_disk *disk, int64_t now)
{
    ml_sim_of(disk)->time = now;
}

static ml_sim_file *content_of(ml_disk *disk, const char *path)
{
    ml_sim *self = ml_sim_of(disk);
    const ml_sim_name *entry = ml_sim_names_find(&self->live, path);
    return entry == NULL || entry->file == ML_SIM_DIRECTORY ? NULL : &self->files[entry->file];
}

uint8_t *ml_disk_sim_content(ml_disk *disk, const char *path, uint64_t *size)
{
    const ml_sim_file *file = content_of(disk, path);
    if (file == NULL) return NULL;
    *size = file->size;
    return file->data;
}

bool ml_disk_sim_cut(ml_disk *disk, const char *path, uint64_t size)
{
    ml_disk_sim_settle(disk);
    ml_sim_file *file = content_of(disk, path);
    if (file == NULL || size > ml_sim_of(disk)->options.file_bytes) return false;
    if (size < file->size) memset(file->data + size, 0, (size_t)(file->size - size));
    file->size = size;
    return true;
}
