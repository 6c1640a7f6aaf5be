/* module_read.c -- cursors: store:read for loops, store:subscribe to follow.
 *
 * An event is decoded from a copy of its bytes on a desk. The store lends them only until
 * the next call on it, and making Lua tables may run finalizers, which may call anything:
 * read on, append, close the store. For the same reason handles are looked at again after
 * Lua has allocated and before C is called.
 */
#include <inttypes.h>

#include "../base/text.h"
#include "module.h"
#include "filter.h"
#include "value.h"

#define READ "moonlog.read"
#define SUBSCRIPTION "moonlog.subscription"

/* The fields of an event, in the order in which they are stored. */
static const char *const names[] = {"position", "revision", "time", "stream", "type", "schema",
                                    "id", "tags", "data", "meta", "occurred", NULL};
enum { FIELDS = sizeof names / sizeof *names - 1, FIELD_ID = 6, FIELDS_ALL = (1 << FIELDS) - 1 };

struct ml_module_cursor {
    ml_cursor *cursor;      /* NULL: at its end, or closed */
    ml_module_store *store; /* NULL: not in its list any more */
    ml_module_cursor *next, *previous;
    bool orphan;     /* the store was closed under it */
    unsigned fields; /* that are wanted, a bit each */
};

/* ---- life ------------------------------------------------------------------------------ */

/* Pushes a cursor that keeps the store at index 1 alive and is known to it. */
static ml_module_cursor *new_cursor(lua_State *L, const char *kind)
{
    ml_module_store *store = ml_module_check(L, 1);
    ml_module_cursor *self = lua_newuserdatauv(L, sizeof *self, 1);
    *self = (ml_module_cursor){0};
    luaL_setmetatable(L, kind);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    self->store = store;
    self->fields = FIELDS_ALL;
    self->next = store->cursors;
    if (self->next != NULL) self->next->previous = self;
    store->cursors = self;
    return self;
}

static void finish(ml_module_cursor *self)
{
    if (self->cursor != NULL) ml_cursor_free(self->cursor);
    self->cursor = NULL;
    if (self->store == NULL) return;
    if (self->next != NULL) self->next->previous = self->previous;
    if (self->previous != NULL) self->previous->next = self->next;
    else self->store->cursors = self->next;
    self->store = NULL;
}

void ml_module_read_orphan(ml_module_store *store)
{
    while (store->cursors != NULL) {
        store->cursors->orphan = true;
        finish(store->cursors);
    }
}

static ml_module_cursor *check(lua_State *L, const char *kind)
{
    ml_module_cursor *self = luaL_checkudata(L, 1, kind);
    if (self->orphan) luaL_error(L, "store is closed");
    return self;
}

/* ---- events ---------------------------------------------------------------------------- */

static bool push_id(lua_State *L, ml_unpack *at)
{
    char text[ML_UUID_TEXT + 1];
    ml_token token = ml_unpack_next(at);
    if (token.kind != ML_KIND_BIN || token.bytes.size != ML_ID_SIZE) return false;
    ml_uuid_write(text, token.bytes.data);
    lua_pushlstring(L, text, ML_UUID_TEXT);
    return true;
}

/* The stored form is the array of just these fields; what is nil is absent from the table. */
static bool push_event(lua_State *L, ml_bytes wire, unsigned wanted)
{
    uint32_t count;
    ml_unpack at = ml_unpack_from(wire);
    if (!ml_unpack_array(&at, &count) || count != FIELDS) return false;
    lua_createtable(L, 0, __builtin_popcount(wanted));
    for (int i = 0; wanted >> i != 0; i++) {
        if (!(wanted >> i & 1)) {
            if (!ml_unpack_skip(&at)) return false;
            continue;
        }
        if (!(i == FIELD_ID ? push_id(L, &at) : ml_value_read(L, &at))) return false;
        lua_setfield(L, -2, names[i]);
    }
    return true;
}

