/* module_projection.c -- require "moonlog": what the rooms below make, and the projector.
 *
 *   m.projector{store=, files=, name=, view=, …}
 *     files: {["balances.lua"] = source, …}; view: a directory
 *     base=, base_files=     view and files of the version before, to begin with
 *     start=, skips=, paused=, log=, boot=, fold_ms=, past=, past_at=     projector.h
 *     :step(budget_us?, durable?)   true if there is more to do now; a budget of 0 is one event or so
 *     :run(durable?)                steps until there is not; the status
 *     :get{key=, window=}           {row=, position=, window=}
 *     :scan{prefix=, index=, from=, to=, limit=, backward=}      {rows=, next=, position=}
 *     :status()  :retry()  :skip(position)  :pause(bool?)  :close()
 *
 * A projection without a daemon, for moonlog.testing and for specs. What the world did wrong is nil
 * and "CODE: sentence"; errors of the pack are a third value, a list of diagnostics.
 */
#include <stdlib.h>

#include "../base/limits.h"
#include "../rules/module_rules.h"
#include "../script/module.h"
#include "../script/value.h"
#include "module_fold.h"
#include "module_whatif.h"
#include "projector.h"
#include "rehearse.h"

#define PROJECTOR "moonlog.projector"

enum { BUDGET_US = 5000 };

typedef struct box {
    ml_projector *projector;      /* NULL: closed */
    const ml_module_store *store; /* held by the uservalue */
    ml_engine_doing doing;
} box;

ML_API int luaopen_moonlog(lua_State *L);

/* ---- handles ---------------------------------------------------------------------------- */

static box *check(lua_State *L)
{
    box *self = luaL_checkudata(L, 1, PROJECTOR);
    if (self->projector == NULL) luaL_error(L, "the projector is closed");
    if (self->store->store == NULL) luaL_error(L, "the projector's store is closed");
    return self;
}

static int projector_close(lua_State *L)
{
    box *self = luaL_checkudata(L, 1, PROJECTOR);
    if (self->projector != NULL && self->store->store == NULL) ml_projector_orphan(self->projector);
    ml_projector_free(self->projector);
    self->projector = NULL;
    return 0;
}

/* Files as they lie in the table of the field, which holds their texts. */
static size_t read_files(lua_State *L, const ml_fields *fields, const char *name, ml_desk *desk)
{
    size_t count = 0;
    int type = ml_fields_push(fields, name), table = lua_gettop(L);
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return 0;
    }
    luaL_argcheck(L, type == LUA_TTABLE, 1, "files are a table {[path] = source}");
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1), count++) {
        ml_source file;
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            return (size_t)luaL_argerror(L, 1, "files are a table {[path] = source}");
        file.path.data = lua_tolstring(L, -2, &file.path.size);
        file.text.data = lua_tolstring(L, -1, &file.text.size);
        ml_buf_add(&desk->terms, &file, sizeof file);
    }
    return count; /* the table stays on the stack: it holds them */
}

static int compare(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static size_t read_skips(lua_State *L, const ml_fields *fields, ml_desk *desk)
{
    size_t count = 0;
    int type = ml_fields_push(fields, "skips"), table = lua_gettop(L);
    luaL_argcheck(L, type == LUA_TNIL || type == LUA_TTABLE, 1, "skips are a list of positions");
    for (lua_Integer n = 1; type == LUA_TTABLE && lua_rawgeti(L, table, n) == LUA_TNUMBER; n++) {
        uint64_t position = (uint64_t)lua_tointeger(L, -1);
        ml_buf_add(&desk->writes, &position, sizeof position);
        count++;
        lua_pop(L, 1);
    }
    if (count > 0) qsort(desk->writes.data, count, sizeof(uint64_t), compare);
    return count;
}

/* Texts live as long as the stack holds them, and end with a NUL. */
static const char *read_text(lua_State *L, const ml_fields *fields, const char *name)
{
    ml_bytes text = ml_fields_text(fields, name);
    if (text.data == NULL) return NULL;
    return lua_pushlstring(L, text.data, text.size);
}

static int fail(lua_State *L, const ml_error *why, ml_diagnostics *report)
{
    int given = ml_module_fail(L, why);
    ml_unpack at = ml_unpack_from(ml_buf_view(&report->items));
    if (report->count > 0) {
        lua_createtable(L, (int)report->count, 0);
        for (uint32_t n = 1; n <= report->count && ml_value_read_message(L, &at); n++)
            lua_rawseti(L, -2, n);
        given++;
    }
    ml_diagnostics_free(report);
    return given;
}

static void read_options(lua_State *L, ml_projector_options *options, ml_desk *desk, ml_error *why)
{
    static const char *const known[] = {"store",      "files",   "name",  "view", "base",
                                        "base_files", "start",   "skips", "log",  "paused",
                                        "boot",       "fold_ms", "past",  "past_at", NULL};
    ml_fields fields = ml_fields_from(L, 1, "moonlog.projector", known, why);
    options->start = ml_fields_natural(&fields, "start", 0, INT64_MAX, 0);
    options->fold_ms = (uint32_t)ml_fields_natural(&fields, "fold_ms", 1, 60000, 0);
    options->paused = ml_fields_flag(&fields, "paused");
    const char *name = read_text(L, &fields, "name"), *log = read_text(L, &fields, "log");
    options->dir = read_text(L, &fields, "view");
    options->boot = read_text(L, &fields, "boot");
    options->base = read_text(L, &fields, "base");
    options->past = read_text(L, &fields, "past");
    options->past_at = ml_fields_natural(&fields, "past_at", 0, INT64_MAX, 0);
    if (why->code == ML_OK && (name == NULL || options->dir == NULL))
        ml_fields_refuse(&fields, "name and view are needed");
    if (why->code) ml_module_raise(L, why);
    if (log == NULL) log = "a log";
    options->name = (ml_bytes){name, strlen(name)};
    options->log = (ml_bytes){log, strlen(log)};
    options->count = read_files(L, &fields, "files", desk);
    options->base_count = read_files(L, &fields, "base_files", desk);
    options->skip_count = read_skips(L, &fields, desk);
    options->files = (const ml_source *)(void *)desk->terms.data;
    options->base_files = options->files + options->count;
    options->skips = (const uint64_t *)(void *)desk->writes.data;
}

static int projector_new(lua_State *L)
{
    ml_error why;
    ml_projector_options options = {0};
    ml_diagnostics report = {0};
    char boot[ML_VIEW_BOOT];
    lua_settop(L, 1);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "store"); /* at 2 */
    const ml_module_store *store = ml_module_check(L, 2);
    ml_desk *desk = ml_desk_take(L); /* at 3 */
    read_options(L, &options, desk, &why);
    if (ml_desk_check(desk, &why)) return ml_module_fail(L, &why);
    if (options.boot == NULL) {
        ml_view_boot(boot);
        options.boot = boot;
    }
    box *self = lua_newuserdatauv(L, sizeof *self, 1);
    *self = (box){.store = store};
    options.watch = &self->doing;
    luaL_setmetatable(L, PROJECTOR);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
    if (ml_projector_new(store->store, &options, &report, &self->projector, &why))
        return fail(L, &why, &report);
    ml_diagnostics_free(&report);
    ml_desk_give(L, 3);
    return 1;
}

