/* decide.c -- a command's handler is called, and what it returned becomes an answer. */
#include <lauxlib.h>
#include <stdio.h>

#include "../base/digest.h"
#include "../base/limits.h"
#include "../base/pack.h"
#include "../base/text.h"
#include "../script/fields.h"
#include "../script/value.h"
#include "../script/words.h"
#include "../store/event.h"
#include "aggregate.h"

enum { STATE = 2, RESULT = 3, META = 4 }; /* places on the stack */

typedef struct deciding {
    ml_unit *unit;
    const ml_decision *ask;
    ml_buf *answer;
    ml_bytes common; /* meta of events that have none of their own; at the front of the desk */
    lua_Integer count; /* of events, and */
    bool first;        /* that this is the first of them, which has the record */
    ml_error why;    /* what is wrong with the result */
} deciding;

/* What ctx.uuid draws from: the dice that came with the command. */
typedef struct draw {
    uint8_t dice[16];
    uint64_t count;
    int64_t now;
} draw;

static const char ctx_key = 0; /* its address: the metatable of ctx, in the registry */
enum { COMMAND_DRAW = 0 };     /* the first number names the command itself */

/* ---- ctx -------------------------------------------------------------------------------- */

static bool draw_uuid(const draw *from, uint64_t number, char text[ML_UUID_TEXT + 1])
{
    uint8_t digest[ML_DIGEST_SIZE], id[ML_ID_SIZE], n[8];
    ml_put_u64(n, number);
    ml_bytes parts[] = {{from->dice, sizeof from->dice}, {n, sizeof n}};
    if (ml_digest_of(parts, 2, digest, NULL)) return false;
    ml_uuid_make(id, from->now, digest);
    ml_uuid_write(text, id);
    return true;
}

static int ctx_uuid(lua_State *L)
{
    char text[ML_UUID_TEXT + 1];
    draw *from = lua_touserdata(L, lua_upvalueindex(1));
    if (!draw_uuid(from, ++from->count, text)) return luaL_error(L, "no memory for a uuid");
    lua_pushlstring(L, text, ML_UUID_TEXT);
    return 1;
}

/* A field that ctx does not have now, or never has. */
static int ctx_index(lua_State *L)
{
    static const char *const known[] = {"now", "id", "actor", "meta", "uuid", NULL};
    size_t size;
    const char *name = luaL_tolstring(L, 2, &size);
    for (size_t n = 0; known[n] != NULL; n++)
        if (strcmp(name, known[n]) == 0) return 0;
    const char *near = ml_fields_nearest((ml_bytes){name, size}, known);
    return luaL_error(L, "ctx has no field \"%s\" (did you mean \"%s\"?)", name,
                      near != NULL ? near : "meta");
}

static void push_map(lua_State *L, ml_bytes map)
{
    ml_unpack cursor = ml_unpack_from(map);
    if (map.size == 0) {
        lua_newtable(L);
    } else if (!ml_value_read(L, &cursor)) {
        luaL_error(L, "args or meta are nothing that Lua can hold");
    } else if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
}

static void push_ctx(lua_State *L, const ml_decision *ask)
{
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, ask->now);
    lua_setfield(L, -2, "now");
    lua_pushlstring(L, ask->id.data, ask->id.size);
    lua_setfield(L, -2, "id");
    push_map(L, ask->meta);
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "actor");
        lua_rawget(L, -2);
        lua_setfield(L, -3, "actor");
    }
    lua_setfield(L, -2, "meta");
    draw *from = lua_newuserdatauv(L, sizeof *from, 0);
    *from = (draw){.count = COMMAND_DRAW, .now = ask->now};
    memcpy(from->dice, ask->dice, sizeof from->dice);
    lua_pushcclosure(L, ctx_uuid, 1);
    lua_setfield(L, -2, "uuid");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 2);
        lua_pushcfunction(L, ctx_index);
        lua_setfield(L, -2, "__index");
        lua_pushliteral(L, "ctx");
        lua_setfield(L, -2, "__metatable");
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &ctx_key);
    }
    lua_setmetatable(L, -2);
}

