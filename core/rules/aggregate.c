/* aggregate.c -- the fold. decide.c has the commands. */
#include "aggregate.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "../script/envelope.h"
#include "../script/value.h"

typedef struct applying {
    ml_unit *unit;
    const ml_event *event;
    const ml_handler *handler;
    bool called;
    const char *wrong; /* what its result was, that should be nothing */
} applying;

typedef struct moving {
    ml_unit *unit;
    ml_bytes state;
    ml_error why;
} moving;

static void blame(ml_fault *fault, ml_fault_kind kind, const ml_handler *handler,
                  const char *sentence)
{
    char file[128];
    snprintf(file, sizeof file, "%s", handler->where);
    char *colon = strrchr(file, ':');
    uint32_t line = colon != NULL ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
    if (colon != NULL) *colon = '\0';
    ml_fault_set(fault, kind, file, line, "%s", sentence);
}

void ml_aggregate_blame(ml_fault *fault, const ml_handler *handler, const char *sentence)
{
    blame(fault, ML_FAULT_SHAPE, handler, sentence);
}

void ml_aggregate_place(ml_fault *fault, const ml_handler *handler)
{
    char sentence[sizeof fault->message];
    if (fault->line != 0 || (fault->kind != ML_FAULT_OVERSTAY && fault->kind != ML_FAULT_MEMORY))
        return;
    memcpy(sentence, fault->message, sizeof sentence);
    blame(fault, fault->kind, handler, sentence);
}

/* ---- between bytes and the live state --------------------------------------------------- */

static int begin_body(lua_State *L)
{
    moving *m = lua_touserdata(L, 1);
    ml_unpack cursor = ml_unpack_from(m->state);
    if (!ml_value_read(L, &cursor) || !lua_istable(L, -1))
        return luaL_error(L, "a kept state is no map that Lua can hold");
    lua_rawseti(L, LUA_REGISTRYINDEX, m->unit->state);
    return 0;
}

bool ml_aggregate_begin(ml_unit *unit, ml_bytes state, ml_fault *fault)
{
    moving m = {.unit = unit, .state = state};
    unit->suspect = NULL;
    unit->suspects = 0;
    return ml_sandbox_enter(unit->sandbox, begin_body, &m, fault);
}

static int write_body(lua_State *L)
{
    moving *m = lua_touserdata(L, 1);
    ml_buf_clear(&m->unit->desk.bytes);
    lua_rawgeti(L, LUA_REGISTRYINDEX, m->unit->state);
    m->why.code = ML_OK;
    ML_IGNORE(ml_value_write(L, -1, &m->unit->desk, ML_UNIT_STATE_BYTES, "state", &m->why));
    return 0;
}

bool ml_aggregate_write(ml_unit *unit, ml_buf *state, ml_fault *fault)
{
    moving m = {.unit = unit};
    const ml_handler *culprit = unit->suspects == 1 ? unit->suspect : NULL;
    if (!ml_sandbox_enter(unit->sandbox, write_body, &m, fault)) {
        if (culprit != NULL) ml_aggregate_place(fault, culprit);
        return false;
    }
    char file[256];
    snprintf(file, sizeof file, "%.*s", ML_SHOW(unit->file.path));
    if (m.why.code && culprit != NULL) {
        ml_aggregate_blame(fault, culprit, m.why.sentence);
        return false;
    }
    if (m.why.code) {
        ml_fault_set(fault, ML_FAULT_SHAPE, file, 0, "%s", m.why.sentence);
        return false;
    }
    if (state == NULL) return true;
    ml_buf_clear(state);
    ml_buf_add(state, unit->desk.bytes.data, unit->desk.bytes.size);
    if (state->failed) ml_fault_set(fault, ML_FAULT_MEMORY, file, 0, "no memory for a state");
    return !state->failed;
}

void ml_aggregate_end(ml_unit *unit)
{
    lua_State *L = ml_sandbox_lua(unit->sandbox);
    lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, unit->state); /* the place is there: nothing is allocated */
}

/* ---- one event -------------------------------------------------------------------------- */

/* Calls the handler with the data on top of the stack, which is popped; what the handler does not
 * take is not pushed. */
static void call(lua_State *L, applying *a, const ml_handler *handler, int data)
{
    int args = handler->params < 3 ? handler->params : 3;
    lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function);
    if (args > 0) lua_rawgeti(L, LUA_REGISTRYINDEX, a->unit->state);
    if (args > 1) lua_pushvalue(L, data);
    if (args > 2) ml_envelope_push(L, a->event);
    a->handler = handler;
    a->called = true;
    if (a->unit->suspect != handler) a->unit->suspects++;
    a->unit->suspect = handler;
    lua_call(L, args, 1);
    if (args > 2) ml_envelope_clear(L);
    if (!lua_isnil(L, -1)) a->wrong = luaL_typename(L, -1);
    lua_pop(L, 1);
}

/* An old event is as many as its chain makes of it, and each goes to the handler of its own type.
 */
static int apply_upcast(lua_State *L, applying *a)
{
    uint32_t schema;
    int first = lua_gettop(L) + 1;
    int count = ml_upcasts_push(a->unit->upcasts, L, a->event, &schema);
    for (int n = 0; n < count && a->wrong == NULL; n++) {
        ml_bytes type;
        type.data = lua_tolstring(L, first + 2 * n, &type.size);
        const ml_handler *handler = ml_unit_find(&a->unit->on, type);
        if (handler != NULL && handler->function != LUA_NOREF)
            call(L, a, handler, first + 2 * n + 1);
    }
    ml_envelope_clear(L); /* a step may have got it */
    return 0;
}

static int apply_body(lua_State *L)
{
    applying *a = lua_touserdata(L, 1);
    const ml_event *event = a->event;
    if (event->schema < a->handler->latest) return apply_upcast(L, a);
    if (a->handler->function == LUA_NOREF) return 0;
    if (a->handler->params > 1) ml_unit_push_data(L, a->handler, event->data);
    call(L, a, a->handler, 2);
    return 0;
}

bool ml_aggregate_apply(ml_unit *unit, const ml_event *event, bool *called, ml_fault *fault)
{
    applying a = {.unit = unit, .event = event, .handler = ml_unit_find(&unit->on, event->type)};
    *called = false;
    if (a.handler == NULL) return true;
    ml_unit_begin(unit, "on", a.handler, event->position);
    bool done = ml_sandbox_enter(unit->sandbox, apply_body, &a, fault);
    ml_unit_end(unit);
    *called = a.called;
    if (!done) {
        ml_envelope_clear(ml_sandbox_lua(unit->sandbox));
        if (fault->kind == ML_FAULT_MEMORY) lua_gc(ml_sandbox_lua(unit->sandbox), LUA_GCCOLLECT);
        return false;
    }
    if (a.wrong == NULL) return true;
    char sentence[256];
    snprintf(sentence, sizeof sentence,
             "the handler of %.80s returned a %s; change the state it is given, and return nothing",
             (const char *)a.handler->name.data, a.wrong);
    ml_aggregate_blame(fault, a.handler, sentence);
    return false;
}
