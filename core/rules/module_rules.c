/* module_rules.c -- the engine in the module `moonlog`, beside what script/module.c makes.
 *
 *   m.engine{store=, snapshots=, states_bytes=, fold_ms=, command_ms=}   without a store: no log
 *     :stage({["account.lua"] = source, …}, full?)   the report
 *     :activate()                                    true
 *     :command{aggregate=, id=, name=, args=, meta=, now=, dice=}   {decided=} or {refused=}
 *     :admitted{event, …}                            true; events with stream, position, revision
 *     :forget(stream)
 *     :state{aggregate=, id=, at=, as_of=}           {state=, revision=, position=}
 *     :upcast({event, …}, as_arrays?)                the events as they are now, as tables
 *     :upcasts(type, schema)  :stats()  :doing()  :close()
 *
 * The same door that a worker process is behind, for moonlog.testing and for specs. What the
 * world did wrong is nil and "CODE: sentence", and of a script's fault all that is known.
 */
#include <sys/random.h>
#include <time.h>

#include "../base/limits.h"
#include "../base/text.h"
#include "../base/unpack.h"
#include "../script/module.h"
#include "../script/value.h"
#include "../store/event.h"
#include "engine.h"
#include "module_rules.h"

#define ENGINE "moonlog.engine"

typedef struct box {
    ml_engine *engine;            /* NULL: closed */
    const ml_module_store *store; /* NULL: none; held by the uservalue */
    ml_engine_doing doing;
} box;


/* ---- handles ---------------------------------------------------------------------------- */

static ml_engine *check(lua_State *L)
{
    const box *self = luaL_checkudata(L, 1, ENGINE);
    if (self->engine == NULL) luaL_error(L, "the engine is closed");
    if (self->store != NULL && self->store->store == NULL)
        luaL_error(L, "the engine's store is closed");
    return self->engine;
}

static int engine_close(lua_State *L)
{
    box *self = luaL_checkudata(L, 1, ENGINE);
    ml_engine_free(self->engine);
    self->engine = NULL;
    return 0;
}

static int engine_new(lua_State *L)
{
    static const char *const known[] = {"store",   "snapshots",  "states_bytes",
                                        "fold_ms", "command_ms", NULL};
    ml_error why;
    lua_settop(L, 1);
    ml_fields fields = ml_fields_from(L, 1, "moonlog.engine", known, &why);
    ml_engine_options options = {0};
    options.states_bytes = ml_fields_natural(&fields, "states_bytes", 1, UINT32_MAX, 0);
    options.fold_ms = (uint32_t)ml_fields_natural(&fields, "fold_ms", 1, 60000, 0);
    options.command_ms = (uint32_t)ml_fields_natural(&fields, "command_ms", 1, 60000, 0);
    ml_bytes snapshots = ml_fields_text(&fields, "snapshots");
    int type = ml_fields_push(&fields, "store"); /* at 2 */
    if (why.code) return ml_module_raise(L, &why);
    const ml_module_store *store = type == LUA_TNIL ? NULL : ml_module_check(L, 2);
    memcpy(&options.rehearse, lua_touserdata(L, lua_upvalueindex(1)), sizeof options.rehearse);
    if (snapshots.data != NULL) {
        lua_pushlstring(L, snapshots.data, snapshots.size); /* held while it is used */
        options.snapshots = lua_tostring(L, -1);
    }
    box *self = lua_newuserdatauv(L, sizeof *self, 1);
    *self = (box){.store = store};
    luaL_setmetatable(L, ENGINE);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
    if (ml_engine_new(store != NULL ? store->store : NULL, &options, &self->engine, &why))
        return ml_module_fail(L, &why);
    ml_engine_watch(self->engine, &self->doing);
    return 1;
}

/* ---- answers ---------------------------------------------------------------------------- */

static void push_answer(lua_State *L, const ml_buf *answer)
{
    ml_unpack at = ml_unpack_from(ml_buf_view(answer));
    if (!ml_value_read_message(L, &at)) luaL_error(L, "an answer that Lua cannot hold");
}

