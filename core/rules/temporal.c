/* temporal.c -- what a stream added up to at a moment. */
#include "../base/bytes.h"
#include "aggregate.h"
#include "inside.h"
#include "snapshot.h"

typedef struct folding {
    ml_engine *engine;
    ml_unit *unit;
    ml_bytes stream;
    const ml_moment *moment;
    ml_state *state;
    uint64_t snapshots; /* that the stream would have by its length; 0: none are made */
    ml_error *why;
} folding;

void ml_temporal_step(ml_state *state, const ml_event *event)
{
    state->next = event->revision + 1;
    state->position = event->position;
    state->time = event->time;
    memcpy(state->id, event->id, ML_ID_SIZE);
}

static ml_code begin_anew(folding *f)
{
    ml_state *state = f->state;
    ml_buf_clear(&state->bytes);
    ml_buf_add(&state->bytes, f->unit->initial.data, f->unit->initial.size);
    state->next = state->position = 0;
    state->time = 0;
    return state->bytes.failed ? ml_error_memory(f->why, "a state") : ML_OK;
}

static bool is_past(const folding *f, const ml_state *state)
{
    return state->next <= f->moment->next_max && state->position <= f->moment->position_max &&
           state->time <= f->moment->time_max;
}

/* The nearest snapshot before the moment, if there is one. What happened when is in no snapshot. */
static ml_code begin(folding *f)
{
    ml_head head;
    ml_engine *engine = f->engine;
    f->snapshots = 0;
    if (engine->snapshots == NULL || f->unit->every == 0 || f->moment->has_as_of)
        return begin_anew(f);
    engine->stats.log_reads++;
    ml_code code = ml_get_head(engine->store, f->stream, &head);
    if (code == ML_NOT_FOUND) return begin_anew(f);
    if (code) return ml_error_retell(f->why, code, ml_why(engine->store));
    f->snapshots = (head.revision + 1) / f->unit->every;
    uint64_t from = f->moment->next_max / f->unit->every;
    for (uint64_t n = from < f->snapshots ? from : f->snapshots; n > 0; n--) {
        if (!ml_snapshot_keeps(n, f->snapshots)) continue;
        if (!ml_snapshot_load(engine->snapshots, f->unit, f->stream, n, f->state)) continue;
        if (f->state->next != n * f->unit->every || !is_past(f, f->state)) continue;
        engine->stats.snapshots_read++;
        return ML_OK;
    }
    return begin_anew(f);
}

/* The first event read is the last one that the snapshot knows: is it the same? */
static bool is_known(const ml_state *state, const ml_event *event)
{
    return event->revision + 1 == state->next && event->position == state->position &&
           memcmp(event->id, state->id, ML_ID_SIZE) == 0;
}

static ml_code open_cursor(folding *f, ml_cursor **cursor, bool *exists)
{
    ml_store *store = f->engine->store;
    ml_selection selection = {
        .stream = f->stream, .has_from = f->state->next > 0, .from = f->state->next - 1};
    f->engine->stats.log_reads++;
    ml_code code = ml_read(store, &selection, cursor);
    *exists = code == ML_OK;
    if (code == ML_OK || code == ML_NOT_FOUND) return code;
    return ml_error_retell(f->why, code, ml_why(store));
}

static bool counts(const folding *f, const ml_event *event)
{
    return !f->moment->has_as_of ||
           (event->has_occurred ? event->occurred : event->time) <= f->moment->as_of;
}

static ml_code take_snapshot(folding *f)
{
    ml_engine *engine = f->engine;
    if (f->snapshots == 0 || f->state->next % f->unit->every != 0 ||
        !ml_snapshot_keeps(f->state->next / f->unit->every, f->snapshots))
        return ML_OK;
    if (!ml_aggregate_write(f->unit, &f->state->bytes, &engine->trouble.fault))
        return ml_trouble_note(engine, f->unit, NULL, f->why);
    if (ml_snapshot_save(engine->snapshots, f->unit, f->stream, f->state, f->snapshots))
        engine->stats.snapshots_written++;
    return ML_OK;
}

/* ML_END: the snapshot is of other events. */
static ml_code run(folding *f, ml_cursor *cursor)
{
    ml_event event;
    ml_code code;
    ml_engine *engine = f->engine;
    bool check = f->state->next > 0, called;
    while ((code = ml_next(cursor, &event)) == ML_OK) {
        if (check && !is_known(f->state, &event)) return ML_END;
        if (check) {
            check = false;
            continue;
        }
        if (event.revision >= f->moment->next_max || event.position > f->moment->position_max ||
            event.time > f->moment->time_max)
            return ML_OK;
        if (!counts(f, &event)) continue;
        if (!ml_aggregate_apply(f->unit, &event, &called, &engine->trouble.fault))
            return ml_trouble_note(engine, f->unit, &event, f->why);
        engine->stats.folded++;
        ml_temporal_step(f->state, &event);
        code = take_snapshot(f);
        if (code) return code;
    }
    if (code != ML_END) return ml_error_retell(f->why, code, ml_why(engine->store));
    return check ? ML_END : ML_OK;
}

static ml_code fold(folding *f, bool *exists)
{
    ml_cursor *cursor = NULL;
    ml_engine *engine = f->engine;
    ml_code code = open_cursor(f, &cursor, exists);
    if (code == ML_NOT_FOUND) return f->state->next > 0 ? ML_END : ML_OK;
    if (code) return code;
    uint64_t before = f->state->next;
    if (!ml_aggregate_begin(f->unit, ml_buf_view(&f->state->bytes), &engine->trouble.fault)) {
        ml_cursor_free(cursor);
        return ml_trouble_note(engine, f->unit, NULL, f->why);
    }
    code = run(f, cursor);
    if (!code && f->state->next != before &&
        !ml_aggregate_write(f->unit, &f->state->bytes, &engine->trouble.fault))
        code = ml_trouble_note(engine, f->unit, NULL, f->why);
    ml_aggregate_end(f->unit);
    ml_cursor_free(cursor);
    return code;
}

ml_code ml_temporal_fold(ml_engine *engine, ml_unit *unit, ml_bytes stream, const ml_moment *moment,
                         ml_state *state, bool *exists, ml_error *why)
{
    folding f = {engine, unit, stream, moment, state, 0, why};
    *exists = false;
    if (engine->store == NULL) return begin_anew(&f);
    ml_guard_start(engine->options.fold_ms);
    ml_code code = begin(&f);
    if (!code) code = fold(&f, exists);
    if (code != ML_END) return code;
    code = begin_anew(&f);
    if (!code) code = fold(&f, exists);
    ML_ASSERT(code != ML_END); /* without a snapshot there is nothing to be wrong about */
    return code;
}
