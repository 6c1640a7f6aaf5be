/* sandbox_table.c -- the table table: the functions of Lua, with bounds, and a sort that needs no
 * dice.
 *
 * Lua's own sort picks its pivots by the clock, so that what is equal comes in another order on
 * another run. This one merges: what is equal stays in its order, and an order function that
 * contradicts itself gives some order, in n log n calls.
 */
#include <lauxlib.h>
#include <limits.h>

#include "sandbox_inside.h"

static lua_Integer check_list(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return luaL_len(L, 1);
}

/* From 1 to `last`; a length that a __len made up may be any number. */
static bool is_within(lua_Integer position, lua_Unsigned last)
{
    return (lua_Unsigned)position - 1 < last;
}

/* ---- insert and remove ------------------------------------------------------------------ */

static int table_insert(lua_State *L)
{
    lua_Unsigned last = (lua_Unsigned)check_list(L) + 1;
    lua_Integer end = (lua_Integer)last, at = end;
    int given = lua_gettop(L);
    if (given != 2 && given != 3) return luaL_error(L, "wrong number of arguments to 'insert'");
    if (given == 3) {
        at = luaL_checkinteger(L, 2);
        luaL_argcheck(L, is_within(at, last), 2, "position out of bounds");
    }
    for (lua_Integer n = end; n > at; n--) {
        lua_geti(L, 1, n - 1);
        lua_seti(L, 1, n);
        ml_guard_check(L);
    }
    lua_seti(L, 1, at);
    return 0;
}

static int table_remove(lua_State *L)
{
    lua_Integer size = check_list(L), at = luaL_optinteger(L, 2, size);
    if (lua_gettop(L) > 1)
        luaL_argcheck(L, at == size || is_within(at, (lua_Unsigned)size + 1), 2,
                      "position out of bounds");
    lua_geti(L, 1, at);
    for (; at < size; at++) {
        lua_geti(L, 1, at + 1);
        lua_seti(L, 1, at);
        ml_guard_check(L);
    }
    lua_pushnil(L);
    lua_seti(L, 1, at);
    return 1;
}

/* ---- many at once ----------------------------------------------------------------------- */

/* How many from first to last; raises if that is more than may be. */
static lua_Integer check_count(lua_State *L, lua_Integer first, lua_Integer last, const char *what)
{
    if (first > last) return 0;
    lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)first;
    if (count >= ML_SANDBOX_MOVE_MAX)
        luaL_error(L, "%s takes %d elements at most", what, ML_SANDBOX_MOVE_MAX);
    return (lua_Integer)count + 1;
}

static int table_move(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3);
    lua_Integer to = luaL_checkinteger(L, 4);
    int other = lua_isnoneornil(L, 5) ? 1 : 5;
    luaL_checktype(L, other, LUA_TTABLE);
    lua_Integer count = check_count(L, first, last, "table.move");
    luaL_argcheck(L, count == 0 || to <= LUA_MAXINTEGER - count + 1, 4,
                  "destination wrap around");
    /* Backwards, where what is read later would be written first. */
    bool forward = to > last || to <= first || !lua_compare(L, 1, other, LUA_OPEQ);
    for (lua_Integer n = 0; n < count; n++) {
        lua_Integer at = forward ? n : count - 1 - n;
        lua_geti(L, 1, first + at);
        lua_seti(L, other, to + at);
        ml_guard_check(L);
    }
    lua_pushvalue(L, other);
    return 1;
}

static int table_pack(lua_State *L)
{
    int count = lua_gettop(L);
    lua_createtable(L, count, 1);
    lua_insert(L, 1);
    for (int n = count; n >= 1; n--) lua_rawseti(L, 1, n);
    lua_pushinteger(L, count);
    lua_setfield(L, 1, "n");
    return 1;
}

static int table_unpack(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
    lua_Integer count = check_count(L, first, last, "table.unpack");
    luaL_checkstack(L, (int)count, "too many results to unpack");
    for (lua_Integer n = 0; n < count; n++) lua_geti(L, 1, first + n);
    return (int)count;
}

static int table_concat(lua_State *L)
{
    lua_Integer size = check_list(L);
    size_t gap, total = 0;
    const char *between = luaL_optlstring(L, 2, "", &gap);
    lua_Integer first = luaL_optinteger(L, 3, 1), last = luaL_optinteger(L, 4, size);
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (lua_Integer n = first; n <= last; n++) {
        if (n > first) luaL_addlstring(&out, between, gap);
        lua_geti(L, 1, n);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "invalid value (at index %I) in table for 'concat'",
                              (LUAI_UACINT)n);
        total += gap + lua_rawlen(L, -1);
        luaL_addvalue(&out);
        if (total > ML_SANDBOX_TEXT_BYTES)
            return luaL_error(L, "table.concat would make more than %d bytes",
                              ML_SANDBOX_TEXT_BYTES);
        ml_guard_check(L);
        if (n == LUA_MAXINTEGER) break;
    }
    luaL_pushresult(&out);
    return 1;
}

/* ---- sort ------------------------------------------------------------------------------- */

/* In the frame of table_sort. */
enum { LIST = 1, ORDER = 2 };

/* Are the two values on top of the stack to change places? They stay. */
static bool is_less(lua_State *L, int a, int b)
{
    if (lua_isnil(L, ORDER)) return lua_compare(L, a, b, LUA_OPLT);
    lua_pushvalue(L, ORDER);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool less = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return less;
}

/* Merges [low, middle) and [middle, high) of the table `from` into `to`. */
static void merge(lua_State *L, int from, int to, lua_Integer low, lua_Integer middle,
                  lua_Integer high)
{
    lua_Integer left = low, right = middle;
    int top = lua_gettop(L);
    lua_rawgeti(L, from, left);
    lua_rawgeti(L, from, right < high ? right : left);
    for (lua_Integer at = low; at < high; at++) {
        bool take_right = right < high && (left == middle || is_less(L, top + 2, top + 1));
        int taken = take_right ? top + 2 : top + 1;
        lua_pushvalue(L, taken);
        lua_rawseti(L, to, at);
        lua_rawgeti(L, from, take_right ? ++right : ++left);
        lua_replace(L, taken);
        ml_guard_check(L);
    }
    lua_settop(L, top);
}

static int table_sort(lua_State *L)
{
    lua_Integer size = check_list(L);
    luaL_argcheck(L, size < INT_MAX / 2, 1, "array too big");
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    if (size < 2) return 0;
    int from = 3, to = 4;
    lua_createtable(L, (int)size, 0);
    lua_createtable(L, (int)size, 0);
    for (lua_Integer n = 1; n <= size; n++) {
        lua_geti(L, LIST, n);
        lua_rawseti(L, from, n);
        ml_guard_check(L);
    }
    for (lua_Integer width = 1; width < size; width *= 2) {
        for (lua_Integer low = 1; low <= size; low += 2 * width) {
            lua_Integer middle = low + width <= size ? low + width : size + 1;
            lua_Integer high = low + 2 * width <= size ? low + 2 * width : size + 1;
            merge(L, from, to, low, middle, high);
        }
        int swap = from;
        from = to;
        to = swap;
    }
    for (lua_Integer n = 1; n <= size; n++) {
        lua_rawgeti(L, from, n);
        lua_seti(L, LIST, n);
        ml_guard_check(L);
    }
    return 0;
}

void ml_sandbox_table_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"concat", table_concat}, {"insert", table_insert},
                                         {"move", table_move},     {"pack", table_pack},
                                         {"remove", table_remove}, {"sort", table_sort},
                                         {"unpack", table_unpack}, {NULL, NULL}};
    luaL_newlib(L, functions);
}
