/* coretest.c -- puts the rooms' tables together. A new room adds one line to `rooms`. */
#include "coretest.h"

#include <lauxlib.h>

static const luaL_Reg rooms[] = {
    {"base", luaopen_coretest_base},
    {"disk", luaopen_coretest_disk},
    {NULL, NULL},
};

int ml_coretest_refuse(lua_State *L, const ml_error *why)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", ml_error_name(why->code), why->sentence);
    return 2;
}

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