/* ---- steps ------------------------------------------------------------------------------ */

/* The argument, or where the log is. */
static uint64_t durable(lua_State *L, const box *self, int index)
{
    ml_head head;
    if (!lua_isnoneornil(L, index)) return (uint64_t)luaL_checkinteger(L, index);
    if (ml_get_head(self->store->store, (ml_bytes){0}, &head))
        luaL_error(L, "%s", ml_why(self->store->store));
    return head.position;
}

static void push_packed(lua_State *L, const ml_buf *packed)
{
    ml_unpack at = ml_unpack_from(ml_buf_view(packed));
    if (packed->failed) luaL_error(L, "not enough memory");
    if (!ml_value_read_message(L, &at)) luaL_error(L, "an answer that Lua cannot hold");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (ml_value_of(L, -1) != ML_VALUE_NULL) continue;
        lua_pushvalue(L, -2);
        lua_pushnil(L); /* what is nil is not there */
        lua_rawset(L, -5);
    }
}

static int projector_status(lua_State *L)
{
    const box *self = check(L);
    ml_desk *desk = ml_desk_take(L);
    int at = lua_gettop(L);
    ml_projector_pack_status(self->projector, &desk->items);
    push_packed(L, &desk->items);
    ml_desk_give(L, at);
    return 1;
}

static int projector_step(lua_State *L)
{
    box *self = check(L);
    uint64_t budget = (uint64_t)luaL_optinteger(L, 2, BUDGET_US);
    lua_pushboolean(L, ml_projector_step(self->projector, durable(L, self, 3), budget));
    return 1;
}

static int projector_run(lua_State *L)
{
    box *self = check(L);
    uint64_t position = durable(L, self, 2);
    while (ml_projector_step(self->projector, position, BUDGET_US))
        continue;
    return projector_status(L);
}

/* ---- questions -------------------------------------------------------------------------- */

static int ask(lua_State *L, ml_code (*method)(ml_projector *, ml_bytes, ml_buf *, ml_error *))
{
    ml_error why;
    box *self = check(L);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    ml_desk *desk = ml_desk_take(L);
    ml_code code = ml_value_write_message(L, 2, desk, ML_APPEND_BYTES_MAX, &why);
    if (!code) code = method(self->projector, ml_buf_view(&desk->bytes), &desk->items, &why);
    int given = 1;
    if (code)
        given = ml_module_fail(L, &why);
    else
        push_packed(L, &desk->items);
    ml_desk_give(L, 3);
    return given;
}

static int projector_get(lua_State *L)
{
    return ask(L, ml_projector_get);
}

static int projector_scan(lua_State *L)
{
    return ask(L, ml_projector_scan);
}

/* ---- orders ----------------------------------------------------------------------------- */

static int projector_retry(lua_State *L)
{
    ml_projector_retry(check(L)->projector);
    lua_pushboolean(L, true);
    return 1;
}

static int projector_skip(lua_State *L)
{
    ml_error why;
    const box *self = check(L);
    uint64_t position = (uint64_t)luaL_checkinteger(L, 2);
    if (ml_projector_skip(self->projector, position, &why)) return ml_module_fail(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int projector_pause(lua_State *L)
{
    ml_projector_pause(check(L)->projector, lua_isnoneornil(L, 2) || lua_toboolean(L, 2));
    lua_pushboolean(L, true);
    return 1;
}

/* ---- the module ------------------------------------------------------------------------- */

static const luaL_Reg methods[] = {{"step", projector_step},     {"run", projector_run},
                                   {"get", projector_get},       {"scan", projector_scan},
                                   {"status", projector_status}, {"retry", projector_retry},
                                   {"skip", projector_skip},     {"pause", projector_pause},
                                   {"close", projector_close},   {NULL, NULL}};

int luaopen_moonlog(lua_State *L)
{
    int given = ml_module_rules_open(L, ml_rehearse);
    luaL_newmetatable(L, PROJECTOR);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, projector_close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, projector_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    lua_pushcfunction(L, projector_new);
    lua_setfield(L, -2, "projector");
    ml_module_fold_open(L);
    ml_module_whatif_open(L);
    return given;
}
