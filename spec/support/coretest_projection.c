/* coretest_projection.c -- `coretest.projection`: projections without a projector, for busted.
 *
 *     duration(text) -> µs, or nil
 *     window_of(window, time) -> {{start, end}, …}
 *     next(window, latest, now)   closed(window, start, end, now)
 *         window: {kind =, size =, hop =, offset =, grace =}
 *     clock() -> c; c:see(time, recorded)  c:at(recorded) -> time
 *     keys() -> k; k:add(text)  k:has(text)  k:find(text)  k:get(n)  k:cut(count)  k:count()
 *     path(key, event) -> bytes of a key; nil, why     show(bytes) -> text
 *     same(files, name, handler) -> digest, or nil     lends(function [, parameter]) -> bool
 *     picks(function, parameter) -> {name, …}, or false
 *     new(files, name, dir) -> p, or nil and a sentence
 *         p:apply(event [, keys]) -> "applied" | "held" | "fault", fault
 *         p:again(event, times, keys) -> seconds; of streams account-0 …
 *         p:keys(event, k) -> true; nil, why
 *         p:pass(recorded)  p:commit(position)  p:abort()
 *         p:rows() -> {{key, row, start, end}, …}   p:digest()  p:note()  p:load(note)
 *         p:stats()  p:held() -> {{key, position, why}, …}  p:release()
 *         p:types() -> {type, …}, stream, category
 *
 * Events are {stream=, type=, data=, meta=, position=, time=, occurred=, schema=}. Values are
 * MessagePack. */
#include <stdio.h>
#include <time.h>

#include "../../core/base/pack.h"
#include "../../core/base/text.h"
#include "../../core/base/unpack.h"
#include "../../core/projection/keys.h"
#include "../../core/projection/path.h"
#include "../../core/projection/projection.h"
#include "../../core/projection/same.h"
#include "../../core/rules/bytecode.h"
#include "../../core/rules/rulepack.h"
#include "../../core/store/event.h"
#include "coretest.h"

#define CLOCK "moonlog.test.clock"
#define KEYS "moonlog.test.keys"
#define PROJECTION "moonlog.test.projection"

enum { FILES_MAX = 32 };

static ml_bytes text_at(lua_State *L, int index)
{
    ml_bytes text;
    text.data = luaL_checklstring(L, index, &text.size);
    return text;
}

/* ---- windows -------------------------------------------------------------------------------- */

static int projection_duration(lua_State *L)
{
    int64_t us;
    if (!ml_duration_read(text_at(L, 1), &us)) return 0;
    lua_pushinteger(L, us);
    return 1;
}

static ml_window take_window(lua_State *L, int index)
{
    static const char *const kinds[] = {"none", "tumbling", "hopping", "session", NULL};
    lua_getfield(L, index, "kind");
    ml_window window = {.kind = (ml_window_kind)luaL_checkoption(L, -1, NULL, kinds)};
    lua_pop(L, 1);
    window.size = (int64_t)ml_coretest_number(L, index, "size");
    window.hop = (int64_t)ml_coretest_number(L, index, "hop");
    window.offset = (int64_t)ml_coretest_number(L, index, "offset");
    window.grace = (int64_t)ml_coretest_number(L, index, "grace");
    return window;
}

static int projection_window_of(lua_State *L)
{
    ml_span spans[ML_WINDOW_HOPS_MAX];
    ml_window window = take_window(L, 1);
    size_t count = ml_window_of(&window, luaL_checkinteger(L, 2), spans);
    lua_newtable(L);
    for (size_t n = 0; n < count; n++) {
        lua_newtable(L);
        lua_pushinteger(L, spans[n].start);
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, spans[n].end);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    return 1;
}

static int projection_next(lua_State *L)
{
    ml_window window = take_window(L, 1);
    lua_pushinteger(L, ml_window_next(&window, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3)));
    return 1;
}

