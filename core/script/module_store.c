/* module_store.c -- opening a store, and the methods that are one call each. */
#include <inttypes.h>

#include "module.h"

#define STORE "moonlog.store"

const char *const ml_module_levels[] = {"disk", "os", "memory", NULL};

/* ---- life ------------------------------------------------------------------------------ */

ml_module_store *ml_module_check(lua_State *L, int index)
{
    ml_module_store *self = luaL_checkudata(L, index, STORE);
    if (self->store == NULL) luaL_error(L, "store is closed");
    return self;
}

static ml_code close_store(ml_module_store *self)
{
    ml_store *store = self->store;
    if (store == NULL) return ML_OK;
    ml_module_read_orphan(self);
    self->store = NULL;
    return ml_close(store);
}

static ml_options read_options(const ml_fields *fields)
{
    ml_options options = {
        .read_only = ml_fields_flag(fields, "read_only"),
        .must_exist = ml_fields_flag(fields, "must_exist"),
        .segment_bytes = ml_fields_natural(fields, "segment_bytes", 0, INT64_MAX, 0),
        .heads_bytes = ml_fields_natural(fields, "heads_bytes", 0, INT64_MAX, 0),
    };
    options.memory_events =
        (uint32_t)ml_fields_natural(fields, "memory_events", 0, UINT32_MAX, 0);
    options.window_events =
        (uint32_t)ml_fields_natural(fields, "window_events", 0, UINT32_MAX, 0);
    return options;
}

/* The userdata is there before the store, so that the collector has it whatever happens; the
 * directory is read last, because its text is only borrowed. */
int ml_module_store_open(lua_State *L)
{
    static const char *const known[] = {"dir", "read_only", "must_exist", "segment_bytes",
                                        "memory_events", "window_events", "heads_bytes", NULL};
    ml_error why;
    luaL_argcheck(L, lua_istable(L, 1), 1, "a table like {dir = \"./data\"} expected");
    ml_module_store *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (ml_module_store){0};
    luaL_setmetatable(L, STORE);

    ml_fields fields = ml_fields_from(L, 1, "moonlog.open", known, &why);
    ml_options options = read_options(&fields);
    ml_bytes dir = ml_fields_text(&fields, "dir");
    if (dir.size == 0) ml_fields_refuse(&fields, "dir is missing: the directory of the store");
    if (why.code) return ml_module_raise(L, &why);
    ml_code code = ml_open(&self->store, dir.data, &options);
    if (code == ML_OK) return 1;
    if (self->store == NULL) {
        ML_IGNORE(ml_error_memory(&why, "a store"));
        return ml_module_fail(L, &why);
    }
    ml_module_fail_store(L, self->store);
    ML_IGNORE(close_store(self)); /* it was never open: there is nothing to lose */
    return 2;
}

static int store_close(lua_State *L)
{
    ml_error why;
    ml_code code = close_store(luaL_checkudata(L, 1, STORE));
    lua_pushboolean(L, true);
    if (code == ML_OK) return 1;
    ML_IGNORE(ml_error_set(&why, code, "closing the store failed; events appended with a "
                                       "durability below \"disk\" may be lost"));
    return ml_module_fail(L, &why);
}

/* A failure is raised, unless an error is on its way already. */
static int store_leave(lua_State *L)
{
    bool in_error = !lua_isnoneornil(L, 2);
    if (store_close(L) == 1 || in_error) return 0;
    return lua_error(L);
}

/* A finalizer has nobody to tell; close() has. */
static int store_collect(lua_State *L)
{
    ML_IGNORE(close_store(luaL_checkudata(L, 1, STORE)));
    return 0;
}

static int store_tostring(lua_State *L)
{
    const ml_module_store *self = luaL_checkudata(L, 1, STORE);
    lua_pushfstring(L, "moonlog.store (%s)", self->store != NULL ? "open" : "closed");
    return 1;
}

/* ---- heads ----------------------------------------------------------------------------- */

static int store_head(lua_State *L)
{
    ml_head head;
    ml_bytes stream = {NULL, 0};
    ml_store *store = ml_module_check(L, 1)->store;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TSTRING);
        stream.data = lua_tolstring(L, 2, &stream.size);
        luaL_argcheck(L, stream.size > 0, 2, "a stream's name is empty");
    }
    if (ml_get_head(store, stream, &head)) return ml_module_fail_store(L, store);
    lua_createtable(L, 0, 3);
    ml_module_set_natural(L, "position", head.position);
    if (stream.size == 0) return 1;
    ml_module_set_natural(L, "revision", head.revision);
    ml_module_set_natural(L, "first", head.first);
    return 1;
}

/* ---- streams --------------------------------------------------------------------------- */

/* What ml_streams gives is put on a desk first: Lua must not be called from inside it. */
typedef struct listing {
    ml_desk *desk;
    uint64_t limit, count; /* limit 0: none */
} listing;

