/* view_copy.c -- copying what another process may be writing to; discarding. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "inside.h"

/* ---- discarding ------------------------------------------------------------------------- */

static ml_code refuse_busy(ml_disk *disk, ml_error *why)
{
    int file;
    if (ml_disk_open(disk, "LOCK", ML_DISK_WRITE, &file, NULL))
        return ML_OK; /* nobody ever had it */
    int locked = disk->ops->locked(disk, file);
    ML_IGNORE(disk->ops->close(disk, file) < 0); /* nothing was written */
    if (locked != 1) return ML_OK;
    return ml_error_set(why, ML_LOCKED,
                        "a process writes to the view in %.600s; end it, then try again",
                        disk->root);
}

static ml_code remove_files(ml_disk *disk, const char *const *names, size_t count, ml_error *why)
{
    ml_code code = ML_OK;
    for (size_t n = 0; n < count && !code; n++)
        code = ml_disk_remove(disk, names[n], why);
    return code;
}

ml_code ml_view_remove_table(ml_disk *disk, ml_error *why)
{
    static const char *const table[] = {"rows.sqlite", "rows.sqlite-wal", "rows.sqlite-shm",
                                        "rows.sqlite-journal"};
    return remove_files(disk, table, sizeof table / sizeof *table, why);
}

ml_code ml_view_discard(const char *dir, ml_error *why)
{
    static const char *const ours[] = {"data.mdb", "lock.mdb", "BOOT~", "BOOT", "LOCK"};
    ml_disk *disk;
    ml_error absent;
    ml_code code = ml_disk_real_new(dir, false, &disk, &absent);
    if (code == ML_NOT_FOUND) return ML_OK;
    if (code) return ml_error_set(why, code, "%s", absent.sentence);
    code = refuse_busy(disk, why);
    if (!code) code = ml_view_remove_table(disk, why);
    if (!code) code = remove_files(disk, ours, sizeof ours / sizeof *ours, why);
    ml_disk_free(disk);
    if (!code) ML_IGNORE(rmdir(dir) != 0); /* somebody has something else there */
    return code;
}

/* ---- copying ---------------------------------------------------------------------------- */

/* The pages as the last commit has them. MDB_CP_COMPACT would make threads, which a jail forbids.
 */
static ml_code copy_pages(const char *from, ml_disk *to, const char *boot, ml_error *why)
{
    MDB_env *env;
    ml_disk *disk;
    int file;
    bool there;
    ml_code code = ml_disk_real_new(from, false, &disk, why);
    if (code) return code;
    code = ml_view_check_boot(disk, boot, &there, why);
    ml_disk_free(disk);
    if (!code) code = ml_view_mark_boot(to, boot, why);
    if (!code) code = ml_disk_open(to, "data.mdb", ML_DISK_CREATE, &file, why);
    if (code) return code;
    code = ml_view_env_open(from, MDB_RDONLY, &env, why);
    if (!code) {
        int result = mdb_env_copyfd(env, file);
        if (result != 0) code = ml_view_refuse(from, result, "copy", why);
        mdb_env_close(env);
    }
    ml_code closed = ml_disk_close(to, file, "data.mdb", code ? NULL : why);
    return code ? code : closed;
}

static ml_code put_entries(ml_view *view, MDB_txn *txn, ml_bytes key, ml_bytes row, int64_t expires,
                           ml_error *why)
{
    ml_view_entry entry;
    MDB_val nothing = {0, NULL};
    for (int n = -1; n < (int)view->path_count; n++) {
        if (!ml_view_entry_make(view->paths, n, key, row, expires, &entry)) continue;
        MDB_val at = {entry.size, entry.bytes};
        int result = mdb_put(txn, view->entries, &at, &nothing, MDB_NOOVERWRITE);
        if (result != 0) return ml_view_refuse(view->dir, result, "write", why);
        view->record.entries++;
    }
    return ML_OK;
}