static int projection_closed(lua_State *L)
{
    ml_window window = take_window(L, 1);
    ml_span span = {luaL_checkinteger(L, 2), luaL_checkinteger(L, 3)};
    lua_pushboolean(L, ml_window_closed(&window, span, luaL_checkinteger(L, 4)));
    return 1;
}

static int projection_clock(lua_State *L)
{
    ml_clock *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (ml_clock){0};
    luaL_setmetatable(L, CLOCK);
    return 1;
}

static int clock_see(lua_State *L)
{
    ml_clock_see(luaL_checkudata(L, 1, CLOCK), luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return 0;
}

static int clock_at(lua_State *L)
{
    lua_pushinteger(L, ml_clock_at(luaL_checkudata(L, 1, CLOCK), luaL_checkinteger(L, 2)));
    return 1;
}

static int clock_free(lua_State *L)
{
    (void)L;
    return 0;
}

/* ---- keys ----------------------------------------------------------------------------------- */

static ml_keys *check_keys(lua_State *L, int index)
{
    return *(ml_keys **)luaL_checkudata(L, index, KEYS);
}

static int projection_keys(lua_State *L)
{
    ml_keys **self = lua_newuserdatauv(L, sizeof(ml_keys *), 0);
    *self = ml_keys_new();
    luaL_setmetatable(L, KEYS);
    return *self != NULL ? 1 : luaL_error(L, "out of memory");
}

static int keys_free(lua_State *L)
{
    ml_keys **self = luaL_checkudata(L, 1, KEYS);
    ml_keys_free(*self);
    *self = NULL;
    return 0;
}

static int keys_add(lua_State *L)
{
    ml_error why;
    if (ml_keys_add(check_keys(L, 1), text_at(L, 2), &why)) return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int keys_has(lua_State *L)
{
    lua_pushboolean(L, ml_keys_has(check_keys(L, 1), text_at(L, 2)));
    return 1;
}

static int keys_find(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ml_keys_find(check_keys(L, 1), text_at(L, 2)));
    return 1;
}

static int keys_get(lua_State *L)
{
    ml_bytes key = ml_keys_get(check_keys(L, 1), (size_t)luaL_checkinteger(L, 2));
    lua_pushlstring(L, key.size > 0 ? key.data : "", key.size);
    return 1;
}

static int keys_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ml_keys_count(check_keys(L, 1)));
    return 1;
}

