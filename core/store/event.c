/* event.c -- encode and decode side by side; the layout is in event.h. */
#include "event.h"

#include <inttypes.h>

#include "../base/limits.h"
#include "../base/unpack.h"

enum { AT_POSITION = 1, AT_REVISION = 10, AT_TIME = 19, AT_STREAM = 28, FIELDS = 0x9b, U64 = 0xcf, NIL = 0xc0 };

/* ---- checking ------------------------------------------------------------------------------- */

ml_code ml_event_check_name(ml_bytes name, size_t limit, const char *what, ml_error *why)
{
    if (name.size == 0) return ml_error_set(why, ML_BAD_REQUEST, "the %s is empty; give it a name", what);
    if (name.size > limit)
        return ml_error_set(why, ML_TOO_LARGE, "the %s has %zu bytes, the limit is %zu; shorten it", what,
                            name.size, limit);
    if (!ml_unpack_utf8(name))
        return ml_error_set(why, ML_BAD_REQUEST, "the %s is not UTF-8; encode it so", what);
    const uint8_t *bytes = name.data;
    for (size_t n = 0; n < name.size; n++)
        if (bytes[n] < 0x20 || bytes[n] == 0x7f)
            return ml_error_set(why, ML_BAD_REQUEST,
                                "the %s holds the control character %u at byte %zu; leave it out", what,
                                bytes[n], n + 1);
    return ML_OK;
}

static ml_code check_tags(const ml_draft *draft, ml_error *why)
{
    if (draft->tag_count > ML_TAGS_MAX)
        return ml_error_set(why, ML_TOO_LARGE, "%zu tags, the limit is %d; drop some", draft->tag_count,
                            ML_TAGS_MAX);
    for (size_t n = 0; n < draft->tag_count; n++) {
        ml_code code = ml_event_check_name(draft->tags[n], ML_TAG_BYTES_MAX, "tag", why);
        if (code) return code;
        for (size_t i = 0; i < n; i++)
            if (ml_bytes_equal(draft->tags[i], draft->tags[n]))
                return ml_error_set(why, ML_BAD_REQUEST, "the tag \"%.*s\" is there twice; give it once",
                                    ML_SHOW(draft->tags[n]));
    }
    return ML_OK;
}

static ml_code check_values(const ml_draft *draft, ml_error *why)
{
    if (draft->data.size + draft->meta.size > ML_EVENT_BYTES_MAX)
        return ml_error_set(why, ML_TOO_LARGE,
                            "data and meta are %zu bytes, the limit is %d; keep the large part elsewhere "
                            "and its address in the event",
                            draft->data.size + draft->meta.size, ML_EVENT_BYTES_MAX);
    ml_code code = ML_OK;
    if (draft->data.size > 0) code = ml_unpack_check(draft->data, "data", why);
    if (!code && draft->meta.size > 0) code = ml_unpack_check(draft->meta, "meta", why);
    if (code || draft->meta.size == 0) return code;
    ml_unpack cursor = ml_unpack_from(draft->meta);
    ml_kind kind = ml_unpack_next(&cursor).kind;
    if (kind == ML_KIND_MAP || kind == ML_KIND_NIL) return ML_OK;
    return ml_error_set(why, ML_BAD_REQUEST, "meta is no map; send a map or leave it out");
}

ml_code ml_event_check(const ml_draft *draft, size_t number, ml_error *why)
{
    ml_error inner;
    ml_code code = ml_event_check_name(draft->type, ML_TYPE_BYTES_MAX, "type", &inner);
    if (!code) code = check_tags(draft, &inner);
    if (!code) code = check_values(draft, &inner);
    if (!code && draft->schema > INT32_MAX)
        code = ml_error_set(&inner, ML_BAD_REQUEST, "schema is %" PRIu32 ", the limit is %d", draft->schema,
                            INT32_MAX);
    if (!code) return ML_OK;
    return ml_error_set(why, code, "event %zu: %s", number, inner.sentence);
}

/* ---- encoding --------------------------------------------------------------------------------- */

static uint8_t *put_be(uint8_t *to, uint8_t tag, uint64_t value, unsigned bytes)
{
    *to++ = tag;
    for (unsigned n = bytes; n > 0; n--) *to++ = (uint8_t)(value >> (8 * (n - 1)));
    return to;
}

static uint8_t *put_u64(uint8_t *to, uint64_t value)
{
    *to = U64;
    ml_put_be64(to + 1, value);
    return to + 9;
}

static uint8_t *put_str(uint8_t *to, ml_bytes text)
{
    if (text.size < 32) *to++ = (uint8_t)(0xa0 | text.size);
    else if (text.size < 256) to = put_be(to, 0xd9, text.size, 1);
    else to = put_be(to, 0xda, text.size, 2);
    memcpy(to, text.data, text.size);
    return to + text.size;
}

static uint8_t *put_int(uint8_t *to, int64_t value)
{
    uint64_t bits = (uint64_t)value;
    if (value >= 0 && value < 128) return put_be(to, (uint8_t)value, 0, 0);
    if (value >= 0 && value < 256) return put_be(to, 0xcc, bits, 1);
    if (value >= 0 && value < 65536) return put_be(to, 0xcd, bits, 2);
    if (value >= 0 && value <= UINT32_MAX) return put_be(to, 0xce, bits, 4);
    if (value >= 0) return put_be(to, 0xcf, bits, 8);
    if (value >= -32) return put_be(to, (uint8_t)value, 0, 0);
    if (value >= INT8_MIN) return put_be(to, 0xd0, bits, 1);
    if (value >= INT16_MIN) return put_be(to, 0xd1, bits, 2);
    if (value >= INT32_MIN) return put_be(to, 0xd2, bits, 4);
    return put_be(to, 0xd3, bits, 8);
}

