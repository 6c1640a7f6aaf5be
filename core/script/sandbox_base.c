/* sandbox_base.c -- the globals of a rule file: what Lua has that is the same on every run, and
 * our own of what is not.
 *
 * Three events of metatables are not for rules: a finalizer (__gc) runs when the collector
 * likes, a weak table (__mode) shows when it did, and __concat crashes Lua 5.4.4, which is the
 * Lua of Debian 12: its concatenation goes on with a stack that the metamethod's call has moved.
 * setmetatable refuses the three, but a table can get the field afterwards. A late __gc does
 * nothing in any Lua. For the other two see `forget_event`.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>
#include <sys/random.h>

#include "fields.h"
#include "sandbox_inside.h"
#include "value.h"
#include "words.h"

static const char words_key; /* in the registry, by its address: require "moonlog" */

static const char *const base_names[] = {"assert", "error",  "getmetatable", "ipairs",
                                         "rawequal", "rawget", "rawlen",   "rawset",
                                         "select", "tonumber", "type", NULL};
static const char *const math_names[] = {
    "abs",  "acos", "asin",       "atan",       "ceil", "cos", "deg",  "exp",       "floor",
    "fmod", "huge", "log",        "max",        "maxinteger",  "min",  "mininteger", "modf",
    "pi",   "rad",  "sin",        "sqrt",       "tan",  "tointeger",   "type",      "ult", NULL};
static const char *const utf8_names[] = {"char", "charpattern", "codepoint", "codes",
                                         "len",  "offset",      NULL};
static const char *const all_names[] = {
    "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
    "rawlen", "rawset", "require", "select", "setmetatable", "tonumber", "tostring", "type",
    "math", "string", "table", "utf8", NULL};

/* ---- what has no name ------------------------------------------------------------------ */

/* Lua finds a metamethod by the one string that holds its name, and every string that a script
 * writes is looked up by its bytes. When the bytes of that one string are others, which nobody
 * can guess, then the field __mode or __concat of a script is a field like any other. */
static void forget_event(lua_State *L, const char *event)
{
    size_t size;
    lua_pushstring(L, event);
    char *name = (char *)lua_tolstring(L, -1, &size);
    lua_pushstring(L, event);
    ML_ASSERT(lua_tostring(L, -1) == name); /* short strings are one */
    if (getrandom(name, size, GRND_NONBLOCK) != (ssize_t)size) memset(name, 0xff, size);
    lua_pushstring(L, event);
    ML_ASSERT(lua_tostring(L, -1) != name);
    lua_pop(L, 3);
}

/* ---- metatables ------------------------------------------------------------------------- */

