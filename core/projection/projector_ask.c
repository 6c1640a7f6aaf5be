/* projector_ask.c -- get and scan: what is committed, for clients.
 *
 * A page ends at `limit` rows or 4 MiB; `next` says where the next one begins and is given back as
 * `from`. By key that is the key of the first row that was not given, with windows [key, start]. By
 * an index, where many rows have one value, it is [value, key] of the last row that was given (with
 * windows [value, key, start, end]), and means the rows behind it. Backward, `from` is the upper
 * end.
 */
#include <inttypes.h>
#include <stdio.h>

#include "../base/pack.h"
#include "../base/text.h"
#include "../base/unpack.h"
#include "../view/field.h"
#include "path.h"
#include "projector_inside.h"

enum {
    LIMIT = 100,
    LIMIT_MAX = 1000,
    PAGE_BYTES = 4 << 20 /* of answers, but for the last row: half of what a message may be */
};
#define TIME_MIN (-(INT64_C(1) << 62))
#define TIME_MAX ((INT64_C(1) << 62) - 1)

typedef enum word { KEY, WINDOW, PREFIX, INDEX, FROM, TO, LIMITED, BACKWARD, WORDS } word;
static const char *const words[WORDS] = {"key",  "window", "prefix", "index",
                                         "from", "to",     "limit",  "backward"};

typedef struct asking {
    const ml_projector *p;
    ml_bytes wishes[WORDS]; /* MessagePack values; empty: absent */
    ml_view_about about;
    ml_view_range range;
    ml_key low, high, prefix, after;
    int64_t moment; /* of the window that is asked for */
    uint64_t limit;
    uint32_t count;
    size_t begin;
    ml_buf *answer, next;
    ml_error *why;
} asking;

/* ---- the request ------------------------------------------------------------------------ */

static bool is_nil(ml_bytes value)
{
    return *(const uint8_t *)value.data == 0xc0;
}

static ml_code read_request(asking *a, ml_bytes request)
{
    ml_unpack cursor = ml_unpack_from(request);
    uint32_t count;
    ml_bytes name;
    if (!ml_unpack_map(&cursor, &count))
        return ml_error_set(a->why, ML_BAD_REQUEST, "the request is no map");
    for (uint32_t n = 0; n < count; n++) {
        if (!ml_unpack_str(&cursor, &name)) break;
        ml_bytes value = {cursor.at, 0};
        if (!ml_unpack_skip(&cursor)) break;
        value.size = (size_t)(cursor.at - (const uint8_t *)value.data);
        for (size_t w = 0; w < WORDS; w++)
            if (ml_bytes_equal(name, (ml_bytes){words[w], strlen(words[w])}) && !is_nil(value))
                a->wishes[w] = value;
    }
    if (cursor.at == cursor.end) return ML_OK;
    return ml_error_set(a->why, ML_BAD_REQUEST, "the request is no map of names to values");
}

static bool has(const asking *a, word of)
{
    return a->wishes[of].size > 0;
}

static bool is_windowed(const asking *a)
{
    return ml_projection_window(a->p->projection)->kind != ML_WINDOW_NONE;
}

static ml_code begin(asking *a, ml_bytes request)
{
    const ml_projector *p = a->p;
    if (p->view == NULL && p->rebuild != NULL)
        return ml_error_set(a->why, ML_TIMEOUT,
                            "%s is made from the version before, %u%% of it are done; ask again",
                            p->unit->label, ml_rebuild_progress(p->rebuild) / 10);
    if (p->view == NULL)
        return ml_error_set(a->why, ML_TIMEOUT, "%s has no view: %s", p->unit->label,
                            p->stop.why.code ? p->stop.why.sentence : "it begins; ask again");
    ml_projection_about(p->projection, ml_buf_view(&p->log), &a->about);
    return read_request(a, request);
}

/* µs, or text. */
static ml_code read_time(const asking *a, ml_bytes value, int64_t *time)
{
    ml_unpack cursor = ml_unpack_from(value);
    ml_token token = ml_unpack_next(&cursor);
    *time = token.integer;
    if (token.kind == ML_KIND_INT && *time > TIME_MIN && *time < TIME_MAX) return ML_OK;
    if (token.kind == ML_KIND_STR && ml_time_read(token.bytes, time)) return ML_OK;
    return ml_error_set(a->why, ML_BAD_REQUEST,
                        "a window is told by a time in it: microseconds since 1970, or a text like "
                        "\"2026-01-31T12:00:00Z\"");
}

/* ---- rows ------------------------------------------------------------------------------- */