/* ---- meta ------------------------------------------------------------------------------- */

static void set_missing(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, name);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pushstring(L, name);
        lua_pushstring(L, value);
        lua_rawset(L, -4);
    }
    lua_pop(L, 1);
}

/* Pushes what every event of the command carries: what came with the command, who decided, and
 * what belongs together. A command that was told of no cause is its events' first cause. */
static void push_common(lua_State *L, const deciding *d)
{
    char text[ML_UUID_TEXT + 1];
    draw from = {.now = d->ask->now};
    memcpy(from.dice, d->ask->dice, sizeof from.dice);
    if (!draw_uuid(&from, COMMAND_DRAW, text)) luaL_error(L, "no memory for a uuid");
    push_map(L, d->ask->meta);
    if (!lua_istable(L, -1)) luaL_error(L, "the command's meta is no map");
    set_missing(L, "causation_id", text);
    lua_getfield(L, -1, "causation_id"); /* held by the map while it is borrowed */
    const char *cause = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : text;
    lua_pop(L, 1);
    set_missing(L, "correlation_id", cause);
    lua_pushstring(L, d->unit->label);
    lua_setfield(L, -2, "unit");
    lua_pushstring(L, d->unit->hash);
    lua_setfield(L, -2, "hash");
}

/* One that is empty, of a byte, is left out. */
static void set_map(lua_State *L, const char *name, ml_bytes map)
{
    if (map.size <= 1) return;
    push_map(L, map);
    lua_setfield(L, -2, name);
}

/* Pushes all that the decision depends on besides the state, for whoever decides it once more: with
 * other rules (projection/whatif.h). */
static void push_record(lua_State *L, const deciding *d)
{
    const ml_decision *ask = d->ask;
    lua_createtable(L, 0, 7);
    lua_pushlstring(L, ask->handler->name.data, ask->handler->name.size);
    lua_setfield(L, -2, "name");
    lua_pushlstring(L, ask->id.data, ask->id.size);
    lua_setfield(L, -2, "id");
    set_map(L, "args", ask->args);
    set_map(L, "meta", ask->meta);
    lua_pushinteger(L, ask->now);
    lua_setfield(L, -2, "now");
    ml_value_push_bytes(L, (ml_bytes){ask->dice, 16});
    lua_setfield(L, -2, "dice");
    if (d->count == 1) return;
    lua_pushinteger(L, d->count);
    lua_setfield(L, -2, "count");
}

/* Pushes the fields of both; unit and hash say the truth whatever the event says. */
static void push_merged(lua_State *L, int own)
{
    lua_newtable(L);
    for (int n = 0; n < 2; n++) {
        int from = n == 0 ? META : own;
        if (!lua_istable(L, from)) continue;
        for (lua_pushnil(L); lua_next(L, from);) {
            lua_pushvalue(L, -2);
            lua_rotate(L, -2, 1);
            lua_rawset(L, -4);
        }
    }
    lua_getfield(L, META, "unit");
    lua_setfield(L, -2, "unit");
    lua_getfield(L, META, "hash");
    lua_setfield(L, -2, "hash");
}

/* ---- events ----------------------------------------------------------------------------- */

static bool refuse(deciding *d, const char *what, const char *is)
{
    ML_IGNORE(
        ml_error_set(&d->why, ML_SCRIPT_ERROR,
                     "the command %.80s returned %s%s; return moonlog.event(type, data), a list of "
                     "them, moonlog.refuse(code, detail), or nothing",
                     (const char *)d->ask->handler->name.data, what, is));
    return false;
}

/* Writes the field on top of the stack behind the desk's bytes; pops it. */
static bool write_field(lua_State *L, deciding *d, const char *name, size_t *size)
{
    size_t before = d->unit->desk.bytes.size;
    bool done = ml_value_write(L, -1, &d->unit->desk, ML_EVENT_BYTES_MAX + 16, name, &d->why) ==
                ML_OK;
    *size = d->unit->desk.bytes.size - before;
    lua_pop(L, 1);
    return done;
}

