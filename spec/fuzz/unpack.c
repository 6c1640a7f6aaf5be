/* unpack.c -- the reader of MessagePack on arbitrary bytes, held against msgpack-c.
 *
 *   input:  bytes
 */
#include "../../core/base/unpack.h"

#include <msgpack.h>

#include "../../core/base/limits.h"
#include "fuzz.h"

void ml_fuzz_begin(void) {}

/* Every record of the golden store's first segment, and the data in it. */
void ml_fuzz_seeds(void)
{
    ml_bytes segment = ml_fuzz_golden("store/log/00000000000000000001.seg");
    const uint8_t *bytes = segment.data;
    for (size_t at = 4096; at + 8 < segment.size; at += 8) {
        uint32_t size = ml_get_u32(bytes + at);
        if (size < 10 || size > segment.size - at - 8 || bytes[at + 8] != 0x9b) continue;
        ml_fuzz_seed(bytes + at + 8, size);
        ml_unpack cursor = {bytes + at + 8, bytes + at + 8 + size};
        ml_token token = ml_unpack_next(&cursor);
        for (unsigned n = 0; token.kind == ML_KIND_ARRAY && n < 8; n++)
            ML_ASSERT(ml_unpack_skip(&cursor));
        const uint8_t *data = cursor.at;
        ML_ASSERT(ml_unpack_skip(&cursor));
        ml_fuzz_seed(data, (size_t)(cursor.at - data));
    }
}

/* Tokens move forward and lie within the bytes. */
static void read_tokens(ml_bytes bytes)
{
    ml_unpack cursor = ml_unpack_from(bytes);
    for (;;) {
        const uint8_t *before = cursor.at;
        ml_token token = ml_unpack_next(&cursor);
        if (token.kind == ML_KIND_NONE) {
            ML_ASSERT(cursor.at == before);
            return;
        }
        ML_ASSERT(cursor.at > before && cursor.at <= cursor.end);
        if (token.kind == ML_KIND_ARRAY || token.kind == ML_KIND_MAP)
            ML_ASSERT(token.count <= (size_t)(cursor.end - cursor.at));
        if (token.bytes.size == 0) continue;
        const uint8_t *content = token.bytes.data;
        ML_ASSERT(content >= before && content + token.bytes.size <= cursor.at);
    }
}

/* msgpack-c takes memory for what a head promises; what promises too much is not its test. */
static bool promises_too_much(ml_bytes bytes)
{
    const uint8_t *at = bytes.data;
    for (size_t n = 0; n + 5 <= bytes.size; n++)
        if ((at[n] == 0xdd || at[n] == 0xdf) && ml_get_be32(at + n + 1) > bytes.size) return true;
    return false;
}

/* True if the whole value at the cursor, which moves, nests deeper than that. */
static bool deeper_than(ml_unpack *cursor, unsigned levels)
{
    ml_token token = ml_unpack_next(cursor);
    uint64_t items = token.kind == ML_KIND_MAP ? 2 * (uint64_t)token.count : token.count;
    if (token.kind != ML_KIND_ARRAY && token.kind != ML_KIND_MAP) return false;
    if (levels == 0) return true;
    while (items > 0 && !deeper_than(cursor, levels - 1)) items--;
    return items > 0;
}

/* What may be stored can be skipped, what can be skipped is read by msgpack-c unless it is
 * too deep for that, and what msgpack-c reads can be skipped. */
static void compare(ml_bytes bytes)
{
    ml_unpack cursor = ml_unpack_from(bytes), again = cursor;
    bool skipped = ml_unpack_skip(&cursor);
    size_t used = skipped ? (size_t)(cursor.at - (const uint8_t *)bytes.data) : 0;
    bool stored = ml_unpack_check(bytes, "data", NULL) == ML_OK;
    ML_ASSERT(!stored || (skipped && used == bytes.size));
    ML_ASSERT(!stored || !deeper_than(&again, ML_DEPTH_MAX));
    if (promises_too_much(bytes)) return;
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    bool read = msgpack_unpack_next(&unpacked, bytes.data, bytes.size, &offset) ==
                MSGPACK_UNPACK_SUCCESS;
    again = ml_unpack_from(bytes);
    if (read) ML_ASSERT(skipped && offset == used);
    else if (skipped) ML_ASSERT(deeper_than(&again, ML_DEPTH_MAX));
    msgpack_unpacked_destroy(&unpacked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_bytes bytes = {data, size};
    read_tokens(bytes);
    compare(bytes);
    return 0;
}
