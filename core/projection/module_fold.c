/* module_fold.c -- m.projection: a projection that is told of events, for moonlog.testing.
 *
 *   m.projection{files = {["balances.lua"] = source, …}, name = "balances"}
 *     :begin()          an empty view, in a directory of its own that goes with it
 *     :apply{event, …}  true; events with stream, position, time as they would be stored
 *     :pass(time)       true; it is this late by the log
 *     :commit()         true
 *     :rows()           as committed, by keys: {{key =, row =, window = {from =, to =, closed =}}}
 *     :sees(event)      "yes"; "no": of another stream; "no handler" for its type
 *     :stream()         the name of a stream that it looks at
 *     :close()
 *
 * A projector reads a log, in which time is what it was; here it is what the spec says. What the
 * world did wrong is nil and "CODE: sentence", and of a script's fault all that is known.
 */
#include "module_fold.h"

#include <stdio.h>
#include <stdlib.h>

#include "../base/pack.h"
#include "../rules/module_rules.h"
#include "../rules/rulepack.h"
#include "../script/module.h"
#include "../script/value.h"
#include "../store/event.h"
#include "projection.h"

#define FOLD "moonlog.projection"

enum { DIR_BYTES = 512 };

typedef struct fold {
    ml_rulepack *pack;
    ml_projection *projection; /* NULL: closed */
    ml_view *view;             /* NULL: not begun */
    char dir[DIR_BYTES];
    uint64_t position; /* of the event applied last */
    int64_t time;
} fold;

/* ---- life ------------------------------------------------------------------------------- */

static fold *check(lua_State *L)
{
    fold *self = luaL_checkudata(L, 1, FOLD);
    if (self->projection == NULL) luaL_error(L, "the projection is closed");
    return self;
}

static fold *check_begun(lua_State *L)
{
    fold *self = check(L);
    if (self->view == NULL) luaL_error(L, "say :begin() first");
    return self;
}

static void drop_view(fold *self)
{
    ml_error why;
    if (self->view == NULL) return;
    ml_view_close(self->view);
    self->view = NULL;
    ML_IGNORE(ml_view_discard(self->dir, &why)); /* it is temporary */
}

static int fold_close(lua_State *L)
{
    fold *self = luaL_checkudata(L, 1, FOLD);
    drop_view(self);
    ml_projection_free(self->projection);
    self->projection = NULL;
    ml_rulepack_free(self->pack);
    self->pack = NULL;
    return 0;
}

static int fold_new(lua_State *L)
{
    static const char *const known[] = {"files", "name", NULL};
    ml_error why;
    ml_diagnostics report = {0};
    lua_settop(L, 1);
    ml_fields fields = ml_fields_from(L, 1, "moonlog.projection", known, &why);
    ml_bytes name = ml_fields_text(&fields, "name");
    if (why.code) return ml_module_raise(L, &why);
    fold *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (fold){.view = NULL};
    luaL_setmetatable(L, FOLD);
    ml_desk *desk = ml_desk_take(L);
    ml_fields_push(&fields, "files");
    size_t count = ml_module_rules_files(L, lua_gettop(L), desk);
    ml_code code = ml_desk_check(desk, &why);
    if (!code)
        code = ml_rulepack_new((const ml_source *)(void *)desk->terms.data, count, &report,
                               &self->pack, &why);
    ml_diagnostics_free(&report);
    ml_unit *unit = code ? NULL : ml_rulepack_find(self->pack, ML_UNIT_PROJECTION, name);
    if (!code && unit == NULL)
        code = ml_error_set(&why, ML_NOT_FOUND, "the files have no projection of this name");
    if (!code) code = ml_projection_new(unit, &self->projection, &why);
    if (code) return ml_module_fail(L, &why);
    lua_settop(L, 2);
    return 1;
}

/* "/tmp/moonlog-…" */
static ml_code make_dir(fold *self, ml_error *why)
{
    const char *below = getenv("TMPDIR");
    int size = snprintf(self->dir, DIR_BYTES, "%s/moonlog-XXXXXX",
                        below != NULL && below[0] != '\0' ? below : "/tmp");
    if (size < DIR_BYTES && mkdtemp(self->dir) != NULL) return ML_OK;
    return ml_error_set(why, ML_IO, "no directory could be made for a view; TMPDIR names where");
}