/* Pushes the event by way of the desk at index 2; nil and a sentence if that cannot be. */
static int push_copy(lua_State *L, ml_desk *desk, const ml_event *event, unsigned wanted)
{
    ml_error why;
    uint64_t position = event->position;
    ml_buf_add(&desk->bytes, event->wire.data, event->wire.size);
    if (ml_desk_check(desk, &why)) return ml_module_fail(L, &why);
    bool done = push_event(L, ml_buf_view(&desk->bytes), wanted);
    ml_desk_give(L, 2);
    if (done) return 1;
    ML_IGNORE(ml_error_set(&why, ML_UNSUPPORTED,
                           "the event at position %" PRIu64 " holds what a Lua table cannot, such "
                           "as NaN for a key; read it in another language",
                           position));
    return ml_module_fail(L, &why);
}

/* ---- reads ----------------------------------------------------------------------------- */

/* The names in the list `fields` as bits; all if there is none. */
static unsigned read_wanted(const ml_fields *options)
{
    lua_State *L = options->L;
    unsigned wanted = 0;
    int type = ml_fields_push(options, "fields"), item = LUA_TSTRING;
    for (lua_Integer i = 1; type == LUA_TTABLE && item == LUA_TSTRING; i++) {
        ml_bytes text;
        item = lua_rawgeti(L, -1, i);
        text.data = item == LUA_TSTRING ? lua_tolstring(L, -1, &text.size) : NULL;
        if (text.data != NULL) wanted |= 1u << ml_fields_choose(options, "field", text, names);
        lua_pop(L, 1);
    }
    if (type != LUA_TNIL && (wanted == 0 || item != LUA_TNIL))
        ml_fields_refuse(options, "fields must be a list of names of fields");
    lua_pop(L, 1);
    return wanted != 0 ? wanted : FIELDS_ALL;
}

/* Reads the options of a read; gives the fields that are wanted. */
static unsigned read_options(lua_State *L, int index, ml_selection *selection, ml_error *why)
{
    static const char *const known[] = {"from",   "limit",  "backward", "max_bytes",
                                        "system", "fields", NULL};
    ml_fields options = ml_fields_from(L, index, "read", known, why);
    selection->has_from = ml_fields_has(&options, "from");
    selection->from = ml_fields_natural(&options, "from", 0, INT64_MAX, 0);
    selection->limit = ml_fields_natural(&options, "limit", 1, INT64_MAX, 0);
    selection->max_bytes = ml_fields_natural(&options, "max_bytes", 1, INT64_MAX, 0);
    selection->backward = ml_fields_flag(&options, "backward");
    selection->system = ml_fields_flag(&options, "system");
    return read_wanted(&options);
}

/* Raises what the world did wrong: a loop has no place for it. */
static int raise_store(lua_State *L, ml_store *store)
{
    lua_pushstring(L, ml_why(store));
    return lua_error(L);
}

int ml_module_read(lua_State *L)
{
    ml_error why;
    ml_module_check(L, 1);
    lua_settop(L, 3);
    luaL_checkstack(L, 20, "moonlog");
    ml_desk *desk = ml_desk_take(L);
    ml_selection selection = ml_filter_read(L, 2, "read", desk, &why);
    if (why.code) return ml_module_raise(L, &why);
    unsigned wanted = read_options(L, 3, &selection, &why);
    if (why.code) return ml_module_raise(L, &why);
    if (ml_desk_check(desk, &why)) return ml_module_raise(L, &why);
    ml_filter_settle(desk, &selection);

    ml_module_cursor *self = new_cursor(L, READ);
    self->fields = wanted;
    ml_store *store = ml_module_check(L, 1)->store;
    ml_code code = ml_read(store, &selection, &self->cursor);
    if (code && code != ML_NOT_FOUND) return raise_store(L, store);
    if (code) finish(self); /* no such stream reads as one without events */
    ml_desk_give(L, 4);
    lua_pushnil(L); /* for event in cursor, nil, nil, <closed at the end>: */
    lua_pushnil(L);
    lua_pushvalue(L, 5);
    return 4;
}

static int read_next(lua_State *L)
{
    ml_event event;
    lua_settop(L, 1);
    ml_desk *desk = ml_desk_take(L);
    ml_module_cursor *self = check(L, READ);
    ml_code code = self->cursor != NULL ? ml_next(self->cursor, &event) : ML_END;
    if (code == ML_OK) return push_copy(L, desk, &event, self->fields) == 1 ? 1 : lua_error(L);
    if (code != ML_END) return raise_store(L, self->store->store);
    finish(self);
    ml_desk_give(L, 2);
    lua_pushnil(L);
    return 1;
}

