/* path.h -- the key that an event goes to, where a path says it: found in the stored bytes, without
 * Lua.
 *
 * Floor    projection; uses rules, view.
 * Threads  pure functions.
 */
#ifndef ML_PROJECTION_PATH_H
#define ML_PROJECTION_PATH_H

#include "../rules/shape_projection.h"
#include "../view/key.h"

/* One of the events that a stored one is now: `type` and `data` as its chain of upcasters made
 * them, the rest is the stored one's. */
typedef struct ml_path_event {
    const ml_event *stored;
    ml_bytes type, data;
} ml_path_event;

/* BAD_REQUEST: it is not there, or is no key (the sentence names the path); TOO_LARGE. `scratch` is
 * emptied. */
ML_MUST_USE ml_code ml_path_key(const ml_shape_projection *shape, const ml_path_event *event,
                                ml_buf *scratch, ml_key *key, ml_error *why);

enum { ML_PATH_SHOWN = 120 };
/* A key for sentences: "ada", 17, true; cut off if it is long. Only what can be printed. */
void ml_path_show(ml_bytes key, ml_buf *scratch, char text[ML_PATH_SHOWN]);
/* Any MessagePack value; "?" if it is no text, number or truth. */
void ml_path_show_value(ml_bytes value, char text[ML_PATH_SHOWN]);

#endif
