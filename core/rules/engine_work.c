/* engine_work.c -- commands, states, and events as the latest schemas. */
#include <inttypes.h>
#include <stdio.h>

#include "../base/bytes.h"
#include "../base/limits.h"
#include "../base/pack.h"
#include "../base/unpack.h"
#include "../script/fields.h"
#include "../store/event.h"
#include "aggregate.h"
#include "ask.h"
#include "snapshot.h"

typedef char stream_name[ML_STREAM_BYTES_MAX + 1];

/* ---- finding ---------------------------------------------------------------------------- */

static ml_unit *find_aggregate(const ml_engine *engine, ml_bytes name)
{
    return engine->active == NULL ? NULL
                                  : ml_rulepack_find(engine->active, ML_UNIT_AGGREGATE, name);
}

static ml_code refuse_aggregate(const ml_engine *engine, ml_bytes name, ml_error *why)
{
    const char *names[ML_RULES_FILES_MAX + 1], *near;
    size_t count = 0;
    for (size_t n = 0; engine->active != NULL && n < engine->active->unit_count; n++)
        if (engine->active->units[n]->kind == ML_UNIT_AGGREGATE)
            names[count++] = engine->active->units[n]->name;
    names[count] = NULL;
    if (count == 0)
        return ml_error_set(
            why, ML_NOT_FOUND,
            "no rules with an aggregate are loaded; `moonlog rules load DIR` loads some");
    near = ml_fields_nearest(name, names);
    return ml_error_set(why, ML_NOT_FOUND, "there is no aggregate \"%.*s\" (%s \"%s\"%s)",
                        ML_SHOW(name), near != NULL ? "did you mean" : "there is",
                        near != NULL ? near : names[0], near != NULL ? "?" : "");
}

static ml_code refuse_command(const ml_unit *unit, ml_bytes name, ml_error *why)
{
    const char *names[ML_UNIT_HANDLERS_MAX + 1];
    for (size_t n = 0; n < unit->commands.count; n++) names[n] = unit->commands.all[n].name.data;
    names[unit->commands.count] = NULL;
    const char *near = ml_fields_nearest(name, names);
    if (near == NULL)
        return ml_error_set(why, ML_NOT_FOUND, "%s has no command \"%.*s\"", unit->label,
                            ML_SHOW(name));
    return ml_error_set(why, ML_NOT_FOUND, "%s has no command \"%.*s\" (did you mean \"%s\"?)",
                        unit->label, ML_SHOW(name), near);
}

static ml_code find(const ml_engine *engine, const ml_ask *ask, ml_unit **unit, stream_name text,
                    ml_bytes *stream, ml_error *why)
{
    *unit = find_aggregate(engine, ask->aggregate);
    if (*unit == NULL) return refuse_aggregate(engine, ask->aggregate, why);
    if (ask->id.size > ML_STREAM_BYTES_MAX - 1 - ask->aggregate.size)
        return ml_error_set(why, ML_TOO_LARGE,
                            "the id has %zu bytes; with its aggregate it may have %d", ask->id.size,
                            ML_STREAM_BYTES_MAX - 1);
    size_t size = (size_t)sprintf(text, "%s-", (*unit)->name);
    memcpy(text + size, ask->id.data, ask->id.size); /* it may hold a NUL, which is refused then */
    *stream = (ml_bytes){text, size + ask->id.size};
    return ml_event_check_name(*stream, ML_STREAM_BYTES_MAX, "stream", why);
}

/* Appends by others, and what was admitted before this engine was there, nobody told it of. Who
 * asks may know how far the stream is, and then the log is not asked. */
static bool is_behind(const ml_engine *engine, const ml_ask *ask, ml_bytes stream, const ml_state *state)
{
    ml_head head;
    if (ask->has_next) return ask->next > state->next;
    return engine->store != NULL && ml_get_head(engine->store, stream, &head) == ML_OK &&
           head.revision >= state->next;
}

/* The state as it is now: from the cache, or the log. */
static ml_code current(ml_engine *engine, const ml_ask *ask, ml_unit *unit, ml_bytes stream,
                       ml_state **state, ml_error *why)
{
    bool exists;
    ml_state fresh = {0};
    *state = ml_states_find(engine->states, stream);
    if (*state != NULL && !is_behind(engine, ask, stream, *state)) return ML_OK;
    ml_code code = ml_temporal_fold(engine, unit, stream, &ML_MOMENT_NOW, &fresh, &exists, why);
    if (!code) *state = ml_states_put(engine->states, stream, &fresh);
    if (!code && *state == NULL) code = ml_error_memory(why, "a state");
    ml_buf_free(&fresh.bytes);
    return code;
}

