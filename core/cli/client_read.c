/* client_read.c -- results taken apart: maps by name, events by place. What a daemon sends is
 * not trusted either. */
#include "client.h"

uint64_t ml_client_natural(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    int64_t value;
    return ml_unpack_int(&cursor, &value) && value > 0 ? (uint64_t)value : 0;
}

bool ml_client_bool(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_token token = ml_unpack_next(&cursor);
    return token.kind == ML_KIND_BOOL && token.boolean;
}

ml_unpack ml_client_list(ml_bytes map, const char *name, uint32_t *count)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    if (!ml_unpack_array(&cursor, count)) *count = 0;
    return cursor;
}

static bool take_natural(ml_unpack *cursor, uint64_t *value)
{
    int64_t integer;
    if (!ml_unpack_int(cursor, &integer) || integer < 0) return false;
    *value = (uint64_t)integer;
    return true;
}

static bool take_raw(ml_unpack *cursor, ml_bytes *value)
{
    const uint8_t *from = cursor->at;
    if (!ml_unpack_skip(cursor)) return false;
    *value = (ml_bytes){from, (size_t)(cursor->at - from)};
    return true;
}

static bool take_id(ml_unpack *cursor, const uint8_t **id)
{
    ml_token token = ml_unpack_next(cursor);
    *id = token.bytes.data;
    return token.kind == ML_KIND_BIN && token.bytes.size == ML_ID_SIZE;
}

static bool take_occurred(ml_unpack *cursor, ml_event *event)
{
    event->has_occurred = ml_unpack_int(cursor, &event->occurred);
    return event->has_occurred || ml_unpack_next(cursor).kind == ML_KIND_NIL;
}

bool ml_client_event(ml_unpack *cursor, ml_event *event)
{
    uint32_t count;
    uint64_t schema;
    const uint8_t *from = cursor->at;
    *event = (ml_event){0};
    bool whole = ml_unpack_array(cursor, &count) && count == 11 &&
                 take_natural(cursor, &event->position) && take_natural(cursor, &event->revision) &&
                 ml_unpack_int(cursor, &event->time) && ml_unpack_str(cursor, &event->stream) &&
                 ml_unpack_str(cursor, &event->type) && take_natural(cursor, &schema) &&
                 schema <= UINT32_MAX && take_id(cursor, &event->id) &&
                 take_raw(cursor, &event->tags) && take_raw(cursor, &event->data) &&
                 take_raw(cursor, &event->meta) && take_occurred(cursor, event);
    if (!whole) return false;
    event->schema = (uint32_t)schema;
    event->wire = (ml_bytes){from, (size_t)(cursor->at - from)};
    return true;
}

#define COUNT(number, name, retry, status, meaning) +1
enum { CODES = 0 ML_CODES(COUNT) };
#undef COUNT

void ml_client_error(ml_bytes text, ml_error *why)
{
    const char *at = text.data;
    const char *colon = memchr(at, ':', text.size);
    size_t name = colon != NULL ? (size_t)(colon - at) : 0;
    int code = CODES;
    while (code > 0 && (strlen(ml_error_name((ml_code)code)) != name ||
                        memcmp(ml_error_name((ml_code)code), at, name) != 0))
        code--;
    size_t skip = code > 0 && name + 2 <= text.size ? name + 2 : 0;
    int size = (int)(text.size - skip < ML_SENTENCE_MAX ? text.size - skip : ML_SENTENCE_MAX - 1);
    ml_error_set(why, code > 0 ? (ml_code)code : ML_INTERNAL, "%.*s", size, at + skip);
}
