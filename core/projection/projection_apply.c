/* projection_apply.c -- one event: what it is now, the keys that it goes to, and all or nothing.
 *
 * There is one protected call an event. Where the faults of a key are held, the event is begun
 * again without that key, which is as if its other keys had been alone. */
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "../base/pack.h"
#include "../base/unpack.h"
#include "../rules/aggregate.h"
#include "../script/envelope.h"
#include "../script/fields.h"
#include "../script/value.h"
#include "projection_inside.h"

enum { KEEP_BYTES_MAX = 1 << 20 }; /* a stage does not hold on to the largest event for ever */

typedef ml_applying applying;
typedef ml_part part;

/* ---- saying it ------------------------------------------------------------------------------ */

void ml_projection_blame(applying *a, const ml_handler *handler, const char *format, ...)
{
    char sentence[sizeof a->fault->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    ml_aggregate_blame(a->fault, handler, sentence);
    a->code = ML_SCRIPT_ERROR;
}

/* What ml_key_make, or looking a path up, has to say: a fault of the projection; or the machine's.
 */
static void blame_key(applying *a, ml_code code, const ml_error *said)
{
    const ml_projection *p = a->projection;
    char path[256];
    if (code != ML_BAD_REQUEST && code != ML_TOO_LARGE) {
        a->code = ml_error_set(a->why, code, "%s", said->sentence);
    } else if (p->key != NULL) {
        ml_projection_blame(a, p->key, "the key function: %.400s", said->sentence);
    } else {
        snprintf(path, sizeof path, "%.*s", ML_SHOW(p->unit->file.path));
        ml_fault_set(a->fault, ML_FAULT_SHAPE, path, p->shape->key_line, "%.500s", said->sentence);
        a->code = ML_SCRIPT_ERROR;
    }
}

/* ---- rows of a key ----------------------------------------------------------------------------
 */

/* The bytes of a key behind its size are nobody's, and not worth copying for each event. */
static void copy_key(ml_key *to, const ml_key *key)
{
    to->size = key->size;
    memcpy(to->bytes, key->bytes, key->size);
}

static void to_row(applying *a, lua_State *L, const part *given)
{
    ml_place place;
    copy_key(&place.key, &a->key);
    place.span = (ml_span){0};
    ml_projection_row(a, L, given, &place, NULL, &place);
}

static void to_windows(applying *a, lua_State *L, const part *given)
{
    ml_error said;
    ml_span spans[ML_WINDOW_HOPS_MAX];
    ml_projection *p = a->projection;
    const ml_window *window = &p->shape->window;
    size_t count = ml_window_of(window, a->time, spans);
    for (size_t n = 0; n < count && !a->code; n++) {
        part use = *given;
        ml_place place;
        copy_key(&place.key, &a->key);
        place.span = spans[n];
        if (ml_window_closed(window, spans[n], a->now)) use.handler = p->late;
        if (use.handler == NULL) {
            a->late++;
            continue;
        }
        ml_code code = ml_key_add_window(&place.key, spans[n].start, spans[n].end, &said);
        if (code) blame_key(a, code, &said);
        else ml_projection_row(a, L, &use, &place, NULL, &place);
    }
}

/* The event goes to a->key. */
static void to_key(applying *a, lua_State *L, const part *given)
{
    ml_projection *p = a->projection;
    ml_bytes key = {a->key.bytes, a->key.size};
    if (a->collect != NULL) {
        a->code = ml_keys_add(a->collect, key, a->why);
        return;
    }
    if (a->only != NULL && !ml_keys_has(a->only, key)) return;
    if (p->held_items.size > 0 && ml_keys_has(p->held, key)) {
        a->held = true;
        return;
    }
    a->has_key = true;
    switch (p->shape->window.kind) {
    case ML_WINDOW_NONE: to_row(a, L, given); break;
    case ML_WINDOW_TUMBLING:
    case ML_WINDOW_HOPPING: to_windows(a, L, given); break;
    case ML_WINDOW_SESSION: ml_projection_session(a, L, given); break;
    }
    if (!a->code) a->has_key = false;
}

/* ---- the key function -------------------------------------------------------------------------
 */

/* The value on top, which says "gave …" in sentences, as a key. */
static void read_key(applying *a, lua_State *L, ml_key *key)
{
    ml_error said;
    ml_bytes text;
    ml_buf *scratch = &a->projection->scratch;
    const ml_handler *function = a->projection->key;
    ml_buf_clear(scratch);
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        text.data = lua_tolstring(L, -1, &text.size);
        if (text.size > ML_KEY_BYTES_MAX) {
            ml_projection_blame(a, function,
                                "the key function gave a string of %zu bytes; a key has up to %d",
                                text.size, ML_KEY_BYTES_MAX);
            return;
        }
        if (ml_unpack_utf8(text)) ml_pack_str(scratch, text);
        else ml_pack_bin(scratch, text);
        break;
    case LUA_TBOOLEAN: ml_pack_bool(scratch, lua_toboolean(L, -1)); break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) {
            ml_pack_int(scratch, lua_tointeger(L, -1));
            break;
        }
        ml_projection_blame(a, function,
                            "the key function gave %s; a number that is a key is an integer",
                            isnan(lua_tonumber(L, -1)) ? "NaN" : "a float");
        return;
    case LUA_TNIL:
        ml_projection_blame(a, function, "the key function gave nil; return {} for no row");
        return;
    default:
        ml_projection_blame(
            a, function, "the key function gave a %s; a key is a string, an integer or a boolean",
            luaL_typename(L, -1));
        return;
    }
    ml_code code = scratch->failed ? ml_error_memory(&said, "a key")
                                   : ml_key_make(ml_buf_view(scratch), false, key, &said);
    if (code) blame_key(a, code, &said);
}

