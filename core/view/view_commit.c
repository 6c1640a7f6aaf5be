/* view_commit.c -- a batch into LMDB, in one transaction, in the order of its keys.
 *
 *     rows in order ──▶ old row, if there is one ──▶ digest, count, entries that differ
 *                              │                            └──▶ gathered, sorted, written
 *                              └──▶ written over, put, or deleted; noted in `changed`
 *     the record, last
 */
#include <errno.h>
#include <stdlib.h>

#include "../base/crc32c.h"
#include "inside.h"

enum {
    MOVES_BYTES = 8 << 20, /* of entries, gathered before they are sorted and written */
    MOVE_HEAD = 3,         /* of an entry among them: added or taken away, and its size */
    PROBE_BYTES = 64 << 10
};

typedef struct commit {
    ml_view *view;
    MDB_txn *txn;
    MDB_cursor *rows, *entries, *changed;
    ml_view_record record;
    ml_buf value;  /* of the row that is written */
    ml_buf joined; /* what is hashed */
    ml_buf moves;  /* entries to add or to take away */
    size_t move_count;
    ml_buf list; /* of changed keys */
    uint32_t lists;
    ml_error *why;
} commit;

static ml_code refuse(const commit *c, int result)
{
    return ml_view_refuse(c->view->dir, result, "write", c->why);
}

static ml_code refuse_memory(const commit *c)
{
    return ml_error_memory(c->why, "a commit of a view");
}

/* ---- entries ---------------------------------------------------------------------------- */

static ml_code write_move(commit *c, ml_view_item *item)
{
    MDB_val key = {item->size, (void *)(uintptr_t)item->bytes}, nothing = {0, NULL};
    bool adds = item->tag != 0;
    int result = adds ? mdb_cursor_put(c->entries, &key, &nothing, MDB_NOOVERWRITE)
                      : mdb_cursor_get(c->entries, &key, &nothing, MDB_SET);
    if (result == MDB_NOTFOUND || result == MDB_KEYEXIST)
        return ml_view_corrupt(c->view->dir, c->why, "an index is not in step with its rows");
    if (result == 0 && !adds) result = mdb_cursor_del(c->entries, 0);
    if (result != 0) return refuse(c, result);
    c->record.entries = adds ? c->record.entries + 1 : c->record.entries - 1;
    return ML_OK;
}

static void list_moves(const commit *c, ml_view_item *items)
{
    const uint8_t *at = c->moves.data;
    for (size_t n = 0; n < c->move_count; n++) {
        items[n] =
            (ml_view_item){.bytes = at + MOVE_HEAD, .size = ml_get_u16(at + 1), .tag = at[0]};
        at += MOVE_HEAD + items[n].size;
    }
}

static ml_code write_moves(commit *c)
{
    ml_code code = ML_OK;
    if (c->moves.failed) return refuse_memory(c);
    if (c->move_count == 0) return ML_OK;
    ml_view_item *items = calloc(c->move_count, sizeof *items);
    if (items == NULL) return refuse_memory(c);
    list_moves(c, items);
    if (!ml_view_sort(items, c->move_count)) code = refuse_memory(c);
    for (size_t n = 0; n < c->move_count && !code; n++)
        code = write_move(c, &items[n]);
    free(items);
    ml_buf_clear(&c->moves);
    c->move_count = 0;
    return code;
}

static void add_move(commit *c, bool adds, const ml_view_entry *entry)
{
    uint8_t *at = ml_buf_take(&c->moves, MOVE_HEAD + entry->size);
    if (at == NULL) return;
    at[0] = adds;
    ml_put_u16(at + 1, (uint16_t)entry->size);
    memcpy(at + MOVE_HEAD, entry->bytes, entry->size);
    c->move_count++;
}

/* A row before and after; one that is not there is empty. */
typedef struct version {
    ml_bytes row;
    int64_t expires;
} version;

static void move_entry(commit *c, int index, ml_bytes key, version before, version after)
{
    ml_view_entry old, now;
    const ml_bytes *paths = c->view->paths;
    bool had = before.row.data != NULL &&
               ml_view_entry_make(paths, index, key, before.row, before.expires, &old);
    bool has = after.row.data != NULL &&
               ml_view_entry_make(paths, index, key, after.row, after.expires, &now);
    if (had && has && old.size == now.size && memcmp(old.bytes, now.bytes, old.size) == 0) return;
    if (had) add_move(c, false, &old);
    if (has) add_move(c, true, &now);
}

