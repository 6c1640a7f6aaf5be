/* same.h -- do two functions of Lua do the same, as far as that can be proved?
 *
 * A function's digest is that of its bytecode without line numbers and names, and of everything
 * that it can reach: upvalues, the functions and tables in them, metatables; the words of the sandbox by
 * their names. Equal digests: the same results for the same arguments. A function that reaches
 * what cannot be digested (a userdata, over ML_SAME_VALUES values) has none, and is like no other.
 *
 * Floor    projection; speaks lua.h.
 * Errors   false: it has no digest.
 */
#ifndef ML_PROJECTION_SAME_H
#define ML_PROJECTION_SAME_H

#include "../rules/unit.h"

enum { ML_SAME_VALUES = 100000, ML_SAME_DEPTH = 64, ML_SAME_DIGEST = 16 };

/* Of the value in the registry of the unit's sandbox. */
ML_MUST_USE bool ml_same_digest(const ml_unit *unit, int reference, uint8_t digest[ML_SAME_DIGEST]);

#endif
