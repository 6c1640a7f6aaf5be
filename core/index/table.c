/* table.c -- the index in memory. */
#include "table.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 64, CHUNK_MIN = 2 };

void ml_table_begin(ml_table *table, uint64_t first)
{
    if (table->slots != NULL) memset(table->slots, 0, table->slot_count * sizeof *table->slots);
    table->first = first;
    table->last = first - 1;
    table->used = 0;
    table->word_count = 0;
    table->postings = 0;
}

/* Keys are hashes already: their low bits choose the slot. */
static ml_table_slot *probe(const ml_table *table, uint64_t key)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t at = (uint32_t)key & mask;
    while (table->slots[at].count != 0 && table->slots[at].key != key) at = (at + 1) & mask;
    return &table->slots[at];
}

static bool grow_slots(ml_table *table)
{
    uint32_t count = table->slot_count > 0 ? table->slot_count * 2 : SLOTS_MIN;
    ml_table_slot *slots = calloc(count, sizeof *slots);
    if (slots == NULL) return false;
    ml_table grown = *table;
    grown.slots = slots;
    grown.slot_count = count;
    for (uint32_t n = 0; n < table->slot_count; n++)
        if (table->slots[n].count != 0) *probe(&grown, table->slots[n].key) = table->slots[n];
    free(table->slots);
    *table = grown;
    return true;
}

static uint32_t new_chunk(ml_table *table, uint32_t capacity, uint32_t prev)
{
    uint32_t size = ML_CHUNK_DATA + capacity;
    if (table->word_capacity - table->word_count < size) {
        uint32_t words = table->word_capacity > 0 ? table->word_capacity * 2 : 1024;
        uint32_t *grown = realloc(table->words, (size_t)words * sizeof *grown);
        if (grown == NULL) return ML_CHUNK_NONE;
        table->words = grown;
        table->word_capacity = words;
    }
    uint32_t at = table->word_count;
    table->word_count += size;
    uint32_t *chunk = table->words + at;
    chunk[ML_CHUNK_NEXT] = ML_CHUNK_NONE;
    chunk[ML_CHUNK_PREV] = prev;
    chunk[ML_CHUNK_USED] = 0;
    chunk[ML_CHUNK_CAPACITY] = capacity;
    if (prev != ML_CHUNK_NONE) table->words[prev + ML_CHUNK_NEXT] = at;
    return at;
}

/* Makes room for one more distance at the tail of a slot. */
static bool extend(ml_table *table, ml_table_slot *slot)
{
    uint32_t capacity = CHUNK_MIN, prev = ML_CHUNK_NONE;
    if (slot->count > 0) {
        const uint32_t *tail = table->words + slot->tail;
        if (tail[ML_CHUNK_USED] < tail[ML_CHUNK_CAPACITY]) return true;
        capacity = tail[ML_CHUNK_CAPACITY] * 2;
        if (capacity > ML_CHUNK_MAX) capacity = ML_CHUNK_MAX;
        prev = slot->tail;
    }
    uint32_t chunk = new_chunk(table, capacity, prev);
    if (chunk == ML_CHUNK_NONE) return false;
    slot->tail = chunk;
    if (slot->count == 0) slot->head = chunk;
    return true;
}

bool ml_table_add(ml_table *table, uint64_t key, uint64_t position)
{
    ML_ASSERT(position >= table->first);
    ML_ASSERT(position - table->first < UINT32_MAX);
    /* At most 5/8 full, so that a probe for an absent key stays short. */
    if (table->used >= table->slot_count / 8 * 5 && !grow_slots(table)) return false;
    ml_table_slot *slot = probe(table, key);
    uint32_t distance = (uint32_t)(position - table->first);
    if (slot->count > 0 && slot->last == distance) return true;
    ML_ASSERT(slot->count == 0 || slot->last < distance);
    if (!extend(table, slot)) return false;
    if (slot->count == 0) {
        slot->key = key;
        table->used++;
    }
    uint32_t *tail = table->words + slot->tail;
    tail[ML_CHUNK_DATA + tail[ML_CHUNK_USED]++] = distance;
    slot->count++;
    slot->last = distance;
    table->postings++;
    if (position > table->last) table->last = position;
    return true;
}