/* The table on top: all of its keys, each once, before a handler is called. */
static void read_keys(applying *a, lua_State *L)
{
    ml_projection *p = a->projection;
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    if (!ml_fields_is_list(L, -1, count)) {
        ml_projection_blame(a, p->key,
                            "the key function gave a table that is no list of keys; return "
                            "{key, …}, or {} for no row");
        return;
    }
    for (lua_Integer n = 1; n <= count && !a->code; n++, lua_pop(L, 1)) {
        ml_key key;
        ml_sandbox_check(L);
        lua_rawgeti(L, -1, n);
        read_key(a, L, &key);
        if (!a->code)
            a->code = ml_keys_add(p->given, (ml_bytes){key.bytes, key.size}, a->why);
        if (!a->code && ml_keys_count(p->given) > ML_PROJECTION_KEYS_MAX)
            ml_projection_blame(a, p->key,
                                "the key function gave %lld keys, over %d of them different; one "
                                "event changes up to %d rows",
                                (long long)count, ML_PROJECTION_KEYS_MAX, ML_PROJECTION_KEYS_MAX);
    }
}

static void call_key(applying *a, lua_State *L, const part *given)
{
    ml_projection *p = a->projection;
    int args = p->key->params < 2 ? p->key->params : 2, top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->key->function);
    if (args > 0) ml_unit_push_data(L, NULL, given->data);
    if (args > 1) ml_envelope_push(L, a->event);
    a->handler = p->key;
    lua_call(L, args, 1);
    if (args > 1) ml_envelope_clear(L);
    if (!lua_istable(L, -1)) {
        read_key(a, L, &a->key);
        lua_settop(L, top);
        if (!a->code) to_key(a, L, given);
        return;
    }
    ml_keys_cut(p->given, 0);
    read_keys(a, L);
    lua_settop(L, top);
    for (size_t n = 0; !a->code && n < ml_keys_count(p->given); n++) {
        ml_bytes key = ml_keys_get(p->given, n);
        a->key.size = key.size;
        memcpy(a->key.bytes, key.data, key.size);
        to_key(a, L, given);
    }
}

/* ---- the event --------------------------------------------------------------------------------
 */

