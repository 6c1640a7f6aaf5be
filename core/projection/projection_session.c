/* projection_session.c -- sessions: rows whose keys tell from when to when something happened.
 *
 * A key's sessions never touch each other: what would is one session. So an event is in one, or
 * between two that it joins. Those that are committed are found by their keys, which sort by time;
 * those that began or grew since are remembered here until the next commit. */
#include "projection_inside.h"

typedef ml_applying applying;

enum { FOUND_MAX = 16 }; /* two, and those that have expired and were not swept away yet */

typedef struct finding {
    applying *a;
    const ml_key *base;
    ml_span own; /* the session that the event alone would be */
    ml_place found[FOUND_MAX];
    size_t count;
} finding;

/* ---- memory -----------------------------------------------------------------------------------
 */

static ml_session *session_at(const ml_projection *p, uint32_t number)
{
    return (ml_session *)(void *)p->sessions.data + (number - 1);
}

static uint32_t *first_of(const ml_projection *p, size_t n)
{
    return (uint32_t *)(void *)p->first.data + n;
}

static bool is_span(ml_span a, ml_span b) { return a.start == b.start && a.end == b.end; }

/* The key's place for this span; or one that is free, 0 if there is none. */
static uint32_t find_place(const ml_projection *p, uint32_t first, ml_span span)
{
    uint32_t free = 0;
    for (uint32_t n = first; n != 0; n = session_at(p, n)->next) {
        const ml_session *session = session_at(p, n);
        if (!session->gone && is_span(session->span, span)) return n;
        if (session->gone) free = n;
    }
    return free;
}

ml_code ml_projection_session_note(ml_projection *p, const ml_staged *change, ml_error *why)
{
    ml_bytes base = {change->key.bytes,
                     ml_key_size((ml_bytes){change->key.bytes, change->key.size})};
    size_t before = ml_keys_count(p->touched);
    ml_code code = ml_keys_add(p->touched, base, why);
    if (code) return code;
    if (ml_keys_count(p->touched) > before) ml_buf_add(&p->first, &(uint32_t){0}, sizeof(uint32_t));
    if (p->first.failed) return ml_error_memory(why, "sessions");
    size_t key = ml_keys_find(p->touched, base);
    uint32_t place = find_place(p, *first_of(p, key), change->span);
    if (place == 0 && change->gone) return ML_OK;
    if (place == 0) {
        ml_session added = {.next = *first_of(p, key)};
        ml_buf_add(&p->sessions, &added, sizeof added);
        if (p->sessions.failed) return ml_error_memory(why, "sessions");
        place = *first_of(p, key) = (uint32_t)(p->sessions.size / sizeof added);
    }
    session_at(p, place)->span = change->span;
    session_at(p, place)->gone = change->gone;
    return ML_OK;
}

void ml_projection_session_forget(ml_projection *p)
{
    ml_keys_cut(p->touched, 0);
    ml_buf_clear(&p->first);
    ml_buf_clear(&p->sessions);
}

/* ---- finding -----------------------------------------------------------------------------------
 */

/* A session that the event would touch, if it is there. */
static bool add(finding *f, ml_span span)
{
    ml_error said;
    ml_place *place = &f->found[f->count];
    if (span.start >= f->own.end || span.end <= f->own.start) return false;
    for (size_t n = 0; n < f->count; n++)
        if (is_span(f->found[n].span, span)) return false;
    if (f->count == FOUND_MAX) return false;
    *place = (ml_place){*f->base, span};
    ml_code code = ml_key_add_window(&place->key, span.start, span.end, &said);
    ML_ASSERT(code == ML_OK); /* it was a key before */
    f->count++;
    return true;
}

static bool see_kept(void *context, ml_bytes key)
{
    finding *f = context;
    bool windowed;
    ml_span span;
    ml_buf *scratch = &f->a->projection->scratch;
    if (ml_key_size(key) != f->base->size) return true;
    ml_buf_clear(scratch);
    if (!ml_key_pack(key, scratch, &windowed, &span.start, &span.end) || !windowed) return true;
    if (span.end <= f->own.start) return false; /* and so have all before it */
    add(f, span);
    return f->count < FOUND_MAX;
}