/* The answer; or nil, the sentence, and what is known of a script's fault. */
static int give(lua_State *L, const ml_desk *desk, ml_code code, const ml_error *why)
{
    if (code == ML_OK) {
        push_answer(L, &desk->items);
        return 1;
    }
    ml_module_fail(L, why);
    if (desk->items.size == 0) return 2;
    push_answer(L, &desk->items);
    lua_getfield(L, -1, "fault");
    return lua_remove(L, -2), 3;
}

/* ---- packs ------------------------------------------------------------------------------ */

size_t ml_module_rules_files(lua_State *L, int index, ml_desk *desk)
{
    size_t count = 0;
    luaL_checktype(L, index, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1), count++) {
        ml_source file;
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            return (size_t)luaL_argerror(L, index, "a table {[path] = source} is expected");
        file.path.data = lua_tolstring(L, -2, &file.path.size);
        file.text.data = lua_tolstring(L, -1, &file.text.size);
        ml_buf_add(&desk->terms, &file, sizeof file);
    }
    return count;
}

static int engine_stage(lua_State *L)
{
    ml_error why;
    ml_engine *engine = check(L);
    lua_settop(L, 3);
    ml_stage_how how = lua_toboolean(L, 3) ? ML_STAGE_FULL : ML_STAGE_SHAPES;
    ml_desk *desk = ml_desk_take(L);
    size_t count = ml_module_rules_files(L, 2, desk);
    ml_code code = ml_desk_check(desk, &why);
    if (!code)
        code = ml_engine_stage(engine, (const ml_source *)(void *)desk->terms.data, count, how,
                               &desk->items, &why);
    int given = give(L, desk, code, &why);
    ml_desk_give(L, 4);
    return given;
}

static int engine_activate(lua_State *L)
{
    ml_error why;
    if (ml_engine_activate(check(L), &why)) return ml_module_fail(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

/* ---- requests --------------------------------------------------------------------------- */

static void set_now(lua_State *L)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) luaL_error(L, "there is no clock");
    lua_pushinteger(L, (lua_Integer)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    lua_setfield(L, -2, "now");
}

/* 16 bytes, given as a string or drawn. */
static void set_dice(lua_State *L)
{
    uint8_t drawn[16];
    ml_bytes dice = {drawn, sizeof drawn};
    if (lua_getfield(L, -1, "dice") == LUA_TSTRING) dice.data = lua_tolstring(L, -1, &dice.size);
    else if (getrandom(drawn, sizeof drawn, 0) != sizeof drawn)
        luaL_error(L, "there are no random bytes");
    ml_value_push_bytes(L, dice);
    lua_setfield(L, -3, "dice");
    lua_pop(L, 1);
}

/* Pushes a copy of the table at 2, in which now and dice are set. */
static void push_command(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, 2);) {
        lua_pushvalue(L, -2);
        lua_rotate(L, -2, 1);
        lua_rawset(L, -4);
    }
    bool has_now = lua_getfield(L, -1, "now") != LUA_TNIL;
    lua_pop(L, 1);
    if (!has_now) set_now(L);
    set_dice(L);
}

static int ask(lua_State *L, ml_code (*method)(ml_engine *, ml_bytes, ml_buf *, ml_error *))
{
    ml_error why;
    ml_engine *engine = check(L);
    int table = lua_gettop(L);
    ml_desk *desk = ml_desk_take(L);
    ml_code code = ml_value_write_message(L, table, desk, ML_APPEND_BYTES_MAX, &why);
    if (!code) code = method(engine, ml_buf_view(&desk->bytes), &desk->items, &why);
    int given = give(L, desk, code, &why);
    ml_desk_give(L, table + 1);
    return given;
}

static int engine_command(lua_State *L)
{
    lua_settop(L, 2);
    push_command(L);
    return ask(L, ml_engine_command);
}

static int engine_state(lua_State *L)
{
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    return ask(L, ml_engine_state);
}

/* ---- events ----------------------------------------------------------------------------- */

static const char *const event_keys[] = {"position", "revision", "time", "stream", "type",
                                         "schema",   "id",       "tags", "data",   "meta",
                                         "occurred", "category", NULL};

/* Writes a field as MessagePack behind the desk's bytes; gives its size. */
static size_t put_value(lua_State *L, int event, const char *name, ml_desk *desk)
{
    ml_error why;
    size_t before = desk->bytes.size;
    lua_getfield(L, event, name);
    if (ml_value_write(L, -1, desk, ML_EVENT_BYTES_MAX, name, &why)) ml_module_raise(L, &why);
    lua_pop(L, 1);
    return desk->bytes.size - before;
}

