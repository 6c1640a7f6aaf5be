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
 *
 * Floor    script. Raises at the caller's line for wrong arguments.
 */
#ifndef ML_SCRIPT_WORDS_H
#define ML_SCRIPT_WORDS_H

#include <lua.h>

typedef enum ml_word {
    ML_WORD_NONE,
    ML_WORD_EVENT,  /* table {type=, data=, tags=, meta=, schema=} */
    ML_WORD_REFUSAL, /* table {code=, detail=} */
    ML_WORD_SPLIT,  /* table of events or data */
    ML_WORD_DROP,
    ML_WORD_DELETE
} ml_word;

/* Adds the words to the table on top of the stack. Needs ml_value_open before. */
void ml_words_open(lua_State *L);

/* Which word made the value at `index`. */
ml_word ml_word_of(lua_State *L, int index);

#endif
