/* value.h -- Lua values <-> MessagePack, without loss.
 *
 *   MessagePack            Lua
 *   nil                    moonlog.null inside an array or map; at the top plain nil
 *   int                    integer; over 2^63-1 is refused
 *   float 32, float 64     float (written as float 64)
 *   str                    string; a Lua string that is no UTF-8 is written as bin
 *   bin                    moonlog.bytes; as a map key a string
 *   ext                    moonlog.ext, which is written back as it was
 *   array                  table with the metatable moonlog.array
 *   map                    table; with the metatable moonlog.map if a key is no string
 *
 * A table without one of the two metatables is an array if its keys are 1..n with n >= 1, a
 * map if they are all strings (so {} is a map), and refused otherwise. Keys are written
 * integers first, then strings by their bytes: equal tables give equal bytes. Tables are
 * read raw: no metamethod runs, so no Lua code runs between two bytes.
 *
 * Floor    script; base below it.
 * Threads  one Lua state, one thread at a time.
 * Memory   whatever is written to must be owned by a Lua userdata (see desk.h): any call into
 *          Lua may raise, and then nobody comes back to free.
 */
#ifndef ML_SCRIPT_VALUE_H
#define ML_SCRIPT_VALUE_H

#include <lua.h>

#include "../base/unpack.h"
#include "desk.h"

/* Levels that a message of the daemon has around the data of an event: the message, its list
 * of parameters, the map in it, writes, a write, events, an event. */
enum { ML_VALUE_ENVELOPE = 7 };

/* What moonlog's own userdata and metatables stand for. */
typedef enum ml_value_kind {
    ML_VALUE_PLAIN = 0, /* nothing of ours */
    ML_VALUE_NULL,
    ML_VALUE_BYTES,
    ML_VALUE_EXT,
    ML_VALUE_ARRAY,
    ML_VALUE_MAP
} ml_value_kind;

/* Makes the metatables and moonlog.null of this Lua state, once. Needs to run before
 * anything below. */
void ml_value_open(lua_State *L);

/* Marked kind of the value at `index`. */
ml_value_kind ml_value_of(lua_State *L, int index);

/* Push moonlog.null; a moonlog.bytes or moonlog.ext holding a copy. */
void ml_value_push_null(lua_State *L);
void ml_value_push_bytes(lua_State *L, ml_bytes bytes);
void ml_value_push_ext(lua_State *L, int8_t type, ml_bytes bytes);

/* The content of a moonlog.bytes, or type and content of a moonlog.ext, borrowed from it. */
ml_bytes ml_value_bytes(lua_State *L, int index);
ml_bytes ml_value_ext(lua_State *L, int index, int8_t *type);

/* Makes the table on top of the stack an ML_VALUE_ARRAY or ML_VALUE_MAP. */
void ml_value_mark(lua_State *L, ml_value_kind kind);

/* Reads one value and pushes it (at the top nil is nil). False, with nothing pushed, if it is
 * not whole, nested too deep, or what Lua cannot hold: an integer over 2^63-1, or NaN as a
 * map key. The bytes behind the cursor must stay while finalizers run: keep them on a desk. */
ML_MUST_USE bool ml_value_read(lua_State *L, ml_unpack *cursor);

/* The same for who sees no fields of a map but those of these names (each with its size, a byte, in
 * front): others may be left out. False is said of the same values. */
ML_MUST_USE bool ml_value_read_fields(lua_State *L, ml_unpack *cursor, ml_bytes names);

/* The same for a whole message, which may nest ML_VALUE_ENVELOPE levels deeper. */
ML_MUST_USE bool ml_value_read_message(lua_State *L, ml_unpack *cursor);

/* Writes the value at `index` behind desk->bytes, at most `limit` bytes of it. `what` is how
 * sentences call it: "data.items[3].f is a function, …".
 *   BAD_REQUEST what cannot be written; TOO_LARGE over `limit`; NO_MEMORY. */
ML_MUST_USE ml_code ml_value_write(lua_State *L, int index, ml_desk *desk, size_t limit,
                                   const char *what, ml_error *why);

/* The same for a whole message. */
ML_MUST_USE ml_code ml_value_write_message(lua_State *L, int index, ml_desk *desk, size_t limit,
                                           ml_error *why);

#endif