static ml_code move_entries(commit *c, ml_bytes key, version before, version after)
{
    bool expired = before.expires != 0 || after.expires != 0;
    for (int n = expired ? -1 : 0; n < (int)c->view->path_count; n++)
        move_entry(c, n, key, before, after);
    return c->moves.size >= MOVES_BYTES ? write_moves(c) : ML_OK;
}

/* ---- the list of changes ---------------------------------------------------------------- */

static ml_code write_list(commit *c)
{
    uint8_t number[4];
    if (c->list.failed) return refuse_memory(c);
    if (c->list.size == 0) return ML_OK;
    for (int n = 0; n < 4; n++)
        number[n] = (uint8_t)(c->lists >> (24 - 8 * n));
    MDB_val key = {sizeof number, number}, value = ml_view_val(ml_buf_view(&c->list));
    int result = mdb_cursor_put(c->changed, &key, &value, MDB_APPEND);
    if (result != 0) return refuse(c, result);
    c->record.changed = ml_crc32c(c->record.changed, c->list.data, c->list.size);
    c->lists++;
    ml_buf_clear(&c->list);
    return ML_OK;
}

static ml_code note_change(commit *c, ml_bytes key)
{
    ml_code code = ML_OK;
    if (c->list.size + 1 + key.size > ML_VIEW_LIST_BYTES) code = write_list(c);
    ml_buf_byte(&c->list, (uint8_t)key.size);
    ml_buf_add(&c->list, key.data, key.size);
    return code;
}

/* ---- rows ------------------------------------------------------------------------------- */

/* The row as it is in the transaction; the cursor is there, or where it would come. */
static int find(commit *c, ml_bytes key, MDB_val *value, bool *found)
{
    MDB_val at = ml_view_val(key);
    int result = mdb_cursor_get(c->rows, &at, value, MDB_SET_RANGE);
    *found = result == 0 && at.mv_size == key.size && memcmp(at.mv_data, key.data, key.size) == 0;
    return result;
}

static ml_code write_row(commit *c, ml_bytes key, version before, version after, bool last)
{
    int result;
    if (after.row.data == NULL) {
        result = mdb_cursor_del(c->rows, 0);
        c->record.rows--;
        return result == 0 ? ML_OK : refuse(c, result);
    }
    ml_view_row_write(key, after.row, after.expires, &c->value);
    if (c->value.failed) return refuse_memory(c);
    MDB_val at = ml_view_val(key), value = ml_view_val(ml_buf_view(&c->value));
    bool is_new = before.row.data == NULL;
    result = mdb_cursor_put(c->rows, &at, &value, !is_new ? MDB_CURRENT : last ? MDB_APPEND : 0);
    if (is_new) c->record.rows++;
    return result == 0 ? ML_OK : refuse(c, result);
}

static bool add_digest(commit *c, ml_bytes key, ml_bytes row, bool add)
{
    return row.data == NULL || ml_view_row_digest(key, row, add, c->record.digest, &c->joined);
}

static ml_code commit_row(commit *c, const ml_view_row *row)
{
    bool found;
    MDB_val value;
    ml_bytes key = {row->key, row->key_size};
    version before = {{0}, 0}, after = {{0}, 0};
    int result = find(c, key, &value, &found);
    if (result != 0 && result != MDB_NOTFOUND) return refuse(c, result);
    if (found && !ml_view_row_read(key, ml_view_bytes(value), &before.row, &before.expires))
        return ml_view_corrupt(c->view->dir, c->why, "the checksum of a row is wrong");
    if (row->present) after = (version){{row->key + row->key_size, row->row_size}, row->expires};
    if (found == row->present && before.expires == after.expires &&
        ml_bytes_equal(before.row, after.row))
        return ML_OK;
    if (!add_digest(c, key, before.row, false) || !add_digest(c, key, after.row, true))
        return refuse_memory(c);
    ml_code code = move_entries(c, key, before, after);
    if (!code) code = note_change(c, key);
    return code ? code : write_row(c, key, before, after, result == MDB_NOTFOUND);
}

static ml_code commit_rows(commit *c)
{
    const ml_view_batch *batch = &c->view->batch;
    ml_code code = ML_OK;
    if (batch->changes == 0) return ML_OK;
    ml_view_item *items = calloc(batch->changes, sizeof *items);
    if (items == NULL) return refuse_memory(c);
    for (size_t n = 0; n < batch->changes; n++) {
        const ml_view_row *row = &batch->rows[batch->changed[n]];
        items[n] =
            (ml_view_item){.bytes = row->key, .size = row->key_size, .tag = batch->changed[n]};
    }
    if (!ml_view_sort(items, batch->changes)) code = refuse_memory(c);
    for (size_t n = 0; n < batch->changes && !code; n++)
        code = commit_row(c, &batch->rows[items[n].tag]);
    free(items);
    return code;
}

