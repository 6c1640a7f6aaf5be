/* json.h -- JSON text to MessagePack and back, value for value.
 *
 *   JSON                        MessagePack
 *   35, -1                      integer; over INT64_MAX or under INT64_MIN is refused
 *   35.0, 1e3                   float 64: a number with '.', 'e' or 'E' stays a float
 *   {"$float":"nan"}            NaN; also "inf", "-inf"
 *   {"$bin":"base64"}           bin
 *   {"$ext":[type,"base64"]}    ext
 *   {"$map":[[key,value],…]}    a map whose keys are not all strings, or whose only key is
 *                               one of these four words
 *   everything else             the obvious
 *
 * Reading is strict RFC 8259, UTF-8 only, nested at most ML_DEPTH_MAX deep (containers of
 * the result); duplicate keys are kept. Writing gives the shortest float that reads back
 * the same, with ".0" where it would look like an integer; float 32 is written as its value.
 *
 * Floor    base.
 * Threads  none.
 * Memory   onto the caller's buffer; on an error the buffer is set back to where it was.
 * Errors   BAD_REQUEST with a sentence that names the column (bytes from 1).
 */
#ifndef ML_BASE_JSON_H
#define ML_BASE_JSON_H

#include "buf.h"
#include "unpack.h"

/* Reads exactly one JSON value (space around it is fine) and packs it onto `out`. */
ML_MUST_USE ml_code ml_json_read(ml_bytes text, ml_buf *out, ml_error *why);

/* The same for a line of NDJSON, whose object is an envelope: each value in it may nest
 * ML_DEPTH_MAX deep, so that the whole nests one level deeper. */
ML_MUST_USE ml_code ml_json_read_line(ml_bytes text, ml_buf *out, ml_error *why);

/* Writes the one value at the cursor as JSON without spaces, and moves behind it. False if
 * the MessagePack is not whole or too deep. A str that is no UTF-8 is written as $bin. */
ML_MUST_USE bool ml_json_write(ml_unpack *cursor, ml_buf *out);

/* Writes bytes as a JSON string in quotes. */
void ml_json_string(ml_buf *out, ml_bytes text);

/* Writes a float that reads back the same: "1.5", "35.0", "1e300", {"$float":"nan"}. */
void ml_json_double(ml_buf *out, double value);

#endif