static void pack_natural(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

static void pack_window(const asking *a, int64_t start, int64_t end)
{
    const ml_window *window = ml_projection_window(a->p->projection);
    ml_pack_text(a->answer, "window");
    ml_pack_map(a->answer, 3);
    ml_pack_text(a->answer, "from");
    ml_pack_int(a->answer, start);
    ml_pack_text(a->answer, "to");
    ml_pack_int(a->answer, end);
    ml_pack_text(a->answer, "closed");
    ml_pack_bool(a->answer, ml_window_closed(window, (ml_span){start, end}, a->p->now));
}

static bool pack_row(const asking *a, ml_bytes key, ml_bytes row)
{
    bool windowed;
    int64_t start, end;
    size_t head = ml_pack_begin(a->answer);
    ml_pack_text(a->answer, "key");
    if (!ml_key_pack(key, a->answer, &windowed, &start, &end)) return false;
    ml_pack_text(a->answer, "row");
    ml_buf_add(a->answer, row.data, row.size);
    if (windowed) pack_window(a, start, end);
    ml_pack_end_map(a->answer, head, windowed ? 3 : 2);
    return true;
}

/* ---- get -------------------------------------------------------------------------------- */

static bool get_one(void *context, ml_bytes key, ml_bytes row)
{
    asking *a = context;
    ml_buf ignored = {0};
    bool windowed;
    int64_t start, end;
    ml_pack_map(a->answer, 3);
    ml_pack_text(a->answer, "row");
    ml_buf_add(a->answer, row.data, row.size);
    if (ml_key_pack(key, &ignored, &windowed, &start, &end) && windowed) pack_window(a, start, end);
    ml_buf_free(&ignored);
    a->count = 1;
    if (has(a, WINDOW) && end <= a->moment) { /* it was over by then, and so were those before */
        a->answer->size = a->begin;
        a->count = 0;
    }
    return false;
}

/* The latest window, or the one that a moment is in, and of several the one that began last. */
static ml_code get_windowed(asking *a, const ml_key *key)
{
    ml_code code = ML_OK;
    a->begin = a->answer->size;
    a->range = (ml_view_range){.index = -1, .prefix = {key->bytes, key->size}, .backward = true};
    if (has(a, WINDOW)) {
        a->low = a->high = *key;
        code = read_time(a, a->wishes[WINDOW], &a->moment);
        if (!code) code = ml_key_add_window(&a->low, TIME_MIN, TIME_MIN, a->why);
        if (!code) code = ml_key_add_window(&a->high, a->moment, TIME_MAX, a->why);
        a->range.from = (ml_bytes){a->low.bytes, a->low.size};
        a->range.to = (ml_bytes){a->high.bytes, a->high.size};
    }
    return code ? code : ml_view_scan(a->p->view, &a->range, get_one, a, a->why);
}

static ml_code get_plain(asking *a, const ml_key *key)
{
    ml_bytes row;
    if (has(a, WINDOW))
        return ml_error_set(a->why, ML_BAD_REQUEST, "%s has no windows; leave out window",
                            a->p->unit->label);
    ml_code code = ml_view_find(a->p->view, (ml_bytes){key->bytes, key->size}, &row, a->why);
    if (code || row.size == 0) return code;
    ml_pack_map(a->answer, 2);
    ml_pack_text(a->answer, "row");
    ml_buf_add(a->answer, row.data, row.size);
    a->count = 1;
    return ML_OK;
}

/* What has no keys has one row. */
static ml_code only_key(asking *a)
{
    if (a->p->unit->projection->key != ML_SHAPE_KEY_NONE)
        return ml_error_set(a->why, ML_BAD_REQUEST, "whose row of %s? give a key",
                            a->p->unit->label);
    a->wishes[KEY] = ML_STR("\xa0"); /* the empty text */
    return ML_OK;
}

static ml_code get(asking *a, ml_bytes request)
{
    ml_key key;
    ml_code code = begin(a, request);
    if (!code && !has(a, KEY)) code = only_key(a);
    if (!code) code = ml_key_make(a->wishes[KEY], false, &key, a->why);
    if (code) return code;
    return is_windowed(a) ? get_windowed(a, &key) : get_plain(a, &key);
}

ml_code ml_projector_get(ml_projector *p, ml_bytes request, ml_buf *answer, ml_error *why)
{
    asking a = {.p = p, .answer = answer, .why = why};
    ml_code code = get(&a, request);
    p->doubted = p->doubted || code == ML_CORRUPT;
    if (code) return code;
    if (a.count == 0) {
        ml_pack_map(answer, 2);
        ml_pack_text(answer, "row");
        ml_pack_nil(answer);
    }
    pack_natural(answer, "position", ml_projector_position(p));
    return ML_OK;
}

/* ---- where a scan begins and ends ------------------------------------------------------- */

/* An item of the array `value`; empty if it has none. */
static ml_bytes item_of(ml_bytes value, uint32_t nth)
{
    ml_unpack cursor = ml_unpack_from(value);
    uint32_t count;
    if (!ml_unpack_array(&cursor, &count) || nth >= count) return (ml_bytes){0};
    for (uint32_t n = 0; n < nth; n++)
        if (!ml_unpack_skip(&cursor)) return (ml_bytes){0};
    const uint8_t *from = cursor.at;
    if (!ml_unpack_skip(&cursor)) return (ml_bytes){0};
    return (ml_bytes){from, (size_t)(cursor.at - from)};
}

/* A key, or [key, start of the window], as the first or the last bytes that it may have. */
static ml_code key_bound(const asking *a, ml_bytes value, bool upper, ml_key *key)
{
    int64_t start = upper ? TIME_MAX : TIME_MIN;
    bool windowed = is_windowed(a);
    ml_bytes first = item_of(value, 0), second = item_of(value, 1);
    ml_code code = ml_key_make(windowed && second.size > 0 ? first : value, false, key, a->why);
    if (code || !windowed) return code;
    if (second.size > 0) code = read_time(a, second, &start);
    return code ? code : ml_key_add_window(key, start, upper ? TIME_MAX : TIME_MIN, a->why);
}

static ml_code index_bound(const asking *a, ml_bytes value, ml_key *key)
{
    if (ml_key_index(value, key)) return ML_OK;
    return ml_error_set(a->why, ML_BAD_REQUEST,
                        "from and to of an index are values: text, numbers, true or false");
}

/* [value, key] or [value, key, start, end]: behind that row. */
static ml_code index_token(asking *a, ml_bytes value, ml_key *key)
{
    int64_t start, end;
    ml_bytes first = item_of(value, 0), second = item_of(value, 1), third = item_of(value, 2),
             fourth = item_of(value, 3);
    if (second.size == 0) return index_bound(a, value, key);
    ml_code code = index_bound(a, first, key);
    if (!code) code = ml_key_make(second, false, &a->after, a->why);
    if (!code && fourth.size > 0) {
        code = read_time(a, third, &start);
        if (!code) code = read_time(a, fourth, &end);
        if (!code) code = ml_key_add_window(&a->after, start, end, a->why);
    }
    a->range.after_key = (ml_bytes){a->after.bytes, a->after.size};
    return code;
}

static ml_code read_index(asking *a)
{
    ml_unpack cursor = ml_unpack_from(a->wishes[INDEX]);
    ml_bytes name = {0};
    a->range.index = -1;
    if (!has(a, INDEX)) return ML_OK;
    bool text = ml_unpack_str(&cursor, &name);
    for (size_t n = 0; text && n < a->about.index_count; n++)
        if (ml_bytes_equal(name, a->about.indexes[n])) a->range.index = (int)n;
    if (a->range.index >= 0 && !has(a, PREFIX)) return ML_OK;
    if (a->range.index >= 0)
        return ml_error_set(a->why, ML_BAD_REQUEST,
                            "prefix is one of keys; with an index give from and to");
    char known[600] = "", shown[ML_PATH_SHOWN];
    ml_path_show_value(a->wishes[INDEX], shown);
    size_t used = 0;
    for (size_t n = 0; n < a->about.index_count && used < sizeof known; n++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%.*s", n > 0 ? ", " : "",
                                 ML_SHOW(a->about.indexes[n]));
    return ml_error_set(a->why, ML_BAD_REQUEST, "%s has no index %s; it has %s",
                        a->p->unit->label, shown, used > 0 ? known : "none");
}

static ml_code read_prefix(asking *a)
{
    ml_unpack cursor = ml_unpack_from(a->wishes[PREFIX]);
    ml_bytes text;
    if (!has(a, PREFIX)) return ML_OK;
    if (!ml_unpack_str(&cursor, &text))
        return ml_error_set(a->why, ML_BAD_REQUEST,
                            "prefix is the beginning of keys that are text");
    ml_code code = ml_key_prefix(text, &a->prefix, a->why);
    a->range.prefix = (ml_bytes){a->prefix.bytes, a->prefix.size};
    return code;
}

static ml_code read_counts(asking *a)
{
    ml_unpack limit = ml_unpack_from(a->wishes[LIMITED]);
    ml_unpack backward = ml_unpack_from(a->wishes[BACKWARD]);
    int64_t rows = LIMIT;
    if (has(a, LIMITED) && (!ml_unpack_int(&limit, &rows) || rows < 1 || rows > LIMIT_MAX))
        return ml_error_set(a->why, ML_BAD_REQUEST, "limit is a number of rows from 1 to %d",
                            LIMIT_MAX);
    a->limit = (uint64_t)rows;
    if (!has(a, BACKWARD)) return ML_OK;
    ml_token token = ml_unpack_next(&backward);
    a->range.backward = token.boolean;
    if (token.kind == ML_KIND_BOOL) return ML_OK;
    return ml_error_set(a->why, ML_BAD_REQUEST, "backward is true or false");
}

/* Backward it goes from `from` down to `to`. */
static ml_code read_bounds(asking *a)
{
    ml_code code = ML_OK;
    bool backward = a->range.backward, by_key = a->range.index < 0;
    ml_key *from = backward ? &a->high : &a->low, *to = backward ? &a->low : &a->high;
    if (has(a, FROM))
        code = by_key ? key_bound(a, a->wishes[FROM], backward, from)
                      : index_token(a, a->wishes[FROM], from);
    if (!code && has(a, TO))
        code =
            by_key ? key_bound(a, a->wishes[TO], !backward, to) : index_bound(a, a->wishes[TO], to);
    a->range.from = (ml_bytes){a->low.bytes, a->low.size};
    a->range.to = (ml_bytes){a->high.bytes, a->high.size};
    return code;
}

/* ---- scan ------------------------------------------------------------------------------- */

static bool is_full(const asking *a)
{
    return a->count >= a->limit || a->answer->size - a->begin >= PAGE_BYTES;
}

/* Where the next page begins: with an index behind this row, else at it. */
static bool note_next(asking *a, ml_bytes key, ml_bytes row)
{
    bool indexed = a->range.index >= 0, windowed = is_windowed(a);
    int64_t start = 0, end = 0;
    uint32_t each = indexed ? 2 : 1; /* value and key; start and end */
    if (indexed || windowed) ml_pack_array(&a->next, windowed ? 2 * each : each);
    if (indexed) {
        ml_bytes value = ml_field_find(row, a->about.indexes[a->range.index]);
        ml_buf_add(&a->next, value.data, value.size);
    }
    if (!ml_key_pack(key, &a->next, &windowed, &start, &end)) return false;
    if (windowed) ml_pack_int(&a->next, start);
    if (windowed && indexed) ml_pack_int(&a->next, end);
    return true;
}

static bool scan_one(void *context, ml_bytes key, ml_bytes row)
{
    asking *a = context;
    if (is_full(a)) {
        /* There is one more. */
        if (a->range.index < 0 && !note_next(a, key, row)) a->next.failed = true;
        a->limit = 0;
        return false;
    }
    bool good = pack_row(a, key, row);
    a->count++;
    if (good && a->range.index >= 0 && is_full(a)) good = note_next(a, key, row);
    if (!good) a->next.failed = true;
    return good && !a->answer->failed;
}

static ml_code scan(asking *a)
{
    ml_pack_map(a->answer, 3);
    ml_pack_text(a->answer, "rows");
    a->begin = ml_pack_begin(a->answer);
    ml_code code = ml_view_scan(a->p->view, &a->range, scan_one, a, a->why);
    if (code) return code;
    if (a->next.failed) return ml_error_memory(a->why, "an answer");
    ml_pack_end_array(a->answer, a->begin, a->count);
    ml_pack_text(a->answer, "next");
    if (a->limit == 0)
        ml_buf_add(a->answer, a->next.data, a->next.size);
    else
        ml_pack_nil(a->answer);
    pack_natural(a->answer, "position", ml_projector_position(a->p));
    return ML_OK;
}

ml_code ml_projector_scan(ml_projector *p, ml_bytes request, ml_buf *answer, ml_error *why)
{
    asking a = {.p = p, .answer = answer, .why = why};
    size_t before = answer->size;
    ml_code code = begin(&a, request);
    if (!code) code = read_index(&a);
    if (!code) code = read_prefix(&a);
    if (!code) code = read_counts(&a);
    if (!code) code = read_bounds(&a);
    if (!code) code = scan(&a);
    if (code) answer->size = before;
    p->doubted = p->doubted || code == ML_CORRUPT;
    ml_buf_free(&a.next);
    return code;
}
