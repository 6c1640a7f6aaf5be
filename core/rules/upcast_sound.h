/* upcast_sound.h -- can what a function of an upcaster gave be stored? The encoder says why not;
 * this says whether, at a third of its cost, for who is not going to encode.
 *
 * Floor    rules, private to upcast.c; uses script.
 * Threads  those of the Lua state.
 * Memory   none of its own. Leaves the stack as it was.
 * Errors   raises if the stack cannot grow.
 */
#ifndef ML_RULES_UPCAST_SOUND_H
#define ML_RULES_UPCAST_SOUND_H

#include <lua.h>
#include <stdbool.h>

/* The value on top of the stack: what the encoder takes, and without NaN and infinities. */
bool ml_upcast_is_sound(lua_State *L);

#endif
