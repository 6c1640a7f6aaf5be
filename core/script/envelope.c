/* envelope.c -- a userdata that looks at an event, for as long as that one is the event at hand. */
#include "envelope.h"

#include <lauxlib.h>
#include <string.h>

#include "../base/text.h"
#include "fields.h"
#include "value.h"

#define ENVELOPE "moonlog.event in a handler"

/* What is at hand in the state; one that has an older turn is over. */
typedef struct hand {
    const ml_event *event;
    uint64_t turn;
} hand;

typedef struct envelope {
    const hand *hand;
    uint64_t turn;
} envelope;

/* In the registry, by address: the hand, whose metatable is that of all envelopes, and which no
 * script gets to see. */
static const char hand_key;

static const char *const names[] = {"position", "revision", "time", "stream", "id",   "type",
                                    "schema",   "tags",     "meta", "occurred", "category", NULL};

/* ---- fields ----------------------------------------------------------------------------- */

static int push_text(lua_State *L, ml_bytes text)
{
    lua_pushlstring(L, text.size > 0 ? text.data : "", text.size);
    return 1;
}

static int push_number(lua_State *L, int64_t number)
{
    lua_pushinteger(L, number);
    return 1;
}

static int push_id(lua_State *L, const ml_event *event)
{
    char text[ML_UUID_TEXT + 1];
    ml_uuid_write(text, event->id);
    lua_pushlstring(L, text, ML_UUID_TEXT);
    return 1;
}

static int push_value(lua_State *L, ml_bytes bytes)
{
    ml_unpack cursor = ml_unpack_from(bytes);
    if (bytes.size == 0) lua_pushnil(L);
    else if (!ml_value_read(L, &cursor)) return luaL_error(L, "the event holds what Lua cannot");
    return 1;
}

static ml_bytes category(ml_bytes stream)
{
    const char *dash = memchr(stream.data, '-', stream.size);
    if (dash != NULL) stream.size = (size_t)(dash - (const char *)stream.data);
    return stream;
}

static int refuse_field(lua_State *L, ml_bytes name)
{
    const char *near = ml_fields_nearest(name, names);
    if (near != NULL)
        return luaL_error(L, "an event has no field '%s' (did you mean '%s'?)", name.data, near);
    return luaL_error(L, "an event has no field '%s'; its data is the argument before it",
                      name.data);
}

/* The event of the envelope at index 1; NULL if it is over. */
static const ml_event *check_event(lua_State *L)
{
    const envelope *self = luaL_checkudata(L, 1, ENVELOPE);
    return self->turn == self->hand->turn ? self->hand->event : NULL;
}

static int get_field(lua_State *L)
{
    const ml_event *event = check_event(L);
    ml_bytes name;
    luaL_argexpected(L, lua_type(L, 2) == LUA_TSTRING, 2, "the name of a field");
    name.data = lua_tolstring(L, 2, &name.size);
    if (event == NULL)
        return luaL_error(L, "this event was given to a call that is over; copy what is needed of "
                             "it into the state");
    const char *const *known = names;
    while (*known != NULL && strcmp(*known, name.data) != 0) known++;
    switch (known - names) {
    case 0: return push_number(L, (int64_t)event->position);
    case 1: return push_number(L, (int64_t)event->revision);
    case 2: return push_number(L, event->time);
    case 3: return push_text(L, event->stream);
    case 4: return push_id(L, event);
    case 5: return push_text(L, event->type);
    case 6: return push_number(L, event->schema);
    case 7: return push_value(L, event->tags);
    case 8: return push_value(L, event->meta);
    case 9: return event->has_occurred ? push_number(L, event->occurred) : 0;
    case 10: return push_text(L, category(event->stream));
    default: return refuse_field(L, name);
    }
}

static int refuse_change(lua_State *L)
{
    return luaL_error(L, "an event cannot be changed: it has happened");
}

static int to_string(lua_State *L)
{
    const ml_event *event = check_event(L);
    if (event == NULL) lua_pushliteral(L, "<event>");
    else lua_pushfstring(L, "<event %I>", (LUAI_UACINT)event->position);
    return 1;
}

/* ---- the door --------------------------------------------------------------------------- */

void ml_envelope_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"__index", get_field},
                                         {"__newindex", refuse_change},
                                         {"__tostring", to_string},
                                         {NULL, NULL}};
    hand *own = lua_newuserdatauv(L, sizeof *own, 0);
    *own = (hand){0};
    if (luaL_newmetatable(L, ENVELOPE)) {
        luaL_setfuncs(L, functions, 0);
        lua_pushliteral(L, "moonlog.event");
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hand_key);
}

void ml_envelope_push(lua_State *L, const ml_event *event)
{
    envelope *self = lua_newuserdatauv(L, sizeof *self, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hand_key);
    hand *own = lua_touserdata(L, -1);
    own->event = event;
    *self = (envelope){own, ++own->turn};
    lua_getmetatable(L, -1);
    lua_setmetatable(L, -3);
    lua_pop(L, 1);
}

void ml_envelope_clear(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hand_key);
    ((hand *)lua_touserdata(L, -1))->event = NULL;
    lua_pop(L, 1);
}