static size_t put_tags(lua_State *L, int event, ml_bytes tags[ML_TAGS_MAX])
{
    size_t count = 0;
    if (lua_getfield(L, event, "tags") == LUA_TTABLE)
        for (; count < ML_TAGS_MAX && lua_rawgeti(L, -1, (lua_Integer)count + 1) == LUA_TSTRING;
             count++) {
            tags[count].data = lua_tolstring(L, -1, &tags[count].size); /* the event holds it */
            lua_pop(L, 1);
        }
    lua_settop(L, event);
    return count;
}

/* 16 bytes, or text; none is zeros. */
static void read_id(const ml_fields *fields, uint8_t id[ML_ID_SIZE])
{
    ml_bytes text = ml_fields_text(fields, "id");
    memset(id, 0, ML_ID_SIZE);
    if (text.size == ML_ID_SIZE) memcpy(id, text.data, ML_ID_SIZE);
    else if (text.size > 0 && !ml_uuid_read(text, id)) ml_fields_refuse(fields, "id is no UUID");
}

/* The event on top of the stack, behind desk->items as it is stored. */
static void put_event(lua_State *L, ml_desk *desk)
{
    ml_error why;
    uint8_t id[ML_ID_SIZE];
    ml_bytes tags[ML_TAGS_MAX];
    int event = lua_gettop(L);
    ml_fields fields = ml_fields_from(L, event, "an event", event_keys, &why);
    ml_bytes stream = ml_fields_text(&fields, "stream");
    read_id(&fields, id);
    ml_stamp stamp = {.position = ml_fields_natural(&fields, "position", 1, INT64_MAX, 1),
                      .revision = ml_fields_natural(&fields, "revision", 0, INT64_MAX, 0),
                      .time = (int64_t)ml_fields_natural(&fields, "time", 0, INT64_MAX, 0),
                      .id = id};
    ml_draft draft = {.type = ml_fields_text(&fields, "type"),
                      .tags = tags,
                      .schema = (uint32_t)ml_fields_natural(&fields, "schema", 1, INT32_MAX, 1),
                      .has_occurred = ml_fields_has(&fields, "occurred")};
    draft.occurred = (int64_t)ml_fields_natural(&fields, "occurred", 0, INT64_MAX, 0);
    if (!why.code && (stream.size == 0 || draft.type.size == 0))
        ml_fields_refuse(&fields, "stream and type are needed");
    if (why.code) ml_module_raise(L, &why);
    ml_buf_clear(&desk->bytes);
    size_t data = put_value(L, event, "data", desk), meta = put_value(L, event, "meta", desk);
    draft.tag_count = put_tags(L, event, tags);
    draft.data = (ml_bytes){desk->bytes.data, data};
    draft.meta = (ml_bytes){desk->bytes.data + data, meta};
    if (!ml_buf_reserve(&desk->items, ml_event_bound(stream, &draft)))
        luaL_error(L, "not enough memory");
    desk->items.size += ml_event_encode(desk->items.data + desk->items.size, stream, &draft,
                                        &stamp);
}

ml_desk *ml_module_rules_events(lua_State *L)
{
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    ml_desk *desk = ml_desk_take(L);
    for (lua_Integer n = 1; lua_rawgeti(L, 2, n) != LUA_TNIL; n++) {
        put_event(L, desk);
        lua_settop(L, 3);
    }
    lua_settop(L, 3);
    return desk;
}

static int engine_admitted(lua_State *L)
{
    ml_error why;
    ml_engine *engine = check(L);
    ml_desk *desk = ml_module_rules_events(L);
    ml_buf_clear(&desk->bytes);
    ml_code code = ml_engine_admitted(engine, ml_buf_view(&desk->items), &desk->bytes, &why);
    ml_buf_clear(&desk->items);
    ml_buf_add(&desk->items, desk->bytes.data, desk->bytes.size);
    if (!code) lua_pushboolean(L, true);
    int given = code ? give(L, desk, code, &why) : 1;
    ml_desk_give(L, 3);
    return given;
}