/* ---- a decision on trial ---------------------------------------------------------------- */

/* What a command decided is folded before anybody writes it: an event whose handler raises would
 * stand in the way of its stream, once it is in the log, until the rules change.
 *
 * The fold is of a copy, and thrown away. To keep it would save folding the same events again when
 * they are admitted, but a handler may look at what the store has not given them yet: position,
 * time, id, the tag of a command_id. Here it sees what these are if nothing else is written. That
 * second fold takes 1.3 µs where deciding takes 4, in a process that has little else to do. */
typedef struct trial {
    ml_engine *engine;
    ml_unit *unit;
    const ml_state *state;
    const ml_ask *ask;
    ml_bytes stream;
    uint8_t id[ML_ID_SIZE];
} trial;

static ml_bytes take_value(ml_unpack *at)
{
    const uint8_t *from = at->at;
    bool good = ml_unpack_skip(at);
    ML_ASSERT(good); /* decide.c has packed it */
    return (ml_bytes){from, (size_t)(at->at - from)};
}

/* The cursor is left at the first event. A refusal has none. */
static uint32_t find_events(ml_unpack *at)
{
    uint32_t pairs, count = 0;
    ml_bytes key;
    bool good = ml_unpack_map(at, &pairs) && ml_unpack_str(at, &key);
    ML_ASSERT(good);
    if (ml_bytes_equal(key, ML_STR("refused"))) return 0;
    good = ml_unpack_map(at, &pairs);
    for (; good && pairs > 1; pairs--) good = ml_unpack_skip(at) && ml_unpack_skip(at);
    good = good && ml_unpack_str(at, &key) && ml_bytes_equal(key, ML_STR("events")) &&
           ml_unpack_array(at, &count);
    ML_ASSERT(good);
    return count;
}

/* type, data, meta, tags, schema, as decide.c packs them. */
static ml_event take_event(trial *t, ml_unpack *at, uint32_t number)
{
    ml_bytes key, values[4];
    uint32_t pairs;
    int64_t schema = 1;
    bool good = ml_unpack_map(at, &pairs) && pairs == 5 && ml_unpack_str(at, &key) &&
                ml_unpack_str(at, &values[0]);
    for (int n = 1; good && n < 4; n++) {
        good = ml_unpack_str(at, &key);
        values[n] = take_value(at);
    }
    good = good && ml_unpack_str(at, &key) && ml_unpack_int(at, &schema);
    ML_ASSERT(good);
    ml_put_be64(t->id + 8, ml_get_be64(t->ask->dice + 8) + number); /* no two have the same */
    return (ml_event){.position = t->state->position + 1 + number,
                      .revision = t->state->next + number,
                      .time = t->ask->now > t->state->time ? t->ask->now : t->state->time,
                      .stream = t->stream,
                      .type = values[0],
                      .schema = (uint32_t)schema,
                      .id = t->id,
                      .tags = values[3],
                      .data = values[1],
                      .meta = values[2]};
}

/* The fault is the handler's, but it was the command that asked for it. */
static ml_code blame_decision(trial *t, ml_event *event, ml_error *why)
{
    ml_fault *fault = &t->engine->trouble.fault, told;
    ml_bytes type = event->type.size > 0 ? event->type : ML_STR("what");
    ml_fault_set(&told, fault->kind, "", 0,
                 "%.*s that the command %.*s decided cannot be folded: %s", ML_SHOW(type),
                 ML_SHOW(t->ask->name), fault->message);
    memcpy(fault->message, told.message, sizeof fault->message);
    event->position = 0; /* it has none, and gets none */
    return ml_trouble_note(t->engine, t->unit, event->type.size > 0 ? event : NULL, why);
}