static uint8_t *put_value(uint8_t *to, ml_bytes value)
{
    if (value.size == 0) {
        *to = NIL;
        return to + 1;
    }
    memcpy(to, value.data, value.size);
    return to + value.size;
}

size_t ml_event_bound(ml_bytes stream, const ml_draft *draft)
{
    /* 28 in front, heads of at most 3 bytes, schema 5, id 18, tags' head 3, occurred 9. */
    size_t size = AT_STREAM + 3 + stream.size + 3 + draft->type.size + 5 + 18 + 3 + 9 + 2;
    for (size_t n = 0; n < draft->tag_count; n++) size += 3 + draft->tags[n].size;
    return size + draft->data.size + draft->meta.size;
}

size_t ml_event_encode(uint8_t *start, ml_bytes stream, const ml_draft *draft, const ml_stamp *stamp)
{
    uint8_t *to = start;
    *to++ = FIELDS;
    to = put_u64(to, stamp->position);
    to = put_u64(to, stamp->revision);
    to = put_u64(to, (uint64_t)stamp->time);
    to = put_str(to, stream);
    to = put_str(to, draft->type);
    to = put_int(to, draft->schema > 0 ? draft->schema : 1);
    *to++ = 0xc4;
    *to++ = ML_ID_SIZE;
    memcpy(to, stamp->id, ML_ID_SIZE);
    to += ML_ID_SIZE;
    if (draft->tag_count < 16) *to++ = (uint8_t)(0x90 | draft->tag_count);
    else to = put_be(to, 0xdc, draft->tag_count, 2);
    for (size_t n = 0; n < draft->tag_count; n++) to = put_str(to, draft->tags[n]);
    to = put_value(to, draft->data);
    to = put_value(to, draft->meta);
    if (draft->has_occurred) to = put_int(to, draft->occurred);
    else *to++ = NIL;
    return (size_t)(to - start);
}

/* ---- decoding ------------------------------------------------------------------------------------ */

static bool skip_view(ml_unpack *cursor, ml_bytes *value)
{
    const uint8_t *from = cursor->at;
    if (!ml_unpack_skip(cursor)) return false;
    *value = (ml_bytes){from, (size_t)(cursor->at - from)};
    return true;
}

static bool begins_well(ml_bytes record)
{
    const uint8_t *at = record.data;
    return record.size > AT_STREAM && at[0] == FIELDS && at[AT_POSITION] == U64 &&
           at[AT_REVISION] == U64 && at[AT_TIME] == U64;
}

/* Everything in front of the data; the cursor then stands there. */
static bool decode_front(ml_bytes record, ml_event *event, ml_unpack *cursor)
{
    const uint8_t *at = record.data;
    if (!begins_well(record)) return false;
    event->position = ml_get_be64(at + AT_POSITION + 1);
    event->revision = ml_get_be64(at + AT_REVISION + 1);
    event->time = (int64_t)ml_get_be64(at + AT_TIME + 1);
    event->wire = record;
    *cursor = (ml_unpack){at + AT_STREAM, at + record.size};
    int64_t schema;
    if (!ml_unpack_str(cursor, &event->stream) || !ml_unpack_str(cursor, &event->type)) return false;
    if (!ml_unpack_int(cursor, &schema) || schema < 1 || schema > INT32_MAX) return false;
    event->schema = (uint32_t)schema;
    if (cursor->end - cursor->at < 2 + ML_ID_SIZE || cursor->at[0] != 0xc4 || cursor->at[1] != ML_ID_SIZE)
        return false;
    event->id = cursor->at + 2;
    cursor->at += 2 + ML_ID_SIZE;
    return skip_view(cursor, &event->tags);
}

bool ml_event_decode_front(ml_bytes record, ml_event *event)
{
    ml_unpack cursor;
    event->data = event->meta = (ml_bytes){0};
    event->has_occurred = false;
    return decode_front(record, event, &cursor);
}

bool ml_event_decode(ml_bytes record, ml_event *event)
{
    ml_unpack cursor;
    if (!decode_front(record, event, &cursor)) return false;
    if (!skip_view(&cursor, &event->data) || !skip_view(&cursor, &event->meta)) return false;
    event->has_occurred = cursor.at < cursor.end && *cursor.at != NIL;
    event->occurred = 0;
    if (event->has_occurred) return ml_unpack_int(&cursor, &event->occurred) && cursor.at == cursor.end;
    return cursor.end - cursor.at == 1;
}

bool ml_event_peek(ml_bytes record, uint64_t *revision, ml_bytes *stream)
{
    const uint8_t *at = record.data;
    if (!begins_well(record)) return false;
    *revision = ml_get_be64(at + AT_REVISION + 1);
    ml_unpack cursor = {at + AT_STREAM, at + record.size};
    return ml_unpack_str(&cursor, stream);
}

ml_bytes ml_event_category(ml_bytes stream)
{
    const void *dash = stream.size > 0 ? memchr(stream.data, '-', stream.size) : NULL;
    if (dash == NULL) return stream;
    return (ml_bytes){stream.data, (size_t)((const char *)dash - (const char *)stream.data)};
}
