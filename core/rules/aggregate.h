/* aggregate.h -- folding events into a state, and deciding on one.
 *
 * A state is kept as canonical MessagePack. To be folded on it becomes a Lua table for a while
 * (begin … apply … write … end), one a unit at a time. A command gets a table of its own, made
 * of the bytes, so nothing that it does can touch what is kept; that it tried is an error all the
 * same, because its author expects it to last.
 *
 * Floor    rules; uses script, store.
 * Threads  those of the sandbox.
 * Memory   the live state is the unit's, until end; what is handed in is borrowed for the call.
 * Errors   faults. The kept bytes are as they were.
 */
#ifndef ML_RULES_AGGREGATE_H
#define ML_RULES_AGGREGATE_H

#include "unit.h"

/* Makes the bytes (of a map) the unit's live state. */
ML_MUST_USE bool ml_aggregate_begin(ml_unit *unit, ml_bytes state, ml_fault *fault);

/* One event, upcast if it has to be. A type without a handler changes nothing. After a fault the
 * live state may be half changed: end it. `*called` if a handler was. */
ML_MUST_USE bool ml_aggregate_apply(ml_unit *unit, const ml_event *event, bool *called,
                                    ml_fault *fault);

/* Replaces the content of `state` by the live state. NULL: only says whether that can be kept. */
ML_MUST_USE bool ml_aggregate_write(ml_unit *unit, ml_buf *state, ml_fault *fault);

void ml_aggregate_end(ml_unit *unit);

/* What a command is decided with. */
typedef struct ml_decision {
    const ml_handler *handler;
    const ml_upcasts *chains; /* of the pack: an event without a schema has its type's latest */
    ml_bytes stream, id;
    ml_bytes state;      /* MessagePack, as the rest */
    ml_bytes args, meta; /* empty: none */
    uint64_t next;       /* revisions of the stream: what is expected */
    int64_t now;
    const uint8_t *dice; /* 16 bytes */
} ml_decision;

/* Packs {decided: …} or {refused: …} (engine.h) onto `answer`. */
ML_MUST_USE bool ml_aggregate_decide(ml_unit *unit, const ml_decision *decision, ml_buf *answer,
                                     ml_fault *fault);

/* A handler that gave too much is found out when its result is packed, where no line of Lua runs:
 * such a fault is placed where the handler begins. */
void ml_aggregate_place(ml_fault *fault, const ml_handler *handler);

/* Says that a fault of shape is the handler's, and where that begins. */
void ml_aggregate_blame(ml_fault *fault, const ml_handler *handler, const char *sentence);

#endif
