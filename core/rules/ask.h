/* ask.h -- requests to an engine, taken apart.
 *
 * Floor    rules, private.
 * Memory   views into the request.
 * Errors   BAD_REQUEST names the field.
 */
#ifndef ML_RULES_ASK_H
#define ML_RULES_ASK_H

#include "inside.h"

typedef struct ml_ask {
    ml_bytes aggregate, id, name;
    ml_bytes args, meta; /* MessagePack; empty: not given */
    int64_t now;
    const uint8_t *dice; /* 16 bytes */
    ml_moment moment;
    bool is_now; /* neither at nor as_of was given */
    bool has_next;
    uint64_t next; /* events that the stream has at least, says who has the log */
} ml_ask;

ML_MUST_USE ml_code ml_ask_command(ml_bytes request, ml_ask *ask, ml_error *why);
ML_MUST_USE ml_code ml_ask_state(ml_bytes request, ml_ask *ask, ml_error *why);

#endif
