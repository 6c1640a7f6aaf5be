/* heads.c -- two generations; see heads.h. A lookup costs two cache misses: slot and entry. */
#include "heads.h"

#include <stdlib.h>

enum { SLOTS_MIN = 64, AT_SIZE = 8, AT_NAME = 10, UNIT = 8 };

void ml_heads_init(ml_heads *heads, uint64_t bytes)
{
    *heads = (ml_heads){.bytes = (size_t)(bytes / 2)};
}

static void clear_side(ml_heads_side *side)
{
    if (side->slots != NULL) memset(side->slots, 0, side->slot_count * sizeof *side->slots);
    side->used = 0;
    ml_buf_clear(&side->entries);
}

void ml_heads_clear(ml_heads *heads)
{
    clear_side(&heads->young);
    clear_side(&heads->old);
}

static void free_side(ml_heads_side *side)
{
    free(side->slots);
    ml_buf_free(&side->entries);
    *side = (ml_heads_side){0};
}

void ml_heads_free(ml_heads *heads)
{
    free_side(&heads->young);
    free_side(&heads->old);
}

static uint8_t *entry_of(const ml_heads_side *side, uint64_t slot)
{
    return side->entries.data + ((slot & UINT32_MAX) - 1) * UNIT;
}

static bool same(const uint8_t *entry, ml_bytes stream)
{
    return ml_get_u16(entry + AT_SIZE) == stream.size &&
           memcmp(entry + AT_NAME, stream.data, stream.size) == 0;
}

/* The slot of a stream, or the free one where it belongs. Bits of the key tell entries apart
 * before their names are looked at. */
static uint64_t *probe(const ml_heads_side *side, uint64_t key, ml_bytes stream)
{
    uint32_t mask = side->slot_count - 1, low = (uint32_t)key;
    for (uint32_t at = low & mask;; at = (at + 1) & mask) {
        uint64_t slot = side->slots[at];
        if (slot == 0) return &side->slots[at];
        if (slot >> 32 == low && same(entry_of(side, slot), stream)) return &side->slots[at];
    }
}

static uint8_t *find(const ml_heads_side *side, uint64_t key, ml_bytes stream)
{
    if (side->used == 0) return NULL;
    uint64_t slot = *probe(side, key, stream);
    return slot == 0 ? NULL : entry_of(side, slot);
}

static bool grow(ml_heads_side *side)
{
    uint32_t count = side->slot_count > 0 ? side->slot_count * 2 : SLOTS_MIN, mask = count - 1;
    uint64_t *slots = calloc(count, sizeof *slots);
    if (slots == NULL) return false;
    for (uint32_t n = 0; n < side->slot_count; n++) {
        if (side->slots[n] == 0) continue;
        uint32_t at = (uint32_t)(side->slots[n] >> 32) & mask;
        while (slots[at] != 0) at = (at + 1) & mask;
        slots[at] = side->slots[n];
    }
    free(side->slots);
    side->slots = slots;
    side->slot_count = count;
    return true;
}

static bool add(ml_heads_side *side, uint64_t key, ml_bytes stream, uint64_t revision)
{
    if (side->used >= side->slot_count / 8 * 5 && !grow(side)) return false;
    uint64_t number = side->entries.size / UNIT;
    uint8_t *entry = ml_buf_take(&side->entries, ml_align8(AT_NAME + stream.size));
    if (entry == NULL || number >= UINT32_MAX) return false;
    ml_put_u64(entry, revision);
    ml_put_u16(entry + AT_SIZE, (uint16_t)stream.size);
    memcpy(entry + AT_NAME, stream.data, stream.size);
    *probe(side, key, stream) = (uint64_t)(uint32_t)key << 32 | (number + 1);
    side->used++;
    return true;
}

static size_t side_bytes(const ml_heads_side *side)
{
    return side->entries.size + side->slot_count * sizeof *side->slots;
}

bool ml_heads_get(ml_heads *heads, uint64_t key, ml_bytes stream, uint64_t *revision)
{
    const uint8_t *entry = find(&heads->young, key, stream);
    if (entry != NULL) {
        *revision = ml_get_u64(entry);
        return true;
    }
    entry = find(&heads->old, key, stream);
    if (entry == NULL) return false;
    *revision = ml_get_u64(entry);
    ml_heads_put(heads, key, stream, *revision);
    return true;
}

void ml_heads_put(ml_heads *heads, uint64_t key, ml_bytes stream, uint64_t revision)
{
    uint8_t *entry = find(&heads->young, key, stream);
    if (entry != NULL) {
        ml_put_u64(entry, revision);
        return;
    }
    if (side_bytes(&heads->young) > heads->bytes) {
        ml_heads_side empty = heads->old;
        clear_side(&empty);
        heads->old = heads->young;
        heads->young = empty;
    }
    /* An older revision in the old side would come back once this entry cannot be made. */
    if (!add(&heads->young, key, stream, revision)) ml_heads_clear(heads);
}

void ml_heads_prefetch(const ml_heads *heads, uint64_t key, bool entry)
{
    const ml_heads_side *side = &heads->young;
    if (side->used == 0) return;
    const uint64_t *slot = &side->slots[(uint32_t)key & (side->slot_count - 1)];
    if (!entry) __builtin_prefetch(slot);
    else if (*slot != 0) __builtin_prefetch(entry_of(side, *slot));
}
