/* sim.c -- content that remembers what is durable, unit by unit. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

/* ---- directory operations --------------------------------------------------------------- */

int ml_sim_note(ml_sim *self, enum ml_disk_op op, const char *path, const char *to, int file)
{
    bool adds = op == ML_DISK_OP_OPEN || op == ML_DISK_OP_MAKE_DIR;
    if (adds && self->live.count == 2 * self->options.files) return -ENOSPC;
    if (self->dir_op_count == self->dir_op_room) {
        size_t room = self->dir_op_room > 0 ? 2 * self->dir_op_room : 16;
        ml_sim_dir_op *grown = realloc(self->dir_ops, room * sizeof *grown);
        if (grown == NULL) return -ENOMEM;
        self->dir_ops = grown;
        self->dir_op_room = room;
    }
    ml_sim_dir_op *noted = &self->dir_ops[self->dir_op_count++];
    *noted = (ml_sim_dir_op){.op = op, .file = file};
    memcpy(noted->path, path, strlen(path) + 1);
    if (to != NULL) memcpy(noted->to, to, strlen(to) + 1);
    ml_sim_names_apply(&self->live, noted);
    self->changed = true;
    return 0;
}

/* ---- units ------------------------------------------------------------------------------ */

void ml_sim_mark(ml_sim *self, const ml_sim_unit *unit, bool pending)
{
    ml_sim_file *file = &self->files[unit->file];
    if (unit->is_size)
        file->size_pending = pending;
    else
        file->pending[unit->sector] = pending;
}

bool ml_sim_reserve(ml_sim *self, uint64_t more)
{
    if (more <= self->unit_room - self->unit_count) return true;
    size_t room = self->unit_room > 0 ? self->unit_room : 64;
    while (room - self->unit_count < more)
        room *= 2;
    ml_sim_unit *grown = realloc(self->units, room * sizeof *grown);
    if (grown == NULL) return false;
    self->units = grown;
    self->unit_room = room;
    return true;
}

static ml_sim_unit *add_unit(ml_sim *self, int file, bool is_size, uint64_t sector)
{
    ML_ASSERT(self->unit_count < self->unit_room);
    ml_sim_unit *added = &self->units[self->unit_count++];
    added->file = file;
    added->is_size = is_size;
    added->sector = sector;
    ml_sim_mark(self, added, true);
    self->files[file].units++;
    return added;
}

static bool is_cut(const ml_sim_unit *unit, uint64_t cut)
{
    return cut != ML_SIM_ALL && (unit->is_size || unit->sector * ML_SIM_SECTOR >= cut);
}

/* The units that stay keep their order, in which tests go through them. */
void ml_sim_drop(ml_sim *self, int file, uint64_t cut)
{
    if (self->files[file].units == 0) return;
    size_t kept = 0;
    for (size_t i = 0; i < self->unit_count; i++) {
        const ml_sim_unit *unit = &self->units[i];
        if (unit->file == file && !is_cut(unit, cut)) {
            ml_sim_mark(self, unit, false);
            self->files[file].units--;
            continue;
        }
        if (kept != i) self->units[kept] = *unit;
        kept++;
    }
    self->changed |= kept < self->unit_count;
    self->unit_count = kept;
}

static void keep_sector(ml_sim *self, int number, uint64_t sector)
{
    const ml_sim_file *file = &self->files[number];
    if (file->pending[sector]) return;
    ml_sim_unit *added = add_unit(self, number, false, sector);
    memcpy(added->old, file->data + sector * ML_SIM_SECTOR, ML_SIM_SECTOR);
}

void ml_sim_write(ml_sim *self, int number, uint64_t offset, const uint8_t *from, size_t size)
{
    static const uint8_t zeros[ML_SIM_SECTOR];
    ml_sim_file *file = &self->files[number];
    for (uint64_t end = offset + size; offset < end;) {
        uint64_t sector = offset / ML_SIM_SECTOR;
        size_t some = (size_t)(ML_SIM_SECTOR - offset % ML_SIM_SECTOR);
        if (some > end - offset) some = (size_t)(end - offset);
        const uint8_t *bytes = from != NULL ? from : zeros;
        if (memcmp(file->data + offset, bytes, some) != 0) {
            keep_sector(self, number, sector);
            memcpy(file->data + offset, bytes, some);
            self->changed = true;
        }
        offset += some;
        if (from != NULL) from += some;
    }
}

void ml_sim_grow(ml_sim *self, int number, uint64_t size)
{
    ml_sim_file *file = &self->files[number];
    if (file->size == size) return;
    if (!file->size_pending) {
        file->old_size = file->size;
        add_unit(self, number, true, 0);
    }
    file->size = size;
    self->changed = true;
}

int ml_sim_resize(ml_sim *self, int number, uint64_t size)
{
    ml_sim_file *file = &self->files[number];
    uint64_t cut = size < file->size ? file->size - size : 0;
    if (!ml_sim_reserve(self, ml_sim_units_max(cut))) return -ENOMEM;
    if (cut > 0) ml_sim_write(self, number, size, NULL, (size_t)cut);
    ml_sim_grow(self, number, size);
    return 0;
}

/* ---- files ------------------------------------------------------------------------------ */

static bool is_named(const ml_sim *self, int file)
{
    for (size_t i = 0; i < self->live.count; i++)
        if (self->live.at[i].file == file) return true;
    for (size_t i = 0; i < self->durable.count; i++)
        if (self->durable.at[i].file == file) return true;
    for (size_t i = 0; i < self->dir_op_count; i++)
        if (self->dir_ops[i].op == ML_DISK_OP_OPEN && self->dir_ops[i].file == file) return true;
    return false;
}

void ml_sim_sweep(ml_sim *self)
{
    for (size_t i = 0; i < self->options.files; i++) {
        ml_sim_file *file = &self->files[i];
        if (!file->used || file->handles > 0 || file->maps > 0) continue;
        if (is_named(self, (int)i)) continue;
        ml_sim_drop(self, (int)i, ML_SIM_ALL);
        memset(file->data, 0, (size_t)file->size);
        file->size = 0;
        file->used = false;
    }
}
