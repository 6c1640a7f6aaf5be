/* note.c -- see note.h. */
#include "note.h"

#include "../base/pack.h"
#include "../base/unpack.h"

enum { FORM = 1, FIELDS = 8 };

void ml_note_pack(const ml_note *note, ml_buf *out)
{
    ml_pack_array(out, FIELDS);
    ml_pack_int(out, FORM);
    ml_pack_int(out, (int64_t)note->start);
    ml_pack_int(out, (int64_t)note->events);
    ml_pack_int(out, (int64_t)note->skipped);
    ml_pack_int(out, (int64_t)note->position);
    ml_pack_int(out, note->time);
    ml_pack_bin(out, (ml_bytes){note->id, ML_ID_SIZE});
    ml_pack_bin(out, note->projection);
}

static bool read_natural(ml_unpack *cursor, uint64_t *value)
{
    int64_t read;
    if (!ml_unpack_int(cursor, &read) || read < 0) return false;
    *value = (uint64_t)read;
    return true;
}

static bool read_bin(ml_unpack *cursor, ml_bytes *bytes)
{
    ml_token token = ml_unpack_next(cursor);
    *bytes = token.bytes;
    return token.kind == ML_KIND_BIN;
}

bool ml_note_read(ml_bytes bytes, ml_note *note)
{
    ml_unpack cursor = ml_unpack_from(bytes);
    uint32_t count;
    uint64_t form;
    ml_bytes id = {0};
    if (!ml_unpack_array(&cursor, &count) || count != FIELDS) return false;
    bool good = read_natural(&cursor, &form) && form == FORM &&
                read_natural(&cursor, &note->start) && read_natural(&cursor, &note->events) &&
                read_natural(&cursor, &note->skipped) && read_natural(&cursor, &note->position) &&
                ml_unpack_int(&cursor, &note->time) && read_bin(&cursor, &id) &&
                id.size == ML_ID_SIZE && read_bin(&cursor, &note->projection);
    note->id = id.data;
    return good && cursor.at == cursor.end;
}
