/* sandbox_string.c -- the string table: Lua's own, with bounds, without addresses, and with
 * patterns that end.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "pattern.h"
#include "sandbox_inside.h"

enum { FORMAT_ITEM_BYTES = 512 }; /* one number with "%99.99f" */

static const char *const names[] = {"byte", "char",    "len",   "lower",  "pack", "packsize",
                                    "reverse", "sub", "unpack", "upper", NULL};

static int refuse_size(lua_State *L, const char *what)
{
    return luaL_error(L, "%s would make more than %d bytes", what, ML_SANDBOX_TEXT_BYTES);
}

static int string_rep(lua_State *L)
{
    size_t size, gap, total = 0;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_Integer times = luaL_checkinteger(L, 2);
    const char *between = luaL_optlstring(L, 3, "", &gap);
    luaL_Buffer out;
    if (times > 0 && size + gap > 0) {
        if (times > ML_SANDBOX_TEXT_BYTES + 1) return refuse_size(L, "string.rep");
        total = (size_t)times * (size + gap) - gap;
    }
    if (total > ML_SANDBOX_TEXT_BYTES) return refuse_size(L, "string.rep");
    char *at = luaL_buffinitsize(L, &out, total);
    for (size_t done = 0; done < total;) {
        memcpy(at + done, text, size);
        done += size;
        if (done == total) break;
        memcpy(at + done, between, gap);
        done += gap;
    }
    luaL_pushresultsize(&out, total);
    return 1;
}

/* What the conversion of the argument may come to; texts are made here, so that no address is
 * shown. */
static size_t convert(lua_State *L, char conversion, int argument)
{
    size_t size = 0;
    switch (conversion) {
    case 'p': luaL_error(L, "string.format: '%%p' shows an address, which no two runs share");
    /* fall through */
    case 's':
        ml_sandbox_base_text(L, argument);
        lua_tolstring(L, -1, &size);
        lua_replace(L, argument);
        return size + FORMAT_ITEM_BYTES;
    case 'q':
        if (lua_type(L, argument) == LUA_TSTRING) size = lua_rawlen(L, argument) * 4;
        return size + FORMAT_ITEM_BYTES;
    default: return FORMAT_ITEM_BYTES;
    }
}

/* Lua's own does the work. It finds mistakes in the format, so here an item is only looked for. */
static int string_format(lua_State *L)
{
    size_t size;
    int argument = 1, top = lua_gettop(L);
    const char *format = luaL_checklstring(L, 1, &size), *end = format + size;
    for (const char *at = format; at < end; at++) {
        if (*at != '%') continue;
        at++;
        if (at < end && *at == '%') continue;
        while (at < end && strchr("-+ #0123456789.", *at) != NULL && *at != '\0') at++;
        if (at == end || ++argument > top) break;
        size += convert(L, *at, argument);
    }
    if (size > ML_SANDBOX_TEXT_BYTES) return refuse_size(L, "string.format");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, top, 1);
    return 1;
}

void ml_sandbox_string_open(lua_State *L)
{
    lua_pushcfunction(L, luaopen_string);
    lua_call(L, 0, 1);
    lua_newtable(L);
    lua_pushvalue(L, -2);
    ml_sandbox_base_allow(L, names);
    lua_getfield(L, -2, "format");
    lua_pushcclosure(L, string_format, 1);
    lua_setfield(L, -2, "format");
    lua_pushcfunction(L, string_rep);
    lua_setfield(L, -2, "rep");
    ml_pattern_open(L);
    lua_remove(L, -2);
    /* Methods of strings are these, and the metatable is nobody's. */
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "string");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}
