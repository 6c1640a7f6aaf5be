/* view_batch.c -- the rows of a batch, each once, found by a hash of their keys.
 *
 * What was read stays too: most rows that are read are written next, and a hot row is then read
 * from LMDB once, not once a commit.
 */
#include <stdlib.h>

#include "inside.h"

enum { FIRST_ROWS = 64, SPARE = 8 };

struct ml_view_chunk {
    ml_view_chunk *next;
    size_t size, used;
    uint8_t bytes[];
};

/* ---- memory ----------------------------------------------------------------------------- */

static uint8_t *take(ml_view_batch *batch, size_t size)
{
    ml_view_chunk *chunk = batch->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = size > ML_VIEW_CHUNK_BYTES ? size : ML_VIEW_CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + room);
        if (chunk == NULL) return NULL;
        *chunk = (ml_view_chunk){.next = batch->chunks, .size = room};
        batch->chunks = chunk;
    }
    uint8_t *at = chunk->bytes + chunk->used;
    chunk->used += size;
    batch->bytes += size;
    return at;
}

static void free_chunks(ml_view_chunk *chunk)
{
    while (chunk != NULL) {
        ml_view_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void ml_view_batch_free(ml_view_batch *batch)
{
    free_chunks(batch->chunks);
    free(batch->slots);
    free(batch->rows);
    free(batch->changed);
    *batch = (ml_view_batch){0};
}

void ml_view_batch_clear(ml_view_batch *batch)
{
    ml_view_chunk *first = batch->chunks;
    if (batch->bytes > ML_VIEW_CLEAN_BYTES || first == NULL || first->size > ML_VIEW_CHUNK_BYTES) {
        ml_view_batch_free(batch); /* and begin small again */
        return;
    }
    free_chunks(first->next);
    first->next = NULL;
    first->used = 0;
    memset(batch->slots, 0, batch->slot_count * sizeof *batch->slots);
    batch->used = batch->changes = batch->bytes = 0;
}

void ml_view_batch_settle(ml_view_batch *batch)
{
    if (batch->bytes > ML_VIEW_CLEAN_BYTES) {
        ml_view_batch_clear(batch);
        return;
    }
    for (size_t n = 0; n < batch->changes; n++)
        batch->rows[batch->changed[n]].changed = false;
    batch->changes = 0;
}

/* ---- the table -------------------------------------------------------------------------- */

static bool grow_rows(ml_view_batch *batch)
{
    size_t capacity = batch->capacity == 0 ? FIRST_ROWS : 2 * batch->capacity;
    if (capacity > UINT32_MAX / 2) return false;
    ml_view_row *rows = realloc(batch->rows, capacity * sizeof *rows);
    if (rows == NULL) return false;
    batch->rows = rows;
    uint32_t *changed = realloc(batch->changed, capacity * sizeof *changed);
    if (changed == NULL) return false;
    batch->changed = changed;
    batch->capacity = capacity;
    return true;
}

static void place(ml_view_slot *slots, size_t count, ml_view_slot slot)
{
    size_t at = slot.hash & (count - 1);
    while (slots[at].number != 0)
        at = (at + 1) & (count - 1);
    slots[at] = slot;
}

/* At most two of three slots are taken. */
static bool grow_slots(ml_view_batch *batch)
{
    size_t count = batch->slot_count == 0 ? 2 * FIRST_ROWS : 2 * batch->slot_count;
    ml_view_slot *slots = calloc(count, sizeof *slots);
    if (slots == NULL) return false;
    for (size_t n = 0; n < batch->slot_count; n++)
        if (batch->slots[n].number != 0) place(slots, count, batch->slots[n]);
    free(batch->slots);
    batch->slots = slots;
    batch->slot_count = count;
    return true;
}

static ml_view_row *find(const ml_view_batch *batch, ml_bytes key, uint32_t hash)
{
    if (batch->slot_count == 0) return NULL;
    size_t mask = batch->slot_count - 1;
    for (size_t at = hash & mask; batch->slots[at].number != 0; at = (at + 1) & mask) {
        if (batch->slots[at].hash != hash) continue;
        ml_view_row *row = &batch->rows[batch->slots[at].number - 1];
        if (row->key_size == key.size && memcmp(row->key, key.data, key.size) == 0) return row;
    }
    return NULL;
}

/* A row that is not there yet, with room for `room` bytes. */
static ml_view_row *add(ml_view_batch *batch, ml_bytes key, uint32_t hash, size_t room)
{
    if (batch->used == batch->capacity && !grow_rows(batch)) return NULL;
    if (3 * (batch->used + 1) > 2 * batch->slot_count && !grow_slots(batch)) return NULL;
    uint8_t *at = take(batch, key.size + room);
    if (at == NULL) return NULL;
    memcpy(at, key.data, key.size);
    batch->rows[batch->used] =
        (ml_view_row){.key = at, .room = (uint32_t)room, .key_size = (uint16_t)key.size};
    ml_view_row *row = &batch->rows[batch->used++];
    place(batch->slots, batch->slot_count, (ml_view_slot){hash, (uint32_t)batch->used});
    batch->bytes += sizeof *row + sizeof *batch->changed + 2 * sizeof *batch->slots;
    return row;
}

static bool set_row(ml_view_batch *batch, ml_view_row *row, ml_bytes bytes)
{
    if (bytes.size > row->room) {
        size_t room = bytes.size + bytes.size / 4 + SPARE;
        uint8_t *at = take(batch, row->key_size + room);
        if (at == NULL) return false;
        memcpy(at, row->key, row->key_size);
        row->key = at;
        row->room = (uint32_t)room;
    }
    if (bytes.size > 0) memmove(row->key + row->key_size, bytes.data, bytes.size);
    row->row_size = (uint32_t)bytes.size;
    return true;
}

static void note_change(ml_view_batch *batch, ml_view_row *row)
{
    if (row->changed) return;
    row->changed = true;
    batch->changed[batch->changes++] = (uint32_t)(row - batch->rows);
}

/* ---- the door --------------------------------------------------------------------------- */

static ml_code refuse_memory(ml_error *why)
{
    return ml_error_memory(why, "rows of a view");
}

/* The row in the batch, brought there from what is committed. */
static ml_code fetch(ml_view *view, ml_bytes key, ml_view_row **found, ml_error *why)
{
    ml_view_batch *batch = &view->batch;
    uint32_t hash = ml_view_row_hash(key);
    *found = find(batch, key, hash);
    if (*found != NULL) return ML_OK;
    if (batch->changes == 0 && ml_view_full(view)) ml_view_batch_clear(batch);
    ml_bytes row;
    int64_t expires;
    ml_code code = ml_view_read_row(view, key, &row, &expires, why);
    if (code) return code;
    *found = add(batch, key, hash, row.size + SPARE);
    if (*found == NULL || !set_row(batch, *found, row)) return refuse_memory(why);
    (*found)->present = row.data != NULL;
    (*found)->expires = expires;
    return ML_OK;
}

ml_code ml_view_get(ml_view *view, ml_bytes key, ml_bytes *row, ml_error *why)
{
    ml_view_row *found;
    *row = (ml_bytes){0};
    ml_code code = fetch(view, key, &found, why);
    if (!code && found->present) *row = (ml_bytes){found->key + found->key_size, found->row_size};
    return code;
}

/* The row in the batch, whatever is committed. */
static ml_view_row *claim(ml_view_batch *batch, ml_bytes key, size_t room)
{
    uint32_t hash = ml_view_row_hash(key);
    ml_view_row *row = find(batch, key, hash);
    return row != NULL ? row : add(batch, key, hash, room);
}

ml_code ml_view_put(ml_view *view, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why)
{
    ML_ASSERT(key.size <= ML_KEY_BYTES_MAX);
    ML_ASSERT(ml_key_size(key) > 0);
    ML_ASSERT(row.size > 0);
    if (row.size > ML_VIEW_ROW_BYTES)
        return ml_error_set(why, ML_TOO_LARGE,
                            "a row is %zu bytes, the limit is %d; use more keys, or keep less",
                            row.size, ML_VIEW_ROW_BYTES);
    ml_view_row *found = claim(&view->batch, key, row.size + SPARE);
    if (found == NULL || !set_row(&view->batch, found, row)) return refuse_memory(why);
    found->present = true;
    found->expires = expires;
    note_change(&view->batch, found);
    return ML_OK;
}

ml_code ml_view_delete(ml_view *view, ml_bytes key, ml_error *why)
{
    ml_view_row *found = claim(&view->batch, key, 0);
    if (found == NULL) return refuse_memory(why);
    found->present = false;
    found->expires = 0;
    note_change(&view->batch, found);
    return ML_OK;
}

int64_t ml_view_expires(ml_view *view, ml_bytes key)
{
    ml_view_row *row;
    return fetch(view, key, &row, NULL) == ML_OK ? row->expires : 0;
}

bool ml_view_full(const ml_view *view)
{
    return view->batch.bytes >= ML_VIEW_BATCH_BYTES;
}

void ml_view_abort(ml_view *view)
{
    ml_view_batch_clear(&view->batch);
}

/* ---- sweeping --------------------------------------------------------------------------- */

static void sweep_batch(ml_view_batch *batch, int64_t now)
{
    for (size_t n = 0; n < batch->changes; n++) {
        ml_view_row *row = &batch->rows[batch->changed[n]];
        if (!row->present || row->expires == 0 || row->expires > now) continue;
        row->present = false;
        row->expires = 0;
    }
}

/* An entry speaks of a row as it is committed: in the batch it may live longer. */
static ml_code sweep_entry(ml_view *view, ml_bytes entry, ml_error *why)
{
    ml_bytes key = ml_view_entry_key(entry);
    if (key.size == 0) return ml_view_corrupt(view->dir, why, "an expiry names no row");
    const ml_view_row *row = find(&view->batch, key, ml_view_row_hash(key));
    return row != NULL && row->changed ? ML_OK : ml_view_delete(view, key, why);
}

ml_code ml_view_sweep(ml_view *view, int64_t now, ml_error *why)
{
    uint8_t lead = ml_view_entry_lead(-1);
    MDB_cursor *cursor;
    MDB_val at = {1, &lead}, nothing;
    ml_code code = ML_OK;
    sweep_batch(&view->batch, now);
    if (view->record.entries == 0) return ML_OK;
    int result = mdb_cursor_open(view->read, view->entries, &cursor);
    if (result != 0) return ml_view_refuse(view->dir, result, "read", why);
    result = mdb_cursor_get(cursor, &at, &nothing, MDB_SET_RANGE);
    while (result == 0 && !code) {
        ml_bytes entry = ml_view_bytes(at);
        if (*(const uint8_t *)entry.data != lead) break;
        if (ml_view_entry_key(entry).size > 0 && ml_view_entry_expires(entry) > now) break;
        code = sweep_entry(view, entry, why);
        result = mdb_cursor_get(cursor, &at, &nothing, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (code || result == 0 || result == MDB_NOTFOUND) return code;
    return ml_view_refuse(view->dir, result, "read", why);
}