/* Frees a slot and moves up those behind it that its being taken had pushed on. */
static void remove_slot(ml_table *table, ml_table_slot *slot)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t hole = (uint32_t)(slot - table->slots);
    for (uint32_t at = (hole + 1) & mask; table->slots[at].count != 0; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)table->slots[at].key & mask;
        if (((at - home) & mask) < ((at - hole) & mask)) continue;
        table->slots[hole] = table->slots[at];
        hole = at;
    }
    table->slots[hole].count = 0;
    table->used--;
}

void ml_table_retract(ml_table *table, uint64_t key, uint64_t last)
{
    if (table->slot_count == 0) return;
    ml_table_slot *slot = probe(table, key);
    while (slot->count > 0 && table->first + slot->last > last) {
        uint32_t *tail = table->words + slot->tail;
        tail[ML_CHUNK_USED]--;
        slot->count--;
        table->postings--;
        if (slot->count == 0) {
            remove_slot(table, slot);
            break;
        }
        if (tail[ML_CHUNK_USED] == 0) {
            slot->tail = tail[ML_CHUNK_PREV];
            tail = table->words + slot->tail;
            tail[ML_CHUNK_NEXT] = ML_CHUNK_NONE;
        }
        slot->last = tail[ML_CHUNK_DATA + tail[ML_CHUNK_USED] - 1];
    }
    if (table->last > last) table->last = last;
}

const ml_table_slot *ml_table_find(const ml_table *table, uint64_t key)
{
    if (table->used == 0) return NULL;
    const ml_table_slot *slot = probe(table, key);
    return slot->count > 0 ? slot : NULL;
}

/* ---- in order -------------------------------------------------------------------------- */

typedef struct pair {
    uint64_t key;
    uint32_t slot;
} pair;

static int by_key(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* Keys are hashes, so their high bits deal them evenly onto as many buckets as there are keys,
 * a few each: one pass instead of the 18 of a sort. `ends` has room for a bucket more. */
static void deal(const ml_table *table, unsigned bits, uint32_t *ends, pair *pairs)
{
    uint32_t buckets = UINT32_C(1) << bits;
    memset(ends, 0, (buckets + 1) * sizeof *ends);
    for (uint32_t n = 0; n < table->slot_count; n++)
        if (table->slots[n].count != 0) ends[(table->slots[n].key >> (64 - bits)) + 1]++;
    for (uint32_t n = 1; n <= buckets; n++) ends[n] += ends[n - 1];
    ML_ASSERT(ends[buckets] == table->used);
    for (uint32_t n = 0; n < table->slot_count; n++) {
        const ml_table_slot *slot = &table->slots[n];
        if (slot->count != 0) pairs[ends[slot->key >> (64 - bits)]++] = (pair){slot->key, n};
    }
}

uint32_t *ml_table_sorted(const ml_table *table)
{
    unsigned bits = 1;
    while (bits < 31 && UINT32_C(1) << bits < table->used) bits++;
    uint32_t buckets = UINT32_C(1) << bits, from = 0;
    pair *pairs = malloc((size_t)table->used * sizeof *pairs + 1);
    uint32_t *ends = malloc((buckets + (size_t)1) * sizeof *ends);
    uint32_t *order = malloc((size_t)table->used * sizeof *order + 1);
    if (pairs != NULL && ends != NULL && order != NULL) {
        deal(table, bits, ends, pairs);
        for (uint32_t n = 0; n < buckets; from = ends[n++])
            if (ends[n] - from > 1) qsort(pairs + from, ends[n] - from, sizeof *pairs, by_key);
        for (uint32_t n = 0; n < table->used; n++) order[n] = pairs[n].slot;
    } else {
        free(order);
        order = NULL;
    }
    free(ends);
    free(pairs);
    return order;
}

size_t ml_table_bytes(const ml_table *table)
{
    return table->slot_count * sizeof *table->slots + (size_t)table->word_capacity * 4;
}

void ml_table_free(ml_table *table)
{
    free(table->slots);
    free(table->words);
    *table = (ml_table){0};
}
