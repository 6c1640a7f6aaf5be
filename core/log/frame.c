/* frame.c -- encode and decode side by side; the byte table is in frame.h. */
#include "frame.h"

enum {
    AT_MAGIC = 0,
    AT_CRC = 4,
    AT_BODY = 8,
    AT_COUNT = 12,
    AT_SEQUENCE = 16,
    AT_FIRST = 24,
    AT_DURABLE = 32,
    AT_BODY_CRC = 40,
    AT_PREVIOUS = 44,
    AT_TIME = 48,
    AT_ZERO = 56
};
_Static_assert(AT_ZERO + sizeof(uint64_t) == ML_FRAME_HEADER, "no byte is unaccounted for");

static uint32_t header_crc(const uint8_t *at, uint32_t salt)
{
    return ml_crc32c(salt, at + AT_BODY, ML_FRAME_HEADER - AT_BODY);
}

void ml_frame_encode(ml_frame *frame, uint32_t salt, uint8_t *at)
{
    ML_ASSERT(frame->body % 8 == 0);
    ML_ASSERT(frame->durable < frame->sequence);
    ml_put_u32(at + AT_MAGIC, ML_FRAME_MAGIC);
    ml_put_u32(at + AT_BODY, frame->body);
    ml_put_u32(at + AT_COUNT, frame->count);
    ml_put_u64(at + AT_SEQUENCE, frame->sequence);
    ml_put_u64(at + AT_FIRST, frame->first);
    ml_put_u64(at + AT_DURABLE, frame->durable);
    ml_put_u32(at + AT_BODY_CRC, frame->body_crc);
    ml_put_u32(at + AT_PREVIOUS, frame->previous);
    ml_put_u64(at + AT_TIME, (uint64_t)frame->time);
    ml_put_u64(at + AT_ZERO, 0);
    frame->crc = header_crc(at, salt);
    ml_put_u32(at + AT_CRC, frame->crc);
    uint8_t *trailer = at + ML_FRAME_HEADER + frame->body;
    ml_put_u32(trailer, frame->body);
    ml_put_u32(trailer + 4, frame->crc);
}

bool ml_frame_decode(const uint8_t *at, uint64_t left, uint32_t salt, ml_frame *frame)
{
    if (left < ML_FRAME_HEADER + ML_FRAME_TRAILER) return false;
    if (ml_get_u32(at + AT_MAGIC) != ML_FRAME_MAGIC) return false;
    frame->crc = ml_get_u32(at + AT_CRC);
    if (frame->crc != header_crc(at, salt)) return false;
    frame->body = ml_get_u32(at + AT_BODY);
    frame->count = ml_get_u32(at + AT_COUNT);
    frame->sequence = ml_get_u64(at + AT_SEQUENCE);
    frame->first = ml_get_u64(at + AT_FIRST);
    frame->durable = ml_get_u64(at + AT_DURABLE);
    frame->body_crc = ml_get_u32(at + AT_BODY_CRC);
    frame->previous = ml_get_u32(at + AT_PREVIOUS);
    frame->time = (int64_t)ml_get_u64(at + AT_TIME);
    if (frame->count == 0 || frame->body % 8 != 0 || frame->durable >= frame->sequence) return false;
    if (frame->body / ML_RECORD_HEADER < frame->count) return false;
    return ml_frame_size(frame) <= left;
}

void ml_frame_seal_body(uint8_t *body, uint32_t size, uint32_t count, ml_frame *frame)
{
    uint32_t crc = 0, at = 0;
    for (uint32_t n = 0; n < count; n++) {
        uint32_t payload = ml_get_u32(body + at);
        ml_put_u32(body + at + 4, ml_crc32c(0, body + at + ML_RECORD_HEADER, payload));
        crc = ml_crc32c(crc, body + at, ML_RECORD_HEADER);
        at += ML_RECORD_HEADER + payload;
    }
    ML_ASSERT(at == size);
    uint32_t padded = (uint32_t)ml_align8(size);
    memset(body + size, 0, padded - size);
    frame->body = padded;
    frame->count = count;
    frame->body_crc = ml_crc32c(crc, body + size, padded - size);
}

bool ml_frame_check(const uint8_t *at, const ml_frame *frame, uint32_t *offsets)
{
    const uint8_t *body = at + ML_FRAME_HEADER, *trailer = body + frame->body;
    bool good = ml_get_u32(trailer) == frame->body && ml_get_u32(trailer + 4) == frame->crc;
    uint32_t crc = 0, offset = 0;
    for (uint32_t n = 0; n < frame->count; n++) {
        uint32_t left = frame->body - offset, size = 0;
        if (left >= ML_RECORD_HEADER) size = ml_get_u32(body + offset);
        if (size < ML_RECORD_MIN || size > left - ML_RECORD_HEADER) {
            for (; offsets != NULL && n < frame->count; n++) offsets[n] = 0;
            return false;
        }
        ml_bytes payload;
        bool whole = ml_frame_record(body + offset, left, frame->first + n, &payload);
        if (!whole && offsets == NULL) return false;
        if (offsets != NULL) offsets[n] = whole ? ML_FRAME_HEADER + offset : 0;
        good = good && whole;
        crc = ml_crc32c(crc, body + offset, ML_RECORD_HEADER);
        offset += ML_RECORD_HEADER + size;
    }
    return good && frame->body - offset < 8 &&
           ml_crc32c(crc, body + offset, frame->body - offset) == frame->body_crc;
}

bool ml_frame_record(const uint8_t *at, uint64_t left, uint64_t position, ml_bytes *payload)
{
    if (left < ML_RECORD_HEADER + ML_RECORD_MIN) return false;
    uint32_t size = ml_get_u32(at);
    if (size < ML_RECORD_MIN || size > left - ML_RECORD_HEADER) return false;
    const uint8_t *data = at + ML_RECORD_HEADER;
    if (ml_get_u32(at + 4) != ml_crc32c(0, data, size)) return false;
    if (data[0] != 0x9b || data[1] != 0xcf || ml_get_be64(data + 2) != position) return false;
    *payload = (ml_bytes){data, size};
    return true;
}