/* ---- subscriptions ---------------------------------------------------------------------- */

/* Where to begin: "start", behind a position, or "end": then true. */
static bool read_after(lua_State *L, ml_selection *selection, uint64_t *after, ml_error *why)
{
    static const char *const known[] = {"after", "system", NULL};
    static const char *const words[] = {"start", "end", NULL};
    ml_fields options = ml_fields_from(L, 3, "subscribe", known, why);
    selection->system = ml_fields_flag(&options, "system");
    int type = ml_fields_push(&options, "after");
    lua_pop(L, 1);
    *after = 0;
    if (type == LUA_TSTRING) return ml_fields_word(&options, "after", words, 0) == 1;
    if (type == LUA_TNUMBER) *after = ml_fields_natural(&options, "after", 0, INT64_MAX, 0);
    else if (type != LUA_TNIL)
        ml_fields_refuse(&options, "after must be a position, \"start\" or \"end\"");
    return false;
}

int ml_module_subscribe(lua_State *L)
{
    ml_error why;
    ml_head head;
    uint64_t after;
    ml_module_check(L, 1);
    lua_settop(L, 3);
    luaL_checkstack(L, 20, "moonlog");
    ml_desk *desk = ml_desk_take(L);
    ml_selection selection = ml_filter_read(L, 2, "subscribe", desk, &why);
    if (why.code) return ml_module_raise(L, &why);
    bool at_end = read_after(L, &selection, &after, &why);
    if (why.code) return ml_module_raise(L, &why);
    if (ml_desk_check(desk, &why)) return ml_module_raise(L, &why);
    ml_filter_settle(desk, &selection);

    ml_module_cursor *self = new_cursor(L, SUBSCRIPTION);
    ml_store *store = ml_module_check(L, 1)->store;
    if (at_end) {
        if (ml_get_head(store, (ml_bytes){NULL, 0}, &head)) return ml_module_fail_store(L, store);
        after = head.position;
    }
    if (ml_subscribe(store, &selection, after, &self->cursor))
        return ml_module_fail_store(L, store);
    ml_desk_give(L, 4);
    return 1;
}

static ml_module_cursor *check_subscription(lua_State *L)
{
    ml_module_cursor *self = check(L, SUBSCRIPTION);
    if (self->cursor == NULL) luaL_error(L, "subscription is closed");
    return self;
}

static int subscription_poll(lua_State *L)
{
    ml_event event;
    lua_settop(L, 1);
    ml_desk *desk = ml_desk_take(L);
    ml_module_cursor *self = check_subscription(L);
    ml_code code = ml_poll(self->cursor, &event);
    if (code == ML_OK) return push_copy(L, desk, &event, self->fields);
    if (code != ML_END) return ml_module_fail_store(L, self->store->store);
    ml_desk_give(L, 2);
    lua_pushnil(L);
    return 1;
}

static int subscription_position(lua_State *L)
{
    ml_module_cursor *self = check_subscription(L);
    lua_pushinteger(L, (lua_Integer)ml_cursor_position(self->cursor));
    return 1;
}

/* ---- both ------------------------------------------------------------------------------- */

static int read_close(lua_State *L)
{
    finish(luaL_checkudata(L, 1, READ));
    return 0;
}

static int subscription_close(lua_State *L)
{
    finish(luaL_checkudata(L, 1, SUBSCRIPTION));
    return 0;
}

static const luaL_Reg read_meta[] = {{"__call", read_next},
                                     {"__close", read_close},
                                     {"__gc", read_close},
                                     {"close", read_close},
                                     {NULL, NULL}};
static const luaL_Reg subscription_meta[] = {{"poll", subscription_poll},
                                             {"position", subscription_position},
                                             {"close", subscription_close},
                                             {"__close", subscription_close},
                                             {"__gc", subscription_close},
                                             {NULL, NULL}};

void ml_module_read_init(lua_State *L)
{
    luaL_newmetatable(L, READ);
    luaL_setfuncs(L, read_meta, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, SUBSCRIPTION);
    luaL_setfuncs(L, subscription_meta, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
}
