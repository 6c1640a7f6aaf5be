/* engine_upcast.c -- stored events as the active pack's latest schemas, for whoever reads. */
#include <stdio.h>
#include <time.h>

#include "../base/pack.h"
#include "../base/unpack.h"
#include "../script/envelope.h"
#include "../store/event.h"
#include "inside.h"

typedef struct upcasting {
    ml_engine *engine;
    const ml_event *event;
    bool as_maps;
    ml_buf *answer;
    uint32_t *count;
    ml_error *why;
} upcasting;

/* ---- packing ---------------------------------------------------------------------------- */

/* The names of an event's fields, in the order in which they are stored. */
static void name_field(const upcasting *u, const char *name)
{
    if (u->as_maps) ml_pack_text(u->answer, name);
}

static void pack_number(const upcasting *u, const char *name, int64_t value)
{
    name_field(u, name);
    ml_pack_int(u->answer, value);
}

static void pack_raw(const upcasting *u, const char *name, ml_bytes value)
{
    name_field(u, name);
    ml_buf_add(u->answer, value.data, value.size);
}

static void pack_event(const upcasting *u, ml_bytes type, uint32_t schema, ml_bytes data)
{
    const ml_event *event = u->event;
    ml_buf *out = u->answer;
    if (u->as_maps) ml_pack_map(out, 11);
    else ml_pack_array(out, 11);
    pack_number(u, "position", (int64_t)event->position);
    pack_number(u, "revision", (int64_t)event->revision);
    pack_number(u, "time", event->time);
    name_field(u, "stream");
    ml_pack_str(out, event->stream);
    name_field(u, "type");
    ml_pack_str(out, type);
    pack_number(u, "schema", schema);
    name_field(u, "id");
    ml_pack_bin(out, (ml_bytes){event->id, ML_ID_SIZE});
    pack_raw(u, "tags", event->tags);
    pack_raw(u, "data", data);
    pack_raw(u, "meta", event->meta);
    name_field(u, "occurred");
    if (event->has_occurred) ml_pack_int(out, event->occurred);
    else ml_pack_nil(out);
    ++*u->count;
}

/* The same for an array whose type stays: only schema and data are others, so what stands between
 * them is copied as it is. */
static void pack_stored(const upcasting *u, uint32_t schema, ml_bytes data)
{
    const ml_event *event = u->event;
    const uint8_t *begin = event->wire.data, *end = begin + event->wire.size;
    const uint8_t *type_end = (const uint8_t *)event->type.data + event->type.size;
    const uint8_t *id = event->id - 2; /* its head */
    const uint8_t *old = event->data.data;
    ml_buf_add(u->answer, begin, (size_t)(type_end - begin));
    ml_pack_int(u->answer, schema);
    ml_buf_add(u->answer, id, (size_t)(old - id));
    ml_buf_add(u->answer, data.data, data.size);
    ml_buf_add(u->answer, old + event->data.size, (size_t)(end - old) - event->data.size);
    ++*u->count;
}

/* ---- one event -------------------------------------------------------------------------- */

static void take_part(void *context, lua_State *L, ml_bytes type, uint32_t schema, ml_bytes data)
{
    (void)L;
    pack_event(context, type, schema, data);
}

/* A chain with a function in it. */
static int run_body(lua_State *L)
{
    upcasting *u = lua_touserdata(L, 1);
    ml_upcasts_encode(u->engine->active->upcasts, L, u->event, take_part, u);
    return 0;
}

static void tell(ml_engine *engine, const ml_event *event)
{
    struct timespec now;
    ml_engine_doing *doing = engine->watch.where;
    if (doing == NULL) return;
    uint32_t line;
    const char *file = ml_upcasts_where(engine->active->upcasts, event->type, event->schema, &line);
    snprintf(doing->unit, sizeof doing->unit, "upcast/%.*s",
             event->type.size > 80 ? 80 : (int)event->type.size, (const char *)event->type.data);
    snprintf(doing->hash, sizeof doing->hash, "%s", engine->active->hash);
    snprintf(doing->handler, sizeof doing->handler, "upcast from %u", event->schema);
    snprintf(doing->where, sizeof doing->where, "%.100s:%u", file, line);
    engine->watch.told = NULL;
    doing->position = event->position;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    __atomic_store_n(&doing->began, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
                     __ATOMIC_RELEASE);
}

