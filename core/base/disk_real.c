/* disk_real.c -- the disk of the machine, below one directory that is held open.
 *
 * Every path is walked from the held descriptor, directory by directory, without following
 * a symbolic link: moving or replacing the data directory while it is open changes nothing,
 * and a link planted in it leads nowhere. */
#include "disk.h"
#include "disk_map.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FILE_MODE = 0600, /* events are nobody else's business */
    DIR_MODE = 0700,
    WRITE_MAX = 1 << 30 /* one call: below the kernel's limit of 2 GiB */
};

typedef struct real {
    ml_disk disk;
    int root;
} real;

static int result(int returned)
{
    return returned < 0 ? -errno : returned;
}

/* ---- paths ------------------------------------------------------------------------------ */

/* Where a path's last name is to be looked up. */
typedef struct place {
    int dir;
    bool ours; /* `dir` was opened for this call */
    const char *name;
} place;

static void leave(const place *at)
{
    if (at->ours) close(at->dir); /* held for looking up only: nothing to lose */
}

static int enter(place *at, const char *name, size_t size)
{
    char part[NAME_MAX + 1];
    if (size == 0) return -EINVAL;
    if (size > NAME_MAX) return -ENAMETOOLONG;
    memcpy(part, name, size);
    part[size] = '\0';
    if (strcmp(part, "..") == 0) return -EINVAL;
    int dir = openat(at->dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) return -errno;
    leave(at);
    at->dir = dir;
    at->ours = true;
    return 0;
}

/* Gives the place of `path`, to be left with leave(). */
static int find(const ml_disk *disk, const char *path, place *at)
{
    *at = (place){.dir = ((const real *)disk)->root, .name = path};
    for (const char *slash; (slash = strchr(at->name, '/')) != NULL; at->name = slash + 1) {
        int error = enter(at, at->name, (size_t)(slash - at->name));
        if (error < 0) {
            leave(at);
            return error;
        }
    }
    if (*at->name != '\0' && strcmp(at->name, "..") != 0) return 0;
    leave(at);
    return -EINVAL;
}

/* ---- files ------------------------------------------------------------------------------ */

static int check_regular(int file)
{
    struct stat status;
    if (fstat(file, &status) < 0) return -errno;
    if (S_ISDIR(status.st_mode)) return -EISDIR;
    return S_ISREG(status.st_mode) ? 0 : -EINVAL;
}

static int real_open(ml_disk *disk, const char *path, int how)
{
    place at;
    int error = find(disk, path, &at);
    if (error < 0) return error;
    bool create = how == ML_DISK_CREATE;
    int flags = (how & ML_DISK_WRITE ? O_RDWR : O_RDONLY) | (create ? O_CREAT : 0);
    /* O_NONBLOCK: a FIFO must not keep us waiting before it can be refused. */
    int file =
        openat(at.dir, at.name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, FILE_MODE);
    if (file < 0) error = errno == ENXIO ? -EINVAL : -errno; /* ENXIO: a socket */
    leave(&at);
    if (file < 0) return error;
    error = check_regular(file);
    /* Emptied only now that it is known to be a file: O_TRUNC would not have asked. */
    if (error == 0 && create) error = result(ftruncate(file, 0));
    if (error == 0) return file;
    close(file);
    return error;
}

static int real_close(ml_disk *disk, int file)
{
    (void)disk;
    return result(close(file));
}

static int64_t real_pread(ml_disk *disk, int file, void *to, size_t size, uint64_t offset)
{
    (void)disk;
    ssize_t moved = pread(file, to, size < WRITE_MAX ? size : WRITE_MAX, (off_t)offset);
    return moved < 0 ? -errno : moved;
}

static int64_t real_pwrite(ml_disk *disk, int file, const void *from, size_t size, uint64_t offset)
{
    (void)disk;
    ssize_t moved = pwrite(file, from, size < WRITE_MAX ? size : WRITE_MAX, (off_t)offset);
    return moved < 0 ? -errno : moved;
}