/* SCRIPT_ERROR: what was decided cannot be folded. */
static ml_code try_decision(trial *t, ml_bytes answer, ml_error *why)
{
    ml_unpack at = ml_unpack_from(answer);
    ml_fault *fault = &t->engine->trouble.fault;
    ml_event event = {0};
    bool called, changed = false;
    uint32_t count = find_events(&at);
    if (count == 0) return ML_OK;
    memcpy(t->id, t->ask->dice, sizeof t->id);
    ml_guard_start(t->engine->options.fold_ms);
    bool good = ml_aggregate_begin(t->unit, ml_buf_view(&t->state->bytes), fault);
    for (uint32_t n = 0; good && n < count; n++) {
        event = take_event(t, &at, n);
        good = ml_aggregate_apply(t->unit, &event, &called, fault);
        changed |= called;
    }
    if (good && changed) {
        event.type.size = 0; /* from here on it is all of them */
        good = ml_aggregate_write(t->unit, NULL, fault);
    }
    ml_aggregate_end(t->unit);
    return good ? ML_OK : blame_decision(t, &event, why);
}

/* ---- commands --------------------------------------------------------------------------- */

ml_code ml_engine_command(ml_engine *engine, ml_bytes request, ml_buf *answer, ml_error *why)
{
    ml_ask ask = {.is_now = true};
    ml_unit *unit;
    ml_bytes stream;
    stream_name text;
    ml_state *state;
    ml_code code = ml_ask_command(request, &ask, why);
    if (!code) code = find(engine, &ask, &unit, text, &stream, why);
    if (code) return code;
    const ml_handler *handler = ml_unit_find(&unit->commands, ask.name);
    if (handler == NULL) return refuse_command(unit, ask.name, why);
    engine->stats.commands++;
    code = current(engine, &ask, unit, stream, &state, why);
    if (code == ML_SCRIPT_ERROR) ml_trouble_pack(engine, answer);
    if (code) return code;
    ml_decision decision = {.handler = handler,
                            .chains = engine->active->upcasts,
                            .stream = stream,
                            .id = ask.id,
                            .state = ml_buf_view(&state->bytes),
                            .args = ask.args,
                            .meta = ask.meta,
                            .next = state->next,
                            .now = ask.now,
                            .dice = ask.dice};
    size_t begin = answer->size;
    ml_guard_start(engine->options.command_ms);
    if (!ml_aggregate_decide(unit, &decision, answer, &engine->trouble.fault))
        code = ml_trouble_note(engine, unit, NULL, why);
    if (answer->failed) return ml_error_memory(why, "an answer");
    trial t = {.engine = engine, .unit = unit, .state = state, .ask = &ask, .stream = stream};
    if (!code)
        code = try_decision(&t, (ml_bytes){answer->data + begin, answer->size - begin}, why);
    if (!code) return ML_OK;
    answer->size = begin;
    ml_trouble_pack(engine, answer);
    return answer->failed ? ml_error_memory(why, "an answer") : code;
}

/* ---- what was admitted ------------------------------------------------------------------ */

/* Events of one stream in a row. */
typedef struct following {
    ml_engine *engine;
    ml_unit *unit; /* NULL: nothing to follow */
    ml_state *state;
    ml_bytes stream;
    bool changed, broken;
    ml_code code; /* of the first fault, whose sentence is in why */
    ml_error *why;
} following;

static void note(following *f, const ml_event *event)
{
    f->broken = true;
    if (!f->code) f->code = ml_trouble_note(f->engine, f->unit, event, f->why);
}

static void finish(following *f)
{
    if (f->unit == NULL) return;
    if (!f->broken && f->changed &&
        !ml_aggregate_write(f->unit, &f->state->bytes, &f->engine->trouble.fault))
        note(f, NULL);
    ml_aggregate_end(f->unit);
    if (f->broken) ml_states_forget(f->engine->states, f->stream);
    else ml_states_changed(f->engine->states, f->stream);
    f->unit = NULL;
}

/* A stream that is not known is begun with its first event, and else left to the log. */
static void start(following *f, const ml_event *event)
{
    ml_engine *engine = f->engine;
    *f = (following){
        .engine = engine, .stream = event->stream, .code = f->code, .why = f->why};
    ml_unit *unit = find_aggregate(engine, ml_event_category(event->stream));
    if (unit == NULL || unit->initial.size == 0) return;
    f->state = ml_states_find(engine->states, event->stream);
    if (f->state == NULL && event->revision == 0) {
        ml_state fresh = {0};
        ml_buf_add(&fresh.bytes, unit->initial.data, unit->initial.size);
        if (!fresh.bytes.failed) f->state = ml_states_put(engine->states, event->stream, &fresh);
        ml_buf_free(&fresh.bytes);
    }
    if (f->state == NULL) return;
    f->unit = unit;
    if (!ml_aggregate_begin(unit, ml_buf_view(&f->state->bytes), &engine->trouble.fault))
        note(f, NULL);
}

