/* coretest_upcast.c -- upcasters as specs see them: a step in C, chains in a sandbox, the proof.
 *
 *     upcast.step{{"rename", "a", "b"}, {"drop", "c"}, {"cast", "d", "float"}, {"default", "e",
 * bytes}} step:apply(bytes) -> bytes upcast.chains({{"payment.lua", source}, …} [, {"payment.lua",
 * …}]) -> chains, said … all files are in the pack; those of the list, or all, are run and added
 *     chains:each() -> {{type, latest}, …}      chains:wants(type, schema) -> boolean
 *     chains:push{type=, schema=, data=, …} -> {{type, bytes, schema}, …}, schema   or nil, fault
 *     chains:plain{…} -> bytes, schema          or nil, "CODE: sentence"
 *     chains:prove(dir, full [, ms]) -> said …
 *     upcast.shape(bytes) -> integer            upcast.hash(text) -> integer
 *
 * Data is bytes, as C takes it; `said` is how many diagnostics, how many errors among them, and
 * their maps as MessagePack. */
#include <stdlib.h>

#include "../../core/base/unpack.h"
#include "../../core/rules/prove.h"
#include "../../core/rules/upcast_hash.h"
#include "../../core/rules/upcast_step.h"
#include "../../core/script/desk.h"
#include "../../core/script/envelope.h"
#include "../../core/script/value.h"
#include "coretest.h"

#define STEP   "moonlog.test.step"
#define CHAINS "moonlog.test.chains"

/* ---- a step ---------------------------------------------------------------------------- */

static ml_bytes item(lua_State *L, int index, int n)
{
    ml_bytes text;
    lua_rawgeti(L, index, n);
    text.data = luaL_checklstring(L, -1, &text.size);
    lua_pop(L, 1);
    return text;
}

static ml_upcast_kind kind_of(ml_bytes name)
{
    int n = 0;
    while (ml_upcast_cast_names[n] != NULL && strcmp(ml_upcast_cast_names[n], name.data) != 0)
        n++;
    return (ml_upcast_kind)(n + 1);
}

static ml_code make_wish(lua_State *L, ml_upcast_step *step, ml_error *why)
{
    int wish = lua_gettop(L);
    ml_bytes what = item(L, wish, 1), path = item(L, wish, 2);
    switch (*(const char *)what.data) {
    case 'r': return ml_upcast_step_rename(step, path, item(L, wish, 3), why);
    case 'm': return ml_upcast_step_move(step, path, item(L, wish, 3), why);
    case 'c': return ml_upcast_step_cast(step, path, kind_of(item(L, wish, 3)), why);
    case 'd': break;
    default: luaL_error(L, "no such wish");
    }
    if (((const char *)what.data)[1] == 'r') return ml_upcast_step_drop(step, path, why);
    return ml_upcast_step_default(step, path, item(L, wish, 3), why);
}

static int step_new(lua_State *L)
{
    ml_error why;
    ml_code code = ML_OK;
    ml_upcast_step **self = lua_newuserdatauv(L, sizeof(ml_upcast_step *), 0);
    *self = ml_upcast_step_new();
    luaL_setmetatable(L, STEP);
    lua_Integer count = luaL_len(L, 1);
    for (lua_Integer n = 1; n <= count && !code; n++) {
        lua_rawgeti(L, 1, n);
        code = make_wish(L, *self, &why);
        lua_pop(L, 1);
    }
    if (!code) code = ml_upcast_step_ready(*self, &why);
    return code ? ml_coretest_refuse(L, &why) : 1;
}

/* The data lies in a block of just its size, so that reading behind it is seen. */
static int step_apply(lua_State *L)
{
    ml_error why;
    ml_buf out = {0};
    ml_upcast_step **self = luaL_checkudata(L, 1, STEP);
    ml_bytes given, result;
    given.data = luaL_checklstring(L, 2, &given.size);
    void *copy = malloc(given.size > 0 ? given.size : 1);
    if (copy == NULL) return luaL_error(L, "out of memory");
    memcpy(copy, given.data, given.size);
    ml_code code = ml_upcast_step_apply(*self, (ml_bytes){copy, given.size}, &out, &result, &why);
    if (!code) lua_pushlstring(L, result.data, result.size);
    ml_buf_free(&out);
    free(copy);
    return code ? ml_coretest_refuse(L, &why) : 1;
}

static int step_free(lua_State *L)
{
    ml_upcast_step **self = luaL_checkudata(L, 1, STEP);
    ml_upcast_step_free(*self);
    *self = NULL;
    return 0;
}

