/* states.h -- folded states, by stream: the ones used last, up to a bound in bytes.
 *
 * Floor    rules.
 * Threads  one.
 * Memory   owns copies. A state costs its MessagePack, its stream's name and an entry; live Lua
 *          tables are not kept, so the bound is exact and the collector has nothing to walk.
 * Errors   a state that cannot be kept is just not kept: the log has it.
 */
#ifndef ML_RULES_STATES_H
#define ML_RULES_STATES_H

#include "../base/buf.h"
#include "../moonlog.h"

/* What a stream's events add up to. */
typedef struct ml_state {
    ml_buf bytes;      /* canonical MessagePack, a map */
    uint64_t next;     /* revision of the next event: 0 = there was none yet */
    uint64_t position; /* of the last event; 0 = there was none; so the rest */
    int64_t time;
    uint8_t id[ML_ID_SIZE];
} ml_state;

typedef struct ml_states ml_states;

ml_states *ml_states_new(size_t bytes_max); /* NULL if memory is refused */
void ml_states_free(ml_states *states);

/* The state of the stream, now the one used last; NULL if it is not here. Borrowed until the next
 * call, except that a change to it is told by ml_states_changed. */
ml_state *ml_states_find(ml_states *states, ml_bytes stream);
/* Takes over the state (its buffer is left empty); gives it as find does, or NULL. */
ml_state *ml_states_put(ml_states *states, ml_bytes stream, ml_state *state);
/* The state found or put last has other bytes now. */
void ml_states_changed(ml_states *states, ml_bytes stream);
void ml_states_forget(ml_states *states, ml_bytes stream);

/* Keeps those for which `keep` says so. */
void ml_states_sift(ml_states *states, bool (*keep)(void *context, ml_bytes stream), void *context);

void ml_states_count(const ml_states *states, uint64_t *count, uint64_t *bytes, uint64_t *evicted);

#endif