/* The unit whose chain it is, to be named. */
static const ml_unit *unit_of(const ml_engine *engine, ml_bytes type)
{
    const ml_unit *unit = ml_rulepack_find(engine->active, ML_UNIT_UPCAST, type);
    ML_ASSERT(unit != NULL);
    return unit;
}

/* A step that is a table did not fit the data: u->why says how. */
static ml_code blame(upcasting *u, uint32_t schema)
{
    uint32_t line;
    char place[300];
    ml_engine *engine = u->engine;
    const char *file = ml_upcasts_where(engine->active->upcasts, u->event->type, schema, &line);
    size_t size = (size_t)snprintf(place, sizeof place, "%.256s:%u: ", file, line);
    const char *sentence = u->why->sentence;
    if (strncmp(sentence, place, size) == 0) sentence += size;
    ml_fault_set(&engine->trouble.fault, ML_FAULT_SHAPE, file, line, "%s", sentence);
    return ml_trouble_note(engine, unit_of(engine, u->event->type), u->event, u->why);
}

/* What a step made may be too much for the time that is left, where no line of Lua runs. */
static void place(const upcasting *u, uint32_t schema)
{
    uint32_t line;
    ml_fault *fault = &u->engine->trouble.fault, told = *fault;
    if (fault->line != 0) return;
    const char *file =
        ml_upcasts_where(u->engine->active->upcasts, u->event->type, schema, &line);
    ml_fault_set(fault, told.kind, file, line, "%s", told.message);
}

/* From `schema` on: that step is a function. */
static ml_code run_chain(upcasting *u, uint32_t schema)
{
    ml_engine *engine = u->engine;
    ml_sandbox *sandbox = engine->active->sandbox;
    tell(engine, u->event);
    bool done = ml_sandbox_enter(sandbox, run_body, u, &engine->trouble.fault);
    if (engine->watch.where != NULL)
        __atomic_store_n(&engine->watch.where->began, 0, __ATOMIC_RELEASE);
    ml_envelope_clear(ml_sandbox_lua(sandbox)); /* the event is nobody's any more */
    if (done) return ML_OK;
    place(u, schema);
    return ml_trouble_note(engine, unit_of(engine, u->event->type), u->event, u->why);
}

static ml_code upcast(upcasting *u, ml_buf *plain)
{
    ml_bytes data = u->event->data;
    uint32_t schema = u->event->schema;
    const ml_upcasts *upcasts = u->engine->active != NULL ? u->engine->active->upcasts : NULL;
    if (upcasts != NULL && ml_upcasts_wants(upcasts, u->event->type, schema)) {
        ml_code code = ml_upcasts_plain(upcasts, u->event, plain, &data, &schema, u->why);
        if (code == ML_SCRIPT_ERROR) return blame(u, schema);
        if (code) return code;
        if (ml_upcasts_wants(upcasts, u->event->type, schema)) return run_chain(u, schema);
    } else if (!u->as_maps) {
        ml_buf_add(u->answer, u->event->wire.data, u->event->wire.size);
        ++*u->count;
        return ML_OK;
    }
    if (u->as_maps) pack_event(u, u->event->type, schema, data);
    else pack_stored(u, schema, data);
    return ML_OK;
}

ml_code ml_engine_upcast(ml_engine *engine, ml_bytes events, bool as_maps, ml_buf *answer,
                         uint32_t *count, ml_error *why)
{
    ml_event event;
    ml_buf plain = {0};
    size_t begin = answer->size;
    ml_code code = ML_OK;
    ml_unpack at = ml_unpack_from(events);
    upcasting u = {.engine = engine,
                   .event = &event,
                   .as_maps = as_maps,
                   .answer = answer,
                   .count = count,
                   .why = why};
    *count = 0;
    ml_guard_start(engine->options.fold_ms);
    while (!code && at.at < at.end) {
        const uint8_t *from = at.at;
        if (!ml_unpack_skip(&at) ||
            !ml_event_decode((ml_bytes){from, (size_t)(at.at - from)}, &event))
            code = ml_error_set(why, ML_BAD_REQUEST, "what was to be upcast is no stored event");
        else code = upcast(&u, &plain);
    }
    if (!code && answer->failed) code = ml_error_memory(why, "upcast events");
    if (code) answer->size = begin;
    if (code == ML_SCRIPT_ERROR) ml_trouble_pack(engine, answer);
    ml_buf_free(&plain);
    return code;
}