/* ---- diagnostics and faults ------------------------------------------------------------ */

/* Their number, how many are errors, and the maps as bytes. The module under test and this one each
 * have their own idea of null, so reading them is left to the spec. */
static int push_diagnostics(lua_State *L, ml_diagnostics *said)
{
    lua_pushinteger(L, said->count);
    lua_pushinteger(L, said->errors);
    lua_pushlstring(L, said->items.size > 0 ? (const char *)said->items.data : "",
                    said->items.size);
    ml_diagnostics_free(said);
    return 3;
}

static int push_fault(lua_State *L, const ml_fault *fault)
{
    lua_pushnil(L);
    lua_newtable(L);
    lua_pushstring(L, fault->message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, fault->file);
    lua_setfield(L, -2, "file");
    lua_pushinteger(L, fault->line);
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, fault->kind);
    lua_setfield(L, -2, "kind");
    return 2;
}

/* ---- chains ---------------------------------------------------------------------------- */

typedef struct chains {
    ml_sandbox *sandbox;
    ml_upcasts *upcasts;
    size_t count;
    ml_source sources[];
} chains;

static int chains_free(lua_State *L)
{
    chains *self = luaL_checkudata(L, 1, CHAINS);
    ml_upcasts_free(self->upcasts);
    ml_sandbox_free(self->sandbox);
    self->upcasts = NULL;
    self->sandbox = NULL;
    return 0;
}

static void add_file(chains *self, ml_bytes path, ml_diagnostics *to)
{
    ml_fault fault;
    if (!ml_sandbox_run(self->sandbox, path, &fault))
        ml_diagnose_error(to, "RUN", &fault);
    else
        ML_IGNORE(ml_upcasts_add(self->upcasts, path, to)); /* it is in the diagnostics */
}

/* The texts stay in the table that is the userdata's value. */
static int chains_new(lua_State *L)
{
    ml_error why;
    ml_diagnostics said = {0};
    lua_settop(L, 2);
    size_t count = (size_t)luaL_len(L, 1);
    chains *self = lua_newuserdatauv(L, sizeof *self + count * sizeof(ml_source), 1);
    *self = (chains){.count = count};
    luaL_setmetatable(L, CHAINS);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    for (size_t n = 0; n < count; n++) {
        lua_rawgeti(L, 1, (lua_Integer)n + 1);
        int file = lua_gettop(L);
        self->sources[n] = (ml_source){item(L, file, 1), item(L, file, 2)};
        lua_pop(L, 1);
    }
    self->sandbox = ml_sandbox_new(self->sources, count, 0, &why);
    if (self->sandbox == NULL) return ml_coretest_refuse(L, &why);
    self->upcasts = ml_upcasts_new(self->sandbox);
    if (self->upcasts == NULL) return luaL_error(L, "out of memory");
    lua_Integer added = lua_isnil(L, 2) ? (lua_Integer)count : luaL_len(L, 2);
    for (lua_Integer n = 1; n <= added; n++)
        add_file(self, lua_isnil(L, 2) ? self->sources[n - 1].path : item(L, 2, (int)n), &said);
    return 1 + push_diagnostics(L, &said);
}

static ml_event to_event(lua_State *L, int index)
{
    static const uint8_t id[ML_ID_SIZE];
    ml_event event = {.position = ml_coretest_number(L, index, "position"),
                      .stream = ml_coretest_text(L, index, "stream"),
                      .type = ml_coretest_text(L, index, "type"),
                      .schema = (uint32_t)ml_coretest_number(L, index, "schema"),
                      .data = ml_coretest_text(L, index, "data"),
                      .tags = ML_STR("\x90"),
                      .meta = ML_STR("\xc0"),
                      .id = id};
    if (event.schema == 0) event.schema = 1;
    return event;
}

typedef struct pushing {
    chains *self;
    ml_event event;
    uint32_t schema;
    lua_State *to; /* gets {{type, bytes, schema}, …} */
} pushing;

