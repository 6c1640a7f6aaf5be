/* whatif_states.c -- aggregates: stream by stream, both versions over the same events.
 *
 * As long as the states are equal and the handlers do the same, one fold serves both. At an event
 * that the versions may treat differently the state becomes bytes, both begin with these, and what
 * they make of them is compared. While the states differ both fold everything.
 *
 *     together ──an event whose handlers differ──▶ both ──equal──▶ together
 *        only `before` has a live state              │
 *                                                  differ ──▶ apart: until they are equal again
 */
#include <stdlib.h>

#include "../base/bytes.h"
#include "../base/pack.h"
#include "whatif_inside.h"

enum { NAMES_PAGE = 1000 /* streams whose names are held at once */ };

typedef struct folding {
    ml_whatif_work *work;
    ml_alike alike;
    ml_unit *units[2];
    ml_buf states[2];      /* states[0] is that of now if `written`; both are while apart */
    bool written, initial; /* `initial`: both versions begin with the same state */
    uint64_t apart;        /* since this position; 0 = together */
    ml_refusals refusals;
    ml_again again;
    ml_bytes stream, id;
} folding;

/* ---- telling ---------------------------------------------------------------------------- */

static ml_code tell(folding *f, ml_difference *d)
{
    ml_buf key = {0};
    if (!ml_tell_wanted(f->work, d->first, &f->work->counts.differing)) return ML_OK;
    ml_pack_str(&key, f->stream);
    d->key = ml_buf_view(&key);
    ml_code code =
        key.failed ? ml_error_memory(f->work->why, "a difference") : ml_tell_add(f->work, d);
    ml_buf_free(&key);
    return code;
}

/* ML_END: the stream ends here. Where both cannot go on, nothing is different. */
static ml_code stumble(folding *f, const bool good[2], ml_fault faults[2], uint64_t position)
{
    if (good[0] == good[1]) return ML_END;
    int culprit = good[0] ? 1 : 0;
    ml_fault *fault = &faults[culprit];
    ml_whatif_blame(f->units[culprit], fault);
    ml_difference d = {.kind = "fault", .first = position};
    *(culprit == 0 ? &d.before_fault : &d.after_fault) = fault;
    ml_code code = tell(f, &d);
    return code ? code : ML_END;
}

/* ---- the fold --------------------------------------------------------------------------- */

/* The state that both have becomes bytes, once. */
static bool write_common(folding *f, ml_fault *fault)
{
    if (f->apart == 0 && !f->written)
        f->written = ml_aggregate_write(f->units[0], &f->states[0], fault);
    return f->apart != 0 || f->written;
}

static ml_code apply_together(folding *f, const ml_event *event)
{
    ml_fault fault;
    bool called;
    if (!ml_aggregate_apply(f->units[0], event, &called, &fault)) return ML_END;
    f->written = f->written && !called;
    return ML_OK;
}

static void compare(folding *f, uint64_t position)
{
    bool equal = ml_bytes_equal(ml_buf_view(&f->states[0]), ml_buf_view(&f->states[1]));
    if (!equal && f->apart == 0) f->apart = position;
    if (equal && f->apart != 0 && f->apart < position) f->work->counts.transient++;
    if (equal) f->apart = 0;
    f->written = true;
}

static ml_code apply_both(folding *f, const ml_event *event)
{
    ml_fault faults[2];
    bool good[2] = {true, true}, called;
    if (!write_common(f, &faults[0])) return ML_END; /* nor can the other go on: it is the same */
    if (f->apart == 0)
        good[1] = ml_aggregate_begin(f->units[1], ml_buf_view(&f->states[0]), &faults[1]);
    for (int n = 0; n < 2; n++)
        good[n] = good[n] && ml_aggregate_apply(f->units[n], event, &called, &faults[n]) &&
                  ml_aggregate_write(f->units[n], &f->states[n], &faults[n]);
    if (!good[0] || !good[1]) return stumble(f, good, faults, event->position);
    compare(f, event->position);
    return ML_OK;
}

