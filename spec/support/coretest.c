/* coretest.c -- puts the rooms' tables together. A new room adds one line to `rooms`. */
#include "coretest.h"

#include <lauxlib.h>

static const luaL_Reg rooms[] = {
    {"base", luaopen_coretest_base},
    {"disk", luaopen_coretest_disk},
    {"log", luaopen_coretest_log},
    {"index", luaopen_coretest_index},
    {"store", luaopen_coretest_store},
    {"socket", luaopen_coretest_socket},
    {"script", luaopen_coretest_script},
    {"upcast", luaopen_coretest_upcast},
    {"view", luaopen_coretest_view},
    {"projection", luaopen_coretest_projection},
    {NULL, NULL},
};

int ml_coretest_refuse(lua_State *L, const ml_error *why)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", ml_error_name(why->code), why->sentence);
    return 2;
}

/* ---- what the rooms share --------------------------------------------------------------- */

uint64_t ml_coretest_number(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    lua_Integer value = luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return (uint64_t)value;
}

ml_bytes ml_coretest_text(lua_State *L, int index, const char *name)
{
    ml_bytes text = {0};
    if (lua_getfield(L, index, name) != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TSTRING);
        text.data = lua_tolstring(L, -1, &text.size);
    }
    lua_pop(L, 1);
    return text;
}

bool ml_coretest_flag(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

void ml_coretest_set(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

void ml_coretest_set_text(lua_State *L, const char *name, ml_bytes text)
{
    lua_pushlstring(L, text.size > 0 ? text.data : "", text.size);
    lua_setfield(L, -2, name);
}

void ml_coretest_set_flag(lua_State *L, const char *name, bool flag)
{
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, name);
}

void ml_coretest_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction free)
{
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, free);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

/* ---- the module ------------------------------------------------------------------------- */

ML_API int luaopen_coretest(lua_State *L);

int luaopen_coretest(lua_State *L)
{
    lua_newtable(L);
    for (const luaL_Reg *room = rooms; room->name != NULL; room++) {
        lua_pushcfunction(L, room->func);
        lua_call(L, 0, 1);
        lua_setfield(L, -2, room->name);
    }
    return 1;
}
