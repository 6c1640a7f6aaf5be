/* table.h -- the part of the index that is in memory: key -> ascending positions.
 *
 * An open-addressed hash table of keys; each key has a chain of chunks of positions, stored
 * as 32-bit distances from the table's first position. Chunks double in size up to 128, so
 * a key with one position costs 40 bytes and a hot one 4.2 bytes a position.
 *
 * Floor    index. Uses base.
 * Threads  one writes; once it is not written any more, any number read.
 * Memory   owns its slots and chunks.
 */
#ifndef ML_INDEX_TABLE_H
#define ML_INDEX_TABLE_H

#include "../base/error.h"

typedef struct ml_table_slot {
    uint64_t key;
    uint32_t count; /* positions; 0 = free slot */
    uint32_t head, tail; /* chunks */
    uint32_t last;  /* distance of the last position */
} ml_table_slot;

typedef struct ml_table {
    uint64_t first; /* position that distances count from */
    uint64_t last;  /* highest position added for any key */
    ml_table_slot *slots;
    uint32_t slot_count, used; /* slot_count is a power of two */
    uint32_t *words;           /* the chunks: next, prev, used, capacity, distances … */
    uint32_t word_count, word_capacity;
    uint64_t postings;
} ml_table;

enum { ML_CHUNK_NEXT, ML_CHUNK_PREV, ML_CHUNK_USED, ML_CHUNK_CAPACITY, ML_CHUNK_DATA };
enum { ML_CHUNK_MAX = 128 };
#define ML_CHUNK_NONE UINT32_MAX

/* Empties the table and makes it begin at `first`. */
void ml_table_begin(ml_table *table, uint64_t first);

/* Adds a position to a key. Positions of a key never go down; the same one twice is kept
 * once. False if memory is refused (the table is as it was). */
ML_MUST_USE bool ml_table_add(ml_table *table, uint64_t key, uint64_t position);

/* Takes back every position over `last` of one key. */
void ml_table_retract(ml_table *table, uint64_t key, uint64_t last);

/* The slot of a key, or NULL. */
const ml_table_slot *ml_table_find(const ml_table *table, uint64_t key);

/* Slot numbers in ascending order of key, to be freed; NULL if memory is refused. */
uint32_t *ml_table_sorted(const ml_table *table);

size_t ml_table_bytes(const ml_table *table);
void ml_table_free(ml_table *table);

#endif
