/* pattern.c -- our matcher of Lua patterns, held against Lua's own.
 *
 *   input:  a byte: what is called, and how long the pattern is; the pattern; the text
 *
 * What ours finds too complex is not asked of Lua's, which would not come back.
 */
#include "../../core/script/pattern.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

#include "../../core/base/error.h"
#include "fuzz.h"

static lua_State *lua;

static const char compare[] =
    "local ours = ...\n"
    "local function call(library, name, s, p, more)\n"
    "  if name ~= 'gmatch' then return table.pack(pcall(library[name], s, p, more)) end\n"
    "  return table.pack(pcall(function()\n"
    "    local out = {}\n"
    "    for a, b in library.gmatch(s, p) do\n"
    "      out[#out + 1] = tostring(a) .. '|' .. tostring(b)\n"
    "    end\n"
    "    return table.concat(out, ';')\n"
    "  end))\n"
    "end\n"
    "return function(name, s, p, more)\n"
    "  local a = call(ours, name, s, p, more)\n"
    "  if not a[1] and a[2]:find('pattern too complex: over', 1, true) then return end\n"
    "  local b = call(string, name, s, p, more)\n"
    "  assert(a.n == b.n)\n"
    "  for i = 1, a.n do\n"
    "    assert(math.type(a[i]) == math.type(b[i]))\n"
    "    if a[i] ~= b[i] then error(tostring(a[i]) .. ' <> ' .. tostring(b[i])) end\n"
    "  end\n"
    "end\n";

void ml_fuzz_begin(void)
{
    lua = luaL_newstate();
    ML_ASSERT(lua != NULL);
    luaL_openlibs(lua);
    ML_ASSERT(luaL_loadstring(lua, compare) == LUA_OK);
    lua_newtable(lua);
    ml_pattern_open(lua);
    ML_ASSERT(lua_pcall(lua, 1, 1, 0) == LUA_OK);
}

void ml_fuzz_seeds(void)
{
    static const char *const seeds[] = {"\x08%a+=(%d)key=7", "\x15([^,]*),?one,two",
                                        "\x1e(%b())%f[%w]%1(a)(a)", "\x2b^()a-b$aab"};
    for (size_t n = 0; n < sizeof seeds / sizeof seeds[0]; n++)
        ml_fuzz_seed(seeds[n], strlen(seeds[n]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"find", "match", "gsub", "gmatch"};
    ml_fuzz_input input = {data, size};
    uint8_t first = ml_fuzz_byte(&input);
    ml_bytes pattern = ml_fuzz_take(&input, first >> 2);
    lua_pushvalue(lua, 1);
    lua_pushstring(lua, names[first & 3]);
    lua_pushlstring(lua, (const char *)input.at, input.left);
    lua_pushlstring(lua, pattern.size > 0 ? pattern.data : "", pattern.size);
    if ((first & 3) == 2) lua_pushliteral(lua, "<%0%1>");
    else lua_pushnil(lua);
    if (lua_pcall(lua, 4, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(lua, -1));
        ML_ASSERT(false);
    }
    return 0;
}