static int engine_forget(lua_State *L)
{
    ml_bytes stream;
    ml_engine *engine = check(L);
    luaL_checktype(L, 2, LUA_TSTRING);
    stream.data = lua_tolstring(L, 2, &stream.size);
    ml_engine_forget(engine, stream);
    return 0;
}

static int engine_upcast(lua_State *L)
{
    ml_error why;
    uint32_t count = 0;
    ml_engine *engine = check(L);
    bool as_arrays = lua_toboolean(L, 3);
    ml_desk *desk = ml_module_rules_events(L);
    ml_buf_clear(&desk->bytes);
    ml_code code = ml_engine_upcast(engine, ml_buf_view(&desk->items), !as_arrays, &desk->bytes,
                                    &count, &why);
    if (code) {
        ml_buf_clear(&desk->items);
        ml_buf_add(&desk->items, desk->bytes.data, desk->bytes.size);
        int given = give(L, desk, code, &why);
        ml_desk_give(L, 3);
        return given;
    }
    ml_unpack at = ml_unpack_from(ml_buf_view(&desk->bytes));
    lua_createtable(L, (int)count, 0);
    for (uint32_t n = 1; n <= count; n++) {
        if (!ml_value_read_message(L, &at)) return luaL_error(L, "an event that Lua cannot hold");
        lua_rawseti(L, -2, n);
    }
    ml_desk_give(L, 3);
    return 1;
}

static int engine_upcasts(lua_State *L)
{
    ml_bytes type;
    ml_engine *engine = check(L);
    luaL_checktype(L, 2, LUA_TSTRING);
    type.data = lua_tolstring(L, 2, &type.size);
    lua_pushboolean(L, ml_engine_upcasts(engine, type, (uint32_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int engine_stats(lua_State *L)
{
    ml_engine_stats stats;
    ml_engine_get_stats(check(L), &stats);
    lua_createtable(L, 0, 8);
    ml_module_set_natural(L, "commands", stats.commands);
    ml_module_set_natural(L, "folded", stats.folded);
    ml_module_set_natural(L, "log_reads", stats.log_reads);
    ml_module_set_natural(L, "snapshots_read", stats.snapshots_read);
    ml_module_set_natural(L, "snapshots_written", stats.snapshots_written);
    ml_module_set_natural(L, "states", stats.states);
    ml_module_set_natural(L, "states_bytes", stats.states_bytes);
    ml_module_set_natural(L, "evicted", stats.evicted);
    return 1;
}

/* What was run last, as somebody who watches the engine is told. */
static int engine_doing(lua_State *L)
{
    const box *self = luaL_checkudata(L, 1, ENGINE);
    lua_createtable(L, 0, 6);
    lua_pushboolean(L, self->doing.began != 0);
    lua_setfield(L, -2, "running");
    ml_module_set_natural(L, "position", self->doing.position);
    lua_pushstring(L, self->doing.unit);
    lua_setfield(L, -2, "unit");
    lua_pushstring(L, self->doing.hash);
    lua_setfield(L, -2, "hash");
    lua_pushstring(L, self->doing.handler);
    lua_setfield(L, -2, "handler");
    lua_pushstring(L, self->doing.where);
    lua_setfield(L, -2, "where");
    return 1;
}

/* ---- the module ------------------------------------------------------------------------- */

static const luaL_Reg methods[] = {{"stage", engine_stage},
                                   {"activate", engine_activate},
                                   {"command", engine_command},
                                   {"admitted", engine_admitted},
                                   {"forget", engine_forget},
                                   {"state", engine_state},
                                   {"upcast", engine_upcast},
                                   {"upcasts", engine_upcasts},
                                   {"stats", engine_stats},
                                   {"doing", engine_doing},
                                   {"close", engine_close},
                                   {NULL, NULL}};

int ml_module_rules_open(lua_State *L, ml_engine_rehearse *rehearse)
{
    int given = ml_module_open(L);
    luaL_newmetatable(L, ENGINE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, engine_close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, engine_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    memcpy(lua_newuserdatauv(L, sizeof rehearse, 0), &rehearse, sizeof rehearse);
    lua_pushcclosure(L, engine_new, 1);
    lua_setfield(L, -2, "engine");
    return given;
}