/* Of what is committed: back from the last one that begins before the event's own ends. */
static void find_kept(finding *f)
{
    ml_error said;
    ml_key from = *f->base, to = *f->base;
    const ml_rows *rows = f->a->rows;
    ml_code code = ml_key_add_window(&from, -(INT64_C(1) << 62), -(INT64_C(1) << 62), &said);
    if (!code) code = ml_key_add_window(&to, f->own.end, f->own.end, &said);
    ML_ASSERT(code == ML_OK); /* its own key could be made */
    f->a->code = rows->back(rows->context, (ml_bytes){from.bytes, from.size},
                            (ml_bytes){to.bytes, to.size}, see_kept, f, f->a->why);
}

/* What is gone, or has expired, is none. */
static void sift(finding *f)
{
    size_t kept = 0;
    for (size_t n = 0; n < f->count && !f->a->code; n++) {
        if (ml_projection_row_get(f->a, &f->found[n].key).size == 0) continue;
        if (kept != n) f->found[kept] = f->found[n];
        kept++;
    }
    f->count = kept;
}

static void find(finding *f)
{
    applying *a = f->a;
    const ml_projection *p = a->projection;
    ml_bytes base = {f->base->bytes, f->base->size};
    size_t key = ml_keys_find(p->touched, base);
    for (size_t n = 0; a->parts > 1 && n < ml_projection_staged_count(p); n++) {
        const ml_staged *change = ml_projection_staged(p, n);
        ml_bytes whole = {change->key.bytes, change->key.size};
        if (ml_bytes_begins(whole, base) && ml_key_size(whole) == base.size && !change->gone)
            add(f, change->span);
    }
    if (key < ml_keys_count(p->touched))
        for (uint32_t n = *first_of(p, key); n != 0; n = session_at(p, n)->next)
            if (!session_at(p, n)->gone) add(f, session_at(p, n)->span);
    sift(f);
    /* By the log's time nothing happens before what has happened: there is one at most. */
    if (!a->code && (f->count == 0 || p->shape->window.occurred)) {
        find_kept(f);
        sift(f);
    }
    if (f->count > 1 && f->found[0].span.start > f->found[1].span.start) {
        ml_place later = f->found[0];
        f->found[0] = f->found[1];
        f->found[1] = later;
    }
}

/* ---- the event ---------------------------------------------------------------------------------
 */

/* The one that it is late for: in, or next to, a closed session; or alone, and that long ago. */
static const ml_place *closed_one(const finding *f, const ml_place *own)
{
    const ml_window *window = &f->a->projection->shape->window;
    for (size_t n = 0; n < f->count; n++)
        if (ml_window_closed(window, f->found[n].span, f->a->now)) return &f->found[n];
    return f->count == 0 && ml_window_closed(window, own->span, f->a->now) ? own : NULL;
}

static bool make_place(applying *a, const ml_key *base, ml_span span, ml_place *place)
{
    ml_error said;
    *place = (ml_place){*base, span};
    ml_code code = ml_key_add_window(&place->key, span.start, span.end, &said);
    if (code)
        ml_projection_blame(a, a->projection->key != NULL ? a->projection->key : a->first, "%.400s",
                            said.sentence);
    return code == ML_OK;
}

void ml_projection_session(applying *a, lua_State *L, const ml_part *part)
{
    const ml_projection *p = a->projection;
    ml_key base = a->key;
    finding f = {.a = a, .base = &base, .own = ml_window_session(&p->shape->window, a->time)};
    ml_place own, joined;
    if (!make_place(a, &base, f.own, &own)) return;
    find(&f);
    if (a->code) return;
    ML_ASSERT(f.count <= 2);
    const ml_place *late = closed_one(&f, &own);
    if (late != NULL && p->late == NULL) {
        a->late++;
    } else if (late != NULL) {
        ml_part use = {p->late, part->data};
        ml_projection_row(a, L, &use, late, NULL, late);
    } else if (f.count == 0) {
        ml_projection_row(a, L, part, NULL, NULL, &own);
    } else {
        const ml_place *first = &f.found[0], *last = &f.found[f.count - 1];
        ml_span span = {first->span.start < f.own.start ? first->span.start : f.own.start,
                        last->span.end > f.own.end ? last->span.end : f.own.end};
        bool same = f.count == 1 && is_span(span, first->span);
        if (!same && !make_place(a, &base, span, &joined)) return;
        ml_projection_row(a, L, part, first, f.count == 2 ? last : NULL, same ? first : &joined);
    }
}