static ml_code apply(folding *f, const ml_event *event)
{
    bool known = ml_unit_find(&f->units[0]->on, event->type) != NULL ||
                 ml_unit_find(&f->units[1]->on, event->type) != NULL;
    if (!known) return ML_OK;
    if (f->apart == 0 && ml_alike_event(&f->alike, event->type)) return apply_together(f, event);
    return apply_both(f, event);
}

/* ---- commands --------------------------------------------------------------------------- */

/* On the states of now. ML_END: there are none that can be kept. */
static ml_code prepare(folding *f, uint64_t next)
{
    ml_fault fault;
    if (!write_common(f, &fault)) return ML_END;
    f->again.apart = f->apart != 0;
    f->again.states[0] = ml_buf_view(&f->states[0]);
    f->again.states[1] = ml_buf_view(&f->states[f->again.apart ? 1 : 0]);
    f->again.next = next;
    return ML_OK;
}

/* Those that were refused when the stream had so many events. */
static ml_code decide_refused(folding *f, uint64_t next)
{
    size_t count;
    ml_refusal *all = ml_refusals_find(&f->refusals, f->id, next, &count);
    ml_code code = count > 0 ? prepare(f, next) : ML_OK;
    for (size_t n = 0; !code && n < count; n++) {
        code = ml_again_refused(&f->again, all[n].position, f->id);
        all[n].done = true;
    }
    return code;
}

static ml_code decide_recorded(folding *f, const ml_event *event)
{
    ml_bytes record = ml_again_record(event);
    if (record.size == 0) return ML_OK;
    f->again.apart = f->apart != 0;
    if (ml_again_is_sure(&f->again, record)) {
        f->work->counts.commands++;
        return ML_OK;
    }
    ml_code code = prepare(f, event->revision);
    return code ? code : ml_again_decided(&f->again, event, record);
}

/* ---- one stream ------------------------------------------------------------------------- */

/* Both begin with what their version says; at a stream's first event `apart` is put right. */
static ml_code begin(folding *f)
{
    ml_fault fault;
    f->apart = f->initial ? 0 : UINT64_MAX;
    f->written = true;
    for (int n = 0; n < (f->initial ? 1 : 2); n++) {
        const ml_buf *initial = &f->units[n]->initial;
        ml_buf_clear(&f->states[n]);
        ml_buf_add(&f->states[n], initial->data, initial->size);
        if (f->states[n].failed) return ml_error_memory(f->work->why, "a state");
        if (!ml_aggregate_begin(f->units[n], ml_buf_view(&f->states[n]), &fault)) return ML_END;
    }
    return ML_OK;
}

/* ML_END: the stream cannot be folded further. */
static ml_code take(folding *f, const ml_event *event)
{
    ml_code code = decide_refused(f, event->revision);
    if (!code) code = decide_recorded(f, event);
    if (f->apart == UINT64_MAX) f->apart = event->position;
    if (!code) code = apply(f, event);
    f->work->counts.events++;
    return code ? code : ml_whatif_step(f->work, event->position);
}

static ml_code finish(folding *f, uint64_t next)
{
    ml_code code = decide_refused(f, next);
    if (code == ML_END) return ML_OK;
    if (code || f->apart == 0) return code;
    return tell(f, &(ml_difference){.kind = "state",
                                    .first = f->apart,
                                    .before = ml_buf_view(&f->states[0]),
                                    .after = ml_buf_view(&f->states[1])});
}

static ml_code run(folding *f, ml_cursor *cursor)
{
    ml_event event;
    uint64_t next = 0;
    for (;;) {
        ml_code code = ml_next(cursor, &event);
        if (code == ML_END || (!code && event.position > f->work->head)) return finish(f, next);
        if (code) return ml_whatif_store_failed(f->work, code);
        code = take(f, &event);
        if (code) return code == ML_END ? ML_OK : code;
        next = event.revision + 1;
    }
}