static int real_sync(ml_disk *disk, int file)
{
    (void)disk;
    return result(fdatasync(file));
}

static int real_truncate(ml_disk *disk, int file, uint64_t size)
{
    (void)disk;
    return result(ftruncate(file, (off_t)size));
}

static int real_size(ml_disk *disk, int file, uint64_t *size)
{
    (void)disk;
    struct stat status;
    if (fstat(file, &status) < 0) return -errno;
    *size = (uint64_t)status.st_size;
    return 0;
}

static int real_allocate(ml_disk *disk, int file, uint64_t size)
{
    uint64_t present = 0;
    int error = real_size(disk, file, &present);
    if (error < 0 || size <= present) return error;
    error = result(fallocate(file, 0, 0, (off_t)size));
    /* No blocks are held then, and a full disk shows up later, at a write: still correct. */
    if (error == -EOPNOTSUPP) error = real_truncate(disk, file, size);
    return error;
}

static int real_locked(ml_disk *disk, int file)
{
    (void)disk;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_OFD_GETLK, &whole) < 0) return -errno;
    return whole.l_type != F_UNLCK;
}

static int real_lock(ml_disk *disk, int file)
{
    (void)disk;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    /* Of the open file, not of the process: two handles in one process exclude each other,
     * and closing another descriptor of the same file does not give it back. */
    int error = result(fcntl(file, F_OFD_SETLK, &whole));
    return error == -EACCES ? -EAGAIN : error;
}

static int real_map(ml_disk *disk, int file, uint64_t size, const uint8_t **map)
{
    (void)disk;
    return ml_disk_map_new(file, size, map);
}

static void real_unmap(ml_disk *disk, const uint8_t *map, uint64_t size)
{
    (void)disk;
    ml_disk_map_free(map, size);
}

/* ---- names ------------------------------------------------------------------------------ */

static int real_rename(ml_disk *disk, const char *from, const char *to)
{
    place old, new;
    int error = find(disk, from, &old);
    if (error < 0) return error;
    error = find(disk, to, &new);
    if (error == 0) {
        error = result(renameat(old.dir, old.name, new.dir, new.name));
        leave(&new);
    }
    leave(&old);
    return error;
}

static int real_unlink(ml_disk *disk, const char *path)
{
    place at;
    int error = find(disk, path, &at);
    if (error < 0) return error;
    error = result(unlinkat(at.dir, at.name, 0));
    leave(&at);
    return error;
}

