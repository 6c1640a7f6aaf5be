/* diagnose.h -- what checking a pack has to say, gathered one by one.
 *
 * Floor    rules.
 * Threads  none.
 * Memory   owns copies; a refused allocation shows as `items.failed`.
 * Errors   none but that; an error is counted even where it could not be kept.
 */
#ifndef ML_RULES_DIAGNOSE_H
#define ML_RULES_DIAGNOSE_H

#include "../base/buf.h"
#include "../script/sandbox.h"

typedef struct ml_diagnostics {
    ml_buf items; /* MessagePack maps {severity, code, file, line, message, source?}, one after another */
    uint32_t count, errors;
} ml_diagnostics;

/* `code` is stable and short: COMPILE, SHAPE, GLOBAL, UPVALUE, PAIRS, CONSTANTS, CHAIN, PROOF, TWIN … */
void ml_diagnose_error(ml_diagnostics *to, const char *code, const ml_fault *fault);
void ml_diagnose_warning(ml_diagnostics *to, const char *code, const ml_fault *fault);
void ml_diagnostics_free(ml_diagnostics *of);

#endif