static ml_code fold_stream(folding *f, ml_bytes stream)
{
    ml_cursor *cursor = NULL;
    size_t front = strlen(f->units[0]->name) + 1;
    bool named = stream.size > front;
    f->stream = stream;
    f->id = named ? (ml_bytes){(const char *)stream.data + front, stream.size - front}
                  : ML_STR("");
    ml_code code = ml_read(f->work->ask->store, &(ml_selection){.stream = stream}, &cursor);
    if (code) return ml_whatif_store_failed(f->work, code);
    code = begin(f);
    if (!code) code = run(f, cursor);
    for (int n = 0; n < 2; n++) ml_aggregate_end(f->units[n]);
    ml_cursor_free(cursor);
    f->work->counts.rows++;
    return code == ML_END ? ML_OK : code;
}

/* ---- all streams ------------------------------------------------------------------------ */

/* Names of streams: a size and the bytes, one after another. */
typedef struct page {
    ml_buf names;
    size_t count;
    uint64_t first, head;
} page;

static bool note_name(void *context, const ml_stream_info *info)
{
    page *p = context;
    uint32_t size = (uint32_t)info->stream.size;
    if (info->first > p->head) return false;
    ml_buf_add(&p->names, &size, sizeof size);
    ml_buf_add(&p->names, info->stream.data, size);
    p->first = info->first;
    return ++p->count < NAMES_PAGE;
}

static ml_code fold_page(folding *f, const page *p)
{
    ml_code code = ML_OK;
    const uint8_t *at = p->names.data;
    for (size_t n = 0; !code && n < p->count; n++) {
        uint32_t size = ml_get_u32(at);
        code = fold_stream(f, (ml_bytes){at + sizeof size, size});
        at += sizeof size + size;
    }
    return code;
}

static ml_code fold_all(folding *f)
{
    page p = {.head = f->work->head};
    ml_code code;
    ml_bytes category = {f->units[0]->name, strlen(f->units[0]->name)};
    do {
        p.count = 0;
        ml_buf_clear(&p.names);
        code = ml_streams(f->work->ask->store, category, (ml_bytes){0}, p.first, note_name, &p);
        if (code) code = ml_whatif_store_failed(f->work, code);
        else if (p.names.failed) code = ml_error_memory(f->work->why, "names of streams");
        else code = fold_page(f, &p);
    } while (!code && p.count == NAMES_PAGE);
    ml_buf_free(&p.names);
    return code;
}

/* What was refused before there was a stream, and there never was one. */
static ml_code decide_streamless(folding *f)
{
    ml_refusal *all = (ml_refusal *)(void *)f->refusals.all.data;
    size_t count = f->refusals.all.size / sizeof *all;
    ml_code code = count > 0 ? begin(f) : ML_OK;
    if (!code) code = prepare(f, 0);
    for (size_t n = 0; !code && n < count; n++)
        if (!all[n].done && all[n].next == 0)
            code = ml_again_refused(&f->again, all[n].position, (ml_bytes){0});
    for (int n = 0; n < 2; n++) ml_aggregate_end(f->units[n]);
    return code == ML_END ? ML_OK : code;
}

static bool is_same(const folding *f)
{
    if (!f->initial || !f->alike.chains || !f->alike.handlers) return false;
    for (size_t n = 0; n < f->units[1]->commands.count; n++)
        if (!f->alike.commands[n]) return false;
    return f->units[0]->commands.count == f->units[1]->commands.count;
}

ml_code ml_whatif_states(ml_whatif_work *work, ml_unit *before, ml_unit *after)
{
    const ml_rulepack *packs[2] = {work->packs[0], work->packs[1]};
    folding f = {.work = work, .units = {before, after}};
    f.again = (ml_again){.work = work, .alike = &f.alike, .units = {before, after}};
    ml_code code = ml_alike_begin(&f.alike, packs, before, after, work->why);
    if (code) return code;
    f.initial = ml_bytes_equal(ml_buf_view(&before->initial), ml_buf_view(&after->initial));
    work->same = is_same(&f);
    if (!work->same) {
        code = ml_refusals_read(work, (ml_bytes){before->name, strlen(before->name)}, &f.refusals);
        if (!code) code = fold_all(&f);
        if (!code) code = decide_streamless(&f);
    }
    ml_alike_end(&f.alike);
    ml_again_free(&f.again);
    ml_buf_free(&f.refusals.all);
    ml_buf_free(&f.states[0]);
    ml_buf_free(&f.states[1]);
    return code;
}
