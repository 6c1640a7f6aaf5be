/* key.h -- keys of rows, as bytes that sort as the values do.
 *
 *     boolean   08 false, 09 true
 *     number    10, 8 bytes of the nearest double that sort, 8 bytes of the integer that sort (of a
 *               float: of what it is rounded down to), 00 for an integer or 01 for a float:
 *               -1 < 1 < 1.0 < 2^53 < 2^53 + 1; -0.0 is 0.0
 *     string    20, its bytes with 00 as 00 FF, and 00
 *     bin       30, the same
 *     window    behind a key: 8 bytes of its start, and of its end, that sort; both between -2^62
 *               and 2^62, so that none begins with FF
 *
 * No key is the beginning of another one without window, so one can stand behind another.
 * The scheme of strings is that of FoundationDB's tuple layer (their document "tuple.md").
 * A string's prefix is a prefix of its bytes without the 00 at the end, so that rows whose keys
 * begin alike lie side by side.
 *
 * Floor    view; uses base.
 * Threads  pure functions.
 */
#ifndef ML_VIEW_KEY_H
#define ML_VIEW_KEY_H

#include "../base/buf.h"

enum {
    ML_KEY_BYTES_MAX = 250,  /* of a row's key, window included; with an index value in front it
                              * has to fit into LMDB's 511 */
    ML_KEY_INDEX_BYTES = 240 /* of an indexed value: of a longer one the beginning counts */
};

typedef struct ml_key {
    size_t size;
    uint8_t bytes[ML_KEY_BYTES_MAX + 6]; /* and not one more */
} ml_key;

/* A MessagePack value as a key. BAD_REQUEST (what it is, and what keys can be): nil, NaN, arrays,
 * maps, ext, integers over INT64_MAX; floats too unless `floats`. TOO_LARGE. */
ML_MUST_USE ml_code ml_key_make(ml_bytes value, bool floats, ml_key *key, ml_error *why);

/* The first bytes that every key of a string which begins like this one has. */
ML_MUST_USE ml_code ml_key_prefix(ml_bytes text, ml_key *key, ml_error *why);

/* For an index: cut at ML_KEY_INDEX_BYTES. False: it has none (nil, a list, a map, NaN). */
ML_MUST_USE bool ml_key_index(ml_bytes value, ml_key *key);

/* Adds a window. TOO_LARGE: the key with it, or its times. */
ML_MUST_USE ml_code ml_key_add_window(ml_key *key, int64_t start, int64_t end, ml_error *why);

/* Packs the value that a key was made of and, if it has a window, where that starts and ends.
 * False: these bytes are no key. */
ML_MUST_USE bool ml_key_pack(ml_bytes key, ml_buf *value, bool *windowed, int64_t *start,
                             int64_t *end);

/* How many bytes the key in front takes, without a window; 0: there is none. */
size_t ml_key_size(ml_bytes bytes);

#endif
