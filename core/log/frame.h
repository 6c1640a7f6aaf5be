/* frame.h -- a frame: one group of records, the unit that is whole or absent.
 *
 *    at  size  field       meaning (all little-endian)
 *     0     4  magic       "MLF1"
 *     4     4  crc         crc32c of bytes 8..63, seeded with the segment's salt
 *     8     4  body        length of the body in bytes, a multiple of 8, padding included
 *    12     4  count       records in it, at least 1
 *    16     8  sequence    1, 2, 3, … over the whole log
 *    24     8  first       position of its first record
 *    32     8  durable     highest sequence known to be synced when this one was written
 *    40     4  body crc    crc32c of every record's 8-byte head, one after the other, then
 *                          of the padding; a record's head holds the crc of its payload, so
 *                          every byte is covered, and hashed once
 *    44     4  previous    `crc` of the frame before (of the first: 0)
 *    48     8  time        of its last record, µs UTC
 *    56     8  zero
 *    64        body        records, then 0..7 zero bytes
 *    …      4  body again  so that a half-written frame shows, and one can walk backwards
 *           4  crc again
 *
 *   record:  0  4  size of the payload     4  4  crc32c of the payload     8  payload
 *
 * The payload is the event as clients get it. This room looks at nothing in it but its
 * first ten bytes: 9b cf and the position, big-endian, stamped by whoever filled the group.
 *
 * Floor    log. Uses base.
 * Threads  pure functions.
 */
#ifndef ML_LOG_FRAME_H
#define ML_LOG_FRAME_H

#include "../base/bytes.h"
#include "../base/crc32c.h"
#include "../base/error.h"

enum {
    ML_FRAME_HEADER = 64,
    ML_FRAME_TRAILER = 8,
    ML_FRAME_MAGIC = 0x31464c4d, /* "MLF1" */
    ML_RECORD_HEADER = 8,
    ML_RECORD_MIN = 10 /* 9b cf and a position */
};

typedef struct ml_frame {
    uint32_t crc, body, count, body_crc, previous;
    uint64_t sequence, first, durable;
    int64_t time;
} ml_frame;

/* Size of the whole frame on disk. */
static inline uint64_t ml_frame_size(const ml_frame *frame)
{
    return (uint64_t)ML_FRAME_HEADER + frame->body + ML_FRAME_TRAILER;
}

/* Writes the header (and gives frame->crc) at `at`, and the trailer behind the body, which
 * is in place already: at + 64, frame->body bytes, checksummed by ml_frame_seal_body. */
void ml_frame_encode(ml_frame *frame, uint32_t salt, uint8_t *at);

/* Fills in the crc of each of `count` records, pads the body at `body` from `size` to a
 * multiple of 8 (there is room), and gives the padded size and the body crc. This is where
 * an append is checksummed: 15 to 30 ns for a record of 340 bytes. */
void ml_frame_seal_body(uint8_t *body, uint32_t size, uint32_t count, ml_frame *frame);

/* Reads the header at `at`, of which `left` bytes can be read. True if its crc holds and the
 * whole frame fits into `left`. Nothing of the body is looked at. */
ML_MUST_USE bool ml_frame_decode(const uint8_t *at, uint64_t left, uint32_t salt, ml_frame *frame);

/* True if trailer, record heads, payloads and padding of a decoded frame all hold. If
 * `offsets` is not NULL it gets the offset of each record from `at` (frame->count entries,
 * 0 for a record that is damaged); then all records are looked at, even behind a bad one. */
ML_MUST_USE bool ml_frame_check(const uint8_t *at, const ml_frame *frame, uint32_t *offsets);

/* True if the record at `at` (of `left` bytes) is whole, its crc holds and its payload is
 * stamped with `position`. */
ML_MUST_USE bool ml_frame_record(const uint8_t *at, uint64_t left, uint64_t position,
                                 ml_bytes *payload);

#endif
