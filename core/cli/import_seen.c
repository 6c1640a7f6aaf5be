/* import_seen.c -- a set of names by their 128-bit hashes, open addressing. Two of a billion
 * names share a hash with a chance of 1 in 10^20. */
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "import.h"

struct ml_import_hash {
    uint64_t low, high; /* both 0: free */
};

enum { FIRST_CAPACITY = 1024 };

static struct ml_import_hash *find_slot(const ml_import_seen *seen, struct ml_import_hash hash)
{
    size_t mask = seen->capacity - 1, at = hash.low & mask;
    for (;; at = (at + 1) & mask) {
        struct ml_import_hash *slot = &seen->slots[at];
        if (slot->low == 0 && slot->high == 0) return slot;
        if (slot->low == hash.low && slot->high == hash.high) return slot;
    }
}

static bool grow(ml_import_seen *seen)
{
    ml_import_seen larger = {.count = seen->count};
    larger.capacity = seen->capacity > 0 ? seen->capacity * 2 : FIRST_CAPACITY;
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (larger.slots == NULL) return false;
    for (size_t i = 0; i < seen->capacity; i++) {
        struct ml_import_hash hash = seen->slots[i];
        if (hash.low != 0 || hash.high != 0) *find_slot(&larger, hash) = hash;
    }
    free(seen->slots);
    *seen = larger;
    return true;
}

bool ml_import_seen_add(ml_import_seen *seen, ml_bytes name)
{
    if (seen->count >= seen->capacity / 2 && !grow(seen)) return false;
    XXH128_hash_t made = XXH3_128bits(name.data, name.size);
    struct ml_import_hash hash = {made.low64, made.high64};
    if (hash.low == 0 && hash.high == 0) hash.low = 1;
    struct ml_import_hash *slot = find_slot(seen, hash);
    if (slot->low != 0 || slot->high != 0) return true;
    *slot = hash;
    seen->count++;
    return true;
}

void ml_import_seen_free(ml_import_seen *seen)
{
    free(seen->slots);
    *seen = (ml_import_seen){0};
}
