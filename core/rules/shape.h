/* shape.h -- is the table that a rule file returned what such a file may return?
 *
 * Floor    rules, private to unit.c and lint.c.
 */
#ifndef ML_RULES_SHAPE_H
#define ML_RULES_SHAPE_H

#include "unit.h"

/* Takes the table on top of the sandbox's stack into the unit: kind, name, and of an aggregate
 * handlers, commands, initial state and policy. Pops it. False, with a fault that names the line
 * as far as it can be found, if it has not the shape. */
ML_MUST_USE bool ml_shape_read(ml_unit *unit, ml_fault *fault);

/* The line (from 1) on which `word` is set, as in `word = …`; or else is there at all; or 0. */
uint32_t ml_shape_line(ml_bytes text, ml_bytes word);

/* "aggregate", …; NULL for NONE. */
const char *ml_shape_kind_name(ml_unit_kind kind);

#endif
