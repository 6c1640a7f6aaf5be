/* bytes.h -- numbers in bytes: little-endian for our files, big-endian for MessagePack,
 * varints for delta-coded lists; and views.
 *
 * Floor    base. Everything is inline; nothing allocates.
 * Threads  pure functions.
 */
#ifndef ML_BASE_BYTES_H
#define ML_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#include "../moonlog.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "moonlog's readers take little-endian integers from memory as they are"
#endif

static inline uint16_t ml_get_u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static inline uint32_t ml_get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static inline uint64_t ml_get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static inline void ml_put_u16(uint8_t *at, uint16_t value) { memcpy(at, &value, sizeof value); }
static inline void ml_put_u32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }
static inline void ml_put_u64(uint8_t *at, uint64_t value) { memcpy(at, &value, sizeof value); }

static inline uint16_t ml_get_be16(const uint8_t *at) { return __builtin_bswap16(ml_get_u16(at)); }
static inline uint32_t ml_get_be32(const uint8_t *at) { return __builtin_bswap32(ml_get_u32(at)); }
static inline uint64_t ml_get_be64(const uint8_t *at) { return __builtin_bswap64(ml_get_u64(at)); }
static inline void ml_put_be64(uint8_t *at, uint64_t value) { ml_put_u64(at, __builtin_bswap64(value)); }

/* Varint: 7 bits a byte, lowest first, high bit = more follow. At most 10 bytes. */
enum { ML_VARINT_MAX = 10 };
static inline size_t ml_put_varint(uint8_t *at, uint64_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        at[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    at[size++] = (uint8_t)value;
    return size;
}
/* Reads one varint from [*at, end) and moves *at behind it; false if it does not end in
 * time or is over 64 bits (then *at is left alone). */
static inline bool ml_get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;
    const uint8_t *p = *at;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) return false;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = result;
            *at = p;
            return true;
        }
    }
    return false;
}

static inline bool ml_bytes_equal(ml_bytes a, ml_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
static inline bool ml_bytes_begins(ml_bytes whole, ml_bytes start)
{
    return start.size <= whole.size && (start.size == 0 || memcmp(whole.data, start.data, start.size) == 0);
}

static inline uint64_t ml_align8(uint64_t size) { return (size + 7) & ~(uint64_t)7; }

/* For "%.*s": names come from outside and may be long. */
#define ML_SHOW(bytes) ((int)((bytes).size > 512 ? 512 : (bytes).size)), ((const char *)(bytes).data)

#endif
