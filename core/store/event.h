/* event.h -- an event as stored: the MessagePack array that clients get.
 *
 *     [position, revision, time, stream, type, schema, id, tags, data, meta, occurred]
 *
 *   at 0  9b                      array of 11
 *      1  cf + 8 bytes            position, big-endian: stamped in place
 *     10  cf + 8 bytes            revision
 *     19  cf + 8 bytes            time (never negative)
 *     28  stream, type as str; schema as int; id as bin of 16; tags as array of str; data as
 *         it was sent; meta as map or nil; occurred as int or nil
 *
 * Floor    store. Uses base.
 * Threads  pure functions.
 * Memory   decoding gives views into the record.
 */
#ifndef ML_STORE_EVENT_H
#define ML_STORE_EVENT_H

#include "../base/bytes.h"
#include "../base/error.h"

/* What the store adds to a draft. */
typedef struct ml_stamp {
    uint64_t position, revision;
    int64_t time;
    const uint8_t *id;
} ml_stamp;

/* Checks names, tags, sizes and values of a draft. BAD_REQUEST, TOO_LARGE; the sentence
 * begins with where: "event 3 (of type X): …". */
ML_MUST_USE ml_code ml_event_check(const ml_draft *draft, size_t number, ml_error *why);

/* Checks a name: 1..limit bytes of UTF-8 without control characters. `what` is "stream" … */
ML_MUST_USE ml_code ml_event_check_name(ml_bytes name, size_t limit, const char *what, ml_error *why);

/* Upper bound of the encoded size. */
size_t ml_event_bound(ml_bytes stream, const ml_draft *draft);

/* Encodes at `to`, which has room for ml_event_bound bytes; gives the size. */
size_t ml_event_encode(uint8_t *to, ml_bytes stream, const ml_draft *draft, const ml_stamp *stamp);

/* Decodes; false if the record is no event (its checksum held, so that is a bug or a forgery). */
ML_MUST_USE bool ml_event_decode(ml_bytes record, ml_event *event);

/* The same without data, meta and occurred, which are left empty: most of the cost is finding
 * where they end. */
ML_MUST_USE bool ml_event_decode_front(ml_bytes record, ml_event *event);

/* Only what stands in front, and costs next to nothing. */
ML_MUST_USE bool ml_event_peek(ml_bytes record, uint64_t *revision, ml_bytes *stream);

/* "account" of "account-ada"; the whole name if it has no '-'. */
ml_bytes ml_event_category(ml_bytes stream);

#endif