static int fold_begin(lua_State *L)
{
    ml_error why;
    ml_view_about about;
    char boot[ML_VIEW_BOOT];
    fold *self = check(L);
    drop_view(self);
    self->position = 0;
    self->time = 0;
    ml_code code = make_dir(self, &why);
    if (!code) code = ml_projection_load(self->projection, (ml_bytes){0}, &why);
    if (!code) {
        ml_projection_about(self->projection, ML_STR("test"), &about);
        ml_view_boot(boot);
        about.boot = boot;
        code = ml_view_open(self->dir, &about, &self->view, &why);
    }
    if (code) return ml_module_fail(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

/* ---- what happens ----------------------------------------------------------------------- */

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* nil, the sentence, and what is known of the fault. */
static int give_fault(lua_State *L, fold *self, const ml_event *event, ml_fault *fault)
{
    ml_error why;
    ml_unit_quote(self->pack->files, self->pack->count, fault);
    ML_IGNORE(ml_fault_tell(fault, &why) == ML_OK);
    ml_module_fail(L, &why);
    lua_createtable(L, 0, 6);
    set_text(L, "message", fault->message);
    set_text(L, "file", fault->file);
    ml_module_set_natural(L, "line", fault->line);
    set_text(L, "source", fault->source);
    set_text(L, "traceback", fault->traceback);
    lua_createtable(L, 0, 3);
    ml_module_set_natural(L, "position", event->position);
    ml_module_set_text(L, "type", event->type);
    ml_module_set_text(L, "stream", event->stream);
    lua_setfield(L, -2, "event");
    return 3;
}

/* Applies one event; gives how many results were pushed: 0 if all went well. */
static int apply_one(lua_State *L, fold *self, const ml_event *event)
{
    ml_error why;
    ml_fault fault = {.kind = ML_FAULT_NONE};
    ml_applied applied = ML_APPLIED;
    if (ml_projection_apply(self->projection, self->view, event, NULL, &applied, &fault, &why))
        return ml_module_fail(L, &why);
    if (applied != ML_APPLIED) return give_fault(L, self, event, &fault);
    self->position = event->position;
    self->time = event->time;
    return 0;
}

static int fold_apply(lua_State *L)
{
    ml_event event;
    fold *self = check_begun(L);
    ml_desk *desk = ml_module_rules_events(L);
    ml_unpack at = ml_unpack_from(ml_buf_view(&desk->items));
    while (at.at < at.end) {
        const uint8_t *from = at.at;
        ml_bytes record = {from, ml_unpack_skip(&at) ? (size_t)(at.at - from) : 0};
        if (record.size == 0 || !ml_event_decode(record, &event))
            return luaL_error(L, "an event that cannot be stored");
        int given = apply_one(L, self, &event);
        if (given > 0) return given;
    }
    ml_desk_give(L, 3);
    lua_pushboolean(L, true);
    return 1;
}

static ml_code pass(fold *self, ml_error *why)
{
    return ml_projection_pass(self->projection, self->view, self->time, why);
}

static int fold_pass(lua_State *L)
{
    ml_error why;
    fold *self = check_begun(L);
    self->time = (int64_t)luaL_checkinteger(L, 2);
    if (pass(self, &why)) return ml_module_fail(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int fold_commit(lua_State *L)
{
    ml_error why;
    fold *self = check_begun(L);
    ml_desk *desk = ml_desk_take(L);
    ml_code code = pass(self, &why);
    if (!code) {
        ml_projection_save(self->projection, &desk->bytes);
        code = ml_desk_check(desk, &why);
    }
    if (!code) code = ml_view_commit(self->view, self->position, ml_buf_view(&desk->bytes), &why);
    ml_desk_give(L, 2);
    if (code) return ml_module_fail(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

/* ---- what is there ---------------------------------------------------------------------- */

typedef struct listing {
    fold *self;
    ml_buf *out;
    uint32_t count;
    int64_t now;
} listing;

/* {key, row, window?: {from, to, closed}} */
static bool add_row(void *context, ml_bytes key, ml_bytes row)
{
    listing *l = context;
    bool windowed;
    ml_span span;
    const ml_window *window = ml_projection_window(l->self->projection);
    size_t begin = ml_pack_begin(l->out);
    ml_pack_text(l->out, "key");
    if (!ml_key_pack(key, l->out, &windowed, &span.start, &span.end)) return false;
    ml_pack_text(l->out, "row");
    ml_buf_add(l->out, row.data, row.size);
    if (windowed) {
        ml_pack_text(l->out, "window");
        ml_pack_map(l->out, 3);
        ml_pack_text(l->out, "from");
        ml_pack_int(l->out, span.start);
        ml_pack_text(l->out, "to");
        ml_pack_int(l->out, span.end);
        ml_pack_text(l->out, "closed");
        ml_pack_bool(l->out, ml_window_closed(window, span, l->now));
    }
    ml_pack_end_map(l->out, begin, windowed ? 3 : 2);
    l->count++;
    return true;
}

static int fold_rows(lua_State *L)
{
    ml_error why;
    ml_projection_stats stats;
    fold *self = check_begun(L);
    ml_desk *desk = ml_desk_take(L);
    ml_projection_get_stats(self->projection, &stats);
    listing l = {.self = self, .out = &desk->items, .now = stats.now};
    ml_code code = ml_view_scan(self->view, &(ml_view_range){.index = -1}, add_row, &l, &why);
    if (!code) code = ml_desk_check(desk, &why);
    if (code) return ml_module_fail(L, &why);
    ml_unpack at = ml_unpack_from(ml_buf_view(&desk->items));
    lua_createtable(L, (int)l.count, 0);
    for (uint32_t n = 1; n <= l.count; n++) {
        if (!ml_value_read_message(L, &at)) return luaL_error(L, "a row that Lua cannot hold");
        lua_rawseti(L, -2, n);
    }
    ml_desk_give(L, -2);
    return 1;
}

/* Is the text one of the list of texts at `index`? */
static bool has_tag(lua_State *L, int index, ml_bytes tag)
{
    bool found = false;
    for (lua_Integer n = 1; !found && lua_istable(L, index); n++, lua_pop(L, 1)) {
        ml_bytes text = {0};
        if (lua_rawgeti(L, index, n) != LUA_TSTRING) break;
        text.data = lua_tolstring(L, -1, &text.size);
        found = ml_bytes_equal(text, tag);
    }
    return found;
}

/* A projection asks for one item. */
static const char *look(lua_State *L, const ml_selection *wanted, ml_bytes stream, ml_bytes type)
{
    const ml_query_item *item = wanted->query.items;
    bool here =
        (wanted->stream.size == 0 || ml_bytes_equal(wanted->stream, stream)) &&
        (wanted->category.size == 0 || ml_bytes_equal(wanted->category, ml_event_category(stream)));
    for (size_t n = 0; here && n < item->tag_count; n++)
        here = has_tag(L, 5, item->tags[n]);
    if (!here) return "no";
    for (size_t n = 0; n < item->type_count; n++)
        if (ml_bytes_equal(item->types[n], type)) return "yes";
    return item->type_count > 0 ? "no handler" : "yes";
}

/* Looks at the event's stream, type and tags. */
static int fold_sees(lua_State *L)
{
    ml_selection wanted = ml_projection_selection(check(L)->projection);
    ml_bytes stream, type;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_getfield(L, 2, "stream");
    lua_getfield(L, 2, "type");
    lua_getfield(L, 2, "tags");
    stream.data = luaL_checklstring(L, 3, &stream.size);
    type.data = luaL_checklstring(L, 4, &type.size);
    const char *seen = look(L, &wanted, stream, type);
    lua_settop(L, 2);
    lua_pushstring(L, seen);
    return 1;
}

static int fold_stream(lua_State *L)
{
    ml_selection wanted = ml_projection_selection(check(L)->projection);
    ml_bytes category = wanted.category;
    if (wanted.stream.size > 0)
        lua_pushlstring(L, wanted.stream.data, wanted.stream.size);
    else if (category.size == 0)
        lua_pushstring(L, "test-1");
    else
        lua_pushfstring(L, "%s-test", lua_pushlstring(L, category.data, category.size));
    return 1;
}

/* ---- the module ------------------------------------------------------------------------- */

void ml_module_fold_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"begin", fold_begin},   {"apply", fold_apply}, {"pass", fold_pass},
        {"commit", fold_commit}, {"rows", fold_rows},   {"sees", fold_sees},
        {"stream", fold_stream}, {"close", fold_close}, {NULL, NULL}};
    luaL_newmetatable(L, FOLD);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, fold_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, fold_new);
    lua_setfield(L, -2, "projection");
}
