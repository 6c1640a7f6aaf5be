/* sim.h -- the inside of the simulated disk: names, files, and what is pending.
 *
 * A file is a number: its place in `files`, the same in a disk and in its images, so that an
 * image reuses the buffer the file had there before. The live content is kept whole, and
 * beyond its size a buffer is all zeros; a unit keeps what is durable instead.
 *
 * Floor    base; a test instrument, for disk_sim.c (the calls) and disk_sim_crash.c.
 * Threads  one.
 */
#ifndef ML_BASE_SIM_H
#define ML_BASE_SIM_H

#include "disk_sim.h"

enum {
    ML_SIM_SECTOR = ML_DISK_SIM_SECTOR,
    ML_SIM_PATH = 96,     /* "index/" and a 20-digit name take 31 */
    ML_SIM_HANDLES = 256, /* open at once */
    ML_SIM_DIRECTORY = -1 /* a name's file, when it is a directory */
};
#define ML_SIM_ALL UINT64_MAX /* no limit of space; no cut */

typedef struct ml_sim_file {
    uint8_t *data;     /* address space for the largest file */
    bool *pending;     /* of each sector: it has a unit */
    bool size_pending; /* the size has one */
    uint64_t size;
    uint64_t old_size; /* the durable one, while the size is pending */
    size_t units;
    int handles, maps;
    bool used;
} ml_sim_file;

typedef struct ml_sim_unit {
    int file;
    bool is_size;
    uint64_t sector;            /* if it is no size: which one, */
    uint8_t old[ML_SIM_SECTOR]; /* and its durable bytes */
} ml_sim_unit;

typedef struct ml_sim_name {
    char path[ML_SIM_PATH];
    int file;
} ml_sim_name;

typedef struct ml_sim_names {
    ml_sim_name *at;
    size_t count;
} ml_sim_names;

typedef struct ml_sim_dir_op {
    enum ml_disk_op op; /* OPEN (a new file), RENAME, UNLINK, MAKE_DIR */
    int file;           /* of OPEN */
    char path[ML_SIM_PATH];
    char to[ML_SIM_PATH]; /* of RENAME */
} ml_sim_dir_op;

typedef struct ml_sim_handle {
    bool open, write, locked;
    int file;
} ml_sim_handle;

typedef struct ml_sim {
    ml_disk disk;
    ml_disk_sim_options options;
    uint8_t *memory; /* one reservation: all `data`, then all `pending` */
    size_t memory_size;
    ml_sim_file *files; /* options.files of them */
    ml_sim_names live, durable;
    ml_sim_unit *units;
    size_t unit_count, unit_room;
    ml_sim_dir_op *dir_ops;
    size_t dir_op_count, dir_op_room;
    ml_sim_handle handles[ML_SIM_HANDLES];
    uint64_t capacity;
    int64_t time;
    uint64_t dice;
    bool changed; /* since the running operation began */
    ml_disk_sim_hook hook;
    void *context;
} ml_sim;

extern const ml_disk_ops ml_disk_sim_ops;

static inline ml_sim *ml_sim_of(const ml_disk *disk)
{
    ML_ASSERT(disk->ops == &ml_disk_sim_ops);
    return (ml_sim *)(uintptr_t)disk;
}

/* ---- names: sim_names.c ----------------------------------------------------------------- */

/* Directories live as long as the disk, a file has one name at most: a table never holds
 * more than the files and, at most twice as many, the directories. */
static inline size_t ml_sim_names_max(const ml_sim *sim)
{
    return 3 * sim->options.files;
}

/* The size of the directory part of a path; 0 if it has none. */
size_t ml_sim_names_dir(const char *path);

bool ml_sim_names_in(const char *path, const char *dir);

/* NULL if it is not there. */
ml_sim_name *ml_sim_names_find(const ml_sim_names *names, const char *path);

/* True of the first `size` bytes of `path` if they name a directory, or nothing. */
bool ml_sim_names_has_dir(const ml_sim_names *names, const char *path, size_t size);

void ml_sim_names_forget(ml_sim_names *names, ml_sim_name *name);
void ml_sim_names_copy(ml_sim_names *to, const ml_sim_names *from);

/* What the operation does to a table; nothing if what it is about is not there. */
void ml_sim_names_apply(ml_sim_names *names, const ml_sim_dir_op *op);

/* ---- content and units: sim.c ----------------------------------------------------------- */

/* How many units a change of `size` bytes needs at most, its size included. */
static inline uint64_t ml_sim_units_max(uint64_t size)
{
    return size / ML_SIM_SECTOR + 3;
}

/* Carries a directory operation out and notes it as pending; 0 or a negative errno. */
ML_MUST_USE int ml_sim_note(ml_sim *sim, enum ml_disk_op op, const char *path, const char *to,
                            int file);

/* Room for that many more units. */
ML_MUST_USE bool ml_sim_reserve(ml_sim *sim, uint64_t more);

/* Writes bytes (NULL: zeros) below file_bytes, keeping what was durable. Room for the units
 * was reserved. */
void ml_sim_write(ml_sim *sim, int file, uint64_t offset, const uint8_t *from, size_t size);

/* Sets the size alone. Room for one unit was reserved. */
void ml_sim_grow(ml_sim *sim, int file, uint64_t size);

/* Sets the size; what that cuts off becomes zeros. 0 or -ENOMEM. */
ML_MUST_USE int ml_sim_resize(ml_sim *sim, int file, uint64_t size);

/* Makes a file's units durable: all but those of the bytes from `cut` on and, if there is a
 * cut, of its size. */
void ml_sim_drop(ml_sim *sim, int file, uint64_t cut);

/* Notes that a sector or size has a unit, or has it no more. */
void ml_sim_mark(ml_sim *sim, const ml_sim_unit *unit, bool pending);

/* Gives up the files that nobody can reach any more, not even after a crash. */
void ml_sim_sweep(ml_sim *sim);

#endif
