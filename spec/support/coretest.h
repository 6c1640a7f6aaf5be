/* coretest.h -- the test-only door from busted into C functions that no user sees.
 *
 * `require "coretest"` gives a table with one table per room, each opened by a function
 * below. Functions there take and give plain Lua values; what refuses gives nil and
 * "CODE: sentence".
 */
#ifndef ML_SPEC_CORETEST_H
#define ML_SPEC_CORETEST_H

#include <lua.h>

#include "../../core/base/error.h"

/* One per room; each leaves its table on the stack. */
int luaopen_coretest_base(lua_State *L);
int luaopen_coretest_disk(lua_State *L);

/* Pushes nil and "CODE: sentence"; gives 2. */
int ml_coretest_refuse(lua_State *L, const ml_error *why);

#endif
