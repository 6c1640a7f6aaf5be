/* view.c -- opening and closing; BOOT; LMDB's words in ours. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "inside.h"

enum { BOOT_ID = 36, DATABASES = 3, FILE_MODE = 0600 };

/* Commits are not synced (view.h); a transaction belongs to the handle, not to a thread; and a
 * row at random is no reason to read 128 KiB around it. */
static const unsigned env_flags = MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOTLS | MDB_NORDAHEAD;

/* ---- sentences -------------------------------------------------------------------------- */

ml_code ml_view_corrupt(const char *dir, ml_error *why, const char *format, ...)
{
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return ml_error_set(why, ML_CORRUPT,
                        "the view in %.600s is damaged: %s; discard it, and it is built again", dir,
                        what);
}

ml_code ml_view_refuse(const char *dir, int result, const char *doing, ml_error *why)
{
    ML_ASSERT(result != 0);
    switch (result) {
    case MDB_MAP_FULL:
        return ml_error_set(why, ML_LIMIT,
                            "cannot %s the view in %.600s: it has reached %zu GiB; keep fewer rows",
                            doing, dir, ML_VIEW_MAP_BYTES >> 30);
    case MDB_TXN_FULL:
        return ml_error_set(
            why, ML_LIMIT,
            "cannot %s the view in %.600s: too much changed at once; commit more often", doing,
            dir);
    case MDB_READERS_FULL:
        return ml_error_set(why, ML_LIMIT,
                            "cannot %s the view in %.600s: too many processes read it; close some",
                            doing, dir);
    case MDB_VERSION_MISMATCH:
        return ml_error_set(
            why, ML_UNSUPPORTED,
            "cannot %s the view in %.600s: another version of LMDB made it; discard it", doing,
            dir);
    case MDB_PANIC:
        return ml_error_set(
            why, ML_IO, "cannot %s the view in %.600s: a write to it failed before; open it again",
            doing, dir);
    case MDB_NOTFOUND:
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_INCOMPATIBLE:
    case MDB_DBS_FULL:
    case EINVAL: /* of nobody but LMDB: its locks are not as it left them */
        return ml_view_corrupt(dir, why, "LMDB cannot %s it (%s)", doing, mdb_strerror(result));
    default: break;
    }
    if (result > 0) return ml_error_disk(why, -result, doing, dir);
    return ml_error_set(why, ML_INTERNAL,
                        "cannot %s the view in %.600s: LMDB says %s; please report this", doing,
                        dir, mdb_strerror(result));
}

/* ---- BOOT ------------------------------------------------------------------------------- */

void ml_view_boot(char boot[ML_VIEW_BOOT])
{
    ml_disk *disk;
    int file;
    memset(boot, 0, ML_VIEW_BOOT);
    if (ml_disk_real_new("/proc/sys/kernel/random", false, &disk, NULL)) return;
    if (ml_disk_open(disk, "boot_id", ML_DISK_READ, &file, NULL) == ML_OK) {
        if (ml_disk_read(disk, file, "boot_id", boot, BOOT_ID, 0, NULL)) boot[0] = '\0';
        ML_IGNORE(disk->ops->close(disk, file) < 0); /* it was only read */
    }
    ml_disk_free(disk);
}

ml_code ml_view_mark_boot(ml_disk *disk, const char *boot, ml_error *why)
{
    return ml_disk_save(disk, "BOOT", ".", (ml_bytes){boot, strlen(boot)}, why);
}

ml_code ml_view_check_boot(ml_disk *disk, const char *boot, bool *there, ml_error *why)
{
    int file;
    uint64_t size;
    char text[ML_VIEW_BOOT] = {0};
    *there = false;
    ml_error absent;
    ml_code code = ml_disk_open(disk, "BOOT", ML_DISK_READ, &file, &absent);
    if (code == ML_NOT_FOUND) return ML_OK;
    if (code) return ml_error_set(why, code, "%s", absent.sentence);
    code = ml_disk_size(disk, file, "BOOT", &size, why);
    if (!code && size < sizeof text) code = ml_disk_read(disk, file, "BOOT", text, size, 0, why);
    ML_IGNORE(disk->ops->close(disk, file) < 0); /* it was only read */
    if (code) return code;
    *there = boot[0] != '\0' && strcmp(text, boot) == 0;
    if (*there) return ML_OK;
    return ml_error_set(
        why, ML_CORRUPT,
        "the view in %.600s has commits of before the machine went down that were never synced; "
        "discard it, and it is built again",
        disk->root);
}

/* ---- LMDB ------------------------------------------------------------------------------- */

