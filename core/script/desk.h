/* desk.h -- the buffers that a call from Lua works on, owned by Lua.
 *
 * Any call into Lua may raise an error and never return, so bytes that must be freed lie on a
 * desk: a userdata whose finalizer frees them. A state keeps one spare desk. `take` takes it
 * away (or makes another) and leaves it on the stack, `give` puts it back; a finalizer that
 * runs in between and calls moonlog takes one of its own, and a call that raised just loses
 * its desk to the collector.
 *
 * Such a finalizer may also change the very tables a call is reading, so texts are copied to
 * the desk and not borrowed. While a desk grows its bytes move: `put` gives a view that knows
 * its size only, and once all is there the views are walked in the order they were put, each
 * getting its place from `walk`.
 *
 * Floor    script.
 * Threads  those of the Lua state.
 * Memory   all of a desk is emptied by the next take.
 * Errors   a refused allocation shows in ml_desk_check; take raises if Lua has no memory.
 */
#ifndef ML_SCRIPT_DESK_H
#define ML_SCRIPT_DESK_H

#include <lua.h>

#include "../base/buf.h"

typedef struct ml_desk {
    ml_buf bytes;   /* texts, ids, MessagePack, sentences */
    ml_buf sorting; /* keys of the maps that are being written */
    ml_buf terms;   /* ml_bytes: tags, types */
    ml_buf items;   /* ml_query_item */
    ml_buf drafts;  /* ml_draft */
    ml_buf writes;  /* ml_write */
} ml_desk;

/* Pushes an empty desk. */
ml_desk *ml_desk_take(lua_State *L);

/* Makes the desk at `index` the spare one; buffers that grew large are freed. */
void ml_desk_give(lua_State *L, int index);

/* Copies bytes to the end of desk->bytes; the view given back is without a place. */
static inline ml_bytes ml_desk_put(ml_desk *desk, ml_bytes bytes)
{
    ml_buf_add(&desk->bytes, bytes.data, bytes.size);
    return (ml_bytes){NULL, bytes.size};
}

/* The place of the next `size` bytes, and moves *at behind them. */
static inline const void *ml_desk_walk(const uint8_t **at, size_t size)
{
    const uint8_t *place = *at;
    if (size > 0) *at += size;
    return place;
}

/* NO_MEMORY if a buffer of the desk could not grow. */
ML_MUST_USE ml_code ml_desk_check(const ml_desk *desk, ml_error *why);

#endif
