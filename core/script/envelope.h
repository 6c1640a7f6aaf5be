/* envelope.h -- the `event` that a handler gets beside its data: fields read when asked for.
 *
 *   position revision time stream id type schema tags meta occurred; id as a UUID string,
 *   category too. Reading any other is an error with the nearest name.
 *
 * Each push makes a small userdata (50 ns; a handler that names no third parameter need not be
 * given one). It is good until the next push or clear: a handler that keeps it and looks later
 * gets an error that says so, not another event's field.
 *
 * Floor    script. Uses the store's door for ml_event.
 * Threads  those of the Lua state.
 * Memory   the event is borrowed; the userdata is Lua's.
 * Errors   raised in the script that reads; push raises if Lua has no memory, clear never does.
 */
#ifndef ML_SCRIPT_ENVELOPE_H
#define ML_SCRIPT_ENVELOPE_H

#include <lua.h>

#include "../moonlog.h"

void ml_envelope_open(lua_State *L);

/* Pushes an envelope of `event`, which is borrowed until the next push or clear. */
void ml_envelope_push(lua_State *L, const ml_event *event);
void ml_envelope_clear(lua_State *L);

#endif