ml_code ml_view_env_open(const char *dir, unsigned flags, MDB_env **env, ml_error *why)
{
    int result = mdb_env_create(env);
    if (result != 0) {
        *env = NULL;
        return ml_view_refuse(dir, result, "open", why);
    }
    result = mdb_env_set_mapsize(*env, ML_VIEW_MAP_BYTES);
    if (result == 0) result = mdb_env_set_maxdbs(*env, DATABASES);
    if (result == 0) result = mdb_env_open(*env, dir, env_flags | flags, FILE_MODE);
    if (result == 0) {
        int dead;
        result = mdb_reader_check(*env, &dead); /* who was killed would hold old pages for ever */
    }
    if (result == 0) return ML_OK;
    mdb_env_close(*env);
    *env = NULL;
    return ml_view_refuse(dir, result, "open", why);
}

static int open_dbs(ml_view *view, MDB_txn *txn, unsigned flags)
{
    int result = mdb_dbi_open(txn, NULL, 0, &view->main);
    if (result == 0) result = mdb_dbi_open(txn, "rows", flags, &view->rows);
    if (result == 0) result = mdb_dbi_open(txn, "entries", flags, &view->entries);
    if (result == 0) result = mdb_dbi_open(txn, "changed", flags, &view->changed);
    return result;
}

ml_code ml_view_put_record(ml_view *view, MDB_txn *txn, const ml_view_record *record, ml_error *why)
{
    ml_view_record_write(record, &view->scratch);
    if (view->scratch.failed) return ml_error_memory(why, "a view's record");
    MDB_val key = ml_view_val(ML_VIEW_RECORD_KEY), value = ml_view_val(ml_buf_view(&view->scratch));
    int result = mdb_put(txn, view->main, &key, &value, 0);
    return result == 0 ? ML_OK : ml_view_refuse(view->dir, result, "write", why);
}

/* A new file: its databases, and a record at position 0. */
static ml_code create(ml_view *view, ml_error *why)
{
    MDB_txn *txn;
    ml_code code = ml_view_remove_table(view->disk, why); /* of one that is not there any more */
    if (!code) code = ml_view_mark_boot(view->disk, view->boot, why);
    if (code) return code;
    view->booted = true;
    code = ml_view_env_open(view->dir, 0, &view->env, why);
    if (code) return code;
    int result = mdb_txn_begin(view->env, NULL, 0, &txn);
    if (result != 0) return ml_view_refuse(view->dir, result, "write", why);
    result = open_dbs(view, txn, MDB_CREATE);
    view->record = (ml_view_record){.about = ml_buf_view(&view->about), .txn = mdb_txn_id(txn)};
    code = result == 0 ? ml_view_put_record(view, txn, &view->record, why)
                       : ml_view_refuse(view->dir, result, "write", why);
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    result = mdb_txn_commit(txn);
    return result == 0 ? ML_OK : ml_view_refuse(view->dir, result, "write", why);
}

static ml_code take_record(ml_view *view, ml_error *why)
{
    ml_error what;
    MDB_val key = ml_view_val(ML_VIEW_RECORD_KEY), value;
    int result = mdb_get(view->read, view->main, &key, &value);
    if (result != 0) return ml_view_refuse(view->dir, result, "read", why);
    ml_code code = ml_view_record_read(ml_view_bytes(value), &view->record, &what);
    if (code)
        return ml_error_set(why, code, "the view in %.600s cannot be read: %.200s", view->dir,
                            what.sentence);
    if (view->about.size == 0)
        ml_buf_add(&view->about, view->record.about.data, view->record.about.size);
    if (!ml_bytes_equal(view->record.about, ml_buf_view(&view->about)))
        return ml_error_set(
            why, ML_CORRUPT,
            "the view in %.600s is of another projection, version or log; discard it", view->dir);
    view->record.about = ml_buf_view(&view->about);
    ml_buf_add(&view->note, view->record.note.data, view->record.note.size);
    view->record.note = ml_buf_view(&view->note);
    view->path_count = ml_view_record_paths(view->record.about, view->paths);
    return view->note.failed ? ml_error_memory(why, "a view's note") : ML_OK;
}

static ml_code open_there(ml_view *view, ml_error *why)
{
    MDB_txn *txn;
    ml_code code = ml_view_check(view->disk, why);
    if (!code) code = ml_view_env_open(view->dir, 0, &view->env, why);
    if (code) return code;
    int result = mdb_txn_begin(view->env, NULL, MDB_RDONLY, &txn);
    if (result != 0) return ml_view_refuse(view->dir, result, "read", why);
    result = open_dbs(view, txn, 0);
    if (result != 0) {
        mdb_txn_abort(txn);
        return ml_view_refuse(view->dir, result, "read", why);
    }
    result = mdb_txn_commit(txn); /* the handles stay */
    return result == 0 ? ML_OK : ml_view_refuse(view->dir, result, "read", why);
}

