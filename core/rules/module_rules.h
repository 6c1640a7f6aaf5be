/* module_rules.h -- the Lua module with the engine in it; what the room above adds, and
 * luaopen_moonlog, stands in projection/module_projection.c.
 *
 * Floor    rules.
 * Threads  one Lua state, one thread at a time.
 */
#ifndef ML_RULES_MODULE_RULES_H
#define ML_RULES_MODULE_RULES_H

#include "../script/desk.h"
#include "engine.h"

/* Pushes the module's table; gives 1. Engines try projections with `rehearse`. */
int ml_module_rules_open(lua_State *L, ml_engine_rehearse *rehearse);

/* Files as they lie in the table {[path] = source} at `index`, which holds their texts: as
 * ml_source onto desk->terms. Gives how many. */
size_t ml_module_rules_files(lua_State *L, int index, ml_desk *desk);

/* The list of events at 2, as stored, onto the items of a desk that is pushed at 3. */
ml_desk *ml_module_rules_events(lua_State *L);

#endif
