/* frame.c -- a frame, and the search for one, on arbitrary bytes.
 *
 *   input:  flags (1: put checksums right, 2: place in the chain, too)   bytes
 */
#include <stdlib.h>

#include "../../core/log/segment.h"
#include "fuzz.h"

enum { REPAIR = 1, PLACE = 2, SALT = 0x1234567 };

void ml_fuzz_begin(void) {}

void ml_fuzz_seeds(void)
{
    ml_bytes segment = ml_fuzz_golden("store/log/00000000000000000001.seg");
    uint8_t seed[1 + 4096] = {REPAIR};
    for (size_t size = 256; size <= 4096; size *= 4) {
        memcpy(seed + 1, (const uint8_t *)segment.data + ML_SEGMENT_HEADER, size);
        seed[0] = REPAIR;
        ml_fuzz_seed(seed, 1 + size);
        seed[0] = REPAIR | PLACE;
        ml_fuzz_seed(seed, 1 + size);
    }
}

static void try_record(const uint8_t *at, uint64_t left, uint64_t position)
{
    ml_bytes payload;
    if (!ml_frame_record(at, left, position, &payload)) return;
    ML_ASSERT(payload.data == at + ML_RECORD_HEADER);
    ML_ASSERT(payload.size >= ML_RECORD_MIN && payload.size <= left - ML_RECORD_HEADER);
}

/* What ml_frame_check says with offsets and without must agree, and the offsets be true. */
static void try_frame(const uint8_t *at, uint64_t left)
{
    ml_frame frame;
    if (!ml_frame_decode(at, left, SALT, &frame)) return;
    ML_ASSERT(ml_frame_size(&frame) <= left);
    uint32_t *offsets = calloc(frame.count, sizeof *offsets);
    ML_ASSERT(offsets != NULL);
    bool whole = ml_frame_check(at, &frame, offsets);
    ML_ASSERT(whole == ml_frame_check(at, &frame, NULL));
    for (uint32_t n = 0; n < frame.count; n++) {
        ml_bytes payload;
        ML_ASSERT(!whole || offsets[n] > 0);
        if (offsets[n] == 0) continue;
        ML_ASSERT(ml_frame_record(at + offsets[n], ml_frame_size(&frame) - offsets[n],
                                  frame.first + n, &payload));
    }
    free(offsets);
}

static void try_find(const uint8_t *data, size_t size)
{
    ml_frame frame, again;
    uint64_t offset = 0;
    while (ml_segment_find(data, size, SALT, &offset, &frame)) {
        ML_ASSERT(offset % 8 == 0);
        ML_ASSERT(ml_frame_decode(data + offset, size - offset, SALT, &again));
        ML_ASSERT(ml_frame_check(data + offset, &again, NULL));
        offset += ml_frame_size(&frame);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_fuzz_input input = {data, size};
    uint8_t flags = ml_fuzz_byte(&input);
    ml_bytes rest = ml_fuzz_take(&input, size);
    uint8_t *bytes = calloc(1, rest.size > 0 ? rest.size : 1); /* reading behind it is seen */
    ML_ASSERT(bytes != NULL);
    if (rest.size > 0) memcpy(bytes, rest.data, rest.size);
    ml_fuzz_chain chain = {.sequence = 1, .position = 1, .salt = SALT, .place = flags & PLACE};
    for (uint64_t at = 0; flags & REPAIR && at < rest.size;) {
        uint64_t frame = ml_fuzz_repair_frame(bytes + at, rest.size - at, &chain);
        at += frame > 0 ? frame : 8;
    }
    try_frame(bytes, rest.size);
    try_record(bytes, rest.size, 1);
    try_find(bytes, rest.size);
    uint64_t end = ml_segment_content_end(bytes, 0, rest.size);
    ML_ASSERT(end <= rest.size && (end == 0 || bytes[end - 1] != 0));
    free(bytes);
    return 0;
}
