/* field.h -- a field of a MessagePack map, found by its path: "owner", "address.city".
 *
 * Floor    view; uses base.
 * Threads  pure functions.
 */
#ifndef ML_VIEW_FIELD_H
#define ML_VIEW_FIELD_H

#include "../base/bytes.h"

enum { ML_FIELD_LEVELS = 8, ML_FIELD_BYTES = 200 }; /* of a path */

/* Is it a path: names with dots between them? */
bool ml_field_is_path(ml_bytes path);

/* The value, borrowed from `map`; empty if there is none on the way, or something is no map. */
ml_bytes ml_field_find(ml_bytes map, ml_bytes path);

#endif
