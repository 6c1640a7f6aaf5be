/* path.c -- paths of keys. */
#include "path.h"

#include <inttypes.h>
#include <stdio.h>

#include "../base/pack.h"
#include "../base/unpack.h"
#include "../store/event.h"
#include "../view/field.h"

/* Behind the first '-'; what has none has no id. */
static ml_bytes id_of(ml_bytes stream)
{
    size_t front = ml_event_category(stream).size + 1;
    if (front > stream.size) return (ml_bytes){0};
    return (ml_bytes){(const char *)stream.data + front, stream.size - front};
}

static ml_code refuse(ml_error *why, const ml_shape_projection *shape, const char *sentence)
{
    return ml_error_set(why, ML_BAD_REQUEST, "the key \"%.*s\" %s", ML_SHOW(shape->whole_path),
                        sentence);
}

static ml_code text_key(ml_bytes text, ml_buf *scratch, ml_key *key, ml_error *why)
{
    ml_buf_clear(scratch);
    ml_pack_str(scratch, text);
    if (scratch->failed) return ml_error_memory(why, "a key");
    return ml_key_make(ml_buf_view(scratch), false, key, why);
}

static ml_code field_key(const ml_shape_projection *shape, ml_bytes map, ml_key *key, ml_error *why)
{
    ml_error said;
    ml_bytes value = ml_field_find(map, shape->path);
    if (value.size == 0)
        return refuse(why, shape,
                      "is not in this event; use a function(data, event) that returns {} for "
                      "events without a row");
    ml_code code = ml_key_make(value, false, key, &said);
    if (!code) return ML_OK;
    return ml_error_set(why, code, "the key \"%.*s\": %.700s", ML_SHOW(shape->whole_path),
                        said.sentence);
}

ml_code ml_path_key(const ml_shape_projection *shape, const ml_path_event *event, ml_buf *scratch,
                    ml_key *key, ml_error *why)
{
    ml_bytes stream = event->stored->stream, id;
    switch (shape->key) {
    case ML_SHAPE_KEY_STREAM: return text_key(stream, scratch, key, why);
    case ML_SHAPE_KEY_CATEGORY: return text_key(ml_event_category(stream), scratch, key, why);
    case ML_SHAPE_KEY_TYPE: return text_key(event->type, scratch, key, why);
    case ML_SHAPE_KEY_DATA: return field_key(shape, event->data, key, why);
    case ML_SHAPE_KEY_META: return field_key(shape, event->stored->meta, key, why);
    case ML_SHAPE_KEY_ID:
        id = id_of(stream);
        if (id.data != NULL) return text_key(id, scratch, key, why);
        return refuse(why, shape,
                      "is what stands behind the first '-' of a stream's name, and there is none");
    case ML_SHAPE_KEY_NONE: return text_key((ml_bytes){"", 0}, scratch, key, why);
    case ML_SHAPE_KEY_FUNCTION: break;
    }
    ML_ASSERT(false); /* functions are called, not looked up */
    __builtin_unreachable();
}

/* ---- showing ---------------------------------------------------------------------------- */

static void show_text(ml_bytes bytes, char text[ML_PATH_SHOWN])
{
    const unsigned char *from = bytes.data;
    size_t shown = bytes.size < ML_PATH_SHOWN - 6 ? bytes.size : ML_PATH_SHOWN - 6;
    while (shown > 0 && !ml_unpack_utf8((ml_bytes){from, shown}))
        shown--; /* not in a letter's middle */
    text[0] = '"';
    for (size_t n = 0; n < shown; n++)
        text[n + 1] = from[n] < ' ' || from[n] == 0x7f ? '?' : (char)from[n];
    snprintf(text + shown + 1, ML_PATH_SHOWN - shown - 1, "%s\"", shown < bytes.size ? "..." : "");
}

void ml_path_show(ml_bytes key, ml_buf *scratch, char text[ML_PATH_SHOWN])
{
    bool windowed;
    int64_t start, end;
    ml_buf_clear(scratch);
    snprintf(text, ML_PATH_SHOWN, "?");
    if (ml_key_pack(key, scratch, &windowed, &start, &end) && !scratch->failed)
        ml_path_show_value(ml_buf_view(scratch), text);
}

void ml_path_show_value(ml_bytes value, char text[ML_PATH_SHOWN])
{
    ml_unpack cursor = ml_unpack_from(value);
    snprintf(text, ML_PATH_SHOWN, "?");
    ml_token token = ml_unpack_next(&cursor);
    if (token.kind == ML_KIND_STR) show_text(token.bytes, text);
    else if (token.kind == ML_KIND_INT) snprintf(text, ML_PATH_SHOWN, "%" PRId64, token.integer);
    else if (token.kind == ML_KIND_BOOL)
        snprintf(text, ML_PATH_SHOWN, "%s", token.boolean ? "true" : "false");
}
