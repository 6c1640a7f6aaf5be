/* heads.h -- a bounded cache: stream -> revision of its last event.
 *
 * Two generations of a hash table with the names in an arena. New entries go into the young
 * one; when it holds its half of the bound, the old one is emptied and the two change
 * places. What is asked for again moves back into the young one, so the streams in use stay.
 * Names are compared in full: this is truth for the next revision, not a hint.
 *
 * Floor    store. Threads: the owner's. Memory: at most about `bytes`, grown as needed.
 */
#ifndef ML_STORE_HEADS_H
#define ML_STORE_HEADS_H

#include "../base/buf.h"

typedef struct ml_heads_side {
    uint64_t *slots; /* 0 = free, else the key's low 32 bits, over the entry's number + 1 */
    uint32_t slot_count, used;
    ml_buf entries;  /* revision 8, size of the name 2, name; at multiples of 8 */
} ml_heads_side;

typedef struct ml_heads {
    ml_heads_side young, old;
    size_t bytes; /* bound of one side */
} ml_heads;

void ml_heads_init(ml_heads *heads, uint64_t bytes);
void ml_heads_free(ml_heads *heads);
void ml_heads_clear(ml_heads *heads);

/* True with the revision if the stream is known. `key` is its hash. */
ML_MUST_USE bool ml_heads_get(ml_heads *heads, uint64_t key, ml_bytes stream, uint64_t *revision);

/* Starts loading what ml_heads_get of this key will touch first, or, once that is there, next. */
void ml_heads_prefetch(const ml_heads *heads, uint64_t key, bool entry);

/* Notes the revision. If memory is refused the stream is forgotten, never left wrong. */
void ml_heads_put(ml_heads *heads, uint64_t key, ml_bytes stream, uint64_t revision);

#endif
