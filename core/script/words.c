/* words.c -- what a rule says back, as values that know which word made them. */
#include "words.h"

#include <lauxlib.h>

#include "../base/limits.h"
#include "../base/text.h"
#include "../base/unpack.h"
#include "fields.h"
#include "value.h"

/* In the metatable of each word, by address: which. No Lua program can make such a key. */
static const char word_key;

enum { CODE_BYTES_MAX = 256 };

ml_word ml_word_of(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index)) return ML_WORD_NONE;
    lua_rawgetp(L, -1, &word_key);
    ml_word word = (ml_word)lua_tointeger(L, -1);
    lua_pop(L, 2);
    return word;
}

/* ---- arguments -------------------------------------------------------------------------- */

static ml_bytes text_at(lua_State *L, int index)
{
    ml_bytes text;
    text.data = lua_tolstring(L, index, &text.size);
    return text;
}

static void check_name(lua_State *L, int argument, const char *what, size_t size_max)
{
    luaL_checktype(L, argument, LUA_TSTRING);
    ml_bytes text = text_at(L, argument);
    if (text.size > 0 && text.size <= size_max && ml_unpack_utf8(text)) return;
    luaL_argerror(L, argument, lua_pushfstring(L, "%s is 1 to %d bytes of UTF-8", what,
                                               (int)size_max));
}

/* The tags on top of the stack. */
static void check_tags(const ml_fields *fields)
{
    lua_State *L = fields->L;
    lua_Integer count = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    if (!lua_istable(L, -1) || !ml_fields_is_list(L, -1, count)) {
        ml_fields_refuse(fields, "tags must be a list of strings");
        return;
    }
    if (count > ML_TAGS_MAX)
        ml_fields_refuse(fields, "an event has at most %d tags", ML_TAGS_MAX);
    for (lua_Integer n = 1; n <= count && n <= ML_TAGS_MAX; n++) {
        bool is_text = lua_rawgeti(L, -1, n) == LUA_TSTRING;
        size_t size = lua_rawlen(L, -1);
        if (!is_text || size == 0 || size > ML_TAG_BYTES_MAX || !ml_unpack_utf8(text_at(L, -1)))
            ml_fields_refuse(fields, "tags[%d] must be a string of 1 to %d bytes of UTF-8", (int)n,
                             ML_TAG_BYTES_MAX);
        lua_pop(L, 1);
    }
}

/* Moves the options at `index` into the event on top of the stack. */
static void take_options(lua_State *L, int index)
{
    static const char *const known[] = {"tags", "meta", "schema", NULL};
    ml_error why;
    ml_fields fields = ml_fields_from(L, index, "moonlog.event", known, &why);
    if (ml_fields_push(&fields, "tags") != LUA_TNIL) {
        check_tags(&fields);
        lua_setfield(L, -2, "tags");
    } else {
        lua_pop(L, 1);
    }
    int meta = ml_fields_push(&fields, "meta");
    if (meta != LUA_TNIL && meta != LUA_TTABLE)
        ml_fields_refuse(&fields, "meta must be a table, not a %s", lua_typename(L, meta));
    lua_setfield(L, -2, "meta");
    if (ml_fields_has(&fields, "schema")) {
        uint64_t schema = ml_fields_natural(&fields, "schema", 1, UINT32_MAX, 1);
        lua_pushinteger(L, (lua_Integer)schema);
        lua_setfield(L, -2, "schema");
    }
    if (why.code) luaL_error(L, "%s", why.sentence);
}

/* ---- words ------------------------------------------------------------------------------ */

#define EVENT "moonlog.event"
#define REFUSAL "moonlog.refusal"
#define SPLIT "moonlog.split"

static int word_event(lua_State *L)
{
    check_name(L, 1, "the type of an event", ML_TYPE_BYTES_MAX);
    lua_settop(L, 3);
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "type");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "data");
    if (!lua_isnil(L, 3)) take_options(L, 3);
    luaL_setmetatable(L, EVENT);
    return 1;
}

static int word_refuse(lua_State *L)
{
    check_name(L, 1, "the code of a refusal", CODE_BYTES_MAX);
    lua_settop(L, 2);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "code");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "detail");
    luaL_setmetatable(L, REFUSAL);
    return 1;
}

static void check_unmarked(lua_State *L)
{
    if (lua_getmetatable(L, 1) && ml_value_of(L, 1) == ML_VALUE_PLAIN)
        luaL_argerror(L, 1, "the table has a metatable of its own");
    lua_settop(L, 1);
}

static int word_split(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    check_unmarked(L);
    bool is_list = ml_fields_is_list(L, 1, (lua_Integer)lua_rawlen(L, 1));
    luaL_argcheck(L, is_list, 1, "a list is expected");
    luaL_setmetatable(L, SPLIT);
    return 1;
}

/* Marks the table given, or a new one, and gives it back. */
static int mark(lua_State *L, ml_value_kind kind)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    check_unmarked(L);
    ml_value_mark(L, kind);
    return 1;
}

static int word_array(lua_State *L) { return mark(L, ML_VALUE_ARRAY); }

