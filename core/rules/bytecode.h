/* bytecode.h -- a function that Lua dumped, taken apart as far as somebody wants to know.
 *
 * Floor    rules.
 * Memory   nothing is kept; views point into the dump. What is needed meanwhile lies in a buffer of
 *          the caller's, so that `seen` may raise and not come back.
 * Errors   false, and what was seen so far.
 * Source   Lua 5.4, ldump.c and lopcodes.h.
 */
#ifndef ML_RULES_BYTECODE_H
#define ML_RULES_BYTECODE_H

#include "../base/buf.h"
#include "../base/bytes.h"
#include "../base/error.h"

typedef enum ml_bytecode_use {
    ML_BYTECODE_GLOBAL,     /* a global is read */
    ML_BYTECODE_SET_GLOBAL, /* … or set */
    ML_BYTECODE_SET,        /* a variable from outside of the dumped function is set */
    ML_BYTECODE_SET_INSIDE, /* a field of a table is set that such a variable, or a global, holds */
    ML_BYTECODE_CONSTANTS   /* a function has more than it should */
} ml_bytecode_use;

/* `name` is that of the global or variable. */
typedef void ml_bytecode_seen(void *context, ml_bytecode_use use, ml_bytes name, uint32_t line);

enum { ML_BYTECODE_CONSTANTS_MAX = 250 };

/* Walks over the function and those in it. False: the dump has another form, or memory is refused. */
ML_MUST_USE bool ml_bytecode_walk(ml_bytes dump, ml_buf *frames, ml_bytecode_seen *seen,
                                  void *context);

/* Is all that the function does with this parameter, from 0, getting and setting fields of it? Then
 * nobody has that table when it has returned. `frames` as above. */
ML_MUST_USE bool ml_bytecode_lends(ml_bytes dump, unsigned parameter, ml_buf *frames);
/* … and are the fields that it gets known by name? Adds these, each with its size, a byte, in front.
 * Also false if `names` has no memory. */
ML_MUST_USE bool ml_bytecode_picks(ml_bytes dump, unsigned parameter, ml_buf *names, ml_buf *frames);

#endif
