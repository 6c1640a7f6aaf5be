/* desk.c -- one spare desk in the registry, taken and given back. */
#include "desk.h"

#include <lauxlib.h>

enum { KEEP_BYTES_MAX = 1 << 20 }; /* a desk does not hold on to the largest append for ever */

static const char spare = 0; /* its address is the key in the registry */

static void each_buf(ml_desk *desk, void (*act)(ml_buf *))
{
    act(&desk->bytes);
    act(&desk->sorting);
    act(&desk->terms);
    act(&desk->items);
    act(&desk->drafts);
    act(&desk->writes);
}

static void shrink(ml_buf *buf)
{
    if (buf->capacity > KEEP_BYTES_MAX) ml_buf_free(buf);
}

static int collect(lua_State *L)
{
    each_buf(lua_touserdata(L, 1), ml_buf_free);
    return 0;
}

static ml_desk *make(lua_State *L)
{
    ml_desk *desk = lua_newuserdatauv(L, sizeof *desk, 0);
    memset(desk, 0, sizeof *desk);
    if (luaL_newmetatable(L, "moonlog.desk")) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return desk;
}

ml_desk *ml_desk_take(lua_State *L)
{
    luaL_checkstack(L, 4, "moonlog");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spare);
    ml_desk *desk = lua_touserdata(L, -1);
    if (desk == NULL) {
        lua_pop(L, 1);
        return make(L);
    }
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spare);
    each_buf(desk, ml_buf_clear);
    return desk;
}

ml_code ml_desk_check(const ml_desk *desk, ml_error *why)
{
    bool failed = desk->bytes.failed || desk->sorting.failed || desk->terms.failed ||
                  desk->items.failed || desk->drafts.failed || desk->writes.failed;
    return failed ? ml_error_memory(why, "a call from Lua") : ML_OK;
}

void ml_desk_give(lua_State *L, int index)
{
    each_buf(lua_touserdata(L, index), shrink);
    lua_pushvalue(L, index);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spare);
}
