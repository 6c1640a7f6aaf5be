/* keys.c -- open addressing over numbers of entries; the bytes lie one after another. */
#include "keys.h"

#include <stdlib.h>

#include "../rules/upcast_hash.h"

enum { SLOTS_FIRST = 64 };

typedef struct entry {
    uint32_t at, size; /* in the bytes */
    uint32_t hash;     /* so that others are rarely looked at */
} entry;

struct ml_keys {
    ml_buf bytes, entries;
    uint32_t *slots;   /* number of an entry from 1; 0 = free */
    size_t slot_count; /* a power of two, at least twice the entries */
};

ml_keys *ml_keys_new(void)
{
    ml_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL) return NULL;
    keys->slot_count = SLOTS_FIRST;
    keys->slots = calloc(SLOTS_FIRST, sizeof *keys->slots);
    if (keys->slots != NULL) return keys;
    free(keys);
    return NULL;
}

void ml_keys_free(ml_keys *keys)
{
    if (keys == NULL) return;
    ml_buf_free(&keys->bytes);
    ml_buf_free(&keys->entries);
    free(keys->slots);
    free(keys);
}

static const entry *entry_at(const ml_keys *keys, size_t n)
{
    return (const entry *)(const void *)keys->entries.data + n;
}

size_t ml_keys_count(const ml_keys *keys) { return keys->entries.size / sizeof(entry); }

ml_bytes ml_keys_get(const ml_keys *keys, size_t n)
{
    ML_ASSERT(n < ml_keys_count(keys));
    const entry *found = entry_at(keys, n);
    return (ml_bytes){keys->bytes.data + found->at, found->size};
}

/* The slot of a key: its own, or the free one where it belongs. */
static uint32_t *find_slot(const ml_keys *keys, ml_bytes key, uint32_t hash)
{
    size_t at = hash & (keys->slot_count - 1);
    for (; keys->slots[at] != 0; at = (at + 1) & (keys->slot_count - 1)) {
        size_t n = keys->slots[at] - 1;
        if (entry_at(keys, n)->hash == hash && ml_bytes_equal(ml_keys_get(keys, n), key)) break;
    }
    return &keys->slots[at];
}

size_t ml_keys_find(const ml_keys *keys, ml_bytes key)
{
    uint32_t number = *find_slot(keys, key, (uint32_t)ml_upcast_hash(key));
    return number == 0 ? ml_keys_count(keys) : number - 1;
}

bool ml_keys_has(const ml_keys *keys, ml_bytes key)
{
    return ml_keys_find(keys, key) < ml_keys_count(keys);
}

/* Into slots that are all free. */
static void fill_slots(ml_keys *keys)
{
    for (size_t n = 0; n < ml_keys_count(keys); n++) {
        size_t at = entry_at(keys, n)->hash & (keys->slot_count - 1);
        while (keys->slots[at] != 0) at = (at + 1) & (keys->slot_count - 1);
        keys->slots[at] = (uint32_t)n + 1;
    }
}

void ml_keys_cut(ml_keys *keys, size_t count)
{
    if (count >= ml_keys_count(keys)) return;
    keys->bytes.size = entry_at(keys, count)->at;
    keys->entries.size = count * sizeof(entry);
    memset(keys->slots, 0, keys->slot_count * sizeof *keys->slots);
    fill_slots(keys);
}

static bool grow(ml_keys *keys)
{
    size_t count = 2 * keys->slot_count;
    uint32_t *slots = calloc(count, sizeof *slots);
    if (slots == NULL) return false;
    free(keys->slots);
    keys->slots = slots;
    keys->slot_count = count;
    fill_slots(keys);
    return true;
}

ml_code ml_keys_add(ml_keys *keys, ml_bytes key, ml_error *why)
{
    uint32_t hash = (uint32_t)ml_upcast_hash(key), *slot = find_slot(keys, key, hash);
    if (*slot != 0) return ML_OK;
    size_t count = ml_keys_count(keys), bytes = keys->bytes.size;
    if (2 * (count + 1) > keys->slot_count) {
        if (!grow(keys)) return ml_error_memory(why, "a set of keys");
        slot = find_slot(keys, key, hash);
    }
    entry added = {(uint32_t)bytes, (uint32_t)key.size, hash};
    if (key.size > UINT32_MAX - bytes) return ml_error_memory(why, "a set of keys");
    ml_buf_add(&keys->bytes, key.data, key.size);
    ml_buf_add(&keys->entries, &added, sizeof added);
    if (!keys->bytes.failed && !keys->entries.failed) {
        *slot = (uint32_t)count + 1;
        return ML_OK;
    }
    keys->bytes.size = bytes;
    keys->entries.size = count * sizeof added;
    keys->bytes.failed = keys->entries.failed = false;
    return ml_error_memory(why, "a set of keys");
}