static int word_map(lua_State *L) { return mark(L, ML_VALUE_MAP); }

static int word_bytes(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    ml_value_push_bytes(L, text_at(L, 1));
    return 1;
}

/* ---- windows ---------------------------------------------------------------------------- */

#define WINDOW "moonlog.window"

static int64_t check_duration(lua_State *L, int argument)
{
    int64_t us;
    luaL_checktype(L, argument, LUA_TSTRING);
    if (!ml_duration_read(text_at(L, argument), &us))
        luaL_argerror(L, argument, "a span of time like \"1h\", \"1h30m\" or \"15s\" is expected");
    return us;
}

static int64_t duration_field(const ml_fields *fields, const char *name)
{
    int64_t us = 0;
    ml_bytes text = ml_fields_text(fields, name);
    if (text.data != NULL && !ml_duration_read(text, &us))
        ml_fields_refuse(fields, "%s must be a span of time like \"1h\", \"1h30m\" or \"15s\"",
                         name);
    return us;
}

/* The options at `index`, and the window with them. */
static int push_window(lua_State *L, int index, const char *what, const char *const *known,
                       ml_window window)
{
    static const char *const times[] = {"log", "occurred", NULL};
    ml_error why;
    lua_settop(L, index);
    ml_fields fields = ml_fields_from(L, index, what, known, &why);
    if (window.kind != ML_WINDOW_SESSION) window.offset = duration_field(&fields, "offset");
    window.grace = duration_field(&fields, "grace");
    window.occurred = ml_fields_word(&fields, "time", times, 0) == 1;
    if (why.code) return luaL_error(L, "%s", why.sentence);
    *(ml_window *)lua_newuserdatauv(L, sizeof window, 0) = window;
    luaL_setmetatable(L, WINDOW);
    return 1;
}

static const char *const aligned_keys[] = {"offset", "grace", "time", NULL};

static int word_tumbling(lua_State *L)
{
    ml_window window = {.kind = ML_WINDOW_TUMBLING, .size = check_duration(L, 1)};
    return push_window(L, 2, "moonlog.tumbling", aligned_keys, window);
}

static int word_hopping(lua_State *L)
{
    ml_window window = {.kind = ML_WINDOW_HOPPING, .size = check_duration(L, 1)};
    window.hop = check_duration(L, 2);
    luaL_argcheck(L, window.hop <= window.size, 2,
                  "the hop is longer than the window, so that some events would be in none");
    if ((window.size - 1) / window.hop >= ML_WORDS_HOPS_MAX)
        luaL_argerror(L, 2, lua_pushfstring(L, "an event would be in more than %d windows",
                                            ML_WORDS_HOPS_MAX));
    return push_window(L, 3, "moonlog.hopping", aligned_keys, window);
}

static int word_session(lua_State *L)
{
    static const char *const keys[] = {"grace", "time", NULL};
    ml_window window = {.kind = ML_WINDOW_SESSION, .size = check_duration(L, 1)};
    return push_window(L, 2, "moonlog.session", keys, window);
}

ml_window ml_words_window(lua_State *L, int index)
{
    ml_window window;
    ML_ASSERT(lua_rawlen(L, index) == sizeof window);
    memcpy(&window, lua_touserdata(L, index), sizeof window);
    return window;
}

/* ---- the table -------------------------------------------------------------------------- */

static int word_tostring(lua_State *L)
{
    luaL_getmetafield(L, 1, "__name");
    return 1;
}

/* Pushes the metatable of a word, which nobody else sees. */
static void push_meta(lua_State *L, const char *name, ml_word word)
{
    bool is_new = luaL_newmetatable(L, name);
    lua_pushinteger(L, word);
    lua_rawsetp(L, -2, &word_key);
    if (!is_new) return;
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
    lua_pushcfunction(L, word_tostring);
    lua_setfield(L, -2, "__tostring");
}

/* A value that is a word of its own. */
static void set_value(lua_State *L, const char *field, const char *name, ml_word word)
{
    lua_newuserdatauv(L, 0, 0);
    push_meta(L, name, word);
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, field);
}

void ml_words_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"event", word_event}, {"refuse", word_refuse}, {"split", word_split}, {"map", word_map},
        {"array", word_array}, {"bytes", word_bytes},   {"tumbling", word_tumbling},
        {"hopping", word_hopping}, {"session", word_session}, {NULL, NULL}};
    luaL_checkstack(L, 6, "moonlog");
    push_meta(L, EVENT, ML_WORD_EVENT);
    push_meta(L, REFUSAL, ML_WORD_REFUSAL);
    push_meta(L, SPLIT, ML_WORD_SPLIT);
    push_meta(L, WINDOW, ML_WORD_WINDOW);
    lua_pop(L, 4);
    luaL_setfuncs(L, functions, 0);
    set_value(L, "drop", "moonlog.drop", ML_WORD_DROP);
    set_value(L, "delete", "moonlog.delete", ML_WORD_DELETE);
    ml_value_push_null(L);
    lua_setfield(L, -2, "null");
}
