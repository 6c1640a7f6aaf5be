/* view_scan.c -- reading what is committed: one row, rows in order, rows of an index, changes. */
#include "inside.h"

ml_code ml_view_read_row(ml_view *view, ml_bytes key, ml_bytes *row, int64_t *expires,
                         ml_error *why)
{
    MDB_val at = ml_view_val(key), value;
    *row = (ml_bytes){0};
    *expires = 0;
    int result = mdb_get(view->read, view->rows, &at, &value);
    if (result == MDB_NOTFOUND) return ML_OK;
    if (result != 0) return ml_view_refuse(view->dir, result, "read", why);
    if (ml_view_row_read(key, ml_view_bytes(value), row, expires)) return ML_OK;
    *row = (ml_bytes){0};
    return ml_view_corrupt(view->dir, why, "the checksum of a row is wrong");
}

ml_code ml_view_find(ml_view *view, ml_bytes key, ml_bytes *row, ml_error *why)
{
    int64_t expires;
    return ml_view_read_row(view, key, row, &expires, why);
}

/* ---- ranges ----------------------------------------------------------------------------- */

typedef struct scan {
    ml_view *view;
    const ml_view_range *range;
    MDB_cursor *cursor;
    size_t lead;   /* bytes in front of what the range speaks of */
    uint8_t first; /* the one byte, if there is one */
    bool (*each)(void *context, ml_bytes key, ml_bytes row);
    void *context;
    ml_error *why;
} scan;

/* Where a range begins or ends, with the lead in front. */
typedef struct bound {
    size_t size;
    uint8_t bytes[1 + 2 * ML_KEY_BYTES_MAX];
} bound;

static void add_to(bound *to, ml_bytes bytes)
{
    size_t left = sizeof to->bytes - to->size, size = bytes.size < left ? bytes.size : left;
    if (size > 0) memcpy(to->bytes + to->size, bytes.data, size);
    to->size += size;
}

static bound bound_of(const scan *s, ml_bytes bytes)
{
    bound made = {.size = s->lead, .bytes = {s->first}};
    add_to(&made, bytes);
    return made;
}

static ml_bytes view_of(const bound *b)
{
    return (ml_bytes){b->bytes, b->size};
}

/* The first bytes of `at` against `edge`: what begins with it is equal to it. */
static int compare_to(ml_bytes at, ml_bytes edge)
{
    size_t least = at.size < edge.size ? at.size : edge.size;
    int order = least > 0 ? memcmp(at.data, edge.data, least) : 0;
    return order != 0 || at.size >= edge.size ? order : -1;
}

static bool is_inside(const scan *s, ml_bytes at)
{
    if (s->lead > 0 && (at.size == 0 || *(const uint8_t *)at.data != s->first)) return false;
    ml_bytes rest = {(const uint8_t *)at.data + s->lead, at.size - s->lead};
    if (!ml_bytes_begins(rest, s->range->prefix)) return false;
    if (s->range->from.size > 0 && compare_to(rest, s->range->from) < 0) return false;
    return s->range->to.size == 0 || compare_to(rest, s->range->to) <= 0;
}

/* The greater one of prefix and `from`; behind a row of it, if there is one to go on behind. */
static int begin_forward(const scan *s, MDB_val *at, MDB_val *value)
{
    const ml_view_range *range = s->range;
    bool from = compare_to(range->from, range->prefix) >= 0 || range->prefix.size == 0;
    bound start = bound_of(s, from ? range->from : range->prefix);
    if (range->after_key.size > 0) {
        start = bound_of(s, range->from);
        add_to(&start, range->after_key);
    }
    *at = ml_view_val(view_of(&start));
    if (start.size == 0) return mdb_cursor_get(s->cursor, at, value, MDB_FIRST);
    int result = mdb_cursor_get(s->cursor, at, value, MDB_SET_RANGE);
    if (result == 0 && range->after_key.size > 0 &&
        ml_bytes_equal(ml_view_bytes(*at), view_of(&start)))
        result = mdb_cursor_get(s->cursor, at, value, MDB_NEXT);
    return result;
}

/* Makes of it the least that is greater than all that begins with it; false: there is none. */
static bool step_over(bound *b)
{
    while (b->size > 0 && b->bytes[b->size - 1] == 0xff)
        b->size--;
    if (b->size == 0) return false;
    b->bytes[b->size - 1]++;
    return true;
}

