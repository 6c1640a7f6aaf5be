/* crc32c.h -- the checksum of every stored byte (Castagnoli polynomial, RFC 3720).
 *
 * Floor    base.
 * Threads  pure; picks the instruction (SSE 4.2) or the table once, at load time.
 * Source   check value: crc32c of "123456789" is 0xe3069283.
 */
#ifndef ML_BASE_CRC32C_H
#define ML_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Checksum of `size` bytes. `seed` is 0, or the result for the bytes before these. */
uint32_t ml_crc32c(uint32_t seed, const void *data, size_t size);

/* The same, by table, whatever the processor has: for machines without the instruction, and
 * for the spec that holds the two against each other. */
uint32_t ml_crc32c_table(uint32_t seed, const void *data, size_t size);

#endif
