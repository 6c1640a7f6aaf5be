/* socket.h -- moonlog.socket: whole messages over a socket, for moonlog.client.
 *
 *     local socket = assert(m.socket("unix:./data/moonlog.sock", 5000))
 *     socket:send({ 0, 1, "head", {} }, 1000)
 *     local answer = socket:receive(1000)
 *
 * A message is one MessagePack value. While one is being sent, what comes in is taken in: two
 * ends that wait for each other to read would wait for ever.
 *
 * Floor    script; base below it. Knows nothing of what messages mean.
 * Threads  one Lua state; blocks the thread until done, or the time is over.
 * Units    milliseconds; 0 does not wait.
 * Errors   nil and "CODE: sentence": UNREACHABLE no daemon, or it went away; TIMEOUT, also if
 *          a signal came first, so that Lua can look at it; FORBIDDEN, BAD_REQUEST, TOO_LARGE,
 *          UNSUPPORTED what Lua cannot hold. A message that left only in part closes the socket.
 */
#ifndef ML_SCRIPT_SOCKET_H
#define ML_SCRIPT_SOCKET_H

#include <lua.h>

/* Makes the metatable of sockets. */
void ml_socket_init(lua_State *L);

/* m.socket(uri, timeout_ms). */
int ml_socket_open(lua_State *L);

/* Pushes a socket over a copy of a connected descriptor; `uri` is what sentences call it. May
 * raise. */
void ml_socket_push(lua_State *L, int file, const char *uri);

#endif
