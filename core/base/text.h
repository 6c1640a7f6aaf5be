/* text.h -- ids and times as people write them.
 *
 * Floor    base.
 * Threads  pure functions.
 * Source   UUID: RFC 9562 (version 7). Times: RFC 3339.
 */
#ifndef ML_BASE_TEXT_H
#define ML_BASE_TEXT_H

#include "bytes.h"
#include "error.h"

enum {
    ML_UUID_TEXT = 36,  /* without a final NUL */
    ML_TIME_TEXT = 27   /* 2026-11-21T13:40:46.000001Z, without a final NUL; years 0..9999 */
};

/* A UUIDv7: `time` in microseconds (its milliseconds go in front), `random` 10 bytes. */
void ml_uuid_make(uint8_t id[ML_ID_SIZE], int64_t time, const uint8_t random[10]);

void ml_uuid_write(char text[ML_UUID_TEXT + 1], const uint8_t id[ML_ID_SIZE]);

/* Any UUID in its 36-character form, either case; false if it is not one. */
ML_MUST_USE bool ml_uuid_read(ml_bytes text, uint8_t id[ML_ID_SIZE]);

/* RFC 3339 in UTC with microseconds. Times outside the years 0..9999 are written as a plain
 * integer of microseconds (which ml_time_read takes back). Gives the length. */
size_t ml_time_write(char text[ML_TIME_TEXT + 1], int64_t time);

/* RFC 3339 with any offset and 0..9 digits of fraction (beyond 6 cut off), 'T' or a space
 * between date and time, or a plain integer of microseconds; false if it is neither. */
ML_MUST_USE bool ml_time_read(ml_bytes text, int64_t *time);

/* A span of time: "90d", "1h30m", "15s", "250ms" -> microseconds, from 1 to a thousand years.
 * Units w, d, h, m, s, ms, us, each once at most, the larger first. */
ML_MUST_USE bool ml_duration_read(ml_bytes text, int64_t *us);

#endif
