/* rehearse.c -- two projections, side by side, in memory. */
#include "rehearse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../rules/aggregate.h"
#include "projection_inside.h"

/* ---- rows in memory ---------------------------------------------------------------------------
 */

typedef struct kept {
    ml_buf row; /* empty: there is none */
    int64_t expires;
} kept;

typedef struct memory {
    ml_keys *keys;
    ml_buf rows;      /* kept, in the order of the keys */
    ml_keys *changed; /* by the event at hand */
    size_t bytes;
} memory;

static kept *kept_at(const memory *m, size_t n) { return (kept *)(void *)m->rows.data + n; }

static void empty(memory *m)
{
    if (m->keys == NULL) return;
    for (size_t n = 0; n < m->rows.size / sizeof(kept); n++) ml_buf_free(&kept_at(m, n)->row);
    m->rows.size = 0;
    m->bytes = 0;
    ml_keys_cut(m->keys, 0);
    ml_keys_cut(m->changed, 0);
}

static ml_code get(void *context, ml_bytes key, ml_bytes *row, ml_error *why)
{
    const memory *m = context;
    size_t n = ml_keys_find(m->keys, key);
    (void)why;
    *row = n < ml_keys_count(m->keys) ? ml_buf_view(&kept_at(m, n)->row) : (ml_bytes){0};
    return ML_OK;
}

static int64_t expires_at(void *context, ml_bytes key)
{
    const memory *m = context;
    size_t n = ml_keys_find(m->keys, key);
    return n < ml_keys_count(m->keys) ? kept_at(m, n)->expires : 0;
}

static ml_code put(void *context, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why)
{
    memory *m = context;
    ml_code code = ml_keys_add(m->changed, key, why);
    if (!code) code = ml_keys_add(m->keys, key, why);
    if (code) return code;
    size_t n = ml_keys_find(m->keys, key);
    if (n * sizeof(kept) == m->rows.size) ml_buf_add(&m->rows, &(kept){0}, sizeof(kept));
    if (m->rows.failed) return ml_error_memory(why, "a rehearsal");
    kept *place = kept_at(m, n);
    m->bytes += row.size - place->row.size;
    ml_buf_clear(&place->row);
    ml_buf_add(&place->row, row.data, row.size);
    place->expires = expires;
    return place->row.failed ? ml_error_memory(why, "a rehearsal") : ML_OK;
}

static ml_code take_away(void *context, ml_bytes key, ml_error *why)
{
    return put(context, key, (ml_bytes){0}, 0, why);
}

