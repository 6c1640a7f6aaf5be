/* module_whatif.h -- what the Lua module has to say about other rules.
 *
 *   m.whatif{store=, before=, after=, …}     before, after: {["account.lua"] = source}
 *     unit=, from=, limit=                   whatif.h
 *     scratch=                               a directory to work in; default: one of its own
 *     progress=                              function(unit, position, head); false ends it
 *
 * gives {differences=, units=, position=}; or nil and "CODE: sentence", and of a pack with errors
 * the list of its diagnostics.
 *
 * Floor    projection.
 * Threads  one Lua state, one thread at a time.
 */
#ifndef ML_PROJECTION_MODULE_WHATIF_H
#define ML_PROJECTION_MODULE_WHATIF_H

#include <lua.h>

/* Adds it to the table on top of the stack. */
void ml_module_whatif_open(lua_State *L);

#endif
