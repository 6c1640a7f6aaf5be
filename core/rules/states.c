/* states.c -- a chained hash table, and a ring of its entries in the order of their last use. */
#include "states.h"

#include <stdlib.h>

#include "../base/bytes.h"

enum { FIRST_SLOTS = 256 };

/* The ring: from its own link, `older` is the newest and `newer` the oldest. */
typedef struct link link;
struct link {
    link *newer, *older;
};

typedef struct entry entry;
struct entry {
    link link;    /* first, so that one is the other */
    entry *chain; /* next in the slot */
    uint64_t hash;
    size_t counted; /* bytes that it was counted with */
    ml_state state;
    size_t size;
    char stream[];
};

struct ml_states {
    entry **slots;
    size_t slot_count; /* a power of two */
    link ring;
    uint64_t seed;
    uint64_t count, bytes, bytes_max, evicted;
};

/* FNV-1a from a start that nobody outside knows: stream names come from clients. */
static uint64_t hash_of(const ml_states *states, ml_bytes stream)
{
    const uint8_t *at = stream.data;
    uint64_t hash = states->seed;
    for (size_t n = 0; n < stream.size; n++) hash = (hash ^ at[n]) * 0x100000001b3;
    return hash ^ hash >> 29;
}

ml_states *ml_states_new(size_t bytes_max)
{
    ml_states *states = calloc(1, sizeof *states);
    entry **slots = calloc(FIRST_SLOTS, sizeof *slots);
    if (states == NULL || slots == NULL) {
        free(states);
        free(slots);
        return NULL;
    }
    states->slots = slots;
    states->slot_count = FIRST_SLOTS;
    states->ring.newer = states->ring.older = &states->ring;
    states->seed = 0xcbf29ce484222325 ^ (uint64_t)(uintptr_t)slots << 13;
    states->bytes_max = bytes_max;
    return states;
}

/* ---- the ring --------------------------------------------------------------------------- */

static void leave(link *at)
{
    at->newer->older = at->older;
    at->older->newer = at->newer;
}

static void enter_newest(ml_states *states, link *at)
{
    at->newer = &states->ring;
    at->older = states->ring.older;
    at->older->newer = at;
    states->ring.older = at;
}

static entry *oldest(ml_states *states)
{
    return states->ring.newer == &states->ring ? NULL : (entry *)states->ring.newer;
}

/* ---- the table -------------------------------------------------------------------------- */

static entry **slot_of(const ml_states *states, uint64_t hash)
{
    return &states->slots[hash & (states->slot_count - 1)];
}

/* Where the pointer to the entry stands; to NULL if it is not there. */
static entry **place_of(const ml_states *states, ml_bytes stream, uint64_t hash)
{
    entry **at = slot_of(states, hash);
    while (*at != NULL &&
           ((*at)->hash != hash || !ml_bytes_equal(stream, (ml_bytes){(*at)->stream, (*at)->size})))
        at = &(*at)->chain;
    return at;
}

static void discard(ml_states *states, entry **at)
{
    entry *gone = *at;
    *at = gone->chain;
    leave(&gone->link);
    states->bytes -= gone->counted;
    states->count--;
    ml_buf_free(&gone->state.bytes);
    free(gone);
}

static void discard_entry(ml_states *states, entry *e)
{
    entry **at = slot_of(states, e->hash);
    while (*at != e) at = &(*at)->chain;
    discard(states, at);
}

void ml_states_free(ml_states *states)
{
    if (states == NULL) return;
    while (oldest(states) != NULL) discard_entry(states, oldest(states));
    free(states->slots);
    free(states);
}

/* If there is no memory for it, chains are longer and nothing else. */
static void grow(ml_states *states)
{
    entry **old = states->slots;
    size_t before = states->slot_count;
    if (states->count < before) return;
    entry **slots = calloc(before * 2, sizeof *slots);
    if (slots == NULL) return;
    states->slots = slots;
    states->slot_count = before * 2;
    for (size_t n = 0; n < before; n++) {
        for (entry *e = old[n], *next; e != NULL; e = next) {
            next = e->chain;
            e->chain = *slot_of(states, e->hash);
            *slot_of(states, e->hash) = e;
        }
    }
    free(old);
}

/* Counts the entry anew, and lets the oldest go while there is too much; never the newest, which
 * somebody is working on. */
static void recount(ml_states *states, entry *e)
{
    size_t bytes = sizeof *e + e->size + 1 + e->state.bytes.capacity;
    states->bytes = states->bytes - e->counted + bytes;
    e->counted = bytes;
    while (states->bytes > states->bytes_max && states->ring.newer != states->ring.older) {
        discard_entry(states, oldest(states));
        states->evicted++;
    }
}

/* ---- the door --------------------------------------------------------------------------- */

ml_state *ml_states_find(ml_states *states, ml_bytes stream)
{
    entry *e = *place_of(states, stream, hash_of(states, stream));
    if (e == NULL) return NULL;
    leave(&e->link);
    enter_newest(states, &e->link);
    return &e->state;
}

ml_state *ml_states_put(ml_states *states, ml_bytes stream, ml_state *state)
{
    ml_states_forget(states, stream);
    grow(states);
    uint64_t hash = hash_of(states, stream);
    entry *e = malloc(sizeof *e + stream.size + 1);
    if (e == NULL) return NULL;
    *e = (entry){
        .hash = hash, .state = *state, .size = stream.size, .chain = *slot_of(states, hash)};
    memcpy(e->stream, stream.data, stream.size);
    e->stream[stream.size] = '\0';
    state->bytes = (ml_buf){0};
    *slot_of(states, hash) = e;
    enter_newest(states, &e->link);
    states->count++;
    recount(states, e);
    return &e->state;
}

void ml_states_changed(ml_states *states, ml_bytes stream)
{
    entry *e = *place_of(states, stream, hash_of(states, stream));
    if (e != NULL) recount(states, e);
}

void ml_states_forget(ml_states *states, ml_bytes stream)
{
    entry **at = place_of(states, stream, hash_of(states, stream));
    if (*at != NULL) discard(states, at);
}

void ml_states_sift(ml_states *states, bool (*keep)(void *context, ml_bytes stream), void *context)
{
    for (link *at = states->ring.newer, *next; at != &states->ring; at = next) {
        entry *e = (entry *)at;
        next = at->newer;
        if (!keep(context, (ml_bytes){e->stream, e->size})) discard_entry(states, e);
    }
}

void ml_states_count(const ml_states *states, uint64_t *count, uint64_t *bytes, uint64_t *evicted)
{
    *count = states->count;
    *bytes = states->bytes;
    *evicted = states->evicted;
}