static int real_make_dir(ml_disk *disk, const char *path)
{
    place at;
    int error = find(disk, path, &at);
    if (error < 0) return error;
    error = result(mkdirat(at.dir, at.name, DIR_MODE));
    struct stat status;
    if (error == -EEXIST && fstatat(at.dir, at.name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        error = S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
    leave(&at);
    return error;
}

static int open_dir(const ml_disk *disk, const char *path)
{
    place at;
    int error = find(disk, path, &at);
    if (error < 0) return error;
    int dir = result(openat(at.dir, at.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    leave(&at);
    return dir;
}

static int sync_and_close(int dir)
{
    int error = result(fsync(dir));
    int closed = result(close(dir));
    return error < 0 ? error : closed;
}

static int real_sync_dir(ml_disk *disk, const char *path)
{
    int dir = open_dir(disk, path);
    return dir < 0 ? dir : sync_and_close(dir);
}

static int real_list(ml_disk *disk, const char *path, void (*each)(void *context, const char *name),
                     void *context)
{
    int fresh = open_dir(disk, path); /* its own place in the directory, not the held one's */
    if (fresh < 0) return fresh;
    DIR *dir = fdopendir(fresh);
    if (dir == NULL) {
        int error = -errno;
        close(fresh);
        return error;
    }
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        each(context, entry->d_name);
    }
    int error = -errno;
    closedir(dir);
    return error;
}

/* ---- clock, dice, life ------------------------------------------------------------------ */

static int64_t real_now(ml_disk *disk)
{
    (void)disk;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int real_random(ml_disk *disk, void *to, size_t size)
{
    (void)disk;
    for (uint8_t *at = to; size > 0;) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

static void real_free(ml_disk *disk)
{
    real *self = (real *)disk;
    if (self->root >= 0) close(self->root);
    free((char *)(uintptr_t)disk->root);
    free(self);
}

static const ml_disk_ops ops = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .sync = real_sync,
    .allocate = real_allocate,
    .truncate = real_truncate,
    .size = real_size,
    .rename = real_rename,
    .unlink = real_unlink,
    .make_dir = real_make_dir,
    .sync_dir = real_sync_dir,
    .list = real_list,
    .lock = real_lock,
    .locked = real_locked,
    .map = real_map,
    .unmap = real_unmap,
    .now = real_now,
    .random = real_random,
    .free = real_free,
};

/* ---- the directory itself --------------------------------------------------------------- */

/* The directory that `root` is an entry of; to be freed. */
static char *parent_of(const char *root)
{
    size_t size = strlen(root);
    while (size > 1 && root[size - 1] == '/')
        size--;
    while (size > 0 && root[size - 1] != '/')
        size--;
    if (size == 0) return strdup(".");
    return strndup(root, size); /* keeps its last '/', so that "/" stays "/" */
}

static ml_code refuse_make(const char *root, const char *parent, int failed, ml_error *why)
{
    if (failed != ENOENT) return ml_error_disk(why, -failed, "make directory", root);
    if (access(parent, F_OK) == 0) /* such as /proc */
        return ml_error_set(why, ML_FORBIDDEN,
                            "cannot make %s: its parent %s takes no new directories; choose "
                            "another place",
                            root, parent);
    return ml_error_set(why, ML_NOT_FOUND,
                        "cannot make %s: its parent %s does not exist; make that first", root,
                        parent);
}

static ml_code make_root(const char *root, ml_error *why)
{
    char *parent = parent_of(root);
    if (parent == NULL) return ml_error_memory(why, "the name of a directory");
    ml_code code = ML_OK;
    if (mkdir(root, DIR_MODE) < 0 && errno != EEXIST) {
        code = refuse_make(root, parent, errno, why);
    } else {
        int dir = result(open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        int error = dir < 0 ? dir : sync_and_close(dir);
        if (error < 0) code = ml_error_disk(why, error, "sync directory", parent);
    }
    free(parent);
    return code;
}

static ml_code open_root(real *self, const char *root, bool create, ml_error *why)
{
    enum { flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC };
    self->root = open(root, flags);
    if (self->root < 0 && errno == ENOENT && create) {
        ml_code code = make_root(root, why);
        if (code) return code;
        self->root = open(root, flags);
    }
    if (self->root >= 0) return ML_OK;
    switch (errno) {
    case ENOENT:
        return ml_error_set(why, ML_NOT_FOUND,
                            "there is no directory %s; check the path, or create the store", root);
    case ENOTDIR:
        return ml_error_set(why, ML_NOT_A_STORE,
                            "%s is not a directory (or lies below something that is not)", root);
    case EACCES:
        return ml_error_set(why, ML_FORBIDDEN,
                            "no permission to open %s; check the owner and mode of it and of the "
                            "directories above it",
                            root);
    default: return ml_error_disk(why, -errno, "open directory", root);
    }
}

ml_code ml_disk_real_new(const char *root, bool create, ml_disk **disk, ml_error *why)
{
    if (root[0] == '\0')
        return ml_error_set(why, ML_BAD_REQUEST, "the path of the data directory is empty");
    real *self = calloc(1, sizeof *self);
    char *shown = strdup(root);
    if (self == NULL || shown == NULL) {
        free(self);
        free(shown);
        return ml_error_memory(why, "a disk");
    }
    *self = (real){.disk = {.ops = &ops, .root = shown}, .root = -1};
    ml_code code = open_root(self, root, create, why);
    if (code) {
        real_free(&self->disk);
        return code;
    }
    *disk = &self->disk;
    return ML_OK;
}
