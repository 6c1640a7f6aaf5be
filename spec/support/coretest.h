/* coretest.h -- the test-only door from busted into C functions that no user sees.
 *
 * `require "coretest"` gives a table with one table per room, each opened by a function
 * below. Functions there take and give plain Lua values; what refuses gives nil and
 * "CODE: sentence".
 */
#ifndef ML_SPEC_CORETEST_H
#define ML_SPEC_CORETEST_H

#include <lauxlib.h>
#include <lua.h>

#include "../../core/base/disk.h"

/* One per room; each leaves its table on the stack. */
int luaopen_coretest_base(lua_State *L);
int luaopen_coretest_disk(lua_State *L);
int luaopen_coretest_log(lua_State *L);
int luaopen_coretest_index(lua_State *L);
int luaopen_coretest_store(lua_State *L);
int luaopen_coretest_socket(lua_State *L);
int luaopen_coretest_upcast(lua_State *L);
int luaopen_coretest_script(lua_State *L);
int luaopen_coretest_view(lua_State *L);
int luaopen_coretest_projection(lua_State *L);

/* Pushes nil and "CODE: sentence"; gives 2. */
int ml_coretest_refuse(lua_State *L, const ml_error *why);

/* The disk at `index`. */
ml_disk *ml_coretest_disk(lua_State *L, int index);

/* Fields of the table at `index`; 0, empty or false if absent. Text is borrowed from it. */
uint64_t ml_coretest_number(lua_State *L, int index, const char *name);
ml_bytes ml_coretest_text(lua_State *L, int index, const char *name);
bool ml_coretest_flag(lua_State *L, int index, const char *name);

/* Sets a field of the table on top of the stack. */
void ml_coretest_set(lua_State *L, const char *name, uint64_t value);
void ml_coretest_set_text(lua_State *L, const char *name, ml_bytes text);
void ml_coretest_set_flag(lua_State *L, const char *name, bool flag);

/* Makes a class: a metatable `name` with these methods, `free` among them for the collector. */
void ml_coretest_class(lua_State *L, const char *name, const luaL_Reg *methods,
                       lua_CFunction free);

#endif