static int push_body(lua_State *L)
{
    pushing *p = lua_touserdata(L, 1);
    ml_error why;
    int base = lua_gettop(L), count = ml_upcasts_push(p->self->upcasts, L, &p->event, &p->schema);
    ml_envelope_clear(L);
    if (lua_gettop(L) != base + 2 * count) luaL_error(L, "the stack is not what was promised");
    ml_desk *desk = ml_desk_take(L);
    for (int n = 0; n < count; n++) {
        ml_buf_clear(&desk->bytes);
        if (ml_value_write(L, base + 2 * n + 2, desk, 4 << 20, "part", &why))
            luaL_error(L, "%s", why.sentence);
        lua_createtable(p->to, 3, 0);
        lua_pushstring(p->to, luaL_checkstring(L, base + 2 * n + 1));
        lua_rawseti(p->to, -2, 1);
        lua_pushlstring(p->to, (const char *)desk->bytes.data, desk->bytes.size);
        lua_rawseti(p->to, -2, 2);
        lua_pushinteger(p->to, ml_upcasts_schema(p->self->upcasts, n));
        lua_rawseti(p->to, -2, 3);
        lua_rawseti(p->to, -2, n + 1);
    }
    return 0;
}

static int chains_push(lua_State *L)
{
    ml_fault fault;
    pushing p = {.self = luaL_checkudata(L, 1, CHAINS), .event = to_event(L, 2), .to = L};
    lua_newtable(L);
    if (!ml_sandbox_enter(p.self->sandbox, push_body, &p, &fault)) return push_fault(L, &fault);
    lua_pushinteger(L, p.schema);
    return 2;
}

static int chains_plain(lua_State *L)
{
    chains *self = luaL_checkudata(L, 1, CHAINS);
    ml_event event = to_event(L, 2);
    ml_buf out = {0};
    ml_bytes data;
    uint32_t schema;
    ml_error why;
    ml_code code = ml_upcasts_plain(self->upcasts, &event, &out, &data, &schema, &why);
    if (!code) lua_pushlstring(L, data.data, data.size);
    ml_buf_free(&out);
    if (code) return ml_coretest_refuse(L, &why);
    lua_pushinteger(L, schema);
    return 2;
}

static int chains_wants(lua_State *L)
{
    chains *self = luaL_checkudata(L, 1, CHAINS);
    ml_bytes type;
    type.data = luaL_checklstring(L, 2, &type.size);
    lua_pushboolean(L, ml_upcasts_wants(self->upcasts, type, (uint32_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int chains_each(lua_State *L)
{
    chains *self = luaL_checkudata(L, 1, CHAINS);
    ml_bytes type;
    uint32_t latest;
    lua_newtable(L);
    for (size_t n = 0; ml_upcasts_each(self->upcasts, n, &type, &latest); n++) {
        lua_createtable(L, 2, 0);
        lua_pushlstring(L, type.data, type.size);
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, latest);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    return 1;
}

/* ---- the proof ------------------------------------------------------------------------- */

static int chains_prove(lua_State *L)
{
    chains *self = luaL_checkudata(L, 1, CHAINS);
    ml_store *store;
    ml_diagnostics said = {0};
    ml_error why;
    ml_options options = {.read_only = true};
    if (ml_open(&store, luaL_checkstring(L, 2), &options))
        return luaL_error(L, "%s", ml_why(store));
    ml_guard_start((uint32_t)luaL_optinteger(L, 4, 50));
    ml_code code =
        ml_prove_chains(store, self->upcasts, self->sandbox, lua_toboolean(L, 3), &said, &why);
    ml_guard_stop();
    ML_IGNORE(ml_close(store)); /* nothing was written */
    int count = push_diagnostics(L, &said);
    return code ? ml_coretest_refuse(L, &why) : count;
}

static int shape(lua_State *L)
{
    ml_bytes data;
    data.data = luaL_checklstring(L, 1, &data.size);
    lua_pushinteger(L, (lua_Integer)ml_prove_shape(data));
    return 1;
}

static int hash(lua_State *L)
{
    ml_bytes text;
    text.data = luaL_checklstring(L, 1, &text.size);
    lua_pushinteger(L, (lua_Integer)ml_upcast_hash(text));
    return 1;
}

int luaopen_coretest_upcast(lua_State *L)
{
    static const luaL_Reg step_methods[] = {{"apply", step_apply}, {NULL, NULL}};
    static const luaL_Reg chains_methods[] = {{"push", chains_push},   {"plain", chains_plain},
                                              {"wants", chains_wants}, {"each", chains_each},
                                              {"prove", chains_prove}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"step", step_new}, {"chains", chains_new}, {"shape", shape}, {"hash", hash}, {NULL, NULL}};
    ml_coretest_class(L, STEP, step_methods, step_free);
    ml_coretest_class(L, CHAINS, chains_methods, chains_free);
    luaL_newlib(L, functions);
    return 1;
}
