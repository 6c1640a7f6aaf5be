/* sandbox_pairs.c -- pairs and next in the order of the keys.
 *
 * Lua walks a table in an order that depends on addresses and on the table's past. Here numbers
 * come first, ascending, then strings by their bytes, then false and true; a key of another type
 * has no order, and is an error. What is set or removed meanwhile does no harm: the keys are
 * those of the beginning, without those that are gone when it is their turn.
 */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox_inside.h"

enum { FEW = 64 }; /* keys that are sorted on the C stack */

typedef enum rank { INTEGER, FLOAT, TEXT, FALSE, TRUE } rank;

/* A key; its text is borrowed from the table, which nobody changes meanwhile. */
typedef struct key {
    union {
        lua_Integer integer;
        lua_Number number;
        const char *text;
    } is;
    uint32_t size; /* of the text */
    rank rank;
} key;

/* ---- order ------------------------------------------------------------------------------ */

static int compare_texts(const key *a, const key *b)
{
    int order = memcmp(a->is.text, b->is.text, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* No float here is a whole number that an integer could be: Lua would have made it one. */
static int compare_mixed(lua_Integer integer, lua_Number number)
{
    if (number >= 0x1p63) return -1;
    if (number < -0x1p63) return 1;
    return integer <= (lua_Integer)floor(number) ? -1 : 1;
}

static int compare(const void *left, const void *right)
{
    const key *a = left, *b = right;
    if (a->rank == TEXT && b->rank == TEXT) return compare_texts(a, b);
    if (a->rank > FLOAT || b->rank > FLOAT) return (a->rank > b->rank) - (a->rank < b->rank);
    if (a->rank == FLOAT && b->rank == FLOAT)
        return (a->is.number > b->is.number) - (a->is.number < b->is.number);
    if (a->rank == FLOAT) return -compare_mixed(b->is.integer, a->is.number);
    if (b->rank == FLOAT) return compare_mixed(a->is.integer, b->is.number);
    return (a->is.integer > b->is.integer) - (a->is.integer < b->is.integer);
}

/* The key at `index`, as lua_next gave it. */
static key key_at(lua_State *L, int index)
{
    key k = {.rank = INTEGER};
    size_t size;
    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            k.is.integer = lua_tointeger(L, index);
        } else {
            k.rank = FLOAT;
            k.is.number = lua_tonumber(L, index);
        }
        return k;
    case LUA_TSTRING:
        k.rank = TEXT;
        k.is.text = lua_tolstring(L, index, &size);
        k.size = (uint32_t)size; /* no block is over 8 MiB */
        return k;
    case LUA_TBOOLEAN: k.rank = lua_toboolean(L, index) ? TRUE : FALSE; return k;
    default:
        luaL_error(L, "a %s is a key of the table, and has no place in an order; use a string or "
                      "a number", luaL_typename(L, index));
        return k;
    }
}

static void push_key(lua_State *L, const key *k)
{
    switch (k->rank) {
    case INTEGER: lua_pushinteger(L, k->is.integer); break;
    case FLOAT: lua_pushnumber(L, k->is.number); break;
    case TEXT: lua_pushlstring(L, k->is.text, k->size); break;
    case FALSE:
    case TRUE: lua_pushboolean(L, k->rank == TRUE); break;
    }
}

/* ---- next ------------------------------------------------------------------------------- */

int ml_sandbox_pairs_next(lua_State *L)
{
    key least = {0};
    bool any = false;
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2))
        return luaL_error(L, "next gives the first key only; walk a table with pairs");
    lua_settop(L, 1);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        key k = key_at(L, -2);
        if (!any || compare(&k, &least) < 0) least = k;
        any = true;
        ml_guard_check(L);
    }
    if (!any) return lua_pushnil(L), 1;
    push_key(L, &least);
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    return 2;
}

/* ---- pairs ------------------------------------------------------------------------------ */

/* Upvalues: the table, how long it was. A list needs no snapshot. */
static int step_list(lua_State *L)
{
    lua_Integer count = lua_tointeger(L, lua_upvalueindex(2)), n = luaL_optinteger(L, 2, 0);
    while (n < count) { /* a script may call this with any number: n + 1 is one then */
        n++;
        lua_settop(L, 2);
        lua_pushinteger(L, n);
        if (lua_rawgeti(L, lua_upvalueindex(1), n) != LUA_TNIL) return 2;
        ml_guard_check(L);
    }
    return 0;
}

/* Upvalues: the table, its keys in order, how many of them are done. */
static int step_keys(lua_State *L)
{
    lua_Integer n = lua_tointeger(L, lua_upvalueindex(3));
    do {
        lua_settop(L, 0);
        if (lua_rawgeti(L, lua_upvalueindex(2), ++n) == LUA_TNIL) return 1;
        lua_pushvalue(L, -1);
        ml_guard_check(L);
    } while (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL);
    lua_pushinteger(L, n);
    lua_replace(L, lua_upvalueindex(3));
    return 2;
}

/* Looks at all keys and notes the first FEW; gives how many there are. *list: they are 1..n. */
static size_t survey(lua_State *L, key *few, bool *list)
{
    lua_Unsigned length = lua_rawlen(L, 1);
    size_t count = 0;
    *list = true;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        key k = key_at(L, -2);
        if (k.rank != INTEGER || (lua_Unsigned)k.is.integer - 1 >= length) *list = false;
        if (count < FEW) few[count] = k;
        count++;
        ml_guard_check(L);
    }
    if (count != length) *list = false;
    return count;
}

/* Notes all keys, in memory that is the state's. */
static key *gather(lua_State *L, size_t count)
{
    key *keys = lua_newuserdatauv(L, count * sizeof *keys, 0);
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) keys[n++] = key_at(L, -2);
    return keys;
}

int ml_sandbox_pairs(lua_State *L)
{
    key few[FEW];
    bool list;
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
        return 3;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t count = survey(L, few, &list);
    key *keys = list || count <= FEW ? few : gather(L, count);
    lua_pushvalue(L, 1);
    if (list) {
        lua_pushinteger(L, (lua_Integer)count);
        lua_pushcclosure(L, step_list, 2);
    } else {
        qsort(keys, count, sizeof *keys, compare);
        lua_createtable(L, (int)count, 0);
        for (size_t n = 0; n < count; n++) {
            push_key(L, &keys[n]);
            lua_rawseti(L, -2, (lua_Integer)n + 1);
        }
        lua_pushinteger(L, 0);
        lua_pushcclosure(L, step_keys, 3);
    }
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}
