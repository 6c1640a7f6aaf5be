/* words.h -- the words that rule files use: moonlog.event, refuse, drop, split, delete, …
 *
 * The same table serves a sandbox's `require "moonlog"` and, in the Lua module, plain lua5.4
 * and busted, so that a rule file loads in both.
 *
 *   moonlog.event(type, data?, {tags=, meta=, schema=}?)   an event to be appended
 *   moonlog.refuse(code, detail?)                          business says no
 *   moonlog.drop, moonlog.delete                           unique values
 *   moonlog.split{event…}                                  one stored event is several now
 *   moonlog.null, moonlog.array{}, moonlog.map{}, moonlog.bytes(s)   as in value.h
 *   moonlog.tumbling(size, {offset=, grace=, time=}?)      windows of a projection; spans of time
 *   moonlog.hopping(size, hop, {offset=, grace=, time=}?)  are texts: "1h30m", "15s"
 *   moonlog.session(gap, {grace=, time=}?)
 *
 * Floor    script. Raises at the caller's line for wrong arguments.
 */
#ifndef ML_SCRIPT_WORDS_H
#define ML_SCRIPT_WORDS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum ml_word {
    ML_WORD_NONE,
    ML_WORD_EVENT,  /* table {type=, data=, tags=, meta=, schema=} */
    ML_WORD_REFUSAL, /* table {code=, detail=} */
    ML_WORD_SPLIT,  /* table of events or data */
    ML_WORD_DROP,
    ML_WORD_DELETE,
    ML_WORD_WINDOW /* a userdata that holds an ml_window */
} ml_word;

enum { ML_WORDS_HOPS_MAX = 64 }; /* windows that one moment is in: each costs a row */

typedef enum ml_window_kind {
    ML_WINDOW_NONE,
    ML_WINDOW_TUMBLING,
    ML_WINDOW_HOPPING,
    ML_WINDOW_SESSION
} ml_window_kind;

/* What they mean stands in projection/window.h. All times in microseconds. */
typedef struct ml_window {
    ml_window_kind kind;
    int64_t size, hop, offset, grace; /* of a session `size` is the gap */
    bool occurred;
} ml_window;

/* Adds the words to the table on top of the stack. Needs ml_value_open before. */
void ml_words_open(lua_State *L);

/* Which word made the value at `index`. */
ml_word ml_word_of(lua_State *L, int index);

/* What the value at `index`, an ML_WORD_WINDOW, holds. */
ml_window ml_words_window(lua_State *L, int index);

#endif
