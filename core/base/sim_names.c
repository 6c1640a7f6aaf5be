/* sim_names.c -- which path leads to which file, live and durable alike. */
#include "sim.h"

size_t ml_sim_names_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path);
}

bool ml_sim_names_in(const char *path, const char *dir)
{
    size_t size = strcmp(dir, ".") == 0 ? 0 : strlen(dir);
    return ml_sim_names_dir(path) == size && memcmp(path, dir, size) == 0;
}

static ml_sim_name *look_up(const ml_sim_names *names, const char *path, size_t size)
{
    if (size >= ML_SIM_PATH) return NULL;
    for (size_t i = 0; i < names->count; i++) {
        ml_sim_name *entry = &names->at[i];
        if (memcmp(entry->path, path, size) == 0 && entry->path[size] == '\0') return entry;
    }
    return NULL;
}

bool ml_sim_names_has_dir(const ml_sim_names *names, const char *path, size_t size)
{
    if (size == 0) return true;
    const ml_sim_name *dir = look_up(names, path, size);
    return dir != NULL && dir->file == ML_SIM_DIRECTORY;
}

ml_sim_name *ml_sim_names_find(const ml_sim_names *names, const char *path)
{
    return look_up(names, path, strlen(path));
}

void ml_sim_names_forget(ml_sim_names *names, ml_sim_name *entry)
{
    *entry = names->at[--names->count];
}

void ml_sim_names_copy(ml_sim_names *to, const ml_sim_names *from)
{
    memcpy(to->at, from->at, from->count * sizeof *from->at);
    to->count = from->count;
}

static void put_name(ml_sim_names *names, const char *path, int file)
{
    ml_sim_name *entry = ml_sim_names_find(names, path);
    if (entry == NULL) {
        entry = &names->at[names->count++];
        memcpy(entry->path, path, strlen(path) + 1);
    }
    entry->file = file;
}

void ml_sim_names_apply(ml_sim_names *names, const ml_sim_dir_op *op)
{
    ml_sim_name *entry = ml_sim_names_find(names, op->path);
    if (op->op == ML_DISK_OP_OPEN) {
        put_name(names, op->path, op->file);
    } else if (op->op == ML_DISK_OP_MAKE_DIR) {
        put_name(names, op->path, ML_SIM_DIRECTORY);
    } else if (entry != NULL) {
        int file = entry->file;
        ml_sim_names_forget(names, entry);
        if (op->op == ML_DISK_OP_RENAME) put_name(names, op->to, file);
    }
}