static void take(applying *a, lua_State *L, const ml_handler *handler, ml_bytes type, ml_bytes data)
{
    ml_error said;
    ml_projection *p = a->projection;
    if (a->code || handler == NULL || handler->function == LUA_NOREF) return;
    part given = {handler, data};
    ml_path_event event = {a->event, type, data};
    luaL_checkstack(L, 16, "moonlog");
    a->parts++;
    if (p->key != NULL) {
        call_key(a, L, &given);
        return;
    }
    ml_code code = ml_path_key(p->shape, &event, &p->scratch, &a->key, &said);
    if (code) blame_key(a, code, &said);
    else to_key(a, L, &given);
}

static void take_upcast(void *context, lua_State *L, ml_bytes type, uint32_t schema, ml_bytes data)
{
    applying *a = context;
    (void)schema;
    take(a, L, ml_unit_find(&a->projection->unit->on, type), type, data);
}

static int apply_body(lua_State *L)
{
    applying *a = lua_touserdata(L, 1);
    const ml_event *event = a->event;
    if (event->schema >= a->first->latest) {
        take(a, L, a->first, event->type, event->data);
        return 0;
    }
    ml_upcasts_encode(a->projection->unit->upcasts, L, event, take_upcast, a);
    ml_envelope_clear(L); /* a step may have got it */
    return 0;
}

/* From the beginning, without what is held. */
static void run(applying *a)
{
    ml_unit *unit = a->projection->unit;
    lua_State *L = ml_sandbox_lua(unit->sandbox);
    a->projection->staged.size = 0;
    ml_buf_clear(&unit->desk.bytes);
    a->parts = 0;
    a->changed = 0;
    a->late = 0;
    a->held = a->has_key = a->unsure = false;
    a->handler = NULL;
    a->code = ML_OK;
    ml_unit_begin(unit, "on", a->first, a->event->position);
    bool done = ml_sandbox_enter(unit->sandbox, apply_body, a, a->fault);
    ml_unit_end(unit);
    if (done) return;
    a->code = ML_SCRIPT_ERROR;
    ml_envelope_clear(L);
    /* Tables that stay take memory, and of the collector's time: without them it may do. */
    bool limit = a->fault->kind == ML_FAULT_MEMORY || a->fault->kind == ML_FAULT_OVERSTAY;
    if (limit && ml_projection_has_hot(a->projection)) a->unsure = true;
    if (a->handler != NULL) ml_aggregate_place(a->fault, a->handler);
    if (a->fault->kind == ML_FAULT_MEMORY) lua_gc(L, LUA_GCCOLLECT);
}

/* ---- all or nothing ---------------------------------------------------------------------------
 */

static ml_code settle(applying *a)
{
    ml_code code = ML_OK;
    ml_projection *p = a->projection;
    const uint8_t *rows = p->unit->desk.bytes.data;
    size_t count = ml_projection_staged_count(p);
    for (size_t n = 0; n < count && !code; n++) {
        const ml_staged *change = ml_projection_staged(p, n);
        ml_bytes key = {change->key.bytes, change->key.size};
        if (change->gone)
            code = a->rows->remove(a->rows->context, key, a->why);
        else
            code = a->rows->put(a->rows->context, key, (ml_bytes){rows + change->at, change->size},
                                change->expires, a->why);
        if (!code && p->shape->window.kind == ML_WINDOW_SESSION)
            code = ml_projection_session_note(p, change, a->why);
    }
    if (p->unit->desk.bytes.capacity > KEEP_BYTES_MAX) ml_buf_free(&p->unit->desk.bytes);
    return code;
}

static void begin(applying *a, ml_projection *p, const ml_event *event, ml_clock *clock)
{
    a->projection = p;
    a->event = event;
    a->first = ml_unit_find(&p->unit->on, event->type);
    a->time = p->shape->window.occurred && event->has_occurred ? event->occurred : event->time;
    *clock = p->clock;
    ml_clock_see(clock, a->time, event->time);
    a->now = ml_clock_at(clock, event->time);
    a->unsure = false;
    a->hot = a->collect == NULL && ml_projection_is_hot(p, a->rows);
}

