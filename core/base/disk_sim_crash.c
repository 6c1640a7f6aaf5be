/* disk_sim_crash.c -- losing power: what is found on the disk afterwards. */
#include "sim.h"

ml_disk_sim_count ml_disk_sim_pending(const ml_disk *disk)
{
    const ml_sim *self = ml_sim_of(disk);
    return (ml_disk_sim_count){.units = self->unit_count, .dir_ops = self->dir_op_count};
}

/* The names that are found, and which files they keep. */
static void crash_names(const ml_sim *self, size_t dir_ops, ml_sim *image)
{
    ml_sim_names_copy(&image->durable, &self->durable);
    for (size_t i = 0; i < dir_ops; i++)
        ml_sim_names_apply(&image->durable, &self->dir_ops[i]);
    for (size_t i = 0; i < image->durable.count;) {
        ml_sim_name *entry = &image->durable.at[i];
        bool lost =
            !ml_sim_names_has_dir(&image->durable, entry->path, ml_sim_names_dir(entry->path));
        if (lost) ml_sim_names_forget(&image->durable, entry);
        i = lost ? 0 : i + 1; /* from the start: what lay in it is lost too */
    }
    ml_sim_names_copy(&image->live, &image->durable);
    for (size_t i = 0; i < image->options.files; i++)
        image->files[i].used = false;
    for (size_t i = 0; i < image->live.count; i++) {
        int file = image->live.at[i].file;
        if (file != ML_SIM_DIRECTORY) image->files[file].used = true;
    }
}

static void crash_content(const ml_sim_file *file, ml_sim_file *image)
{
    uint64_t kept = image->used ? file->size : 0;
    if (kept > 0) memcpy(image->data, file->data, (size_t)kept);
    if (image->size > kept) memset(image->data + kept, 0, (size_t)(image->size - kept));
    image->size = kept;
    image->size_pending = false;
    image->units = 0;
    image->handles = 0;
    image->maps = 0;
}

static bool is_kept(const ml_disk_sim_fate *fate, size_t n)
{
    return fate->kept != NULL && (fate->kept[n / 64] >> n % 64 & 1) != 0;
}

/* Puts the durable bytes and sizes back where the fate lost the new ones. */
static void crash_units(const ml_sim *self, const ml_disk_sim_fate *fate, ml_sim *image)
{
    for (size_t i = 0; i < self->unit_count; i++) {
        const ml_sim_unit *lost = &self->units[i];
        ml_sim_file *file = &image->files[lost->file];
        if (!file->used || is_kept(fate, i)) continue;
        if (lost->is_size)
            file->size = self->files[lost->file].old_size;
        else
            memcpy(file->data + lost->sector * ML_SIM_SECTOR, lost->old, ML_SIM_SECTOR);
    }
    /* Nothing is left behind the end: it could show up again when the file grows. */
    for (size_t i = 0; i < self->unit_count; i++) {
        const ml_sim_unit *any = &self->units[i];
        const ml_sim_file *file = &image->files[any->file];
        uint64_t end =
            any->is_size ? self->files[any->file].size : (any->sector + 1) * ML_SIM_SECTOR;
        if (file->used && end > file->size) {
            uint64_t from = any->is_size ? file->size : any->sector * ML_SIM_SECTOR;
            if (from < file->size) from = file->size;
            memset(file->data + from, 0, (size_t)(end - from));
        }
    }
}

void ml_disk_sim_crash_into(const ml_disk *disk, const ml_disk_sim_fate *fate, ml_disk *image)
{
    const ml_sim *self = ml_sim_of(disk);
    ml_sim *found = ml_sim_of(image);
    ML_ASSERT(self != found);
    ML_ASSERT(found->options.files == self->options.files);
    ML_ASSERT(found->options.file_bytes == self->options.file_bytes);
    ML_ASSERT(fate->dir_ops <= self->dir_op_count);
    for (size_t i = 0; i < found->unit_count; i++)
        ml_sim_mark(found, &found->units[i], false);
    found->unit_count = 0;
    found->dir_op_count = 0;
    memset(found->handles, 0, sizeof found->handles);
    crash_names(self, fate->dir_ops, found);
    for (size_t i = 0; i < found->options.files; i++)
        crash_content(&self->files[i], &found->files[i]);
    crash_units(self, fate, found);
    found->options = self->options;
    found->capacity = self->capacity;
    found->time = self->time;
    found->dice = self->dice;
    found->hook = NULL;
}

ml_code ml_disk_sim_crash(const ml_disk *disk, const ml_disk_sim_fate *fate, ml_disk **image,
                          ml_error *why)
{
    ml_code code = ml_disk_sim_new(&ml_sim_of(disk)->options, image, why);
    if (!code) ml_disk_sim_crash_into(disk, fate, *image);
    return code;
}

void ml_disk_sim_settle(ml_disk *disk)
{
    ml_sim *self = ml_sim_of(disk);
    for (size_t i = 0; i < self->options.files; i++)
        ml_sim_drop(self, (int)i, ML_SIM_ALL);
    self->dir_op_count = 0;
    ml_sim_names_copy(&self->durable, &self->live);
    ml_sim_sweep(self);
    self->changed = false;
}

static const char *name_of(const ml_sim *self, int file)
{
    for (size_t i = 0; i < self->live.count; i++)
        if (self->live.at[i].file == file) return self->live.at[i].path;
    for (size_t i = 0; i < self->durable.count; i++)
        if (self->durable.at[i].file == file) return self->durable.at[i].path;
    return "(no name)";
}

void ml_disk_sim_show(const ml_disk *disk, ml_buf *out)
{
    const ml_sim *self = ml_sim_of(disk);
    for (size_t i = 0; i < self->unit_count; i++) {
        const ml_sim_unit *unit = &self->units[i];
        ml_buf_print(out, "unit %zu: %s ", i, name_of(self, unit->file));
        if (unit->is_size)
            ml_buf_print(out, "size %llu, was %llu\n",
                         (unsigned long long)self->files[unit->file].size,
                         (unsigned long long)self->files[unit->file].old_size);
        else
            ml_buf_print(out, "sector %llu\n", (unsigned long long)unit->sector);
    }
    for (size_t i = 0; i < self->dir_op_count; i++) {
        const ml_sim_dir_op *op = &self->dir_ops[i];
        const char *verb = op->op == ML_DISK_OP_OPEN ? "create" : ml_disk_op_name(op->op);
        ml_buf_print(out, "directory operation %zu: %s %s %s\n", i, verb, op->path, op->to);
    }
}