static int keys_cut(lua_State *L)
{
    ml_keys_cut(check_keys(L, 1), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

/* ---- paths ---------------------------------------------------------------------------------- */

static ml_event take_event(lua_State *L, int index)
{
    static const uint8_t id[ML_ID_SIZE];
    ml_event event = {.position = ml_coretest_number(L, index, "position"),
                      .revision = ml_coretest_number(L, index, "revision"),
                      .time = (int64_t)ml_coretest_number(L, index, "time"),
                      .schema = (uint32_t)ml_coretest_number(L, index, "schema"),
                      .stream = ml_coretest_text(L, index, "stream"),
                      .type = ml_coretest_text(L, index, "type"),
                      .data = ml_coretest_text(L, index, "data"),
                      .meta = ml_coretest_text(L, index, "meta"),
                      .tags = ML_STR("\x90"),
                      .id = id};
    event.has_occurred = lua_getfield(L, index, "occurred") != LUA_TNIL;
    event.occurred = event.has_occurred ? lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    if (event.schema == 0) event.schema = 1;
    if (event.data.size == 0) event.data = ML_STR("\xc0");
    if (event.meta.size == 0) event.meta = ML_STR("\xc0");
    return event;
}

static int projection_path(lua_State *L)
{
    static const char *const kinds[] = {"",         "stream", "id",   "type",
                                        "category", "data",   "meta", NULL};
    ml_error why;
    ml_key key;
    ml_buf scratch = {0};
    ml_shape_projection shape = {.whole_path = text_at(L, 1)};
    const char *text = shape.whole_path.data, *dot = strchr(text, '.');
    size_t size = dot != NULL ? (size_t)(dot - text) : strlen(text);
    for (int n = 0; kinds[n] != NULL; n++)
        if (strlen(kinds[n]) == size && memcmp(kinds[n], text, size) == 0)
            shape.key = (ml_shape_key)n;
    if (dot != NULL) shape.path = (ml_bytes){dot + 1, strlen(dot + 1)};
    ml_event stored = take_event(L, 2);
    ml_path_event event = {&stored, stored.type, stored.data};
    ml_code code = ml_path_key(&shape, &event, &scratch, &key, &why);
    ml_buf_free(&scratch);
    if (code) return ml_coretest_refuse(L, &why);
    lua_pushlstring(L, (const char *)key.bytes, key.size);
    return 1;
}

static int projection_show(lua_State *L)
{
    char text[ML_PATH_SHOWN];
    ml_buf scratch = {0};
    ml_path_show(text_at(L, 1), &scratch, text);
    ml_buf_free(&scratch);
    lua_pushstring(L, text);
    return 1;
}

/* ---- packs ---------------------------------------------------------------------------------- */

/* The first sentence of diagnostics, as "file:line: message". */
static int refuse_pack(lua_State *L, ml_diagnostics *said)
{
    ml_unpack at = ml_unpack_from(ml_buf_view(&said->items));
    ml_bytes file = ML_STR(""), message = ML_STR("?"), name;
    int64_t line = 0;
    uint32_t pairs = 0;
    if (!ml_unpack_map(&at, &pairs)) pairs = 0;
    for (uint32_t n = 0; n < pairs && ml_unpack_str(&at, &name); n++) {
        bool found = false;
        if (ml_bytes_equal(name, ML_STR("file"))) found = ml_unpack_str(&at, &file);
        else if (ml_bytes_equal(name, ML_STR("message"))) found = ml_unpack_str(&at, &message);
        else if (ml_bytes_equal(name, ML_STR("line"))) found = ml_unpack_int(&at, &line);
        if (!found && !ml_unpack_skip(&at)) break;
    }
    lua_pushnil(L);
    lua_pushlstring(L, file.data, file.size);
    lua_pushfstring(L, ":%I: ", (LUAI_UACINT)line);
    lua_pushlstring(L, message.data, message.size);
    lua_concat(L, 3);
    ml_diagnostics_free(said);
    return 2;
}

/* Compiles what lies in the table at 1. NULL: an error, pushed. */
static ml_rulepack *take_pack(lua_State *L, int *given)
{
    ml_error why;
    ml_rulepack *pack = NULL;
    ml_diagnostics said = {0};
    ml_source files[FILES_MAX];
    size_t count = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1), count++) {
        luaL_argcheck(L, count < FILES_MAX, 1, "too many files");
        files[count] = (ml_source){text_at(L, -2), text_at(L, -1)};
    }
    if (ml_rulepack_new(files, count, &said, &pack, &why)) {
        *given = ml_coretest_refuse(L, &why);
        return NULL;
    }
    if (said.errors > 0) {
        *given = refuse_pack(L, &said);
        ml_rulepack_free(pack);
        return NULL;
    }
    ml_diagnostics_free(&said);
    return pack;
}

/* ---- a projection ---------------------------------------------------------------------------- */

typedef struct projecting {
    ml_rulepack *pack;
    ml_projection *projection;
    ml_view *view;
} projecting;

static projecting *check(lua_State *L) { return luaL_checkudata(L, 1, PROJECTION); }

