/* keys.h -- a set of encoded keys (view/key.h), in the order in which they were added.
 *
 * Floor    projection.
 * Threads  none.
 * Memory   a key's bytes and some 20 more; nothing is given back before it is freed.
 */
#ifndef ML_PROJECTION_KEYS_H
#define ML_PROJECTION_KEYS_H

#include "../base/buf.h"

typedef struct ml_keys ml_keys;

/* NULL if memory is refused. */
ml_keys *ml_keys_new(void);
/* NULL is allowed. */
void ml_keys_free(ml_keys *keys);
/* Leaves the first `count` in it; memory stays. */
void ml_keys_cut(ml_keys *keys, size_t count);

/* One that is there is not added again. NO_MEMORY, also for over 4 GiB of them. */
ML_MUST_USE ml_code ml_keys_add(ml_keys *keys, ml_bytes key, ml_error *why);
bool ml_keys_has(const ml_keys *keys, ml_bytes key);
/* Which one it is; the count if it is none. */
size_t ml_keys_find(const ml_keys *keys, ml_bytes key);
size_t ml_keys_count(const ml_keys *keys);
/* The nth, borrowed until one is added. */
ml_bytes ml_keys_get(const ml_keys *keys, size_t n);

#endif
