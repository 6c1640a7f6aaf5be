/* upcast_cast.h -- one value as another kind, and never another value.
 *
 *   integer   an integer; a float without a fraction; a string of decimal digits with a sign
 *   float     a float; an integer that a float holds exactly; a string that is a decimal number
 *   string    a string; an integer, a float, true or false as people write them
 *   boolean   a boolean; the integers 0 and 1; "true" and "false"
 *
 * Null stays null. Whatever else is refused: history is read, not guessed at.
 *
 * Floor    rules; uses base.
 * Threads  pure functions.
 * Memory   onto the caller's buffer, where a refused allocation shows.
 */
#ifndef ML_RULES_UPCAST_CAST_H
#define ML_RULES_UPCAST_CAST_H

#include "../base/buf.h"
#include "../base/unpack.h"

typedef enum ml_upcast_kind {
    ML_UPCAST_KEEP, /* no cast */
    ML_UPCAST_INTEGER,
    ML_UPCAST_FLOAT,
    ML_UPCAST_STRING,
    ML_UPCAST_BOOLEAN
} ml_upcast_kind;

/* "integer" …, ended by NULL, in the order of the kinds behind ML_UPCAST_KEEP. */
extern const char *const ml_upcast_cast_names[];

/* Packs `value`, one MessagePack value, as the kind; false, with nothing packed, if it cannot. */
ML_MUST_USE bool ml_upcast_cast_pack(ml_buf *out, ml_upcast_kind kind, ml_bytes value);

/* False if there is NaN or an infinity anywhere in the values. */
bool ml_upcast_cast_is_finite(ml_bytes values);

/* The value in a few words, for a sentence: `"abc"`, `1.5`, `a map`. */
enum { ML_UPCAST_CAST_WORDS = 64 };
void ml_upcast_cast_describe(char words[ML_UPCAST_CAST_WORDS], ml_bytes value);

#endif
