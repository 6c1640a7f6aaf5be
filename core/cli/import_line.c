/* import_line.c -- one line of NDJSON as an event to append.
 *
 * The line becomes MessagePack as a whole; the fields are then views of that. A column is
 * looked for in the text only when there is something to complain about.
 */
#include <inttypes.h>
#include <stdio.h>

#include "../base/json.h"
#include "../base/text.h"
#include "import.h"

enum field {
    STREAM, TYPE, DATA, META, TAGS, ID, OCCURRED, SCHEMA, POSITION, REVISION, TIME,
    FIELDS /* how many */
};

static const char *const names[FIELDS] = {
    [STREAM] = "stream",     [TYPE] = "type",         [DATA] = "data",
    [META] = "meta",         [TAGS] = "tags",         [ID] = "id",
    [OCCURRED] = "occurred", [SCHEMA] = "schema",     [POSITION] = "position",
    [REVISION] = "revision", [TIME] = "time"};

enum {
    EVENT_OVERHEAD = 160, /* of a stored event beside its names and values, generously */
    TAG_OVERHEAD = 4
};

typedef struct reading {
    ml_bytes text;
    ml_import_slot *slot;
    ml_draft *draft;
    ml_error *why;
    uint32_t pair; /* the one being looked at, from 0 */
} reading;

/* ---- saying where ------------------------------------------------------------------- */

/* Moves behind the string that begins at `at`. */
static size_t string_end(const char *text, size_t size, size_t at)
{
    for (at++; at < size && text[at] != '"'; at++) at += text[at] == '\\';
    return at + 1;
}

/* Where the `wanted`th key of the object stands, counted from 1. The text is known to be
 * good JSON: at depth 1 a string is a key if a ',' or the '{' stood before it. */
static size_t find_column(ml_bytes line, uint32_t wanted)
{
    const char *text = line.data;
    int depth = 0;
    bool key_next = false;
    for (size_t at = 0; at < line.size; at++) {
        switch (text[at]) {
        case '"':
            if (depth == 1 && key_next && wanted-- == 0) return at + 1;
            key_next = false;
            at = string_end(text, line.size, at) - 1;
            break;
        case '{':
        case '[': key_next = ++depth == 1; break;
        case '}':
        case ']': depth--; break;
        case ',': key_next = depth == 1; break;
        default: break;
        }
    }
    return 1;
}

static ml_code refuse_at(const reading *r, size_t column, ml_code code, const char *sentence)
{
    return ml_error_set(r->why, code, "line %" PRIu64 ", column %zu: %s", r->slot->line, column,
                        sentence);
}

static ml_code refuse(const reading *r, const char *sentence)
{
    return refuse_at(r, find_column(r->text, r->pair), ML_BAD_REQUEST, sentence);
}

static ml_code refuse_key(const reading *r, ml_bytes key)
{
    char name[64], sentence[256];
    snprintf(name, sizeof name, "%.*s", key.size < 63 ? (int)key.size : 63, (const char *)key.data);
    const char *near = ml_verbs_nearest(name, names, FIELDS);
    snprintf(sentence, sizeof sentence, "an event has no field \"%s\"%s%s%s", name,
             near ? "; did you mean \"" : "; put what is your own into data or meta",
             near ? near : "", near ? "\"?" : "");
    return refuse(r, sentence);
}

/* ---- the fields --------------------------------------------------------------------- */

/* The whole value at the cursor, as a view. */
static ml_bytes take_value(ml_unpack *cursor)
{
    const uint8_t *from = cursor->at;
    bool whole = ml_unpack_skip(cursor);
    ML_ASSERT(whole); /* the reader made it, no deeper than this */
    return (ml_bytes){from, (size_t)(cursor->at - from)};
}

static bool is_nil(ml_bytes value) { return *(const uint8_t *)value.data == 0xc0; }

/* Takes a str that may name something: 1..most bytes, no control character. */
static bool take_name(ml_unpack *cursor, size_t most, ml_bytes *name)
{
    if (!ml_unpack_str(cursor, name) || name->size == 0 || name->size > most) return false;
    const uint8_t *bytes = name->data;
    for (size_t i = 0; i < name->size; i++)
        if (bytes[i] < 0x20 || bytes[i] == 0x7f) return false;
    return true;
}

static ml_code take_tags(reading *r, ml_bytes value)
{
    _Static_assert(ML_TAGS_MAX == 32 && ML_TAG_BYTES_MAX == 256, "the sentence names the limits");
    static const char form[] = "tags must be an array of at most 32 strings of 1 to 256 bytes "
                               "without control characters";
    ml_unpack cursor = ml_unpack_from(value);
    ml_bytes *tags = r->slot->tags;
    uint32_t count;
    if (!ml_unpack_array(&cursor, &count) || count > ML_TAGS_MAX) return refuse(r, form);
    for (uint32_t i = 0; i < count; i++) {
        if (!take_name(&cursor, ML_TAG_BYTES_MAX, &tags[i])) return refuse(r, form);
        for (uint32_t j = 0; j < i; j++)
            if (ml_bytes_equal(tags[i], tags[j])) return refuse(r, "a tag comes twice in tags");
        r->slot->bytes += tags[i].size + TAG_OVERHEAD;
    }
    r->draft->tags = tags;
    r->draft->tag_count = count;
    return ML_OK;
}

static ml_code take_id(reading *r, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    ml_bytes text;
    if (!ml_unpack_str(&cursor, &text) || !ml_uuid_read(text, r->slot->id))
        return refuse(r, "id must be a UUID of 36 characters, as a string");
    r->draft->id = r->slot->id;
    return ML_OK;
}

