/* window.h -- the ids of the last N events, to know a retry when the append expects nothing.
 *
 * Counted in positions, not minutes, so that admission is a function of the log alone.
 * Position p lives in place p mod N; ids that hash alike are chained from the newest to the
 * oldest, and a chain ends at the first position that has left the window. So nothing is
 * ever removed.
 *
 * Floor    store. Threads: the owner's. Memory: 32 bytes an event of the window, grown with
 * the log up to N.
 */
#ifndef ML_STORE_WINDOW_H
#define ML_STORE_WINDOW_H

#include "../base/bytes.h"
#include "../base/error.h"

typedef struct ml_window_place {
    uint8_t id[ML_ID_SIZE];
    uint64_t before; /* the position before this one with a like hash; 0 = none */
} ml_window_place;

typedef struct ml_window {
    ml_window_place *places; /* capacity of them */
    uint64_t *newest;        /* by hash; `capacity` of them */
    uint64_t capacity;       /* a power of two, grows up to `size` rounded up */
    uint64_t size;           /* N */
    uint64_t first, last;    /* positions in the window; first > last = none */
} ml_window;

/* Ids are random, or counters in either byte order: each of their bits has to reach the low ones.
 * Source: the finaliser of SplitMix64, by Steele, Lea and Flood (2014). */
static inline uint64_t ml_window_hash(const uint8_t *id)
{
    uint64_t mixed = ml_get_u64(id) + ml_get_u64(id + 8) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

void ml_window_init(ml_window *window, uint64_t size);
void ml_window_free(ml_window *window);

/* Empties the window; the next id is that of position `next`. */
void ml_window_clear(ml_window *window, uint64_t next);

/* Starts loading what ml_window_add of this id will touch. */
void ml_window_prefetch(const ml_window *window, const uint8_t *id);

/* Adds the id of the event behind the last one. False if memory is refused. */
ML_MUST_USE bool ml_window_add(ml_window *window, const uint8_t *id);

/* Takes back the ids behind `last`. Those that they had pushed out are gone. */
void ml_window_cut(ml_window *window, uint64_t last);

/* Position of the newest event with this id; 0 if it is not in the window. */
uint64_t ml_window_find(const ml_window *window, const uint8_t *id);

#endif
