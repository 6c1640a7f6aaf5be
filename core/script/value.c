/* value.c -- the kinds of value that Lua lacks: null, bytes, ext, and marked tables. */
#include "value.h"

#include <lauxlib.h>

#define BYTES "moonlog.bytes"
#define EXT "moonlog.ext"

/* Addresses that are keys: in the registry for null and the two table metatables, and in each
 * of our metatables for its kind. No Lua program can make such a key. */
static const char null_key, array_key, map_key, kind_key;

/* ---- kinds --------------------------------------------------------------------------- */

ml_value_kind ml_value_of(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index)) return ML_VALUE_PLAIN;
    lua_rawgetp(L, -1, &kind_key);
    ml_value_kind kind = (ml_value_kind)lua_tointeger(L, -1);
    lua_pop(L, 2);
    /* setmetatable can put any metatable on a table, and on nothing else. */
    bool is_table = lua_istable(L, index);
    bool wants_table = kind == ML_VALUE_ARRAY || kind == ML_VALUE_MAP;
    return is_table == wants_table ? kind : ML_VALUE_PLAIN;
}

void ml_value_mark(lua_State *L, ml_value_kind kind)
{
    ML_ASSERT(kind == ML_VALUE_ARRAY || kind == ML_VALUE_MAP);
    lua_rawgetp(L, LUA_REGISTRYINDEX, kind == ML_VALUE_ARRAY ? &array_key : &map_key);
    lua_setmetatable(L, -2);
}

void ml_value_push_null(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key); }

void ml_value_push_bytes(lua_State *L, ml_bytes bytes)
{
    void *copy = lua_newuserdatauv(L, bytes.size, 0);
    if (bytes.size > 0) memcpy(copy, bytes.data, bytes.size);
    luaL_setmetatable(L, BYTES);
}

/* An ext is its type byte and its content. */
void ml_value_push_ext(lua_State *L, int8_t type, ml_bytes bytes)
{
    uint8_t *copy = lua_newuserdatauv(L, 1 + bytes.size, 0);
    copy[0] = (uint8_t)type;
    if (bytes.size > 0) memcpy(copy + 1, bytes.data, bytes.size);
    luaL_setmetatable(L, EXT);
}

ml_bytes ml_value_bytes(lua_State *L, int index)
{
    return (ml_bytes){lua_touserdata(L, index), lua_rawlen(L, index)};
}

ml_bytes ml_value_ext(lua_State *L, int index, int8_t *type)
{
    const uint8_t *copy = lua_touserdata(L, index);
    size_t size = lua_rawlen(L, index);
    ML_ASSERT(size > 0);
    *type = (int8_t)copy[0];
    return (ml_bytes){copy + 1, size - 1};
}

/* ---- what Lua can do with them --------------------------------------------------------- */

static void push_content(lua_State *L, ml_bytes bytes)
{
    lua_pushlstring(L, bytes.size > 0 ? bytes.data : "", bytes.size);
}

static int null_tostring(lua_State *L)
{
    lua_pushliteral(L, "null");
    return 1;
}

static int bytes_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, BYTES);
    push_content(L, ml_value_bytes(L, 1));
    return 1;
}

static int bytes_size(lua_State *L)
{
    luaL_checkudata(L, 1, BYTES);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

/* Of bytes and of ext: the same kind, and the same content. */
static int same_content(lua_State *L)
{
    size_t size = lua_rawlen(L, 1);
    bool same = lua_isuserdata(L, 1) && lua_isuserdata(L, 2) &&
                ml_value_of(L, 1) == ml_value_of(L, 2) && size == lua_rawlen(L, 2) &&
                (size == 0 || memcmp(lua_touserdata(L, 1), lua_touserdata(L, 2), size) == 0);
    lua_pushboolean(L, same);
    return 1;
}

static int ext_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, EXT);
    int8_t type;
    ml_bytes bytes = ml_value_ext(L, 1, &type);
    lua_pushfstring(L, "moonlog.ext %d (%I bytes)", (int)type, (LUAI_UACINT)bytes.size);
    return 1;
}

static int ext_index(lua_State *L)
{
    luaL_checkudata(L, 1, EXT);
    const char *name = luaL_tolstring(L, 2, NULL);
    int8_t type;
    ml_bytes bytes = ml_value_ext(L, 1, &type);
    if (strcmp(name, "type") == 0) lua_pushinteger(L, type);
    else if (strcmp(name, "bytes") == 0) push_content(L, bytes);
    else lua_pushnil(L);
    return 1;
}

/* ---- metatables ------------------------------------------------------------------------ */

static const luaL_Reg null_meta[] = {{"__tostring", null_tostring}, {NULL, NULL}};
static const luaL_Reg bytes_meta[] = {{"__tostring", bytes_tostring},
                                      {"__len", bytes_size},
                                      {"__eq", same_content},
                                      {NULL, NULL}};
static const luaL_Reg ext_meta[] = {{"__tostring", ext_tostring},
                                    {"__index", ext_index},
                                    {"__eq", same_content},
                                    {NULL, NULL}};
static const luaL_Reg table_meta[] = {{NULL, NULL}};

/* Pushes the metatable `name`, making it if this is the first time. Another copy of this code in
 * the same state may have made it, and then it tells our kind under both keys. */
static void push_meta(lua_State *L, const char *name, const luaL_Reg *functions,
                      ml_value_kind kind)
{
    if (luaL_newmetatable(L, name)) luaL_setfuncs(L, functions, 0);
    lua_pushinteger(L, kind);
    lua_rawsetp(L, -2, &kind_key);
}

void ml_value_open(lua_State *L)
{
    luaL_checkstack(L, 8, "moonlog");
    push_meta(L, BYTES, bytes_meta, ML_VALUE_BYTES);
    push_meta(L, EXT, ext_meta, ML_VALUE_EXT);
    push_meta(L, "moonlog.array", table_meta, ML_VALUE_ARRAY);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
    push_meta(L, "moonlog.map", table_meta, ML_VALUE_MAP);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &map_key);
    lua_pop(L, 2);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key) == LUA_TNIL) {
        lua_newuserdatauv(L, 0, 0);
        push_meta(L, "moonlog.null", null_meta, ML_VALUE_NULL);
        lua_setmetatable(L, -2);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);
    }
    lua_pop(L, 1);
}
