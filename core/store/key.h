/* key.h -- what the index finds events by: a 64-bit hash of a kind and a name.
 *
 * Seeded with bytes of the log id, which no client ever sees, so that nobody outside can
 * make names that share a key. If two do, reading them costs a look at the other's events.
 *
 * Floor    store; the only file that speaks xxhash.h (XXH3, stable since 0.8).
 */
#ifndef ML_STORE_KEY_H
#define ML_STORE_KEY_H

#include "event.h"

typedef enum ml_key_kind {
    ML_KEY_STREAM = 1,
    ML_KEY_CATEGORY,
    ML_KEY_TYPE,
    ML_KEY_TAG,
    ML_KEY_BEGUN,         /* first events of all streams; no name */
    ML_KEY_BEGUN_CATEGORY /* first events of a category's streams */
} ml_key_kind;

uint64_t ml_key_of(uint64_t seed, ml_key_kind kind, ml_bytes name);

/* Calls each(key) for every key of an event: stream, category, type, tags, and for the first
 * event of a stream the two lists of beginnings. Stops at the first code that is not ML_OK. */
ml_code ml_key_each(uint64_t seed, const ml_event *event, ml_code (*each)(void *context, uint64_t key),
                    void *context);

#endif
