/* upcast_step.h -- a declarative step: from MessagePack to MessagePack, without Lua.
 *
 * A step is built from wishes, once, and then applied to the data of many events. Wishes are
 * carried out in this order, whatever order they were made in; those of one sort all at once:
 *
 *   rename    a field of the data itself; onto one that is there is refused
 *   move      from path to path ("a.b"); maps on the way are made; onto what is there is refused
 *   drop      what is at a path
 *   cast      what is at a path, if it is not null, to a kind (upcast_cast.h)
 *   default   what is at a path, if it is null or not there; maps on the way are made
 *
 * A field that is not there is not renamed, moved, dropped or cast, and that is no error: old
 * events have fields that come and go. Fields keep their order; new ones come behind.
 *
 * Floor    rules; uses base.
 * Threads  a step that is ready may be applied by several at once.
 * Errors   BAD_REQUEST for wishes that cannot be meant; SCRIPT_ERROR for data that does not fit.
 *          `why` is never NULL here.
 */
#ifndef ML_RULES_UPCAST_STEP_H
#define ML_RULES_UPCAST_STEP_H

#include "upcast_cast.h"

enum {
    ML_UPCAST_FIELDS_MAX = 64,     /* fields that one step speaks of: they are bits of a word */
    ML_UPCAST_NAME_BYTES_MAX = 256 /* of a field's name, and so what a step adds is bounded */
};

typedef struct ml_upcast_step ml_upcast_step;

/* No wishes yet. NULL if memory is refused. */
ml_upcast_step *ml_upcast_step_new(void);
void ml_upcast_step_free(ml_upcast_step *step);

/* Texts are copied. BAD_REQUEST, LIMIT, NO_MEMORY. */
ML_MUST_USE ml_code ml_upcast_step_rename(ml_upcast_step *step, ml_bytes from, ml_bytes to,
                                          ml_error *why);
ML_MUST_USE ml_code ml_upcast_step_move(ml_upcast_step *step, ml_bytes from, ml_bytes to,
                                        ml_error *why);
ML_MUST_USE ml_code ml_upcast_step_drop(ml_upcast_step *step, ml_bytes path, ml_error *why);
ML_MUST_USE ml_code ml_upcast_step_cast(ml_upcast_step *step, ml_bytes path, ml_upcast_kind kind,
                                        ml_error *why);
/* `value` is one MessagePack value. */
ML_MUST_USE ml_code ml_upcast_step_default(ml_upcast_step *step, ml_bytes path, ml_bytes value,
                                           ml_error *why);

/* All wishes are there: do they go together? Before this nothing is applied. */
ML_MUST_USE ml_code ml_upcast_step_ready(ml_upcast_step *step, ml_error *why);

/* The step's data of `data`, which is one value: packed onto `out`, which is emptied first, or
 * `data` itself if there is nothing to do. SCRIPT_ERROR, NO_MEMORY. */
ML_MUST_USE ml_code ml_upcast_step_apply(const ml_upcast_step *step, ml_bytes data, ml_buf *out,
                                         ml_bytes *result, ml_error *why);

#endif
