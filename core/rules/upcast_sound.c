/* upcast_sound.c -- one look at every value, in the order in which it lies there. */
#include "upcast_sound.h"

#include <lauxlib.h>
#include <math.h>

#include "../base/limits.h"
#include "../script/value.h"

enum { SLOTS_A_LEVEL = 4 }; /* key, value, metatable, kind */

static bool is_table_sound(lua_State *L, int depth);

/* The value on top, of this Lua type. After a no the stack is higher. */
static inline bool is_sound(lua_State *L, int type, int depth)
{
    if (type == LUA_TSTRING || type == LUA_TBOOLEAN || type == LUA_TNIL) return true;
    if (type == LUA_TNUMBER) return lua_isinteger(L, -1) || isfinite(lua_tonumber(L, -1));
    if (type == LUA_TTABLE) return depth > 0 && is_table_sound(L, depth - 1);
    if (type != LUA_TUSERDATA) return false;
    ml_value_kind kind = ml_value_of(L, -1);
    return kind == ML_VALUE_NULL || kind == ML_VALUE_BYTES || kind == ML_VALUE_EXT;
}

static bool is_map_sound(lua_State *L, int depth, bool integers)
{
    for (lua_pushnil(L); lua_next(L, -2); lua_settop(L, -2)) {
        if (lua_type(L, -2) != LUA_TSTRING && !(integers && lua_isinteger(L, -2))) return false;
        if (!is_sound(L, lua_type(L, -1), depth)) return false;
    }
    return true;
}

/* The keys are 1..count and no others. */
static bool is_list_sound(lua_State *L, int depth, lua_Integer count)
{
    lua_Integer seen = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_settop(L, -2), seen++) {
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (key < 1 || key > count || !is_sound(L, lua_type(L, -1), depth)) return false;
    }
    return seen == count;
}

static bool is_table_sound(lua_State *L, int depth)
{
    luaL_checkstack(L, SLOTS_A_LEVEL, "what an upcaster gave");
    ml_value_kind kind = ml_value_of(L, -1);
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    bool list = kind == ML_VALUE_ARRAY || (kind != ML_VALUE_MAP && count > 0);
    return list ? is_list_sound(L, depth, count) : is_map_sound(L, depth, kind == ML_VALUE_MAP);
}

bool ml_upcast_is_sound(lua_State *L)
{
    int top = lua_gettop(L);
    bool sound = is_sound(L, lua_type(L, -1), ML_DEPTH_MAX);
    lua_settop(L, top);
    return sound;
}
