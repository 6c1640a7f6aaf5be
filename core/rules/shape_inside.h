/* shape_inside.h -- what the readers of rule files share.
 *
 *   shape.c              kinds, names, handlers; aggregates          shape_projection.c projections
 *
 * A reader runs protected, with the file's table on the stack. What is wrong first is said, into
 * `why`; from then on there is nothing to find.
 *
 * Floor    rules, private to shape*.c.
 */
#ifndef ML_RULES_SHAPE_INSIDE_H
#define ML_RULES_SHAPE_INSIDE_H

#include "../script/fields.h"
#include "unit.h"

enum { ML_SHAPE_TABLE = 2 }; /* where the table lies on the stack */

typedef struct ml_shape {
    ml_unit *unit;
    lua_State *L;
    ml_error why;
} ml_shape;

/* All of these give false once something was wrong. */

bool ml_shape_refuse_memory(ml_shape *shape);
/* The unit's name and label, of the field that is called as the kind. */
bool ml_shape_name(ml_shape *shape, const ml_fields *fields, const char *kind);
/* The function on top of the stack becomes a handler. */
bool ml_shape_function(ml_shape *shape, ml_handlers *to, ml_bytes name);
/* The table of functions `name`; NULL: looked at only. */
bool ml_shape_handlers(ml_shape *shape, const ml_fields *fields, const char *name, ml_handlers *to);
void ml_shape_sort(ml_handlers *handlers);
/* Writes the table on top of the stack to the unit's `initial`, as a map. */
bool ml_shape_initial(ml_shape *shape, const ml_fields *fields, const char *name);

/* shape_projection.c */
bool ml_shape_projection_read(ml_shape *shape);

#endif
