/* unpack.h -- reading MessagePack without trusting it.
 *
 * A cursor over borrowed bytes. Declared sizes and counts are held against the bytes that
 * are left before anything is done with them, so five bytes that promise 4 GiB cost
 * nothing. Nothing is allocated and nothing recurses.
 *
 * Floor    base.
 * Threads  none.
 * Errors   false / NULL means "not that, or not whole"; the cursor is then left alone.
 * Source   the MessagePack specification.
 */
#ifndef ML_BASE_UNPACK_H
#define ML_BASE_UNPACK_H

#include "bytes.h"
#include "error.h"

typedef struct ml_unpack {
    const uint8_t *at, *end;
} ml_unpack;

static inline ml_unpack ml_unpack_from(ml_bytes bytes)
{
    const uint8_t *data = bytes.data;
    return (ml_unpack){data, data == NULL ? NULL : data + bytes.size};
}

typedef enum ml_kind {
    ML_KIND_NONE, /* nothing left, the reserved byte c1, or a value cut short */
    ML_KIND_NIL,
    ML_KIND_BOOL,
    ML_KIND_INT,  /* fits int64 */
    ML_KIND_UINT, /* over INT64_MAX */
    ML_KIND_FLOAT,
    ML_KIND_STR,
    ML_KIND_BIN,
    ML_KIND_EXT,
    ML_KIND_ARRAY,
    ML_KIND_MAP
} ml_kind;

/* One token: a scalar whole, or the head of an array or map (its items follow). */
typedef struct ml_token {
    ml_kind kind;
    bool boolean;
    int64_t integer;    /* INT */
    uint64_t natural;   /* UINT */
    double number;      /* FLOAT */
    bool single;        /* FLOAT was stored in 4 bytes */
    ml_bytes bytes;     /* STR, BIN, EXT: content, borrowed */
    int8_t ext;         /* EXT: its type */
    uint32_t count;     /* ARRAY: items; MAP: pairs */
} ml_token;

/* Reads one token and moves behind it. For ARRAY and MAP the count is at most the bytes that
 * are left (each item takes one). NONE leaves the cursor where it was. */
ml_token ml_unpack_next(ml_unpack *cursor);

/* Moves behind one whole value, however deep: nothing is kept of what is around it. */
ML_MUST_USE bool ml_unpack_skip(ml_unpack *cursor);

/* Common wishes, each moving the cursor only on success. */
ML_MUST_USE bool ml_unpack_str(ml_unpack *cursor, ml_bytes *text);
ML_MUST_USE bool ml_unpack_array(ml_unpack *cursor, uint32_t *count);
ML_MUST_USE bool ml_unpack_map(ml_unpack *cursor, uint32_t *count);
ML_MUST_USE bool ml_unpack_int(ml_unpack *cursor, int64_t *value);

/* The whole value at the cursor, which moves behind it; empty if there is none. */
ml_bytes ml_unpack_value(ml_unpack *cursor);
/* The value of a name in a map, or of a str there its text; empty if it has none. */
ml_bytes ml_unpack_find(ml_bytes map, const char *name);
ml_bytes ml_unpack_find_str(ml_bytes map, const char *name);

/* Checks that `bytes` is exactly one value that moonlog will store: whole, nothing behind
 * it, nested at most ML_DEPTH_MAX deep, every str valid UTF-8, no integer over INT64_MAX (no
 * reader in Lua could hold it). BAD_REQUEST with a sentence that begins with `what`
 * ("data", "meta"). An array or map at the top counts as depth 1. */
ML_MUST_USE ml_code ml_unpack_check(ml_bytes bytes, const char *what, ml_error *why);

/* True if the bytes are valid UTF-8 (RFC 3629: no surrogates, no over-long forms). */
bool ml_unpack_utf8(ml_bytes text);

#endif
