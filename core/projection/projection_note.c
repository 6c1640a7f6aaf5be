/* projection_note.c -- what is committed with the rows:
 *
 *     [1, begun, latest, ahead, now, recorded, late, [[key, position, why or the number of one with
 * the same], …]]
 *
 * The clock, how many events were late, and the keys that are held: most of them for one line of a
 * handler, so that a sentence is there once. */
#include "../base/pack.h"
#include "../base/unpack.h"
#include "projection_inside.h"

#include <stdio.h>

enum { VERSION = 1, FIELDS = 8, HELD_BYTES = 17 }; /* of an item's numbers and heads, at most */

/* ---- holding -------------------------------------------------------------------------------- */

static const ml_held *held_at(const ml_projection *p, size_t n)
{
    return (const ml_held *)(const void *)p->held_items.data + n;
}

/* In the note. */
static size_t held_bytes(const ml_projection *p)
{
    size_t bytes = 0, count = ml_keys_count(p->held);
    for (size_t n = 0; n < count; n++)
        bytes += HELD_BYTES + ml_keys_get(p->held, n).size + strlen(held_at(p, n)->why);
    return bytes;
}

/* The first that has this sentence; the count if none has. */
static size_t find_why(const ml_projection *p, const char *why)
{
    size_t n = 0, count = ml_keys_count(p->held);
    while (n < count && strcmp(held_at(p, n)->why, why) != 0) n++;
    return n;
}

static bool add_held(ml_projection *p, ml_bytes key, const ml_held *item)
{
    size_t before = p->held_items.size;
    ml_error why;
    ml_buf_add(&p->held_items, item, sizeof *item);
    if (!p->held_items.failed && ml_keys_add(p->held, key, &why) == ML_OK) return true;
    p->held_items.size = before;
    p->held_items.failed = false;
    return false;
}

bool ml_projection_hold(ml_projection *p, const ml_key *key, uint64_t position,
                        const ml_fault *fault)
{
    ml_error said;
    ml_held item = {.position = position};
    if (ml_keys_count(p->held) == ML_PROJECTION_HELD_MAX) return false;
    ml_code code = ml_fault_tell(fault, &said);
    ML_ASSERT(code == ML_SCRIPT_ERROR);
    size_t size = strnlen(said.sentence, sizeof item.why - 1);
    memcpy(item.why, said.sentence, size);
    while (size > 0 && !ml_unpack_utf8((ml_bytes){item.why, size})) item.why[--size] = '\0';
    item.as = (uint32_t)find_why(p, item.why);
    if (item.as < ml_keys_count(p->held)) item.why[size = 0] = '\0';
    if (held_bytes(p) + HELD_BYTES + key->size + size > ML_PROJECTION_NOTE_BYTES) return false;
    return add_held(p, (ml_bytes){key->bytes, key->size}, &item);
}

bool ml_projection_held(const ml_projection *p, size_t n, ml_bytes *key, uint64_t *position)
{
    if (n >= ml_keys_count(p->held)) return false;
    *key = ml_keys_get(p->held, n);
    *position = held_at(p, n)->position;
    return true;
}

const char *ml_projection_held_why(const ml_projection *p, size_t n)
{
    ML_ASSERT(n < ml_keys_count(p->held));
    return held_at(p, held_at(p, n)->as)->why;
}

void ml_projection_hold_first(ml_projection *p, size_t count)
{
    ml_keys_cut(p->held, count);
    p->held_items.size = count * sizeof(ml_held);
}

void ml_projection_release(ml_projection *p) { ml_projection_hold_first(p, 0); }

/* ---- the note ------------------------------------------------------------------------------- */

void ml_projection_save(const ml_projection *p, ml_buf *note)
{
    ml_bytes key;
    uint64_t position;
    size_t count = ml_keys_count(p->held);
    ml_pack_array(note, FIELDS);
    ml_pack_int(note, VERSION);
    ml_pack_bool(note, p->clock.begun);
    ml_pack_int(note, p->clock.latest);
    ml_pack_int(note, p->clock.ahead);
    ml_pack_int(note, p->now);
    ml_pack_int(note, p->recorded);
    ml_pack_int(note, (int64_t)p->late_count);
    ml_pack_array(note, (uint32_t)count);
    for (size_t n = 0; ml_projection_held(p, n, &key, &position); n++) {
        ml_pack_array(note, 3);
        ml_pack_bin(note, key);
        ml_pack_int(note, (int64_t)position);
        if (held_at(p, n)->as == n) ml_pack_text(note, held_at(p, n)->why);
        else ml_pack_int(note, held_at(p, n)->as);
    }
}

static bool read_natural(ml_unpack *cursor, uint64_t *value)
{
    int64_t read;
    if (!ml_unpack_int(cursor, &read) || read < 0) return false;
    *value = (uint64_t)read;
    return true;
}

static bool read_held(ml_projection *p, ml_unpack *cursor)
{
    uint32_t fields;
    ml_held item = {.as = (uint32_t)ml_keys_count(p->held)};
    if (!ml_unpack_array(cursor, &fields) || fields != 3) return false;
    ml_token key = ml_unpack_next(cursor);
    if (key.kind != ML_KIND_BIN || key.bytes.size > ML_KEY_BYTES_MAX) return false;
    if (!read_natural(cursor, &item.position) || ml_keys_has(p->held, key.bytes)) return false;
    ml_token why = ml_unpack_next(cursor);
    if (why.kind == ML_KIND_INT && why.integer >= 0 && why.integer < (int64_t)item.as &&
        held_at(p, (size_t)why.integer)->as == why.integer)
        item.as = (uint32_t)why.integer;
    else if (why.kind == ML_KIND_STR && why.bytes.size < sizeof item.why)
        memcpy(item.why, why.bytes.data, why.bytes.size);
    else return false;
    return add_held(p, key.bytes, &item);
}

static bool read_note(ml_projection *p, ml_bytes note)
{
    int64_t version;
    uint32_t fields, count;
    ml_unpack cursor = ml_unpack_from(note);
    if (!ml_unpack_array(&cursor, &fields) || fields != FIELDS) return false;
    if (!ml_unpack_int(&cursor, &version) || version != VERSION) return false;
    ml_token begun = ml_unpack_next(&cursor);
    if (begun.kind != ML_KIND_BOOL) return false;
    p->clock.begun = begun.boolean;
    if (!ml_unpack_int(&cursor, &p->clock.latest) || !ml_unpack_int(&cursor, &p->clock.ahead))
        return false;
    if (!ml_unpack_int(&cursor, &p->now) || !ml_unpack_int(&cursor, &p->recorded)) return false;
    if (!read_natural(&cursor, &p->late_count) || !ml_unpack_array(&cursor, &count)) return false;
    for (; count > 0; count--)
        if (!read_held(p, &cursor)) return false;
    return cursor.at == cursor.end;
}

static void begin_anew(ml_projection *p)
{
    p->clock = (ml_clock){0};
    p->now = p->recorded = 0;
    p->late_count = 0;
    ml_projection_release(p);
    ml_projection_session_forget(p);
    ml_projection_forget_hot(p);
    p->hot.events = 0;
}

ml_code ml_projection_load(ml_projection *p, ml_bytes note, ml_error *why)
{
    begin_anew(p);
    if (note.size == 0 || read_note(p, note)) return ML_OK;
    begin_anew(p);
    return ml_error_set(why, ML_CORRUPT, "the note of %s is of another version, or damaged",
                        p->unit->label);
}