static ml_code take_occurred(reading *r, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    ml_bytes text;
    int64_t *time = &r->draft->occurred;
    r->draft->has_occurred = true;
    if (ml_unpack_int(&cursor, time)) return ML_OK;
    if (ml_unpack_str(&cursor, &text) && ml_time_read(text, time)) return ML_OK;
    return refuse(r, "occurred must be a time like \"2026-01-31T12:00:00Z\", or microseconds since "
                     "1970 UTC");
}

static ml_code take_schema(reading *r, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    int64_t schema;
    if (!ml_unpack_int(&cursor, &schema) || schema < 1 || schema > INT32_MAX)
        return refuse(r, "schema must be a whole number from 1 to 2147483647");
    r->draft->schema = (uint32_t)schema;
    return ML_OK;
}

static ml_code take_meta(reading *r, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    uint32_t pairs;
    if (!ml_unpack_map(&cursor, &pairs)) return refuse(r, "meta must be an object");
    r->draft->meta = value;
    return ML_OK;
}

static ml_code take_stream(reading *r, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    ml_bytes *stream = &r->slot->stream;
    if (take_name(&cursor, ML_STREAM_BYTES_MAX, stream)) {
        if (*(const char *)stream->data != '$') return ML_OK;
        return refuse_at(r, find_column(r->text, r->pair), ML_FORBIDDEN,
                         "streams that begin with $ are the system's; export leaves them out "
                         "unless --system is given");
    }
    return refuse(r, "stream must be a string of 1 to 512 bytes without control characters");
}

static ml_code take_type(reading *r, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    if (take_name(&cursor, ML_TYPE_BYTES_MAX, &r->draft->type)) return ML_OK;
    return refuse(r, "type must be a string of 1 to 256 bytes without control characters");
}

static ml_code take_field(reading *r, enum field field, ml_bytes value)
{
    switch (field) {
    case STREAM: return take_stream(r, value);
    case TYPE: return take_type(r, value);
    case DATA: r->draft->data = value; return ML_OK;
    case META: return is_nil(value) ? ML_OK : take_meta(r, value);
    case TAGS: return is_nil(value) ? ML_OK : take_tags(r, value);
    case ID: return is_nil(value) ? ML_OK : take_id(r, value);
    case OCCURRED: return is_nil(value) ? ML_OK : take_occurred(r, value);
    case SCHEMA: return is_nil(value) ? ML_OK : take_schema(r, value);
    case POSITION:
    case REVISION:
    case TIME:
    case FIELDS: break; /* the store gives its own */
    }
    return ML_OK;
}

static enum field find_field(ml_bytes key)
{
    unsigned field = 0;
    while (field < FIELDS && (strlen(names[field]) != key.size ||
                              memcmp(names[field], key.data, key.size) != 0))
        field++;
    return (enum field)field;
}

static ml_code take_pairs(reading *r, ml_unpack cursor, uint32_t pairs)
{
    unsigned seen = 0;
    for (r->pair = 0; r->pair < pairs; r->pair++) {
        ml_bytes key;
        if (!ml_unpack_str(&cursor, &key))
            return refuse_at(r, 1, ML_BAD_REQUEST, "the keys of a line are strings");
        enum field field = find_field(key);
        if (field == FIELDS) return refuse_key(r, key);
        if (seen & 1U << field) return refuse(r, "this field comes twice");
        seen |= 1U << field;
        ml_code code = take_field(r, field, take_value(&cursor));
        if (code != ML_OK) return code;
    }
    if (!(seen & 1U << STREAM)) return refuse_at(r, 1, ML_BAD_REQUEST, "\"stream\" is missing");
    if (!(seen & 1U << TYPE)) return refuse_at(r, 1, ML_BAD_REQUEST, "\"type\" is missing");
    return ML_OK;
}

static ml_code check_size(reading *r)
{
    const ml_draft *draft = r->draft;
    size_t size = draft->data.size + draft->meta.size;
    r->slot->bytes += size + r->slot->stream.size + draft->type.size;
    if (size <= ML_EVENT_BYTES_MAX) return ML_OK;
    return refuse_at(r, 1, ML_TOO_LARGE, "data and meta together are over 1 MiB; keep what is "
                                         "large in a file, and its name in the event");
}

/* What `-o json` prints is one array over many lines. */
static bool begins_array(ml_bytes text)
{
    const char *at = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (at[i] != ' ' && at[i] != '\t') return at[i] == '[';
    return false;
}

ml_code ml_import_line_read(ml_bytes text, ml_buf *arena, ml_import_slot *slot, ml_draft *draft,
                            ml_error *why)
{
    reading r = {.text = text, .slot = slot, .draft = draft, .why = why};
    size_t before = arena->size;
    *draft = (ml_draft){0};
    slot->bytes = EVENT_OVERHEAD;
    if (begins_array(text))
        return refuse_at(&r, 1, ML_BAD_REQUEST, "that is a JSON array; import wants one object a "
                                                "line (-o ndjson)");
    ml_error json;
    ml_code code = ml_json_read_line(text, arena, &json);
    if (code != ML_OK)
        return ml_error_set(why, code, "line %" PRIu64 ", %.900s", slot->line, json.sentence);

    ml_unpack cursor = {arena->data + before, arena->data + arena->size};
    uint32_t pairs;
    if (!ml_unpack_map(&cursor, &pairs))
        return refuse_at(&r, 1, ML_BAD_REQUEST, "a line must be a JSON object");
    code = take_pairs(&r, cursor, pairs);
    return code == ML_OK ? check_size(&r) : code;
}