static int push_field(lua_State *L, int table, const char *name)
{
    lua_pushstring(L, name);
    return lua_rawget(L, table);
}

static bool write_meta(lua_State *L, deciding *d, int event, size_t *size)
{
    bool recorded = d->unit->record && d->first;
    int type = push_field(L, event, "meta");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        return refuse(d, "an event whose meta is a ", lua_typename(L, type));
    if (type == LUA_TNIL && !recorded) {
        ml_buf *bytes = &d->unit->desk.bytes;
        lua_pop(L, 1);
        if (!ml_buf_reserve(bytes, d->common.size))
            return ml_error_memory(&d->why, "an event") == ML_OK;
        ml_buf_add(bytes, bytes->data, d->common.size); /* there is room: nothing moves */
        *size = d->common.size;
        return true;
    }
    push_merged(L, lua_gettop(L));
    lua_remove(L, -2);
    if (recorded) {
        push_record(L, d);
        lua_setfield(L, -2, "command");
    }
    return write_field(L, d, "meta", size);
}

/* The event's parts lie on the desk, behind the common meta: data, meta, tags. */
static bool pack_parts(deciding *d, ml_bytes type, const size_t sizes[3], uint32_t schema)
{
    ml_bytes tags[ML_TAGS_MAX];
    const ml_buf *bytes = &d->unit->desk.bytes;
    const uint8_t *at = bytes->data + d->common.size;
    ml_draft draft = {.type = type,
                      .data = {at, sizes[0]},
                      .meta = {at + sizes[0], sizes[1]},
                      .tags = tags,
                      .schema = schema};
    ml_bytes list = {at + sizes[0] + sizes[1], sizes[2]};
    ml_unpack cursor = ml_unpack_from(list);
    uint32_t count = 0;
    if (!ml_unpack_array(&cursor, &count) || count > ML_TAGS_MAX)
        return refuse(d, "an event whose tags are no list of up to 32 strings", "");
    for (; draft.tag_count < count; draft.tag_count++)
        if (!ml_unpack_str(&cursor, &tags[draft.tag_count]))
            return refuse(d, "an event whose tags are no list of strings", "");
    if (ml_event_check(&draft, 1, &d->why)) return false;
    ml_buf *out = d->answer;
    ml_pack_map(out, 5);
    ml_pack_text(out, "type");
    ml_pack_str(out, type);
    ml_pack_text(out, "data");
    ml_buf_add(out, draft.data.data, draft.data.size);
    ml_pack_text(out, "meta");
    ml_buf_add(out, draft.meta.data, draft.meta.size);
    ml_pack_text(out, "tags");
    ml_buf_add(out, list.data, list.size);
    ml_pack_text(out, "schema");
    ml_pack_int(out, schema);
    return true;
}

/* The event at `index`. */
static bool pack_event(lua_State *L, deciding *d, int index)
{
    ml_buf *bytes = &d->unit->desk.bytes;
    size_t sizes[3];
    bytes->size = d->common.size;
    if (push_field(L, index, "type") != LUA_TSTRING)
        return refuse(d, "an event without a type", "");
    ml_bytes type;
    type.data = lua_tolstring(L, -1, &type.size);
    push_field(L, index, "data");
    if (!write_field(L, d, "data", &sizes[0]) || !write_meta(L, d, index, &sizes[1])) return false;
    if (push_field(L, index, "tags") == LUA_TNIL) {
        lua_pop(L, 1);
        ml_pack_array(bytes, 0);
        sizes[2] = 1;
    } else {
        if (!lua_istable(L, -1)) return refuse(d, "an event whose tags are no list", "");
        if (lua_rawlen(L, -1) == 0) ml_value_mark(L, ML_VALUE_ARRAY);
        if (!write_field(L, d, "tags", &sizes[2])) return false;
    }
    if (bytes->failed) return ml_error_memory(&d->why, "an event") == ML_OK;
    int type_of = push_field(L, index, "schema");
    lua_Integer schema = type_of == LUA_TNIL ? (lua_Integer)ml_upcasts_latest(d->ask->chains, type)
                                             : lua_tointeger(L, -1);
    if (schema < 1 || schema > INT32_MAX)
        return refuse(d, "an event whose schema is no number from 1", "");
    lua_pop(L, 1);
    if (!pack_parts(d, type, sizes, (uint32_t)schema)) return false;
    lua_pop(L, 1); /* the type: it was borrowed */
    return true;
}