static int compare(ml_bytes a, ml_bytes b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* There are few: each step back looks at all of them. */
static ml_code back(void *context, ml_bytes from, ml_bytes to,
                    bool (*each)(void *each_context, ml_bytes key), void *each_context,
                    ml_error *why)
{
    const memory *m = context;
    ml_bytes bound = to, found;
    bool inclusive = true;
    (void)why;
    do {
        found = (ml_bytes){0};
        for (size_t n = 0; n < ml_keys_count(m->keys); n++) {
            ml_bytes key = ml_keys_get(m->keys, n);
            int order = compare(key, bound);
            if (kept_at(m, n)->row.size == 0 || compare(key, from) < 0 || order > 0 ||
                (order == 0 && !inclusive))
                continue;
            if (found.size == 0 || compare(key, found) > 0) found = key;
        }
        bound = found;
        inclusive = false;
    } while (found.size > 0 && each(each_context, found));
    return ML_OK;
}

/* ---- two of them --------------------------------------------------------------------------------
 */

typedef struct side {
    ml_unit *unit;
    ml_projection *projection;
    memory memory;
    ml_applied applied;
    ml_fault fault;
} side;

typedef struct rehearsal {
    ml_store *store;
    const ml_rulepack *pack;
    ml_diagnostics *to;
    ml_error *why;
    side one, two;
    bool warned, done;
} rehearsal;

static ml_code begin_side(side *s, ml_unit *unit, ml_error *why)
{
    s->unit = unit;
    s->memory.keys = ml_keys_new();
    s->memory.changed = ml_keys_new();
    if (unit == NULL || s->memory.keys == NULL || s->memory.changed == NULL)
        return ml_error_memory(why, "a rehearsal");
    ml_code code = ml_projection_new(unit, &s->projection, why);
    if (!code) s->projection->holds = false; /* what would be held is to be said */
    return code;
}

static void end_side(side *s)
{
    if (s->memory.changed != NULL) empty(&s->memory);
    ml_keys_free(s->memory.keys);
    ml_keys_free(s->memory.changed);
    ml_buf_free(&s->memory.rows);
    ml_projection_free(s->projection);
}

static ml_code apply(side *s, const ml_event *event, ml_error *why)
{
    ml_rows rows = {&s->memory, get, expires_at, put, take_away, back, NULL};
    ml_keys_cut(s->memory.changed, 0);
    s->fault.kind = ML_FAULT_NONE;
    return ml_projection_apply_rows(s->projection, &rows, event, NULL, &s->applied, &s->fault, why);
}

/* ---- saying it
 * ------------------------------------------------------------------------------------ */

static void say(rehearsal *r, ml_fault *fault, bool error, const char *code, const ml_event *event)
{
    char message[sizeof fault->message];
    snprintf(message, sizeof message, "%.300s (at position %" PRIu64 ", %.*s in %.*s)",
             fault->message, event->position, event->type.size > 60 ? 60 : (int)event->type.size,
             (const char *)event->type.data, event->stream.size > 60 ? 60 : (int)event->stream.size,
             (const char *)event->stream.data);
    memcpy(fault->message, message, sizeof message);
    ml_unit_quote(r->pack->files, r->pack->count, fault);
    if (error) ml_diagnose_error(r->to, code, fault);
    else if (!r->warned) ml_diagnose_warning(r->to, code, fault);
    r->done = r->done || error;
    r->warned = true;
}

static void say_fault(rehearsal *r, const ml_event *event)
{
    ml_fault *fault = &r->one.fault;
    bool keying = r->one.projection->keying;
    switch (fault->kind) {
    case ML_FAULT_OVERSTAY: say(r, fault, true, "OVERSTAY", event); return;
    case ML_FAULT_MEMORY: say(r, fault, true, "MEMORY", event); return;
    case ML_FAULT_SHAPE: say(r, fault, !keying, keying ? "KEY" : "SHAPE", event); return;
    case ML_FAULT_NONE:
    case ML_FAULT_COMPILE:
    case ML_FAULT_RAISED: break;
    }
    say(r, fault, false, "RAISED", event);
}

static void say_difference(rehearsal *r, const ml_event *event, const char *what)
{
    char sentence[400];
    ml_fault fault = {.kind = ML_FAULT_NONE};
    const ml_handler *handler = ml_unit_find(&r->one.unit->on, event->type);
    snprintf(sentence, sizeof sentence,
             "folded twice, the same events give %.160s; a handler may use its arguments only",
             what);
    ml_aggregate_blame(&fault, handler, sentence);
    say(r, &fault, true, "TWIN", event);
}

static void hold_against(rehearsal *r, const ml_event *event)
{
    char text[ML_PATH_SHOWN], what[200];
    const memory *one = &r->one.memory, *two = &r->two.memory;
    size_t count = ml_keys_count(one->changed);
    if (count != ml_keys_count(two->changed)) {
        say_difference(r, event, "changes of other rows");
        return;
    }
    for (size_t n = 0; n < count; n++) {
        ml_bytes key = ml_keys_get(one->changed, n), other = ml_keys_get(two->changed, n);
        const ml_buf *row = &kept_at(one, ml_keys_find(one->keys, key))->row;
        const ml_buf *twin = &kept_at(two, ml_keys_find(two->keys, other))->row;
        if (ml_bytes_equal(key, other) && ml_bytes_equal(ml_buf_view(row), ml_buf_view(twin)))
            continue;
        ml_path_show(key, &r->one.projection->scratch, text);
        snprintf(what, sizeof what, "two rows for %s", text);
        say_difference(r, event, what);
        return;
    }
}

static ml_code step(rehearsal *r, const ml_event *event)
{
    ml_code code = apply(&r->one, event, r->why);
    if (!code) code = apply(&r->two, event, r->why);
    if (code) return code;
    bool failed = r->one.applied == ML_APPLIED_FAULT;
    if (failed != (r->two.applied == ML_APPLIED_FAULT)) say_difference(r, event, "a fault once");
    else if (failed) say_fault(r, event);
    else hold_against(r, event);
    if (r->one.memory.bytes + r->two.memory.bytes > ML_REHEARSE_ROW_BYTES) r->done = true;
    return ML_OK;
}

/* ---- which events
 * --------------------------------------------------------------------------------- */

static ml_code told(rehearsal *r, ml_code code)
{
    if (code == ML_OK || code == ML_END || code == ML_NOT_FOUND) return ML_OK;
    return ml_error_retell(r->why, code, ml_why(r->store));
}

/* Where the last ones begin, and how many they are. */
static ml_code find_first(rehearsal *r, ml_selection *selection, size_t *count)
{
    ml_event event;
    ml_cursor *cursor = NULL;
    ml_selection back = *selection;
    back.backward = back.wire_only = true;
    back.limit = ML_REHEARSE_EVENTS;
    ml_code code = ml_read(r->store, &back, &cursor);
    for (*count = 0; !code && (code = ml_next(cursor, &event)) == ML_OK; ++*count) {
        selection->has_from = true;
        selection->from = back.stream.size > 0 ? event.revision : event.position;
    }
    ml_cursor_free(cursor);
    return told(r, code);
}

/* The second folds some of them, backward, and not the very first: what it remembers is then
 * another past. What fails here fails again, and is said then. */
static ml_code warm_up(rehearsal *r, const ml_selection *selection, size_t count)
{
    ml_event event;
    ml_cursor *cursor = NULL;
    ml_selection back = *selection;
    back.has_from = false;
    back.backward = true;
    back.limit = count - 1 < ML_REHEARSE_WARM ? count - 1 : ML_REHEARSE_WARM;
    if (back.limit == 0) return ML_OK;
    ml_code code = ml_read(r->store, &back, &cursor), done = ML_OK;
    while (!code && !done && (code = ml_next(cursor, &event)) == ML_OK)
        done = apply(&r->two, &event, r->why);
    ml_cursor_free(cursor);
    empty(&r->two.memory);
    if (!done) done = told(r, code);
    return done ? done : ml_projection_load(r->two.projection, (ml_bytes){0}, r->why);
}

static ml_code fold(rehearsal *r, const ml_selection *selection)
{
    ml_event event;
    ml_cursor *cursor = NULL;
    ml_code code = ml_read(r->store, selection, &cursor), done = ML_OK;
    while (!code && !done && !r->done && (code = ml_next(cursor, &event)) == ML_OK)
        done = step(r, &event);
    ml_cursor_free(cursor);
    return done ? done : told(r, code);
}

ml_code ml_rehearse(ml_store *store, const ml_rulepack *pack, ml_unit *unit, ml_diagnostics *to,
                    ml_error *why)
{
    rehearsal r = {.store = store, .pack = pack, .to = to, .why = why};
    ml_unit *twin = ml_rulepack_twin(pack, unit);
    ml_code code = begin_side(&r.one, unit, why);
    if (!code) code = begin_side(&r.two, twin, why);
    if (!code) {
        ml_selection selection = ml_projection_selection(r.one.projection);
        size_t count = 0;
        twin->watch = unit->watch;
        code = find_first(&r, &selection, &count);
        if (!code && count > 0) code = warm_up(&r, &selection, count);
        if (!code && count > 0) code = fold(&r, &selection);
    }
    end_side(&r.one);
    end_side(&r.two);
    ml_unit_free(twin);
    return code;
}