static int base_setmetatable(lua_State *L)
{
    static const char *const refused[][2] = {
        {"__gc", "a finalizer would run when the collector likes, and rules must be repeatable"},
        {"__mode", "a weak table would show when the collector ran, and rules must be repeatable"},
        {"__concat", "it crashes Lua 5.4.4; give the table a method, or a __tostring"}};
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    for (size_t i = 0; i < 3 && lua_istable(L, 2); i++) {
        lua_pushstring(L, refused[i][0]);
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "%s is not for rules: %s", refused[i][0], refused[i][1]);
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* Hides the metatable of the value on top of the stack, and pops the value. */
static void lock(lua_State *L, const char *name)
{
    int has = lua_getmetatable(L, -1);
    ML_ASSERT(has);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

static void lock_values(lua_State *L)
{
    lua_newtable(L);
    ml_value_mark(L, ML_VALUE_ARRAY);
    lock(L, "moonlog.array");
    lua_newtable(L);
    ml_value_mark(L, ML_VALUE_MAP);
    lock(L, "moonlog.map");
    ml_value_push_bytes(L, (ml_bytes){"", 0});
    lock(L, "moonlog.bytes");
    ml_value_push_ext(L, 0, (ml_bytes){"", 0});
    lock(L, "moonlog.ext");
    ml_value_push_null(L);
    lock(L, "moonlog.null");
}

/* ---- text ------------------------------------------------------------------------------- */

void ml_sandbox_base_text(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (luaL_callmeta(L, index, "__tostring")) {
        if (!lua_isstring(L, -1)) luaL_error(L, "'__tostring' must return a string");
        return;
    }
    int type = lua_type(L, index);
    if (type != LUA_TTABLE && type != LUA_TUSERDATA && type != LUA_TFUNCTION &&
        type != LUA_TLIGHTUSERDATA) {
        luaL_tolstring(L, index, NULL);
        return;
    }
    if (luaL_getmetafield(L, index, "__name") == LUA_TNIL) lua_pushnil(L);
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pushfstring(L, "<%s>", name != NULL ? name : lua_typename(L, type));
    lua_remove(L, -2);
}

static int base_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    ml_sandbox_base_text(L, 1);
    return 1;
}

/* ---- errors ----------------------------------------------------------------------------- */

/* What may not be held goes on; nothing else of a call that failed is left over. */
static int base_pcall(lua_State *L)
{
    ml_sandbox *sandbox = ml_sandbox_of(L);
    unsigned loading = sandbox->loading;
    luaL_checkany(L, 1);
    lua_pushboolean(L, true);
    lua_insert(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    if (status == LUA_OK) return lua_gettop(L);
    if (status == LUA_ERRMEM && sandbox->ending == ML_FAULT_NONE)
        sandbox->ending = ML_FAULT_MEMORY;
    if (sandbox->ending != ML_FAULT_NONE) return lua_error(L);
    sandbox->failing = ML_FAULT_NONE;
    sandbox->loading = loading;
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
}

/* ---- globals ---------------------------------------------------------------------------- */

const char *ml_sandbox_absent(const char *name)
{
    static const char *const reasons[][2] = {
        {"os", "rules see no clock; there is event.time, and ctx.now"},
        {"io", "rules see no files"},
        {"print", "rules write nothing; run them with `moonlog test`"},
        {"require", NULL},
        {"load", "rules are the text of their files"},
        {"loadstring", "rules are the text of their files"},
        {"dofile", "rules are the text of their files; there is require"},
        {"loadfile", "rules are the text of their files; there is require"},
        {"xpcall", "there is pcall"},
        {"coroutine", "a rule is one call, from its begin to its end"},
        {"collectgarbage", "rules do not see the collector"},
        {"debug", "rules do not see how they are run"},
        {"package", "there is require, for files of the pack"},
        {"_G", "globals are known by name"}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (strcmp(reasons[i][0], name) == 0) return reasons[i][1];
    return NULL;
}

static int read_undeclared(lua_State *L)
{
    ml_bytes text;
    ml_sandbox_base_text(L, 2);
    text.data = lua_tolstring(L, -1, &text.size);
    const char *why = ml_sandbox_absent(text.data), *near = ml_fields_nearest(text, all_names);
    if (why != NULL) return luaL_error(L, "there is no '%s' in rules: %s", text.data, why);
    if (near != NULL)
        return luaL_error(L, "'%s' is not defined (did you mean '%s'?)", text.data, near);
    return luaL_error(L, "'%s' is not defined; is there a `local` or a require missing?",
                      text.data);
}

/* While a file is being run it may declare globals by setting them. */
static int write_undeclared(lua_State *L)
{
    if (ml_sandbox_of(L)->loading == 0) {
        ml_sandbox_base_text(L, 2);
        const char *name = lua_tostring(L, -1);
        return luaL_error(L, "'%s' is not defined; write `local %s`, or keep it in the state", name,
                          name);
    }
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

/* ---- require ---------------------------------------------------------------------------- */

/* "lib.money" is lib/money.lua. */
static size_t find_module(lua_State *L, const ml_sandbox *sandbox, const char *name)
{
    ml_bytes path;
    luaL_gsub(L, name, ".", "/");
    lua_pushfstring(L, "%s.lua", lua_tostring(L, -1));
    path.data = lua_tolstring(L, -1, &path.size);
    return ml_sandbox_find(sandbox, path);
}

static int base_require(lua_State *L)
{
    ml_sandbox *sandbox = ml_sandbox_of(L);
    const char *name = luaL_checkstring(L, 1);
    if (strcmp(name, "moonlog") == 0) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &words_key);
        return 1;
    }
    size_t source = find_module(L, sandbox, name);
    if (source == sandbox->count)
        return luaL_error(L, "require \"%s\": there is no file %s in the pack", name,
                          lua_tostring(L, -1));
    /* What a unit is made of is known when it is loaded: its version is the hash of that. */
    if (sandbox->loading == 0 && !sandbox->loaded[source])
        return luaL_error(L, "require \"%s\" belongs at the top of the file, not in a function",
                          name);
    ml_sandbox_load(L, source);
    if (lua_isnil(L, -1)) lua_pushboolean(L, true);
    return 1;
}

/* ---- furnishing ------------------------------------------------------------------------- */

void ml_sandbox_base_allow(lua_State *L, const char *const *names)
{
    for (; *names != NULL; names++) {
        lua_getfield(L, -1, *names);
        ML_ASSERT(!lua_isnil(L, -1));
        lua_setfield(L, -3, *names);
    }
    lua_pop(L, 1);
}

/* Pushes one of Lua's own libraries; opening it leaves things in the state's first globals,
 * which nobody sees. */
static void push_library(lua_State *L, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
}

static void set_library(lua_State *L, const char *name, lua_CFunction open,
                        const char *const *names)
{
    lua_newtable(L);
    push_library(L, open);
    ml_sandbox_base_allow(L, names);
    lua_setfield(L, -2, name);
}

static void set_globals_meta(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"__index", read_undeclared}, {"__newindex", write_undeclared}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_pushliteral(L, "globals");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

void ml_sandbox_base_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"next", ml_sandbox_pairs_next},
                                         {"pairs", ml_sandbox_pairs},
                                         {"pcall", base_pcall},
                                         {"require", base_require},
                                         {"setmetatable", base_setmetatable},
                                         {"tostring", base_tostring},
                                         {NULL, NULL}};
    forget_event(L, "__mode");
    forget_event(L, "__concat");
    lock_values(L);
    lua_newtable(L);
    push_library(L, luaopen_base);
    ml_sandbox_base_allow(L, base_names);
    luaL_setfuncs(L, functions, 0);
    set_library(L, "math", luaopen_math, math_names);
    set_library(L, "utf8", luaopen_utf8, utf8_names);
    ml_sandbox_string_open(L);
    lua_setfield(L, -2, "string");
    ml_sandbox_table_open(L);
    lua_setfield(L, -2, "table");
    set_globals_meta(L);
    lua_newtable(L);
    ml_words_open(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &words_key);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}