static void pack_front(const deciding *d)
{
    ml_buf *out = d->answer;
    ml_pack_map(out, 1);
    ml_pack_text(out, "decided");
    ml_pack_map(out, 5);
    ml_pack_text(out, "stream");
    ml_pack_str(out, d->ask->stream);
    ml_pack_text(out, "expected");
    if (d->ask->next == 0) ml_pack_text(out, "no_stream");
    else ml_pack_int(out, (int64_t)d->ask->next - 1);
    ml_pack_text(out, "unit");
    ml_pack_text(out, d->unit->label);
    ml_pack_text(out, "hash");
    ml_pack_text(out, d->unit->hash);
    ml_pack_text(out, "events");
}

static void pack_value(ml_buf *out, const char *name, ml_bytes value)
{
    ml_pack_text(out, name);
    if (value.size > 0) ml_buf_add(out, value.data, value.size);
    else ml_pack_nil(out);
}

/* What the daemon appends of a refusal, if it is to be decided again. */
static void pack_record(const deciding *d, ml_bytes code, ml_bytes detail)
{
    ml_buf *out = d->answer;
    const ml_decision *ask = d->ask;
    ml_pack_text(out, "record");
    ml_pack_map(out, 10);
    ml_pack_text(out, "aggregate");
    ml_pack_text(out, d->unit->name);
    ml_pack_text(out, "id");
    ml_pack_str(out, ask->id);
    ml_pack_text(out, "name");
    ml_pack_str(out, ask->handler->name);
    pack_value(out, "args", ask->args);
    pack_value(out, "meta", ask->meta);
    pack_value(out, "code", code);
    pack_value(out, "detail", detail);
    ml_pack_text(out, "revision");
    if (ask->next == 0) ml_pack_nil(out);
    else ml_pack_int(out, (int64_t)ask->next - 1);
    ml_pack_text(out, "now");
    ml_pack_int(out, ask->now);
    ml_pack_text(out, "dice");
    ml_pack_bin(out, (ml_bytes){ask->dice, 16});
}

static bool pack_refusal(lua_State *L, deciding *d)
{
    ml_buf *bytes = &d->unit->desk.bytes;
    size_t sizes[2];
    ml_buf_clear(bytes);
    if (push_field(L, RESULT, "code") != LUA_TSTRING)
        return refuse(d, "a refusal whose code is no string", "");
    if (!write_field(L, d, "code", &sizes[0])) return false;
    push_field(L, RESULT, "detail");
    if (!write_field(L, d, "detail", &sizes[1])) return false;
    ml_bytes code = {bytes->data, sizes[0]}, detail = {bytes->data + sizes[0], sizes[1]};
    ml_pack_map(d->answer, d->unit->record ? 2 : 1);
    ml_pack_text(d->answer, "refused");
    ml_pack_map(d->answer, 2);
    pack_value(d->answer, "code", code);
    pack_value(d->answer, "detail", detail);
    if (d->unit->record) pack_record(d, code, detail);
    return true;
}

static bool pack_events(lua_State *L, deciding *d, bool single)
{
    lua_Integer count = single ? 1 : (lua_Integer)lua_rawlen(L, RESULT);
    if (!single && !ml_fields_is_list(L, RESULT, count))
        return refuse(d, "a table that is no list of events", "");
    if (count > ML_RULES_DECIDED_MAX) return refuse(d, "over 1024 events", "");
    push_common(L, d);
    ML_ASSERT(lua_gettop(L) == META);
    ml_buf_clear(&d->unit->desk.bytes);
    if (ml_value_write(L, META, &d->unit->desk, ML_EVENT_BYTES_MAX, "meta", &d->why)) return false;
    d->common = (ml_bytes){NULL, d->unit->desk.bytes.size};
    size_t begin = d->answer->size;
    d->count = count;
    d->first = true;
    pack_front(d);
    ml_pack_array(d->answer, (uint32_t)count);
    if (single) return pack_event(L, d, RESULT);
    for (lua_Integer n = 1; n <= count; n++) {
        lua_rawgeti(L, RESULT, n);
        if (ml_word_of(L, -1) != ML_WORD_EVENT)
            return refuse(d, "a list that holds something else than events", "");
        if (!pack_event(L, d, lua_gettop(L))) return false;
        if (d->answer->size - begin > ML_APPEND_BYTES_MAX)
            return refuse(d, "over 8 MiB of events", "");
        d->first = false;
        lua_pop(L, 1);
    }
    return true;
}