/* ---- the transaction -------------------------------------------------------------------- */

static ml_code begin(commit *c)
{
    const ml_view *view = c->view;
    int result = mdb_txn_begin(view->env, NULL, 0, &c->txn);
    if (result != 0) {
        c->txn = NULL;
        return refuse(c, result);
    }
    result = mdb_cursor_open(c->txn, view->rows, &c->rows);
    if (result == 0) result = mdb_cursor_open(c->txn, view->entries, &c->entries);
    if (result == 0) result = mdb_drop(c->txn, view->changed, 0);
    if (result == 0) result = mdb_cursor_open(c->txn, view->changed, &c->changed);
    return result == 0 ? ML_OK : refuse(c, result);
}

static ml_code fill(commit *c, uint64_t position, ml_bytes note)
{
    c->record.previous = c->record.position;
    c->record.position = position;
    c->record.changed = 0;
    c->record.commits++;
    c->record.note = note;
    c->record.txn = mdb_txn_id(c->txn);
    ml_code code = commit_rows(c);
    if (!code) code = write_moves(c);
    if (!code) code = write_list(c);
    return code ? code : ml_view_put_record(c->view, c->txn, &c->record, c->why);
}

/* LMDB says EIO of a write that came out short, and that is how a disk fills up. */
static ml_code refuse_commit(const commit *c, int result)
{
    int file;
    uint64_t size;
    ml_disk *disk = c->view->disk;
    if (result != EIO || ml_disk_open(disk, "data.mdb", ML_DISK_WRITE, &file, NULL))
        return refuse(c, result);
    if (disk->ops->size(disk, file, &size) == 0) {
        int grown = disk->ops->allocate(disk, file, size + PROBE_BYTES);
        ML_IGNORE(disk->ops->truncate(disk, file, size) < 0); /* what is behind is free */
        if (grown == -ENOSPC || grown == -EDQUOT || grown == -EFBIG) result = -grown;
    }
    ML_IGNORE(disk->ops->close(disk, file) < 0); /* nothing was written */
    return refuse(c, result);
}

static ml_code end(commit *c, ml_code code)
{
    if (c->txn == NULL) return code;
    if (code) {
        mdb_txn_abort(c->txn);
        return code;
    }
    int result = mdb_txn_commit(c->txn);
    return result == 0 ? ML_OK : refuse_commit(c, result);
}

static ml_code take_over(ml_view *view, const ml_view_record *record, ml_error *why)
{
    view->record = *record;
    view->record.note = ml_buf_view(&view->note);
    ml_view_batch_settle(&view->batch);
    mdb_txn_reset(view->read);
    int result = mdb_txn_renew(view->read);
    return result == 0 ? ML_OK : ml_view_refuse(view->dir, result, "read", why);
}

static ml_code write_all(ml_view *view, uint64_t position, ml_bytes note, ml_error *why)
{
    commit c = {.view = view, .record = view->record, .why = why};
    ml_code code = ML_OK;
    if (!view->booted) code = ml_view_mark_boot(view->disk, view->boot, why);
    view->booted = view->booted || !code;
    if (!code) code = begin(&c);
    if (!code) code = fill(&c, position, note);
    code = end(&c, code);
    ml_buf_free(&c.value);
    ml_buf_free(&c.joined);
    ml_buf_free(&c.moves);
    ml_buf_free(&c.list);
    if (code) return code;
    return take_over(view, &c.record, why);
}

ml_code ml_view_commit(ml_view *view, uint64_t position, ml_bytes note, ml_error *why)
{
    ml_code code = ML_OK;
    ml_buf kept = {0};
    if (note.size > ML_VIEW_NOTE_BYTES)
        code = ml_error_set(why, ML_TOO_LARGE, "a view's note is %zu bytes, the limit is %d",
                            note.size, ML_VIEW_NOTE_BYTES);
    ml_buf_add(&kept, note.data, note.size); /* it may be the view's own */
    if (!code && kept.failed) code = ml_error_memory(why, "a view's note");
    if (!code) code = write_all(view, position, ml_buf_view(&kept), why);
    if (code) {
        ml_view_batch_clear(&view->batch);
        ml_buf_free(&kept);
        return code;
    }
    ml_buf_free(&view->note);
    view->note = kept;
    view->record.note = ml_buf_view(&view->note);
    return ML_OK;
}
