/* rulepack.h -- the files of a pack, and what they are once compiled.
 *
 *   NAME.lua        a unit: returns one table
 *   lib/…lua        required by units; nothing of its own
 *   …_spec.lua      busted's, not looked at here; nor is a file that is no .lua
 *
 * Floor    rules.
 * Threads  one.
 * Memory   owns copies of the files; units borrow from them.
 * Errors   of the pack: diagnostics. Of the machine: codes.
 */
#ifndef ML_RULES_RULEPACK_H
#define ML_RULES_RULEPACK_H

#include "unit.h"

enum { ML_RULEPACK_PATH_MAX = 200 }; /* bytes of a file's name: it stands in every fault */

typedef struct ml_rulepack {
    ml_source *files; /* sorted by path; path and text have a NUL behind them */
    size_t count;
    ml_buf text; /* what they point into */
    char hash[ML_RULES_HASH + 1];
    ml_unit **units; /* in the order of their files */
    size_t unit_count;
    ml_sandbox *sandbox; /* of the chains for plain reads */
    ml_upcasts *upcasts;
} ml_rulepack;

/* Compiles. Units that are wrong are missing and said in `to`; the pack is there all the same, so
 * that everything that is wrong can be said at once. NO_MEMORY. */
ML_MUST_USE ml_code ml_rulepack_new(const ml_source *files, size_t count, ml_diagnostics *to,
                                    ml_rulepack **pack, ml_error *why);
void ml_rulepack_free(ml_rulepack *pack);

/* NULL if there is none. */
ml_unit *ml_rulepack_find(const ml_rulepack *pack, ml_unit_kind kind, ml_bytes name);

/* Another of a unit that runs, made from the same files; NULL if it cannot be. */
ml_unit *ml_rulepack_twin(const ml_rulepack *pack, const ml_unit *unit);

/* A diagnostic about the whole pack, or about a file of it. */
void ml_rulepack_refuse(const ml_rulepack *pack, ml_diagnostics *to, const char *code,
                        ml_bytes path, uint32_t line, const char *format, ...) ML_FORMAT(6, 7);

#endif
