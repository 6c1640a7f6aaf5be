/* pattern.h -- Lua patterns that cannot run away: find, match, gmatch, gsub.
 *
 * The same patterns, results and mistakes as those of Lua 5.4, with three bounds: a pattern has
 * at most ML_SANDBOX_PATTERN_BYTES; a match that backtracks for more than
 * ML_SANDBOX_PATTERN_STEPS (and a share of the text's size, so that a long text can always be
 * walked once) is an error; and items nest as deep as in Lua, 200.
 *
 * Floor    script.
 * Threads  those of the Lua state.
 * Memory   none of its own; results are the state's.
 * Errors   raised in the script.
 */
#ifndef ML_SCRIPT_PATTERN_H
#define ML_SCRIPT_PATTERN_H

#include <lua.h>

/* Sets the four functions in the table on top of the stack. */
void ml_pattern_open(lua_State *L);

#endif
