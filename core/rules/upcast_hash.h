/* upcast_hash.h -- a hash of short texts, for tables in memory: never stored, never sent.
 *
 * Floor    rules. Everything is inline.
 */
#ifndef ML_RULES_UPCAST_HASH_H
#define ML_RULES_UPCAST_HASH_H

#include "../base/bytes.h"

/* Every bit of what goes in moves about half of the bits that come out. */
static inline uint64_t ml_upcast_hash_mix(uint64_t a, uint64_t b)
{
    uint64_t hash = (a ^ (b + 0x9e3779b97f4a7c15u)) * 0xd6e8feb86659fd93u;
    hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
    return hash ^ (hash >> 32);
}

/* Eight bytes at a time, the last filled up with zeros; the size tells "a" from "a\0". */
static inline uint64_t ml_upcast_hash(ml_bytes text)
{
    const uint8_t *at = text.data;
    uint64_t hash = text.size, last = 0;
    size_t left = text.size;
    for (; left > 8; left -= 8, at += 8)
        hash = ml_upcast_hash_mix(hash, ml_get_u64(at));
    if (left > 0) memcpy(&last, at, left);
    return ml_upcast_hash_mix(hash, last);
}

#endif
