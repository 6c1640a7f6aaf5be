/* lint.h -- mistakes that show before a rule runs.
 *
 *   GLOBAL     error    a global that nobody declares, anywhere in a file
 *   UPVALUE    error    a handler, or a function that it calls, sets a variable which outlives the
 *                       call: what a handler knows is the state, the data and the event
 *              warning  the same in a function that it may call by way of a table or a global; or a
 *                       table that outlives the call is written to: right only for what can be
 *                       computed again, like a cache
 *   CONSTANTS  warning  over 250 constants in a function: Lua 5.4.4 computes wrongly there
 *
 * The compiler says which names are global and which outlive a call, and it is asked: functions
 * are dumped as bytecode, and the bytecode is read. It comes from our own compiler and is thrown
 * away; its form is checked, and where it is another one, that is a warning and nothing is found.
 *
 * Floor    rules.
 * Threads  those of the sandboxes. Runs under the guard, which the caller has started.
 * Memory   nothing is kept.
 * Errors   diagnostics, 64 errors and 64 warnings at most; what could not be looked at is a warning.
 */
#ifndef ML_RULES_LINT_H
#define ML_RULES_LINT_H

#include "rulepack.h"

/* All files of the pack, and all handlers of its aggregates and projections. */
void ml_lint_pack(const ml_rulepack *pack, ml_diagnostics *to);

#endif
