/* crc32c.c -- the checksum by processor instruction, and by table where there is none.
 *
 * A checksum register is a polynomial over GF(2), here with the highest power in bit 0. To
 * append n zero bits is to multiply it by x^n modulo the Castagnoli polynomial, and the
 * checksum of A ++ B is that of A moved on by B's length, XOR that of B begun from zero.
 *
 * The instruction takes 8 bytes a cycle but answers after three, so three thirds of the
 * bytes are summed side by side and joined at the end. To join them, the first two sums are
 * multiplied (without carry) by powers of x that stand in a table; both products are XORed
 * onto the last word of the third part, and the instruction reduces them along with it.
 *
 * Source   the joining: Gopal and others, "Fast CRC Computation for iSCSI Polynomial Using
 *          CRC32 Instruction" (Intel, 2011). The tables: Kounavis and Berry, "A Systematic
 *          Approach to Building High Performance Software-Based CRC Generators" (2005).
 */
#include "crc32c.h"

#include <stdbool.h>

#include "bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* 1edc6f41 with its bits in our order */

/* ---- by table: eight bytes a step --------------------------------------------------- */

/* table[k][b]: byte b followed by k zero bytes. Written once, before main. */
static uint32_t table[8][256];

static void table_fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t sum = byte;
        for (int bit = 0; bit < 8; bit++) sum = (sum >> 1) ^ (sum & 1 ? POLYNOMIAL : 0);
        table[0][byte] = sum;
    }
    for (int zeros = 1; zeros < 8; zeros++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t sum = table[zeros - 1][byte];
            table[zeros][byte] = (sum >> 8) ^ table[0][sum & 0xff];
        }
    }
}

uint32_t ml_crc32c_table(uint32_t seed, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint32_t sum = ~seed;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word = ml_get_u64(at) ^ sum;
        sum = table[7][word & 0xff] ^ table[6][(word >> 8) & 0xff] ^
              table[5][(word >> 16) & 0xff] ^ table[4][(word >> 24) & 0xff] ^
              table[3][(word >> 32) & 0xff] ^ table[2][(word >> 40) & 0xff] ^
              table[1][(word >> 48) & 0xff] ^ table[0][word >> 56];
    }
    while (size-- > 0) sum = (sum >> 8) ^ table[0][(sum ^ *at++) & 0xff];
    return ~sum;
}

static uint32_t (*chosen)(uint32_t seed, const void *data, size_t size) = ml_crc32c_table;

/* ---- by instruction ----------------------------------------------------------------- */

#if defined(__x86_64__)

#define TARGET __attribute__((target("sse4.2,pclmul")))

enum {
    WORDS_MIN = 4,   /* of a third: under it, joining costs more than it saves */
    WORDS_MAX = 128, /* of a third: bounds the table; joining is then 3 % of the work */
};

/* powers[n] = x^(64 n - 33): moves a sum on by n words. The 33 is given back by the product,
 * whose bits lie one place off, and by the instruction, which moves on by a sum's 32. */
static uint32_t powers[2 * WORDS_MAX + 1];

TARGET static void powers_fill(void)
{
    powers[1] = 1; /* x^31 */
    for (int n = 2; n <= 2 * WORDS_MAX; n++) powers[n] = (uint32_t)_mm_crc32_u64(powers[n - 1], 0);
}

TARGET static inline uint64_t product(uint64_t sum, uint32_t power)
{
    __m128i result = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)sum),
                                          _mm_cvtsi32_si128((int)power), 0);
    return (uint64_t)_mm_cvtsi128_si64(result);
}

/* Sums three runs of `words` words that lie one behind the other. */
TARGET static inline uint64_t sum_thirds(uint64_t sum, const uint8_t *at, size_t words)
{
    const uint8_t *second = at + 8 * words, *third = second + 8 * words, *last = second - 8;
    uint64_t sum_second = 0, sum_third = 0;
    while (at < last) {
        sum = _mm_crc32_u64(sum, ml_get_u64(at));
        sum_second = _mm_crc32_u64(sum_second, ml_get_u64(second));
        sum_third = _mm_crc32_u64(sum_third, ml_get_u64(third));
        at += 8;
        second += 8;
        third += 8;
    }
    sum = _mm_crc32_u64(sum, ml_get_u64(at));
    sum_second = _mm_crc32_u64(sum_second, ml_get_u64(second));
    uint64_t moved = product(sum, powers[2 * words]) ^ product(sum_second, powers[words]);
    return _mm_crc32_u64(sum_third, ml_get_u64(third) ^ moved);
}

TARGET static uint32_t by_instruction(uint32_t seed, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t sum = (uint32_t)~seed;
    while (size >= 24 * WORDS_MIN) {
        size_t words = size / 24 < WORDS_MAX ? size / 24 : WORDS_MAX;
        sum = sum_thirds(sum, at, words);
        at += 24 * words;
        size -= 24 * words;
    }
    for (; size >= 8; at += 8, size -= 8) sum = _mm_crc32_u64(sum, ml_get_u64(at));
    uint32_t rest = (uint32_t)sum;
    if (size & 4) {
        rest = _mm_crc32_u32(rest, ml_get_u32(at));
        at += 4;
    }
    if (size & 2) {
        rest = _mm_crc32_u16(rest, ml_get_u16(at));
        at += 2;
    }
    if (size & 1) rest = _mm_crc32_u8(rest, *at);
    return ~rest;
}

static bool instruction_choose(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul")) return false;
    powers_fill();
    chosen = by_instruction;
    return true;
}

#else

static bool instruction_choose(void) { return false; }

#endif

/* At load time, when there is one thread only. The tables are filled either way: the spec
 * holds the two against each other. */
__attribute__((constructor)) static void choose(void)
{
    table_fill();
    (void)instruction_choose();
}

uint32_t ml_crc32c(uint32_t seed, const void *data, size_t size)
{
    return chosen(seed, data, size);
}