static void keep_snapshot(following *f)
{
    ml_engine *engine = f->engine;
    if (engine->snapshots == NULL || f->unit->every == 0 || f->state->next % f->unit->every != 0)
        return;
    if (!ml_aggregate_write(f->unit, &f->state->bytes, &engine->trouble.fault)) note(f, NULL);
    if (!f->broken && ml_snapshot_save(engine->snapshots, f->unit, f->stream, f->state,
                                       f->state->next / f->unit->every))
        engine->stats.snapshots_written++;
}

static void follow(following *f, const ml_event *event)
{
    bool called;
    if (f->unit == NULL || f->broken || event->revision < f->state->next) return;
    f->broken = event->revision > f->state->next;
    if (!f->broken && !ml_aggregate_apply(f->unit, event, &called, &f->engine->trouble.fault))
        note(f, event);
    if (f->broken) return;
    f->changed = true;
    f->engine->stats.folded++;
    ml_temporal_step(f->state, event);
    keep_snapshot(f);
}

ml_code ml_engine_admitted(ml_engine *engine, ml_bytes events, ml_buf *answer, ml_error *why)
{
    ml_event event;
    following f = {.engine = engine, .why = why};
    ml_unpack at = ml_unpack_from(events);
    ml_guard_start(engine->options.fold_ms);
    while (at.at < at.end) {
        const uint8_t *begin = at.at;
        if (!ml_unpack_skip(&at) ||
            !ml_event_decode((ml_bytes){begin, (size_t)(at.at - begin)}, &event))
            break;
        if (!ml_bytes_equal(f.stream, event.stream)) {
            finish(&f);
            start(&f, &event);
        }
        follow(&f, &event);
    }
    finish(&f);
    if (f.code && answer != NULL) ml_trouble_pack(engine, answer);
    return f.code;
}

void ml_engine_forget(ml_engine *engine, ml_bytes stream)
{
    ml_states_forget(engine->states, stream);
}

/* ---- states ----------------------------------------------------------------------------- */

static void pack_state(ml_buf *out, const ml_state *state)
{
    ml_pack_map(out, 3);
    ml_pack_text(out, "state");
    ml_buf_add(out, state->bytes.data, state->bytes.size);
    ml_pack_text(out, "revision");
    if (state->next == 0) ml_pack_nil(out);
    else ml_pack_int(out, (int64_t)state->next - 1);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)state->position);
}

static ml_code answer_now(ml_engine *engine, const ml_ask *ask, ml_unit *unit, ml_bytes stream,
                          ml_buf *answer, bool *exists, ml_error *why)
{
    ml_state *state;
    ml_code code = current(engine, ask, unit, stream, &state, why);
    if (code) return code;
    *exists = state->next > 0;
    if (*exists) pack_state(answer, state);
    return ML_OK;
}

static ml_code answer_then(ml_engine *engine, ml_unit *unit, ml_bytes stream,
                           const ml_moment *moment, ml_buf *answer, bool *exists, ml_error *why)
{
    ml_state state = {0};
    ml_code code = ml_temporal_fold(engine, unit, stream, moment, &state, exists, why);
    if (!code && *exists) pack_state(answer, &state);
    ml_buf_free(&state.bytes);
    return code;
}

ml_code ml_engine_state(ml_engine *engine, ml_bytes request, ml_buf *answer, ml_error *why)
{
    ml_ask ask = {.is_now = true};
    ml_unit *unit;
    ml_bytes stream;
    stream_name text;
    bool exists = false;
    ml_code code = ml_ask_state(request, &ask, why);
    if (!code) code = find(engine, &ask, &unit, text, &stream, why);
    if (code) return code;
    if (ask.is_now) code = answer_now(engine, &ask, unit, stream, answer, &exists, why);
    else code = answer_then(engine, unit, stream, &ask.moment, answer, &exists, why);
    if (code == ML_SCRIPT_ERROR) ml_trouble_pack(engine, answer);
    if (!code && !exists)
        code = ml_error_set(why, ML_NOT_FOUND,
                            "there is no event in stream %.*s; `moonlog command` writes the first",
                            ML_SHOW(stream));
    return answer->failed ? ml_error_memory(why, "an answer") : code;
}
