/* params.h -- the one map that a request carries, taken apart without trusting it.
 *
 * Floor    server. Uses base.
 * Threads  none.
 * Memory   values are views into the message.
 * Errors   BAD_REQUEST with a sentence that names the parameter, what it should be, and for
 *          an unknown one the nearest that there is.
 */
#ifndef ML_SERVER_PARAMS_H
#define ML_SERVER_PARAMS_H

#include "../base/bytes.h"
#include "../base/error.h"

enum { ML_PARAMS_MAX = 16 }; /* at most 32: each has a bit */

/* A value of a parameter; empty bytes = not given (nil counts as not given). */
typedef struct ml_params {
    const char *const *names; /* of the method, ends with NULL */
    ml_bytes values[ML_PARAMS_MAX];
} ml_params;

/* Reads a MessagePack map whose keys are among `names`. `what` is shown in sentences:
 * "append", "an event". Moves the bytes of *map behind it. */
ML_MUST_USE ml_code ml_params_read(ml_bytes *map, const char *what, const char *const *names,
                                   ml_params *params, ml_error *why);

/* The number of a name in the method's list; asking for another is a bug. */
ml_bytes ml_params_raw(const ml_params *params, const char *name);

/* Typed: leave *value alone if it was not given. An integral float counts as an integer. */
ML_MUST_USE ml_code ml_params_str(const ml_params *params, const char *name, ml_bytes *value, ml_error *why);
ML_MUST_USE ml_code ml_params_int(const ml_params *params, const char *name, int64_t least, int64_t most,
                                  int64_t *value, bool *given, ml_error *why);
ML_MUST_USE ml_code ml_params_bool(const ml_params *params, const char *name, bool *value, ml_error *why);
/* Microseconds, or RFC 3339. */
ML_MUST_USE ml_code ml_params_time(const ml_params *params, const char *name, int64_t *value, bool *given,
                                   ml_error *why);

/* Head of an array: the items follow in *items. `given` false if it was not. */
ML_MUST_USE ml_code ml_params_list(const ml_params *params, const char *name, ml_bytes *items,
                                   uint32_t *count, ml_error *why);

/* One str of a list; moves *items. */
ML_MUST_USE ml_code ml_params_item_str(ml_bytes *items, const char *name, ml_bytes *value, ml_error *why);

/* Is the word this name? */
bool ml_params_is(const char *name, ml_bytes word);

/* A name from outside as a sentence may show it: short and without control characters. Others
 * become "of that name", so that nobody writes lines into the messages of who asked. */
ml_bytes ml_params_shown(ml_bytes name);

/* The nearest of `names` to a word, or NULL. */
const char *ml_params_nearest(ml_bytes word, const char *const *names);

#endif
