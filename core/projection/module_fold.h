/* module_fold.h -- the part of the Lua module that specs of projections stand on.
 *
 * Floor    projection.
 */
#ifndef ML_PROJECTION_MODULE_FOLD_H
#define ML_PROJECTION_MODULE_FOLD_H

#include <lua.h>

/* Adds m.projection to the table on top of the stack. */
void ml_module_fold_open(lua_State *L);

#endif
