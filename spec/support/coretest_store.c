/* coretest_store.c -- the store as specs see it: every call of moonlog.h, on a directory or on
 * a disk made by coretest.disk (which stays the spec's).
 *
 *     store.open(dir or disk, options)        options as in ml_options; notify = true counts
 *     s:append{writes = {{stream=, expected=, events = {…}}}, condition = {item, …}, after=,
 *              durability = "disk"}           expected: a number, or "any", "no_stream" …
 *     s:submit(proposal, function(receipt, why) … end)
 *     s:read{stream=, category=, query = {{types=, tags=}}, …} -> cursor
 *
 * data, meta and id are bytes, as C takes them. */
#include <stdatomic.h>
#include <stdlib.h>

#include "../../core/base/disk_faulty.h"
#include "../../core/base/unpack.h"
#include "../../core/store/store.h"
#include "coretest.h"

#define STORE "moonlog.test.store"
#define CURSOR "moonlog.test.cursor"

typedef struct box {
    ml_store *store;
    lua_State *L;    /* whose call may call back */
    int raised;      /* reference to the error of a callback */
    atomic_int told; /* calls of notify */
} box;

/* What a proposal points to, freed at its end. */
typedef struct arena {
    struct arena *next;
} arena;

static void *take(lua_State *L, arena **all, size_t size)
{
    arena *made = calloc(1, sizeof *made + size);
    if (made == NULL) luaL_error(L, "out of memory");
    made->next = *all;
    *all = made;
    return made + 1;
}

static void release(arena *all)
{
    while (all != NULL) {
        arena *next = all->next;
        free(all);
        all = next;
    }
}

static box *box_at(lua_State *L)
{
    box *self = luaL_checkudata(L, 1, STORE);
    if (self->store == NULL) luaL_error(L, "the store is closed");
    self->L = L;
    return self;
}

/* true, or nil and the sentence; first raises what a callback raised. */
static int push_done(lua_State *L, box *self, ml_code code)
{
    if (self->raised != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, self->raised);
        luaL_unref(L, LUA_REGISTRYINDEX, self->raised);
        self->raised = LUA_NOREF;
        return lua_error(L);
    }
    if (code == ML_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, ml_why(self->store));
    return 2;
}

/* ---- life -------------------------------------------------------------------------- */

static void count_notice(void *context)
{
    box *self = context;
    atomic_fetch_add(&self->told, 1);
}

static ml_options to_options(lua_State *L, int index, box *self)
{
    ml_options options = {.read_only = ml_coretest_flag(L, index, "read_only"),
                          .must_exist = ml_coretest_flag(L, index, "must_exist"),
                          .segment_bytes = ml_coretest_number(L, index, "segment_bytes"),
                          .memory_events = (uint32_t)ml_coretest_number(L, index, "memory_events"),
                          .window_events = (uint32_t)ml_coretest_number(L, index, "window_events"),
                          .heads_bytes = ml_coretest_number(L, index, "heads_bytes"),
                          .no_threads = ml_coretest_flag(L, index, "no_threads")};
    if (!ml_coretest_flag(L, index, "notify")) return options;
    options.notify = count_notice;
    options.notify_context = self;
    return options;
}

/* The store frees its disk: it gets one that only passes calls on to the spec's. */
static ml_code open_on(lua_State *L, ml_store **store, const ml_options *options)
{
    ml_error why;
    ml_disk *lent;
    if (lua_type(L, 1) == LUA_TSTRING) return ml_open(store, lua_tostring(L, 1), options);
    if (ml_disk_faulty_new(ml_coretest_disk(L, 1), &lent, &why)) return ML_NO_MEMORY;
    return ml_store_open(store, lent, options);
}