/* The last one before the least that is beyond. */
static int begin_backward(const scan *s, MDB_val *at, MDB_val *value)
{
    const ml_view_range *range = s->range;
    bound end = bound_of(s, range->to);
    bool some = true;
    if (range->after_key.size > 0)
        add_to(&end, range->after_key);
    else
        some = step_over(&end);
    if (range->after_key.size == 0 && range->prefix.size > 0) {
        bound last = bound_of(s, range->prefix);
        bool is = step_over(&last);
        if (is && (range->to.size == 0 || compare_to(view_of(&end), view_of(&last)) > 0))
            end = last;
        some = some || is;
    }
    *at = ml_view_val(view_of(&end));
    if (!some) return mdb_cursor_get(s->cursor, at, value, MDB_LAST);
    int result = mdb_cursor_get(s->cursor, at, value, MDB_SET_RANGE);
    if (result == MDB_NOTFOUND) return mdb_cursor_get(s->cursor, at, value, MDB_LAST);
    return result == 0 ? mdb_cursor_get(s->cursor, at, value, MDB_PREV) : result;
}

/* Gives the row at the cursor; *more: each wants another one. */
static ml_code give(scan *s, ml_bytes at, ml_bytes value, bool *more)
{
    ml_bytes key = at, row;
    int64_t expires;
    if (s->range->index < 0) {
        if (!ml_view_row_read(key, value, &row, &expires))
            return ml_view_corrupt(s->view->dir, s->why, "the checksum of a row is wrong");
    } else {
        key = ml_view_entry_key(at);
        ml_code code = key.size == 0 ? ML_OK : ml_view_find(s->view, key, &row, s->why);
        if (code) return code;
        if (key.size == 0 || row.data == NULL)
            return ml_view_corrupt(s->view->dir, s->why, "an index names a row that is not there");
    }
    *more = s->each(s->context, key, row);
    return ML_OK;
}

static ml_code walk(scan *s)
{
    MDB_val at, value;
    bool more = true;
    bool backward = s->range->backward;
    int result = backward ? begin_backward(s, &at, &value) : begin_forward(s, &at, &value);
    while (result == 0 && more && is_inside(s, ml_view_bytes(at))) {
        ml_code code = give(s, ml_view_bytes(at), ml_view_bytes(value), &more);
        if (code) return code;
        if (more) result = mdb_cursor_get(s->cursor, &at, &value, backward ? MDB_PREV : MDB_NEXT);
    }
    if (result == 0 || result == MDB_NOTFOUND) return ML_OK;
    return ml_view_refuse(s->view->dir, result, "read", s->why);
}

ml_code ml_view_scan(ml_view *view, const ml_view_range *range,
                     bool (*each)(void *context, ml_bytes key, ml_bytes row), void *context,
                     ml_error *why)
{
    ML_ASSERT(range->index < (int)view->path_count);
    scan s = {.view = view, .range = range, .each = each, .context = context, .why = why};
    bool by_key = range->index < 0;
    s.lead = by_key ? 0 : 1;
    s.first = by_key ? 0 : ml_view_entry_lead(range->index);
    int result = mdb_cursor_open(view->read, by_key ? view->rows : view->entries, &s.cursor);
    if (result != 0) return ml_view_refuse(view->dir, result, "read", why);
    ml_code code = walk(&s);
    mdb_cursor_close(s.cursor);
    return code;
}

/* ---- changes ---------------------------------------------------------------------------- */

/* A list of keys, each with its size in front. */
static ml_code give_list(ml_view *view, ml_bytes list,
                         bool (*each)(void *context, ml_bytes key, ml_bytes row), void *context,
                         bool *more, ml_error *why)
{
    const uint8_t *at = list.data, *end = at + list.size;
    while (at < end && *more) {
        ml_bytes key = {at + 1, *at}, row;
        if ((size_t)(end - at) <= key.size)
            return ml_view_corrupt(view->dir, why, "its list of changes ends early");
        ml_code code = ml_view_find(view, key, &row, why);
        if (code) return code;
        *more = each(context, key, row);
        at += 1 + key.size;
    }
    return ML_OK;
}

ml_code ml_view_changed(ml_view *view, uint64_t *from_position,
                        bool (*each)(void *context, ml_bytes key, ml_bytes row), void *context,
                        ml_error *why)
{
    MDB_cursor *cursor;
    MDB_val at, list;
    bool more = true;
    ml_code code = ML_OK;
    *from_position = view->record.previous;
    int result = mdb_cursor_open(view->read, view->changed, &cursor);
    if (result != 0) return ml_view_refuse(view->dir, result, "read", why);
    result = mdb_cursor_get(cursor, &at, &list, MDB_FIRST);
    while (result == 0 && more && !code) {
        code = give_list(view, ml_view_bytes(list), each, context, &more, why);
        if (!code && more) result = mdb_cursor_get(cursor, &at, &list, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (code || result == 0 || result == MDB_NOTFOUND) return code;
    return ml_view_refuse(view->dir, result, "read", why);
}