/* The name goes to desk->terms; the info, without a pointer to it, to desk->items. */
static bool list_stream(void *context, const ml_stream_info *info)
{
    listing *list = context;
    ml_stream_info copy = *info;
    copy.stream.data = NULL;
    ml_buf_add(&list->desk->terms, info->stream.data, info->stream.size);
    ml_buf_add(&list->desk->items, &copy, sizeof copy);
    list->count++;
    if (list->desk->terms.failed || list->desk->items.failed) return false;
    return list->count != list->limit;
}

static void push_streams(lua_State *L, const ml_desk *desk, uint64_t count)
{
    const ml_stream_info *infos = (const void *)desk->items.data;
    const uint8_t *at = desk->terms.data;
    lua_createtable(L, count < INT32_MAX ? (int)count : 0, 0);
    for (uint64_t i = 0; i < count; i++) {
        ml_bytes name = infos[i].stream;
        name.data = ml_desk_walk(&at, name.size);
        lua_createtable(L, 0, 4);
        ml_module_set_text(L, "stream", name);
        ml_module_set_natural(L, "revision", infos[i].revision);
        ml_module_set_natural(L, "first", infos[i].first);
        ml_module_set_natural(L, "last", infos[i].last);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int store_streams(lua_State *L)
{
    static const char *const known[] = {"category", "prefix", "after", "limit", NULL};
    ml_error why;
    ml_module_check(L, 1);
    lua_settop(L, 2);
    ml_desk *desk = ml_desk_take(L);
    listing list = {.desk = desk};
    ml_fields fields = ml_fields_from(L, 2, "streams", known, &why);
    uint64_t after = ml_fields_natural(&fields, "after", 0, INT64_MAX, 0);
    list.limit = ml_fields_natural(&fields, "limit", 1, INT64_MAX, 0);
    ml_bytes category = ml_desk_put(desk, ml_fields_text(&fields, "category"));
    ml_bytes prefix = ml_desk_put(desk, ml_fields_text(&fields, "prefix"));
    if (why.code) return ml_module_raise(L, &why);
    if (ml_desk_check(desk, &why)) return ml_module_fail(L, &why);

    const uint8_t *at = desk->bytes.data;
    category.data = ml_desk_walk(&at, category.size);
    prefix.data = ml_desk_walk(&at, prefix.size);
    ml_store *store = ml_module_check(L, 1)->store;
    if (ml_streams(store, category, prefix, after, list_stream, &list))
        return ml_module_fail_store(L, store);
    if (ml_desk_check(desk, &why)) return ml_module_fail(L, &why);
    push_streams(L, desk, list.count);
    ml_desk_give(L, 3);
    return 1;
}

/* ---- the rest -------------------------------------------------------------------------- */

static void set_flag(lua_State *L, const char *name, bool flag)
{
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, name);
}

static int store_stats(lua_State *L)
{
    ml_stats stats;
    ml_store *store = ml_module_check(L, 1)->store;
    if (ml_get_stats(store, &stats)) return ml_module_fail_store(L, store);
    lua_createtable(L, 0, 11);
    ml_module_set_natural(L, "position", stats.position);
    ml_module_set_natural(L, "durable", stats.durable);
    ml_module_set_natural(L, "segments", stats.segments);
    ml_module_set_natural(L, "log_bytes", stats.log_bytes);
    ml_module_set_natural(L, "used_bytes", stats.used_bytes);
    ml_module_set_natural(L, "index_bytes", stats.index_bytes);
    ml_module_set_natural(L, "index_runs", stats.index_runs);
    ml_module_set_natural(L, "memory_events", stats.memory_events);
    ml_module_set_natural(L, "torn_bytes", stats.torn_bytes);
    set_flag(L, "read_only", stats.read_only);
    set_flag(L, "damaged", stats.damaged);
    return 1;
}

static int store_flush(lua_State *L)
{
    ml_durability level = (ml_durability)luaL_checkoption(L, 2, "disk", ml_module_levels);
    ml_store *store = ml_module_check(L, 1)->store;
    if (ml_flush(store, level)) return ml_module_fail_store(L, store);
    lua_pushboolean(L, true);
    return 1;
}

static const luaL_Reg store_meta[] = {{"__tostring", store_tostring},
                                      {"__close", store_leave},
                                      {"__gc", store_collect},
                                      {NULL, NULL}};
static const luaL_Reg store_methods[] = {{"append", ml_module_append},
                                         {"read", ml_module_read},
                                         {"subscribe", ml_module_subscribe},
                                         {"head", store_head},
                                         {"streams", store_streams},
                                         {"stats", store_stats},
                                         {"flush", store_flush},
                                         {"close", store_close},
                                         {NULL, NULL}};

void ml_module_store_init(lua_State *L)
{
    luaL_newmetatable(L, STORE);
    luaL_setfuncs(L, store_meta, 0);
    luaL_newlib(L, store_methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