static int projection_new(lua_State *L)
{
    ml_error why;
    int given = 0;
    ml_view_about about = {.boot = "test"};
    const char *dir = luaL_checkstring(L, 3);
    projecting *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (projecting){0};
    luaL_setmetatable(L, PROJECTION);
    self->pack = take_pack(L, &given);
    if (self->pack == NULL) return given;
    ml_unit *unit = ml_rulepack_find(self->pack, ML_UNIT_PROJECTION, text_at(L, 2));
    if (unit == NULL) return luaL_error(L, "no such projection");
    ml_code code = ml_projection_new(unit, &self->projection, &why);
    if (!code) {
        ml_projection_about(self->projection, ML_STR("log"), &about);
        code = ml_view_open(dir, &about, &self->view, &why);
    }
    if (code) return ml_coretest_refuse(L, &why);
    lua_settop(L, 4);
    return 1;
}

static int projection_free(lua_State *L)
{
    projecting *self = check(L);
    ml_view_close(self->view);
    ml_projection_free(self->projection);
    ml_rulepack_free(self->pack);
    *self = (projecting){0};
    return 0;
}

static void push_fault(lua_State *L, const ml_fault *fault)
{
    static const char *const kinds[] = {"none", "compile", "raised", "overstay", "memory", "shape"};
    lua_newtable(L);
    lua_pushstring(L, kinds[fault->kind]);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, fault->message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, fault->file);
    lua_setfield(L, -2, "file");
    ml_coretest_set(L, "line", fault->line);
}

static int projection_apply(lua_State *L)
{
    static const char *const words[] = {"applied", "held", "fault"};
    ml_error why;
    ml_fault fault = {.kind = ML_FAULT_NONE};
    ml_applied applied;
    projecting *self = check(L);
    ml_event event = take_event(L, 2);
    const ml_keys *only = lua_isnoneornil(L, 3) ? NULL : check_keys(L, 3);
    if (ml_projection_apply(self->projection, self->view, &event, only, &applied, &fault, &why))
        return ml_coretest_refuse(L, &why);
    lua_pushstring(L, words[applied]);
    if (applied != ML_APPLIED_FAULT) return 1;
    push_fault(L, &fault);
    return 2;
}