/* Other indexes than the view had that was copied. */
static ml_code fill_entries(ml_view *view, MDB_txn *txn, ml_error *why)
{
    MDB_cursor *cursor;
    MDB_val at, value;
    ml_code code = ML_OK;
    view->record.entries = 0;
    int result = mdb_drop(txn, view->entries, 0);
    if (result == 0) result = mdb_cursor_open(txn, view->rows, &cursor);
    if (result != 0) return ml_view_refuse(view->dir, result, "write", why);
    result = mdb_cursor_get(cursor, &at, &value, MDB_FIRST);
    while (result == 0 && !code) {
        ml_bytes key = ml_view_bytes(at), row;
        int64_t expires;
        if (!ml_view_row_read(key, ml_view_bytes(value), &row, &expires))
            code = ml_view_corrupt(view->dir, why, "the checksum of a row is wrong");
        else
            code = put_entries(view, txn, key, row, expires, why);
        if (!code) result = mdb_cursor_get(cursor, &at, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (code || result == MDB_NOTFOUND) return code;
    return ml_view_refuse(view->dir, result, "read", why);
}

/* The copy becomes a view of its own. */
static ml_code rename_copy(ml_view *view, const ml_view_about *about, ml_error *why)
{
    MDB_txn *txn;
    ml_buf packed = {0};
    ml_bytes old[ML_VIEW_INDEXES_MAX];
    size_t count = ml_view_record_paths(view->record.about, old);
    ml_view_record_about(about, &packed);
    view->path_count = ml_view_record_paths(ml_buf_view(&packed), view->paths);
    bool same = count == view->path_count;
    for (size_t n = 0; n < count && same; n++)
        same = ml_bytes_equal(old[n], view->paths[n]);
    int result = packed.failed ? ENOMEM : mdb_txn_begin(view->env, NULL, 0, &txn);
    ml_code code = result == 0 ? ML_OK : ml_view_refuse(view->dir, result, "write", why);
    if (!code) {
        view->record.txn = mdb_txn_id(txn);
        if (!same) code = fill_entries(view, txn, why);
        view->record.about = ml_buf_view(&packed);
        if (!code) code = ml_view_put_record(view, txn, &view->record, why);
        if (code)
            mdb_txn_abort(txn);
        else if ((result = mdb_txn_commit(txn)) != 0)
            code = ml_view_refuse(view->dir, result, "write", why);
    }
    ml_buf_free(&packed);
    return code;
}

ml_code ml_view_copy(const char *from, const char *to, const ml_view_about *about, ml_error *why)
{
    ml_disk *disk;
    ml_view *view = NULL;
    if (ml_disk_real_new(to, false, &disk, NULL) == ML_OK) {
        ml_disk_free(disk);
        return ml_error_set(why, ML_BAD_REQUEST,
                            "there is something in %.600s already; a copy needs a new directory",
                            to);
    }
    ml_code code = ml_disk_real_new(to, true, &disk, why);
    if (code) return code;
    code = copy_pages(from, disk, about->boot, why);
    ml_disk_free(disk);
    if (!code) code = ml_view_load(to, about->boot, NULL, &view, why);
    if (!code) code = rename_copy(view, about, why);
    ml_view_unload(view);
    if (code) ML_IGNORE(ml_view_discard(to, NULL)); /* whoever opens it sees what it is */
    return code;
}

/* ---- keeping ---------------------------------------------------------------------------- */

static ml_code keep_pages(const ml_view *view, ml_disk *to, ml_error *why)
{
    int file;
    ml_code code = ml_disk_open(to, "data.mdb", ML_DISK_CREATE, &file, why);
    if (code) return code;
    int result = mdb_env_copyfd(view->env, file);
    if (result != 0) code = ml_view_refuse(view->dir, result, "copy", why);
    if (!code) code = ml_disk_sync(to, file, "data.mdb", why);
    ml_code closed = ml_disk_close(to, file, "data.mdb", code ? NULL : why);
    if (!code) code = closed;
    int synced = code ? 0 : to->ops->sync_dir(to, ".");
    return synced < 0 ? ml_error_disk(why, synced, "sync", to->root) : code;
}

ml_code ml_view_keep(const ml_view *view, const char *to, ml_error *why)
{
    ml_disk *disk;
    ml_code code = ml_disk_real_new(to, true, &disk, why);
    if (code) return code;
    code = keep_pages(view, disk, why);
    ml_disk_free(disk);
    return code;
}

/* All of one file into another, which is made. */
static ml_code copy_file(ml_disk *from, int source, ml_disk *to, ml_error *why)
{
    int file;
    uint64_t size;
    const uint8_t *map;
    ml_code code = ml_disk_size(from, source, "data.mdb", &size, why);
    if (!code && size == 0) code = ml_view_corrupt(from->root, why, "the file is empty");
    if (!code) code = ml_disk_open(to, "data.mdb", ML_DISK_CREATE, &file, why);
    if (code) return code;
    int result = from->ops->map(from, source, size, &map);
    if (result < 0) code = ml_error_disk(why, result, "map", from->root);
    if (result >= 0) {
        code = ml_disk_write(to, file, "data.mdb", map, (size_t)size, 0, why);
        from->ops->unmap(from, map, size);
    }
    ml_code closed = ml_disk_close(to, file, "data.mdb", code ? NULL : why);
    return code ? code : closed;
}

ml_code ml_view_restore(const char *from, const char *to, ml_error *why)
{
    ml_disk *source, *target;
    int file;
    ml_code code = ml_disk_real_new(from, false, &source, why);
    if (code) return code;
    code = ml_disk_open(source, "data.mdb", ML_DISK_READ, &file, why);
    if (!code) {
        code = ml_disk_real_new(to, true, &target, why);
        if (!code) {
            code = copy_file(source, file, target, why);
            ml_disk_free(target);
        }
        ML_IGNORE(source->ops->close(source, file) < 0); /* it was only read */
    }
    ml_disk_free(source);
    return code;
}