static int store_open(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    box *self = lua_newuserdatauv(L, sizeof *self, 1);
    *self = (box){.raised = LUA_NOREF};
    luaL_setmetatable(L, STORE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    ml_options options = to_options(L, 2, self);
    ml_code code = open_on(L, &self->store, &options);
    if (code == ML_OK) return 1;
    lua_pushnil(L);
    lua_pushstring(L, ml_why(self->store));
    ML_IGNORE(ml_close(self->store)); /* it was never open */
    self->store = NULL;
    return 2;
}

static int store_close(lua_State *L)
{
    box *self = luaL_checkudata(L, 1, STORE);
    ml_store *store = self->store;
    self->store = NULL;
    self->L = L;
    ml_code code = ml_close(store);
    lua_pushboolean(L, code == ML_OK);
    lua_pushstring(L, ml_code_name(code));
    return 2;
}

static int store_why(lua_State *L)
{
    lua_pushstring(L, ml_why(box_at(L)->store));
    return 1;
}

static int store_told(lua_State *L)
{
    lua_pushinteger(L, atomic_load(&box_at(L)->told));
    return 1;
}

/* ---- what is asked for ------------------------------------------------------------- */

/* The list of strings that is the field `name` of the table on top. */
static const ml_bytes *to_names(lua_State *L, arena **all, const char *name, size_t *count)
{
    *count = 0;
    ml_bytes *names = NULL;
    if (lua_getfield(L, -1, name) != LUA_TNIL) {
        *count = lua_rawlen(L, -1);
        names = take(L, all, (*count + 1) * sizeof *names);
        for (size_t n = 0; n < *count; n++) {
            lua_rawgeti(L, -1, (lua_Integer)n + 1);
            names[n].data = luaL_checklstring(L, -1, &names[n].size);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return names;
}

/* The list of items that is on top. */
static ml_query to_query(lua_State *L, arena **all)
{
    ml_query query = {.count = lua_rawlen(L, -1)};
    ml_query_item *items = take(L, all, (query.count + 1) * sizeof *items);
    for (size_t n = 0; n < query.count; n++) {
        lua_rawgeti(L, -1, (lua_Integer)n + 1);
        items[n].types = to_names(L, all, "types", &items[n].type_count);
        items[n].tags = to_names(L, all, "tags", &items[n].tag_count);
        lua_pop(L, 1);
    }
    query.items = items;
    return query;
}

static ml_selection to_selection(lua_State *L, int index, arena **all)
{
    ml_selection selection = {.stream = ml_coretest_text(L, index, "stream"),
                              .category = ml_coretest_text(L, index, "category"),
                              .system = ml_coretest_flag(L, index, "system"),
                              .backward = ml_coretest_flag(L, index, "backward"),
                              .from = ml_coretest_number(L, index, "from"),
                              .limit = ml_coretest_number(L, index, "limit"),
                              .max_bytes = ml_coretest_number(L, index, "max_bytes")};
    selection.has_from = lua_getfield(L, index, "from") != LUA_TNIL;
    if (lua_getfield(L, index, "query") != LUA_TNIL) selection.query = to_query(L, all);
    lua_pop(L, 2);
    return selection;
}

/* The event on top. */
static ml_draft to_draft(lua_State *L, arena **all)
{
    ml_draft draft = {.type = ml_coretest_text(L, -1, "type"),
                      .data = ml_coretest_text(L, -1, "data"),
                      .meta = ml_coretest_text(L, -1, "meta"),
                      .schema = (uint32_t)ml_coretest_number(L, -1, "schema"),
                      .occurred = (int64_t)ml_coretest_number(L, -1, "occurred")};
    ml_bytes id = ml_coretest_text(L, -1, "id");
    if (id.size > 0 && id.size != ML_ID_SIZE) luaL_error(L, "an id has 16 bytes");
    draft.id = id.data;
    draft.tags = to_names(L, all, "tags", &draft.tag_count);
    draft.has_occurred = lua_getfield(L, -1, "occurred") != LUA_TNIL;
    lua_pop(L, 1);
    return draft;
}

static int64_t to_expected(lua_State *L)
{
    static const char *const words[] = {"any", "no_stream", "stream_exists", NULL};
    static const int64_t meanings[] = {ML_ANY, ML_NO_STREAM, ML_STREAM_EXISTS};
    lua_getfield(L, -1, "expected");
    int64_t expected = ML_ANY;
    if (lua_isinteger(L, -1)) expected = lua_tointeger(L, -1);
    else expected = meanings[luaL_checkoption(L, -1, "any", words)];
    lua_pop(L, 1);
    return expected;
}

static ml_write to_write(lua_State *L, arena **all)
{
    ml_write write = {.stream = ml_coretest_text(L, -1, "stream"), .expected = to_expected(L)};
    lua_getfield(L, -1, "events");
    write.count = lua_rawlen(L, -1);
    ml_draft *drafts = take(L, all, (write.count + 1) * sizeof *drafts);
    for (size_t n = 0; n < write.count; n++) {
        lua_rawgeti(L, -1, (lua_Integer)n + 1);
        drafts[n] = to_draft(L, all);
        lua_pop(L, 1);
    }
    write.events = drafts;
    lua_pop(L, 1);
    return write;
}

static ml_proposal *to_proposal(lua_State *L, int index, arena **all)
{
    static const char *const levels[] = {"disk", "os", "memory", NULL};
    ml_proposal *proposal = take(L, all, sizeof *proposal);
    luaL_checktype(L, index, LUA_TTABLE);
    lua_settop(L, index);
    lua_getfield(L, index, "durability");
    proposal->durability = (ml_durability)luaL_checkoption(L, -1, "disk", levels);
    if (ml_coretest_flag(L, index, "no_durability")) proposal->durability = (ml_durability)7;
    proposal->after = ml_coretest_number(L, index, "after");
    if (lua_getfield(L, index, "condition") != LUA_TNIL) {
        ml_query *query = take(L, all, sizeof *query);
        *query = to_query(L, all);
        proposal->condition = query;
    }
    lua_getfield(L, index, "writes");
    proposal->count = lua_rawlen(L, -1);
    ml_write *writes = take(L, all, (proposal->count + 1) * sizeof *writes);
    for (size_t n = 0; n < proposal->count; n++) {
        lua_rawgeti(L, -1, (lua_Integer)n + 1);
        writes[n] = to_write(L, all);
        lua_pop(L, 1);
    }
    proposal->writes = writes;
    lua_settop(L, index);
    return proposal;
}

/* ---- appending --------------------------------------------------------------------- */

static void push_receipt(lua_State *L, const ml_receipt *receipt)
{
    static const char *const levels[] = {"disk", "os", "memory"};
    lua_createtable(L, 0, 5);
    ml_coretest_set(L, "first", receipt->first);
    ml_coretest_set(L, "last", receipt->last);
    ml_coretest_set_flag(L, "duplicate", receipt->duplicate);
    lua_pushstring(L, levels[receipt->durability]);
    lua_setfield(L, -2, "durability");
    lua_createtable(L, (int)receipt->count, 0);
    for (size_t n = 0; n < receipt->count; n++) {
        lua_pushinteger(L, (lua_Integer)receipt->revisions[n]);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    lua_setfield(L, -2, "revisions");
}

static int store_append(lua_State *L)
{
    box *self = box_at(L);
    arena *all = NULL;
    ml_receipt receipt;
    ml_code code = ml_append(self->store, to_proposal(L, 2, &all), &receipt);
    release(all);
    if (code || self->raised != LUA_NOREF) return push_done(L, self, code);
    push_receipt(L, &receipt);
    return 1;
}

typedef struct waiting {
    box *self;
    int callback;
} waiting;

static void settled(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    waiting *w = context;
    box *self = w->self;
    lua_State *L = self->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->callback);
    luaL_unref(L, LUA_REGISTRYINDEX, w->callback);
    free(w);
    if (code == ML_OK) push_receipt(L, receipt);
    else lua_pushnil(L);
    lua_pushstring(L, why); /* nil with ML_OK */
    bool failed = (code == ML_OK) != (why == NULL) || (code == ML_OK) != (receipt != NULL);
    if (!failed && lua_pcall(L, 2, 0, 0) == LUA_OK) return;
    if (failed) lua_pushstring(L, "code, receipt and why contradict each other");
    self->raised = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int store_submit(lua_State *L)
{
    box *self = box_at(L);
    arena *all = NULL;
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    waiting *w = malloc(sizeof *w);
    if (w == NULL) return luaL_error(L, "out of memory");
    *w = (waiting){self, luaL_ref(L, LUA_REGISTRYINDEX)};
    ml_code code = ml_submit(self->store, to_proposal(L, 2, &all), settled, w);
    release(all);
    if (code) {
        luaL_unref(L, LUA_REGISTRYINDEX, w->callback);
        free(w);
    }
    return push_done(L, self, code);
}

static int store_settle(lua_State *L)
{
    box *self = box_at(L);
    return push_done(L, self, ml_settle(self->store, lua_toboolean(L, 2)));
}

/* What becomes of what was submitted, if nobody does anything. */
static int store_work(lua_State *L)
{
    static const char *const words[] = {"done", "staged", "flying"};
    lua_pushstring(L, words[ml_store_get_work(box_at(L)->store)]);
    return 1;
}

static int store_rest(lua_State *L)
{
    box *self = box_at(L);
    return push_done(L, self, ml_store_rest(self->store));
}

static int store_flush(lua_State *L)
{
    static const char *const levels[] = {"disk", "os", "memory", NULL};
    box *self = box_at(L);
    ml_durability level = (ml_durability)luaL_checkoption(L, 2, "disk", levels);
    return push_done(L, self, ml_flush(self->store, level));
}

/* ---- reading ----------------------------------------------------------------------- */

typedef struct cursor_box {
    ml_cursor *cursor;
    box *from;
} cursor_box;

static int open_cursor(lua_State *L, bool subscribe)
{
    box *self = box_at(L);
    arena *all = NULL;
    luaL_checktype(L, 2, LUA_TTABLE);
    uint64_t after = (uint64_t)luaL_optinteger(L, 3, 0);
    cursor_box *made = lua_newuserdatauv(L, sizeof *made, 1);
    *made = (cursor_box){.from = self};
    luaL_setmetatable(L, CURSOR);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    ml_selection selection = to_selection(L, 2, &all);
    ml_code code = subscribe ? ml_subscribe(self->store, &selection, after, &made->cursor)
                             : ml_read(self->store, &selection, &made->cursor);
    release(all);
    return code ? push_done(L, self, code) : 1;
}

static int store_read(lua_State *L) { return open_cursor(L, false); }

static int store_subscribe(lua_State *L) { return open_cursor(L, true); }

static cursor_box *cursor_at(lua_State *L)
{
    cursor_box *self = luaL_checkudata(L, 1, CURSOR);
    if (self->cursor == NULL || self->from->store == NULL) luaL_error(L, "the cursor is closed");
    return self;
}

static void push_tags(lua_State *L, ml_bytes tags)
{
    ml_unpack at = ml_unpack_from(tags);
    ml_bytes tag;
    uint32_t count;
    if (!ml_unpack_array(&at, &count)) luaL_error(L, "tags are no array");
    lua_createtable(L, (int)count, 0);
    for (uint32_t n = 0; n < count; n++) {
        if (!ml_unpack_str(&at, &tag)) luaL_error(L, "a tag is no text");
        lua_pushlstring(L, tag.data, tag.size);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
}

static void push_event(lua_State *L, const ml_event *event)
{
    lua_createtable(L, 0, 13);
    ml_coretest_set(L, "position", event->position);
    ml_coretest_set(L, "revision", event->revision);
    ml_coretest_set(L, "time", (uint64_t)event->time);
    ml_coretest_set(L, "schema", event->schema);
    ml_coretest_set_text(L, "stream", event->stream);
    ml_coretest_set_text(L, "type", event->type);
    ml_coretest_set_text(L, "id", (ml_bytes){event->id, ML_ID_SIZE});
    ml_coretest_set_text(L, "data", event->data);
    ml_coretest_set_text(L, "meta", event->meta);
    ml_coretest_set_text(L, "wire", event->wire);
    if (event->has_occurred) ml_coretest_set(L, "occurred", (uint64_t)event->occurred);
    push_tags(L, event->tags);
    lua_setfield(L, -2, "tags");
}

/* An event; nothing at the end; nil and a sentence. */
static int push_read(lua_State *L, const cursor_box *self, ml_code code, const ml_event *event)
{
    if (code == ML_END) return 0;
    if (code) return push_done(L, self->from, code);
    push_event(L, event);
    return 1;
}

static int cursor_next(lua_State *L)
{
    cursor_box *self = cursor_at(L);
    ml_event event;
    ml_code code = ml_next(self->cursor, &event);
    return push_read(L, self, code, &event);
}

static int cursor_poll(lua_State *L)
{
    cursor_box *self = cursor_at(L);
    ml_event event;
    self->from->L = L;
    ml_code code = ml_poll(self->cursor, &event);
    return push_read(L, self, code, &event);
}

/* positions(poll) -> the positions of all events up to the end; or nil and a sentence */
static int cursor_positions(lua_State *L)
{
    cursor_box *self = cursor_at(L);
    bool poll = lua_toboolean(L, 2);
    ml_code code;
    ml_event event;
    self->from->L = L;
    lua_newtable(L);
    lua_Integer count = 0;
    while ((code = poll ? ml_poll(self->cursor, &event) : ml_next(self->cursor, &event)) == ML_OK) {
        lua_pushinteger(L, (lua_Integer)event.position);
        lua_rawseti(L, -2, ++count);
    }
    return code == ML_END ? 1 : push_done(L, self->from, code);
}

static int cursor_position(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ml_cursor_position(cursor_at(L)->cursor));
    return 1;
}

static int cursor_free(lua_State *L)
{
    cursor_box *self = luaL_checkudata(L, 1, CURSOR);
    ml_cursor_free(self->cursor);
    self->cursor = NULL;
    return 0;
}

/* ---- heads, streams, numbers ------------------------------------------------------- */

/* head(stream) -> fields; or nil, a sentence, and the last position */
static int store_head(lua_State *L)
{
    box *self = box_at(L);
    ml_bytes stream = {0};
    ml_head head;
    stream.data = luaL_optlstring(L, 2, "", &stream.size);
    ml_code code = ml_get_head(self->store, stream, &head);
    if (code) {
        int pushed = push_done(L, self, code);
        lua_pushinteger(L, (lua_Integer)head.position);
        return pushed + 1;
    }
    lua_newtable(L);
    ml_coretest_set(L, "position", head.position);
    ml_coretest_set(L, "revision", head.revision);
    ml_coretest_set(L, "first", head.first);
    return 1;
}

typedef struct listing {
    lua_State *L;
    uint64_t count, limit;
} listing;

static bool add_stream(void *context, const ml_stream_info *info)
{
    listing *list = context;
    lua_State *L = list->L;
    lua_newtable(L);
    ml_coretest_set_text(L, "stream", info->stream);
    ml_coretest_set(L, "revision", info->revision);
    ml_coretest_set(L, "first", info->first);
    ml_coretest_set(L, "last", info->last);
    lua_rawseti(L, -2, (lua_Integer)++list->count);
    return list->count != list->limit;
}

/* streams{category=, prefix=, after=, limit=} -> list */
static int store_streams(lua_State *L)
{
    box *self = box_at(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    listing list = {.L = L, .limit = ml_coretest_number(L, 2, "limit")};
    ml_bytes category = ml_coretest_text(L, 2, "category");
    ml_bytes prefix = ml_coretest_text(L, 2, "prefix");
    uint64_t after = ml_coretest_number(L, 2, "after");
    lua_newtable(L);
    ml_code code = ml_streams(self->store, category, prefix, after, add_stream, &list);
    return code ? push_done(L, self, code) : 1;
}

static int store_stats(lua_State *L)
{
    box *self = box_at(L);
    ml_stats stats;
    ml_code code = ml_get_stats(self->store, &stats);
    if (code) return push_done(L, self, code);
    lua_newtable(L);
    ml_coretest_set(L, "position", stats.position);
    ml_coretest_set(L, "durable", stats.durable);
    ml_coretest_set(L, "segments", stats.segments);
    ml_coretest_set(L, "log_bytes", stats.log_bytes);
    ml_coretest_set(L, "used_bytes", stats.used_bytes);
    ml_coretest_set(L, "index_bytes", stats.index_bytes);
    ml_coretest_set(L, "index_runs", stats.index_runs);
    ml_coretest_set(L, "memory_events", stats.memory_events);
    ml_coretest_set(L, "memory_bytes", stats.memory_bytes);
    ml_coretest_set(L, "torn_bytes", stats.torn_bytes);
    ml_coretest_set_flag(L, "read_only", stats.read_only);
    ml_coretest_set_flag(L, "damaged", stats.damaged);
    return 1;
}

/* ---- the tables -------------------------------------------------------------------- */

static const luaL_Reg store_methods[] = {
    {"close", store_close},     {"why", store_why},         {"told", store_told},
    {"append", store_append},   {"submit", store_submit},   {"settle", store_settle},
    {"flush", store_flush},     {"read", store_read},       {"subscribe", store_subscribe},
    {"head", store_head},       {"streams", store_streams}, {"stats", store_stats},
    {"work", store_work},       {"rest", store_rest},       {NULL, NULL}};

static const luaL_Reg cursor_methods[] = {{"next", cursor_next},
                                          {"poll", cursor_poll},
                                          {"positions", cursor_positions},
                                          {"position", cursor_position},
                                          {"free", cursor_free},
                                          {NULL, NULL}};

static const luaL_Reg functions[] = {{"open", store_open}, {NULL, NULL}};

int luaopen_coretest_store(lua_State *L)
{
    ml_coretest_class(L, STORE, store_methods, store_close);
    ml_coretest_class(L, CURSOR, cursor_methods, cursor_free);
    luaL_newlib(L, functions);
    return 1;
}