static int projection_again(lua_State *L)
{
    ml_error why;
    ml_fault fault;
    ml_applied applied;
    struct timespec from, to;
    projecting *self = check(L);
    ml_event event = take_event(L, 2);
    lua_Integer times = luaL_checkinteger(L, 3), keys = luaL_optinteger(L, 4, 1);
    char stream[64];
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (lua_Integer n = 0; n < times; n++) {
        int size = snprintf(stream, sizeof stream, "account-%lld", (long long)(n * 7919 % keys));
        event.stream = (ml_bytes){stream, (size_t)size};
        event.position++;
        if (ml_projection_apply(self->projection, self->view, &event, NULL, &applied, &fault, &why))
            return ml_coretest_refuse(L, &why);
        if (applied != ML_APPLIED) return luaL_error(L, "%s", fault.message);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    lua_pushnumber(L,
                   (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    return 1;
}

static int projection_collect(lua_State *L)
{
    ml_error why;
    ml_fault fault;
    projecting *self = check(L);
    ml_event event = take_event(L, 2);
    if (ml_projection_keys(self->projection, &event, check_keys(L, 3), &fault, &why))
        return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int projection_pass(lua_State *L)
{
    ml_error why;
    projecting *self = check(L);
    if (ml_projection_pass(self->projection, self->view, luaL_checkinteger(L, 2), &why))
        return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int projection_commit(lua_State *L)
{
    ml_error why;
    ml_buf note = {0};
    projecting *self = check(L);
    ml_projection_save(self->projection, &note);
    ml_code code =
        ml_view_commit(self->view, (uint64_t)luaL_checkinteger(L, 2), ml_buf_view(&note), &why);
    ml_buf_free(&note);
    if (code) return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int projection_abort(lua_State *L)
{
    ml_view_abort(check(L)->view);
    return 0;
}

static bool push_row(void *context, ml_bytes key, ml_bytes row)
{
    lua_State *L = context;
    ml_buf value = {0};
    bool windowed;
    int64_t start, end;
    if (!ml_key_pack(key, &value, &windowed, &start, &end)) luaL_error(L, "no key");
    lua_newtable(L);
    lua_pushlstring(L, (const char *)value.data, value.size);
    lua_rawseti(L, -2, 1);
    lua_pushlstring(L, row.data, row.size);
    lua_rawseti(L, -2, 2);
    if (windowed) {
        lua_pushinteger(L, start);
        lua_rawseti(L, -2, 3);
        lua_pushinteger(L, end);
        lua_rawseti(L, -2, 4);
    }
    ml_buf_free(&value);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return true;
}

static int projection_rows(lua_State *L)
{
    ml_error why;
    ml_view_range range = {.index = -1};
    projecting *self = check(L);
    lua_newtable(L);
    if (ml_view_scan(self->view, &range, push_row, L, &why)) return ml_coretest_refuse(L, &why);
    return 1;
}

static int projection_digest(lua_State *L)
{
    ml_view_stats stats;
    ml_view_get_stats(check(L)->view, &stats);
    lua_pushlstring(L, (const char *)stats.digest, sizeof stats.digest);
    return 1;
}

static int projection_note(lua_State *L)
{
    ml_buf note = {0};
    ml_projection_save(check(L)->projection, &note);
    lua_pushlstring(L, (const char *)note.data, note.size);
    ml_buf_free(&note);
    return 1;
}

static int projection_load(lua_State *L)
{
    ml_error why;
    if (ml_projection_load(check(L)->projection, text_at(L, 2), &why))
        return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int projection_stats(lua_State *L)
{
    ml_projection_stats stats;
    ml_projection_get_stats(check(L)->projection, &stats);
    lua_newtable(L);
    ml_coretest_set(L, "late", stats.late);
    ml_coretest_set(L, "held", stats.held);
    ml_coretest_set(L, "now", (uint64_t)stats.now);
    ml_coretest_set(L, "closes", (uint64_t)stats.closes);
    return 1;
}

static int projection_held(lua_State *L)
{
    ml_bytes key;
    uint64_t position;
    projecting *self = check(L);
    lua_newtable(L);
    for (size_t n = 0; ml_projection_held(self->projection, n, &key, &position); n++) {
        lua_newtable(L);
        lua_pushlstring(L, key.data, key.size);
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, (lua_Integer)position);
        lua_rawseti(L, -2, 2);
        lua_pushstring(L, ml_projection_held_why(self->projection, n));
        lua_rawseti(L, -2, 3);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    return 1;
}

static int projection_release(lua_State *L)
{
    ml_projection_release(check(L)->projection);
    return 0;
}

static int projection_types(lua_State *L)
{
    ml_selection selection = ml_projection_selection(check(L)->projection);
    const ml_query_item *item = selection.query.items;
    lua_newtable(L);
    for (size_t n = 0; n < item->type_count; n++) {
        lua_pushlstring(L, item->types[n].data, item->types[n].size);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    lua_pushlstring(L, selection.stream.size > 0 ? selection.stream.data : "",
                    selection.stream.size);
    lua_pushlstring(L, selection.category.size > 0 ? selection.category.data : "",
                    selection.category.size);
    return 3;
}

/* start(now) -> events up to there do not count */
static int projection_start(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ml_projection_start(check(L)->projection,
                                                        (uint64_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* sql() -> table, {{name, path, type}, …} */
static int projection_sql(lua_State *L)
{
    ml_sql_about about;
    if (!ml_projection_sql(check(L)->projection, &about)) return 0;
    lua_pushlstring(L, about.table.data, about.table.size);
    lua_newtable(L);
    for (size_t n = 0; n < about.column_count; n++) {
        lua_newtable(L);
        lua_pushlstring(L, about.columns[n].name.data, about.columns[n].name.size);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, about.columns[n].path.data, about.columns[n].path.size);
        lua_rawseti(L, -2, 2);
        lua_pushinteger(L, about.columns[n].type);
        lua_rawseti(L, -2, 3);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    return 2;
}

/* ---- same -------------------------------------------------------------------------------------
 */

static int projection_same(lua_State *L)
{
    int given = 0;
    uint8_t digest[ML_SAME_DIGEST];
    ml_bytes name = text_at(L, 2), handler = text_at(L, 3);
    ml_rulepack *pack = take_pack(L, &given);
    if (pack == NULL) return given;
    const ml_unit *unit = ml_rulepack_find(pack, ML_UNIT_PROJECTION, name);
    const ml_handler *found = unit != NULL ? ml_unit_find(&unit->on, handler) : NULL;
    bool has = found != NULL && ml_same_digest(unit, found->function, digest);
    ml_rulepack_free(pack);
    if (!has) return 0;
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

/* ---- what becomes of a row ------------------------------------------------------------------ */

static bool look(lua_State *L, ml_buf *got)
{
    ml_buf dump = {0}, frames = {0};
    luaL_checktype(L, 1, LUA_TFUNCTION);
    unsigned parameter = (unsigned)luaL_optinteger(L, 2, 0);
    lua_settop(L, 1);
    if (!ml_sandbox_dump(L, true, &dump)) luaL_error(L, "it cannot be dumped");
    bool lends = got != NULL
                     ? ml_bytecode_picks(ml_buf_view(&dump), parameter, got, &frames)
                     : ml_bytecode_lends(ml_buf_view(&dump), parameter, &frames);
    ml_buf_free(&dump);
    ml_buf_free(&frames);
    return lends;
}

static int projection_lends(lua_State *L)
{
    lua_pushboolean(L, look(L, NULL));
    return 1;
}

static int projection_picks(lua_State *L)
{
    ml_buf got = {0};
    bool picks = look(L, &got);
    if (picks) lua_newtable(L);
    else lua_pushboolean(L, false);
    for (size_t at = 0; picks && at < got.size; at += 1u + got.data[at]) {
        lua_pushlstring(L, (const char *)got.data + at + 1, got.data[at]);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    ml_buf_free(&got);
    return 1;
}

/* ---- the table --------------------------------------------------------------------------------
 */

int luaopen_coretest_projection(lua_State *L)
{
    static const luaL_Reg clocks[] = {{"see", clock_see}, {"at", clock_at}, {NULL, NULL}};
    static const luaL_Reg sets[] = {{"add", keys_add},     {"has", keys_has}, {"find", keys_find},
                                    {"count", keys_count}, {"get", keys_get}, {"cut", keys_cut},
                                    {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"apply", projection_apply},   {"again", projection_again}, {"keys", projection_collect},
        {"pass", projection_pass},     {"commit", projection_commit}, {"abort", projection_abort},
        {"rows", projection_rows},     {"digest", projection_digest}, {"note", projection_note},
        {"load", projection_load},     {"stats", projection_stats},   {"held", projection_held},
        {"release", projection_release}, {"types", projection_types}, {"start", projection_start},
        {"sql", projection_sql},       {"close", projection_free},    {NULL, NULL}};
    static const luaL_Reg functions[] = {{"duration", projection_duration},
                                         {"window_of", projection_window_of},
                                         {"next", projection_next},
                                         {"closed", projection_closed},
                                         {"clock", projection_clock},
                                         {"keys", projection_keys},
                                         {"path", projection_path},
                                         {"show", projection_show},
                                         {"new", projection_new},
                                         {"same", projection_same},
                                         {"lends", projection_lends},
                                         {"picks", projection_picks},
                                         {NULL, NULL}};
    ml_coretest_class(L, CLOCK, clocks, clock_free);
    ml_coretest_class(L, KEYS, sets, keys_free);
    ml_coretest_class(L, PROJECTION, methods, projection_free);
    luaL_newlib(L, functions);
    return 1;
}