static bool pack_result(lua_State *L, deciding *d)
{
    switch (ml_word_of(L, RESULT)) {
    case ML_WORD_EVENT: return pack_events(L, d, true);
    case ML_WORD_REFUSAL: return pack_refusal(L, d);
    case ML_WORD_SPLIT: return refuse(d, "moonlog.split", "");
    case ML_WORD_DROP: return refuse(d, "moonlog.drop", "");
    case ML_WORD_DELETE: return refuse(d, "moonlog.delete", "");
    case ML_WORD_WINDOW: return refuse(d, "a window", "");
    case ML_WORD_NONE: break;
    }
    if (lua_isnil(L, RESULT)) {
        pack_front(d);
        ml_pack_array(d->answer, 0);
        return true;
    }
    if (!lua_istable(L, RESULT)) return refuse(d, "a ", luaL_typename(L, RESULT));
    return pack_events(L, d, false);
}

/* ---- the call --------------------------------------------------------------------------- */

/* Is the state still what it was? */
static bool check_state(lua_State *L, deciding *d)
{
    ml_desk *desk = &d->unit->desk;
    ml_buf_clear(&desk->bytes);
    ml_code code = ml_value_write(L, STATE, desk, ML_UNIT_STATE_BYTES, "state", &d->why);
    if (code == ML_NO_MEMORY) return false;
    if (code == ML_OK && ml_bytes_equal(ml_buf_view(&desk->bytes), d->ask->state)) return true;
    ML_IGNORE(ml_error_set(
        &d->why, ML_SCRIPT_ERROR,
        "the command %.80s changed the state; return an event, and change it in its handler",
        (const char *)d->ask->handler->name.data));
    return false;
}

static int decide_body(lua_State *L)
{
    deciding *d = lua_touserdata(L, 1);
    const ml_handler *handler = d->ask->handler;
    int args = handler->params < 3 ? handler->params : 3;
    luaL_checkstack(L, 32, "moonlog");
    ml_unpack cursor = ml_unpack_from(d->ask->state);
    if (!ml_value_read(L, &cursor))
        return luaL_error(L, "a kept state is nothing that Lua can hold");
    lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function);
    if (args > 0) lua_pushvalue(L, STATE);
    if (args > 1) push_map(L, d->ask->args);
    if (args > 2) push_ctx(L, d->ask);
    lua_call(L, args, 1);
    if (args > 0 && !check_state(L, d)) return 0;
    ML_IGNORE(!pack_result(L, d)); /* d->why says it */
    return 0;
}

bool ml_aggregate_decide(ml_unit *unit, const ml_decision *decision, ml_buf *answer,
                         ml_fault *fault)
{
    deciding d = {.unit = unit, .ask = decision, .answer = answer, .why = {.code = ML_OK}};
    size_t begin = answer->size;
    ml_unit_begin(unit, "command", decision->handler, 0);
    bool done = ml_sandbox_enter(unit->sandbox, decide_body, &d, fault);
    ml_unit_end(unit);
    if (done && d.why.code) ml_aggregate_blame(fault, decision->handler, d.why.sentence);
    if (!done) ml_aggregate_place(fault, decision->handler);
    done = done && !d.why.code;
    if (!done) answer->size = begin;
    if (!done && fault->kind == ML_FAULT_MEMORY)
        lua_gc(ml_sandbox_lua(unit->sandbox), LUA_GCCOLLECT);
    return done;
}