/* ---- life ------------------------------------------------------------------------------- */

static ml_code lock(ml_view *view, ml_error *why)
{
    ml_code code = ml_disk_open(view->disk, "LOCK", ML_DISK_CREATE, &view->lock, why);
    if (code) return code;
    int result = view->disk->ops->lock(view->disk, view->lock);
    if (result == 0) return ML_OK;
    if (result != -EAGAIN) return ml_error_disk(why, result, "lock", view->dir);
    return ml_error_set(why, ML_LOCKED,
                        "another process writes to the view in %.600s; end it, then try again",
                        view->dir);
}

static ml_code is_there(ml_view *view, bool *there, ml_error *why)
{
    int file;
    ml_error absent;
    ml_code code = ml_disk_open(view->disk, "data.mdb", ML_DISK_READ, &file, &absent);
    *there = code == ML_OK;
    if (code == ML_OK) ML_IGNORE(view->disk->ops->close(view->disk, file) < 0); /* only looked */
    if (code == ML_OK || code == ML_NOT_FOUND) return ML_OK;
    return ml_error_set(why, code, "%s", absent.sentence);
}

static ml_code begin(ml_view *view, ml_error *why)
{
    bool there;
    ml_code code = ml_disk_real_new(view->dir, true, &view->disk, why);
    if (!code) code = lock(view, why);
    if (!code) code = is_there(view, &there, why);
    if (!code && there) code = ml_view_check_boot(view->disk, view->boot, &view->booted, why);
    if (!code) code = there ? open_there(view, why) : create(view, why);
    if (code) return code;
    int result = mdb_txn_begin(view->env, NULL, MDB_RDONLY, &view->read);
    if (result != 0) return ml_view_refuse(view->dir, result, "read", why);
    return take_record(view, why);
}

void ml_view_unload(ml_view *view)
{
    if (view == NULL) return;
    ml_view_batch_free(&view->batch);
    if (view->read != NULL) mdb_txn_abort(view->read);
    if (view->env != NULL) mdb_env_close(view->env);
    if (view->lock >= 0)
        ML_IGNORE(view->disk->ops->close(view->disk, view->lock) < 0); /* nothing was written */
    ml_disk_free(view->disk);
    ml_buf_free(&view->about);
    ml_buf_free(&view->note);
    ml_buf_free(&view->scratch);
    free(view->dir);
    free(view);
}

ml_code ml_view_load(const char *dir, const char *boot, const ml_view_about *about, ml_view **view,
                     ml_error *why)
{
    ml_view *made = calloc(1, sizeof *made);
    *view = NULL;
    if (made == NULL) return ml_error_memory(why, "a view");
    made->lock = -1;
    made->dir = strdup(dir);
    snprintf(made->boot, sizeof made->boot, "%s", boot);
    if (about != NULL) ml_view_record_about(about, &made->about);
    ml_code code =
        made->dir == NULL || made->about.failed ? ml_error_memory(why, "a view") : begin(made, why);
    if (code)
        ml_view_unload(made);
    else
        *view = made;
    return code;
}

ml_code ml_view_open(const char *dir, const ml_view_about *about, ml_view **view, ml_error *why)
{
    return ml_view_load(dir, about->boot, about, view, why);
}

/* Synced, then BOOT goes: in that order, or it would be believed too early. */
static void settle(ml_view *view)
{
    if (!view->booted || mdb_env_sync(view->env, 1) != 0) return;
    ML_IGNORE(ml_disk_remove(view->disk, "BOOT", NULL)); /* it will be built again, needlessly */
}

void ml_view_close(ml_view *view)
{
    if (view != NULL) settle(view);
    ml_view_unload(view);
}

void ml_view_get_stats(const ml_view *view, ml_view_stats *stats)
{
    MDB_envinfo info;
    MDB_stat about;
    *stats = (ml_view_stats){.position = view->record.position,
                             .rows = view->record.rows,
                             .commits = view->record.commits};
    if (mdb_env_info(view->env, &info) == 0 && mdb_env_stat(view->env, &about) == 0)
        stats->bytes = (info.me_last_pgno + 1) * about.ms_psize;
    ml_put_be64(stats->digest, view->record.digest[1]);
    ml_put_be64(stats->digest + 8, view->record.digest[0]);
}

ml_bytes ml_view_note(const ml_view *view)
{
    return view->record.note;
}