ml_code ml_projection_apply_rows(ml_projection *p, const ml_rows *rows, const ml_event *event,
                                 const ml_keys *only, ml_applied *applied, ml_fault *fault,
                                 ml_error *why)
{
    ml_clock clock;
    size_t held = ml_keys_count(p->held);
    applying a;
    a.rows = rows;
    a.only = only;
    a.collect = NULL;
    a.fault = fault;
    a.why = why;
    a.late = 0;
    a.held = false;
    begin(&a, p, event, &clock);
    *applied = ML_APPLIED;
    if (a.first != NULL) {
        run(&a);
        while (a.code == ML_SCRIPT_ERROR && !a.unsure && a.has_key && p->holds &&
               ml_projection_hold(p, &a.key, event->position, fault))
            run(&a);
        if (a.code == ML_SCRIPT_ERROR && a.unsure) {
            *applied = ML_APPLIED_AGAIN;
            ml_projection_doubt(p);
            return ML_OK;
        }
        ml_code code = a.code ? a.code : settle(&a);
        if (!code) code = ml_projection_hot_end(&a);
        if (code) ml_projection_hold_first(p, held);
        p->keying = !a.has_key;
        if (code == ML_SCRIPT_ERROR) *applied = ML_APPLIED_FAULT;
        if (code) return code == ML_SCRIPT_ERROR ? ML_OK : code;
        if (a.held) *applied = ML_APPLIED_HELD;
    }
    p->clock = clock;
    p->late_count += a.late;
    return ML_OK;
}

/* ---- the door ---------------------------------------------------------------------------------
 */

static ml_code view_get(void *view, ml_bytes key, ml_bytes *row, ml_error *why)
{
    return ml_view_get(view, key, row, why);
}

static int64_t view_expires(void *view, ml_bytes key) { return ml_view_expires(view, key); }

static ml_code view_put(void *view, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why)
{
    return ml_view_put(view, key, row, expires, why);
}

static ml_code view_remove(void *view, ml_bytes key, ml_error *why)
{
    return ml_view_delete(view, key, why);
}

typedef struct walk {
    bool (*each)(void *context, ml_bytes key);
    void *context;
} walk;

static bool walk_on(void *context, ml_bytes key, ml_bytes row)
{
    const walk *w = context;
    (void)row;
    return w->each(w->context, key);
}

static ml_code view_back(void *view, ml_bytes from, ml_bytes to,
                         bool (*each)(void *context, ml_bytes key), void *context, ml_error *why)
{
    walk w = {each, context};
    ml_view_range range = {.index = -1, .from = from, .to = to, .backward = true};
    return ml_view_scan(view, &range, walk_on, &w, why);
}

static bool view_stays(void *view, ml_bytes key)
{
    (void)view;
    (void)key;
    return true;
}

static ml_rows rows_of(ml_view *view)
{
    return (ml_rows){view,        view_get,  view_expires, view_put,
                     view_remove, view_back, view_stays};
}

ml_code ml_projection_flush(ml_projection *p, ml_view *view, ml_error *why)
{
    ml_rows rows = rows_of(view);
    ml_code code = ml_projection_flush_rows(p, &rows, why);
    if (!code) p->hot.events = 0;
    return code;
}

ml_code ml_projection_apply(ml_projection *p, ml_view *view, const ml_event *event,
                            const ml_keys *only, ml_applied *applied, ml_fault *fault,
                            ml_error *why)
{
    ml_rows rows = rows_of(view);
    return ml_projection_apply_rows(p, &rows, event, only, applied, fault, why);
}

ml_code ml_projection_keys(ml_projection *p, const ml_event *event, ml_keys *keys, ml_fault *fault,
                           ml_error *why)
{
    ml_clock clock;
    applying a = {.collect = keys, .fault = fault, .why = why};
    begin(&a, p, event, &clock);
    fault->kind = ML_FAULT_NONE;
    if (a.first == NULL) return ML_OK;
    run(&a);
    if (a.code == ML_SCRIPT_ERROR) ML_IGNORE(ml_fault_tell(fault, why)); /* is SCRIPT_ERROR again */
    return a.code;
}
